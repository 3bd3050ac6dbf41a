package rooms

import (
	"sync"
	"sync/atomic"
	"testing"

	"roomd/bus"
	"roomd/kv"
)

// BenchmarkSharedIncr increments one key from 64 goroutines, over NATS and a log
// on disk.
func BenchmarkSharedIncr(b *testing.B) {
	conn, err := bus.Open(b.Context(), bus.Config{Server: bus.ServerConfig{Dir: b.TempDir()}, Log: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	records, err := kv.OpenRecords(b.Context(), conn, kv.Storage{})
	if err != nil {
		b.Fatal(err)
	}
	tb := &testBus{conn, records, kv.OpenLogs(conn, kv.Storage{}), make(map[*Worker]func())}
	tb.worker(b, "w", Config{})
	store := tb.openStore(b, "client")
	if _, err := store.Incr(b.Context(), "n"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var running sync.WaitGroup
	var n atomic.Int64
	for range 64 {
		running.Go(func() {
			for n.Add(1) <= int64(b.N) {
				if _, err := store.Incr(b.Context(), "n"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
}
