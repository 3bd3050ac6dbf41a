package rooms

import (
	"context"
	"fmt"
	"testing"
	"time"

	"roomd/kv"
)

// A worker that lost the race for a shard may be slow to find out: what it has
// loaded is older than what the winner has written since.
func TestLoserOfAClaimDoesNotOverwriteThePagesOfTheWinner(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w", Config{})
	loaded := func(commands int) *pageWrite {
		s := kv.NewShard(2, w.conn.Subjects())
		s.Begin(time.Now())
		for range commands {
			s.Tick(time.Now())
		}
		entry, _ := s.AppendEntry(nil)
		for n := range commands {
			if err := s.Replay(uint64(n+1), append([]byte{1, 0, 0}, entry...)); err != nil {
				t.Fatal(err)
			}
		}
		return &pageWrite{page: 5, number: s.Number(), value: s.AppendPage(nil, 5)}
	}
	j := job{room: &Room{key: kv.ShardKey(7), epoch: 2}}
	write := func(p *pageWrite) error {
		j.pages = []*pageWrite{p}
		return w.writeFresh(t.Context(), j)
	}
	winner, loser := loaded(3), loaded(2)
	if err := write(winner); err != nil {
		t.Fatal(err)
	}
	if err := write(loser); err == nil {
		t.Error("it was written")
	}
	entry, err := b.store.Get(t.Context(), kv.PageKey(j.room.key, 5))
	if err != nil {
		t.Fatal(err)
	}
	if head, err := kv.ParsePageHead(entry.Value); head.Number != 3 || err != nil {
		t.Errorf("page has number %d, %v, want 3", head.Number, err)
	}
	if err := write(loaded(3)); err != nil { // the same again
		t.Error(err)
	}
}

// What the log refused is in no page, and the worker ends all the same.
func TestShardWhoseLastEntryIsRefusedLeavesNothing(t *testing.T) {
	b := startBus(t)
	w, stop := b.worker(t, "w", Config{Drain: 2 * time.Second})
	store := b.openStore(t, "client")
	if err := store.Set(t.Context(), "k", "kept"); err != nil {
		t.Fatal(err)
	}
	r := w.room(kv.ShardKey(0))
	run := r.own.run
	// The next turn has a command and the end of the room, and its entry meets a seal.
	held := make(chan struct{})
	entered := make(chan struct{})
	w.post(r, func(*Room) { close(entered); <-held })
	<-entered
	result := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { result <- store.Set(ctx, "k", "refused") }()
	waitFor(t, "the command to wait", func() bool {
		r.box.mu.Lock()
		defer r.box.mu.Unlock()
		return r.box.bytes > 0
	})
	if err := b.logs.Seal(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	w.post(r, func(r *Room) {
		r.phase = leaving
		r.departing = true
		w.mu.Lock()
		w.moving[r.key] = make(chan struct{})
		w.mu.Unlock()
		r.detached(nil)
		r.phase, r.leaves = ended, true
	})
	close(held)
	waitFor(t, "the room to be gone", func() bool { return w.room(kv.ShardKey(0)) == nil })
	cancel()
	<-result
	for page := range kv.Pages {
		entry, err := b.store.Get(t.Context(), kv.PageKey(kv.ShardKey(0), page))
		if err != nil {
			continue
		}
		if head, _ := kv.ParsePageHead(entry.Value); head.Number > 1 {
			t.Errorf("page %d has what the log refused", page)
		}
	}
	stop()
	b.worker(t, "next", Config{})
	if v, _, err := store.Get(t.Context(), "k"); v == "" || err != nil {
		t.Errorf("Get = %q, %v", v, err)
	}
}

func TestWorkerEndsWhileNATSIsAwayAndAWriteIsUnderWay(t *testing.T) {
	b := startBus(t)
	w, stop := b.worker(t, "w", Config{Drain: time.Second})
	store := b.openStore(t, "client")
	for i := range 10 {
		if err := store.Set(t.Context(), fmt.Sprint("k", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	r := w.room(kv.ShardKey(0))
	held, entered := make(chan struct{}), make(chan struct{})
	w.post(r, func(*Room) { close(entered); <-held })
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- store.Set(ctx, "k", "late") }()
	waitFor(t, "the command to wait", func() bool {
		r.box.mu.Lock()
		defer r.box.mu.Unlock()
		return r.box.bytes > 0
	})
	b.cut[w]()
	close(held)
	stop() // returns
	cancel()
	<-result
}
