package kv_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv"
	"roomd/rooms"
)

// openEmbedded is the store of a system with one worker and the NATS server of
// the process, on disk.
func openEmbedded(t *testing.T) site {
	conn := openBus(t, bus.Config{Server: bus.ServerConfig{Dir: t.TempDir()}})
	return openSystem(t, conn, kv.Storage{})
}

// openCluster is the store of a system with a NATS cluster of three servers that
// keep three copies, and a worker and a client at different ones.
func openCluster(t *testing.T) site {
	var addrs, routes []string
	for range 3 {
		addr := freeAddr(t)
		addrs, routes = append(addrs, addr), append(routes, "nats://"+addr)
	}
	conns := make([]*bus.Conn, 3)
	for i := range conns {
		conns[i] = openBus(t, bus.Config{Server: bus.ServerConfig{
			Name: fmt.Sprint("n", i), Dir: t.TempDir(), Cluster: addrs[i], Routes: routes,
		}})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := conns[0].AwaitJetStream(ctx); err != nil {
		t.Fatal(err)
	}
	s := openSystem(t, conns[0], kv.Storage{Replicas: 3})
	elsewhere, err := kv.Open(ctx, conns[2], kv.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openStore(t, elsewhere)
	s.slow = true
	return s
}

// openSystem runs a worker and opens its store.
func openSystem(t *testing.T, conn *bus.Conn, storage kv.Storage) site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	records, err := kv.OpenRecords(ctx, conn, storage)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := rooms.NewWorker(conn, records, kv.OpenLogs(conn, storage), rooms.Config{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	over := within(func() error { return worker.Run(running) })
	t.Cleanup(func() {
		stop()
		if err := <-over; err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	store, err := kv.Open(ctx, conn, kv.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return openStore(t, store)
}

func openBus(t *testing.T, cfg bus.Config) *bus.Conn {
	t.Helper()
	cfg.Log = quiet()
	conn, err := bus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
