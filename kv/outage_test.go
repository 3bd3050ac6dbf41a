package kv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"roomd/bus"
)

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func server(t *testing.T, cfg bus.ServerConfig) *bus.Conn {
	t.Helper()
	conn, err := bus.Open(t.Context(), bus.Config{Server: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// appendThrough appends n entries from 20 goroutines, calls disturb when a third
// of them are acknowledged, and wants each in the log once.
func appendThrough(t *testing.T, logs *Logs, log *Log, n int, disturb func()) {
	t.Helper()
	var appenders sync.WaitGroup
	acked := make(chan struct{}, n)
	for g := range 20 {
		appenders.Go(func() {
			for i := range n / 20 {
				if got := write(log, fmt.Append(nil, g, "/", i)); got.err != nil {
					t.Errorf("append = %v", got.err)
				}
				acked <- struct{}{}
			}
		})
	}
	for range n / 3 {
		<-acked
	}
	disturb()
	appenders.Wait()
	found := map[string]int{}
	for _, entry := range read(t, logs, log.Name()) {
		found[entry]++
	}
	if len(found) != n {
		t.Errorf("%d of %d entries are in the log", len(found), n)
	}
	for entry, times := range found {
		if times != 1 {
			t.Errorf("entry %s is %d times in the log", entry, times)
		}
	}
}

func TestAppendsWaitForNATSToComeBack(t *testing.T) {
	cfg := bus.ServerConfig{Dir: t.TempDir(), Addr: freePort(t)}
	first := server(t, cfg)
	conn, err := bus.Open(t.Context(), bus.Config{URL: "nats://" + cfg.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	logs := OpenLogs(conn, Storage{})
	log := begin(t, logs, "w-1")
	appendThrough(t, logs, log, 3000, func() {
		first.Close()
		server(t, cfg)
	})
	if log.Stats().Looks == 0 {
		t.Error("the writer never looked: the outage was not noticed")
	}
}

// cluster starts three servers that know each other, and waits for JetStream.
func cluster(t *testing.T) []*bus.Conn {
	t.Helper()
	conns, _ := clusterOf(t)
	return conns
}

// clusterOf also tells how each server was started.
func clusterOf(t *testing.T) (conns []*bus.Conn, cfgs []bus.ServerConfig) {
	t.Helper()
	var addrs, routes []string
	for range 3 {
		addr := freePort(t)
		addrs, routes = append(addrs, addr), append(routes, "nats://"+addr)
	}
	for i := range 3 {
		cfgs = append(cfgs, bus.ServerConfig{Name: fmt.Sprint("n", i), Dir: t.TempDir(), Cluster: addrs[i], Routes: routes})
		conns = append(conns, server(t, cfgs[i]))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, conn := range conns {
		if err := conn.AwaitJetStream(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return conns, cfgs
}

func TestLogThatBeginsWhileAServerIsAwayGetsItsCopiesWhenItIsBack(t *testing.T) {
	servers, cfgs := clusterOf(t)
	logs := OpenLogs(servers[0], Storage{Replicas: 3})
	servers[2].Close()
	log := begin(t, logs, "w-1")
	copies := func() int {
		stream, err := logs.open(t.Context(), "w-1")
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().Config.Replicas
	}
	// The others take a while to miss it, and until then it may be counted in.
	began := copies()
	if began != 2 && began != 3 {
		t.Errorf("the log begins with %d copies", began)
	}
	if got := write(log, []byte("x")); got.err != nil {
		t.Fatalf("append with a server away: %v", got.err)
	}
	server(t, cfgs[2])
	deadline := time.Now().Add(30 * time.Second)
	for log.Replicate(t.Context()) != nil && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if got := copies(); got != 3 {
		t.Errorf("%d copies when the server is back, want 3", got)
	}
	if got := write(log, []byte("y")); got.err != nil {
		t.Errorf("append afterwards: %v", got.err)
	}
}

// The leader of a log's stream dies while 20 goroutines append; then somebody
// who is connected to another server takes over.
func TestLogOfAClusterSurvivesItsLeader(t *testing.T) {
	servers := cluster(t)
	var logs []*Logs
	for _, conn := range servers {
		logs = append(logs, OpenLogs(conn, Storage{Replicas: 3}))
	}
	log, leader := beginLedElsewhere(t, logs[0])
	start(t, log)
	appendThrough(t, logs[0], log, 3000, servers[leader].Close)
	other := logs[3-leader]
	if err := other.Seal(t.Context(), log.Name()); err != nil {
		t.Fatal(err)
	}
	if got := len(read(t, other, log.Name())); got != 3000 {
		t.Errorf("sealed log has %d entries, want 3000", got)
	}
	if got := write(log, nil); !errors.Is(got.err, ErrSealed) {
		t.Errorf("append after the seal = %v, want ErrSealed", got.err)
	}
}

// beginLedElsewhere begins logs until one has its leader on another server than
// the first, and returns it and the number of that server.
func beginLedElsewhere(t *testing.T, logs *Logs) (log *Log, leader int) {
	t.Helper()
	for n := 0; leader == 0; n++ {
		var err error
		if log, err = logs.Begin(t.Context(), fmt.Sprint("w-", n)); err != nil {
			t.Fatal(err)
		}
		stream, err := logs.open(t.Context(), log.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(stream.CachedInfo().Cluster.Leader, "n%d", &leader); err != nil {
			t.Fatal(err)
		}
	}
	return log, leader
}
