package rooms

import (
	"strings"
	"testing"
)

func TestWorkerWhoseLogTakesNothingSaysSo(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	server := startNATS(t, dir, addr)
	b := busAt(t, addr)
	w, _ := b.worker(t, "w1", Config{Drain: patience}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	waitFor(t, "no trouble", func() bool { return w.Trouble() == "" })
	server.Close()
	inRoom(w, key, func(r *Room) {
		r.handler.(*counter).state.Count++
		r.ran()
	})
	waitFor(t, "the log to be stuck", func() bool { return strings.HasPrefix(w.Trouble(), "log is stuck") })
	server = startNATS(t, dir, addr)
	t.Cleanup(server.Close)
	waitFor(t, "no trouble", func() bool { return w.Trouble() == "" })
	if got := e.call(key, m, 1, "add", nil); unpack[int](t, got.Data) != 2 {
		t.Errorf("count %x, want 2", got.Data)
	}
}

func TestWorkerThatWasReplacedIsInTroubleUntilItIsBack(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, counterKind())
	own := w.own.Swap(nil) // as when its log is sealed
	if got := w.Trouble(); got != "worker was replaced and has not come back" {
		t.Errorf("Trouble = %q", got)
	}
	w.own.Store(own)
	if got := w.Trouble(); got != "" {
		t.Errorf("Trouble = %q", got)
	}
}
