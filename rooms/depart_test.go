package rooms

import (
	"testing"
	"time"

	"roomd/bus"
)

// letGo makes the room try to leave memory, as if it had been empty for long.
func letGo(w *Worker, r *Room) {
	w.post(r, func(r *Room) {
		if r.phase == live {
			r.phase = leaving
			r.depart()
		}
	})
}

func TestEveryJoinSentWhileARoomDetachesIsAnsweredOrBounced(t *testing.T) {
	b := startBus(t)
	const n = 5000
	kind := counterKind()
	kind.PresenceLimit = 1
	kind.MaxMailbox = 2 * n // none is refused, however slow the machine is
	w, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	e.join(key, "first") // it will stay, so the room comes back each time
	r := w.room(key)
	for i := range uint64(n) {
		if i%100 == 50 {
			letGo(w, r)
		}
		e.send(key, bus.Command{Op: bus.OpJoin, Session: 1000 + i, Ref: 1000 + i, User: "Ann"})
	}
	heard := 0
	e.await("the last answer", func(it *bus.Item) bool {
		if it.Op == bus.ItemJoined || it.Code == "no responders" {
			heard++
		}
		return heard == n
	})
}

func TestRoomThatIsNeededAgainWhileItDetachesStays(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{Writers: 1}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	// The only writer waits at the barrier of a shard that nobody reads.
	held := &Room{worker: w, kind: w.kinds["counter"], key: "counter.held", phase: ended, shard: &shard{in: make(chan *bus.Msg)}}
	if err := w.listen(held); err != nil {
		t.Fatal(err)
	}
	w.keeper.add(job{room: held, detach: true})
	r := w.room(key)
	letGo(w, r)
	m := e.join(key, "Ann").To
	if got := e.call(key, m, 1, "add", nil); got.Code != "" {
		t.Errorf("command to a room that wants to leave: code %q", got.Code)
	}
	w.passed(<-held.shard.in)
	waitFor(t, "the room to have decided", func() bool {
		w.mu.RLock()
		defer w.mu.RUnlock()
		return w.moving[key] == nil
	})
	if w.room(key) != r {
		t.Fatal("the room is gone, with a member in it")
	}
	e.open("counter", "a")
	if err := w.conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.call(key, m, 2, "add", nil); unpack[int](t, got.Data) != 2 || e.at[key].epoch != e.at[key].first {
		t.Errorf("count %x in epoch %d, want 2 in the same epoch", got.Data, e.at[key].epoch)
	}
}

func TestRoomThatIsOpenedWhileItLeavesComesBackOnce(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	kind.EmptyFor = time.Hour
	w, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	first := uint64(0)
	for i := range uint64(50) {
		key := e.open("counter", "a")
		r := w.room(key)
		if i == 0 {
			first = r.epoch
		}
		if r.epoch != first+i {
			t.Fatalf("epoch %d after %d departures", r.epoch, i)
		}
		letGo(w, r)
		waitFor(t, "the room to begin to leave", func() bool {
			w.mu.RLock()
			defer w.mu.RUnlock()
			return w.moving[key] != nil || w.rooms[key] == nil
		})
	}
}
