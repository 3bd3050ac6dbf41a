package rooms

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// Nothing is lost when a worker ends while it loads a shard, so nothing is an error.
func TestWorkerThatEndsWhileItLoadsLogsNoError(t *testing.T) {
	b := startBus(t)
	_, stop := b.worker(t, "first", Config{})
	store := b.openStore(t, "client")
	for i := range 64 {
		if err := store.Set(t.Context(), fmt.Sprint(i), strings.Repeat("x", 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	var text bytes.Buffer
	w, stop := b.worker(t, "second", Config{Log: slog.New(slog.NewTextHandler(&text, nil))})
	done := make(chan error, 1)
	open := bus.AppendString(bus.AppendString(nil, kv.ShardKind), "0")
	b.conn.Call(b.conn.Subjects().Open(kv.ShardKind), open, patience, func(_ []byte, err error) { done <- err })
	for loading := false; !loading; {
		w.mu.RLock()
		loading = w.moving[kv.ShardKey(0)] != nil || w.rooms[kv.ShardKey(0)] != nil
		w.mu.RUnlock()
	}
	stop()
	if err := <-done; bus.CodeOf(err) == bus.Internal {
		t.Errorf("who asked for the shard was told %v", err)
	}
	if strings.Contains(text.String(), "level=ERROR") || strings.Contains(text.String(), "level=WARN") {
		t.Errorf("it logged\n%s", &text)
	}
}

// An end that is cut short leaves in the log what records lack.
func TestWorkerThatEndsInTheMiddleOfALoadIsNoError(t *testing.T) {
	b := startBus(t)
	var text bytes.Buffer
	_, stop := b.worker(t, "first", Config{Drain: time.Millisecond, Log: slog.New(slog.NewTextHandler(&text, nil))})
	store := b.openStore(t, "client")
	const n = 200
	for i := range n {
		if err := store.Set(t.Context(), fmt.Sprint(i), strings.Repeat("x", 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if strings.Contains(text.String(), "level=ERROR") {
		t.Errorf("it logged\n%s", &text)
	}
	b.worker(t, "second", Config{})
	for i := range n {
		if _, ok, err := store.Get(t.Context(), fmt.Sprint(i)); !ok || err != nil {
			t.Fatalf("Get %d = %t, %v", i, ok, err)
		}
	}
}
