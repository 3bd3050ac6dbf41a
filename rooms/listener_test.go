package rooms

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomd/bus"
	"roomd/kv"
)

// With a subscription to everything and a stream on all subjects NATS never says
// that nobody listens. Here nothing is lost for its silence in time, so it is
// found out another way.
func TestWhatADeadWorkerHadIsTakenOverThoughEverythingIsListenedTo(t *testing.T) {
	conn, err := bus.Open(t.Context(), bus.Config{Log: quiet(), LostAfter: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	store, err := kv.OpenRecords(t.Context(), conn, kv.Storage{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	b := &testBus{conn, store, kv.OpenLogs(conn, kv.Storage{Memory: true}), make(map[*Worker]func())}
	if _, err := conn.Subscribe(">", "", make(chan *bus.Msg, 1<<16)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.JetStream().CreateStream(t.Context(),
		jetstream.StreamConfig{Name: "everything", Subjects: []string{"r.>"}, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := b.worker(t, "first", Config{}, counterKind())
	shared := b.openStore(t, "client")
	if n, err := shared.Incr(t.Context(), "n"); n != 1 || err != nil {
		t.Fatalf("Incr = %d, %v", n, err)
	}
	open := bus.AppendString(bus.AppendString(nil, "counter"), "a")
	if _, err := conn.Request(t.Context(), conn.Subjects().Open("counter"), open); err != nil {
		t.Fatal(err)
	}
	second, _ := b.worker(t, "second", Config{}, counterKind())
	began := time.Now()
	b.cut[first]()
	if n, err := shared.Incr(t.Context(), "n"); n != 2 || err != nil {
		t.Fatalf("Incr = %d, %v, want 2", n, err)
	}
	t.Logf("kv is back after %v", time.Since(began))
	if _, err := conn.Request(t.Context(), conn.Subjects().Open("counter"), open); err != nil {
		t.Fatal(err)
	}
	if second.room("counter.a") == nil {
		t.Error("the room was not taken over")
	}
	t.Logf("the room is back after %v", time.Since(began))
}
