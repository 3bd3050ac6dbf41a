package edge

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// The edge's machine and the worker's don't agree what time it is.
func TestClientsAreServedThoughClocksDiffer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	quiet := slog.New(slog.DiscardHandler)
	server, err := bus.Open(t.Context(), bus.Config{Name: "server", Server: bus.ServerConfig{Addr: addr}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for name, skew := range map[string]time.Duration{"ahead": time.Minute, "behind": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			conn, err := bus.Open(t.Context(), bus.Config{URL: "nats://" + addr, Name: "edge-" + name, Skew: skew, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Close)
			s := startEdge(t, conn, Config{})
			stop := startWorker(t, server, openStore(t, server), "worker-"+name)
			defer stop()
			for known := false; !known; { // when the worker has a second heartbeat of ours
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				_, err := conn.Request(ctx, conn.Subjects().Worker("worker-"+name, "list"), bus.AppendString(nil, ""))
				known = err == nil && conn.ClocksDiffer() != ""
				cancel()
				if time.Since(began) > patience {
					t.Fatalf("a clock that is %s never gets known: %v", name, err)
				}
			}
			c := connect(t, s, nativeName, "Ann")
			c.send(`[2,1,"echo","` + name + `"]`)
			if f := joinAnswer(c); strings.HasPrefix(f, "[2,1,null") {
				t.Errorf("join with a clock that is %s: %s", name, f)
			}
			store := kv.OpenShards(conn, kv.Config{}, 1)
			defer store.Close()
			if err := store.Set(t.Context(), "a", "1"); err != nil {
				t.Errorf("kv with a clock that is %s: %v", name, err)
			}
		})
	}
}
