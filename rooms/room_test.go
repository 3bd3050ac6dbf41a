package rooms

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"roomd/bus"
)

func TestPanicClosesItsRoomAndNoOther(t *testing.T) {
	b := startBus(t)
	var log lockedBuffer
	w, _ := b.worker(t, "w1", Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, counterKind())
	e1, e2 := b.edge(t, "e1"), b.edge(t, "e2")
	bad, good := e1.open("counter", "bad"), e1.open("counter", "good")
	m1, m2, g := e1.join(bad, "Ann").To, e2.join(bad, "Ben").To, e1.join(good, "Ann").To
	e1.send(bad,
		bus.Command{Op: bus.OpSend, Member: m1, N: 1, Event: []byte("add")},
		bus.Command{Op: bus.OpSend, Member: m1, N: 2, Event: []byte("panic")})
	e1.send(bad, bus.Command{Op: bus.OpSend, Member: m1, N: 3, Event: []byte("add")})
	if got := e1.reply(m1, 1); got.Code != "" {
		t.Errorf("command before the panic: code %q", got.Code)
	}
	for _, e := range []*testEdge{e1, e2} {
		if it := e.awaitOp(bus.ItemClosed); it.Code != bus.Internal {
			t.Errorf("closed with %q, want %q", it.Code, bus.Internal)
		}
	}
	_ = m2
	if got := e1.call(good, g, 1, "add", nil); got.Code != "" {
		t.Errorf("the other room: code %q", got.Code)
	}
	if text := log.String(); !strings.Contains(text, "as asked") || !strings.Contains(text, "helpers_test.go") {
		t.Errorf("log does not show the panic and its stack: %s", text)
	}
	waitFor(t, "the room to be gone", func() bool { return w.room(bad) == nil })
	e1.open("counter", "bad")
	if again := e1.join(bad, "Cid"); again.Code != "" || again.Joined.At.Epoch != e1.at[bad].first+1 {
		t.Errorf("joined again: %+v", again)
	}
}

func TestPanicsInEveryCallbackAreContained(t *testing.T) {
	for name, s := range map[string]scene{
		"Open":  {open: func(*Room) error { panic(1) }},
		"Join":  {join: func(*Room, *Member) error { panic(1) }},
		"Leave": {leave: func(*Room, *Member, Reason) { panic(1) }},
		"Tick":  {tick: func(*Room, time.Duration) error { panic(1) }},
		"Timer": {
			open:  func(r *Room) error { r.SetTimer("x", 0); return nil },
			timer: func(*Room, string) error { panic(1) },
		},
		"Go": {open: func(r *Room) error {
			return r.Go(func(context.Context) func(*Room) { panic(1) })
		}},
		"after Go": {open: func(r *Room) error {
			return r.Go(func(context.Context) func(*Room) { return func(*Room) { panic(1) } })
		}},
		"Broadcast of what is no data": {join: func(r *Room, _ *Member) error { r.Broadcast("x", func() {}); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t)
			w, _ := b.worker(t, "w1", Config{}, Kind{Name: "bad", TickRate: 100, New: func() Handler { return &s }}, counterKind())
			e := b.edge(t, "e1")
			good := e.open("counter", "a")
			g := e.join(good, "Ann").To
			if key, err := e.tryOpen("bad", "a"); err == nil {
				e.send(key, bus.Command{Op: bus.OpJoin, Session: 9, Ref: 9, User: "Ann"})
				if name == "Leave" {
					e.send(key, bus.Command{Op: bus.OpLeave, Member: 1})
				}
			}
			waitFor(t, "the bad room to be gone", func() bool { return w.room("bad.a") == nil })
			if got := e.call(good, g, 1, "add", nil); got.Code != "" {
				t.Errorf("the other room: code %q", got.Code)
			}
		})
	}
}

func TestCallbacksNeverOverlap(t *testing.T) { // R3
	b := startBus(t)
	var inside, calls atomic.Int32
	enter := func() {
		if inside.Add(1) != 1 {
			t.Error("two callbacks of one room at a time")
		}
		calls.Add(1)
		inside.Add(-1)
	}
	b.worker(t, "w1", Config{Shards: 3}, Kind{Name: "busy", TickRate: 1000, New: func() Handler {
		return &scene{
			tick: func(*Room, time.Duration) error { enter(); return nil },
			receive: func(r *Room, m *Member, msg *Message) error {
				enter()
				err := r.Go(func(context.Context) func(*Room) { return func(*Room) { enter() } })
				if err != nil && bus.CodeOf(err) != bus.Overloaded {
					t.Error(err)
				}
				return nil
			},
		}
	}})
	e1, e2 := b.edge(t, "e1"), b.edge(t, "e2")
	key := e1.open("busy", "a")
	m1, m2 := e1.join(key, "Ann").To, e2.join(key, "Ben").To
	for range 500 {
		e1.send(key, bus.Command{Op: bus.OpSend, Member: m1, Event: []byte("x")})
		e2.send(key, bus.Command{Op: bus.OpSend, Member: m2, Event: []byte("x")})
	}
	e1.drain(key, m1)
	e2.drain(key, m2)
	if calls.Load() < 1000 {
		t.Errorf("%d calls, want at least 1000", calls.Load())
	}
}

func TestRoomThatBlocksDoesNotHoldUpOthers(t *testing.T) {
	b := startBus(t)
	release := make(chan bool)
	const stuck = 8 // more than there are runners at first
	kind := Kind{Name: "stuck", New: func() Handler {
		return &scene{receive: func(*Room, *Member, *Message) error { <-release; return nil }}
	}}
	b.worker(t, "w1", Config{}, kind, counterKind())
	e := b.edge(t, "e1")
	for i := range stuck {
		key := e.open("stuck", string(rune('a'+i)))
		m := e.join(key, "Ann").To
		e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("x")})
	}
	good := e.open("counter", "a")
	g := e.join(good, "Ann").To
	if got := e.call(good, g, 1, "add", nil); got.Code != "" {
		t.Errorf("code %q", got.Code)
	}
	close(release)
}

func TestWhatGoReturnsRunsInTheRoomAndItsContextEndsWithTheRoom(t *testing.T) {
	b := startBus(t)
	ended := make(chan bool, 1)
	_, stop := b.worker(t, "w1", Config{}, Kind{Name: "hall", New: func() Handler {
		return &scene{receive: func(r *Room, m *Member, msg *Message) error {
			if msg.Event == "wait" {
				return r.Go(func(ctx context.Context) func(*Room) {
					<-ctx.Done()
					ended <- true
					return nil
				})
			}
			return r.Go(func(context.Context) func(*Room) {
				return func(r *Room) { r.Broadcast("done", r.Len()) }
			})
		}}
	}})
	e := b.edge(t, "e1")
	key := e.open("hall", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "work", nil)
	if it := e.awaitOp(bus.ItemMessage); string(it.Event) != "done" || unpack[int](t, it.Data) != 1 {
		t.Errorf("broadcast %s %x", it.Event, it.Data)
	}
	for n := range uint64(maxGo) {
		if got := e.call(key, m, n+2, "wait", nil); got.Code != "" {
			t.Fatalf("function %d was refused: %q", n+1, got.Code)
		}
	}
	if got := e.call(key, m, maxGo+2, "wait", nil); got.Code != bus.Overloaded {
		t.Errorf("one function too many: code %q, want %q", got.Code, bus.Overloaded)
	}
	go stop()
	for range maxGo {
		<-ended
	}
	stop()
}

func TestTimersAreCalledOnceInOrderAndCanBeStopped(t *testing.T) {
	b := startBus(t)
	rung := make(chan string, 10)
	b.worker(t, "w1", Config{}, Kind{Name: "clock", New: func() Handler {
		return &scene{
			open: func(r *Room) error {
				r.SetTimer("second", 40*time.Millisecond)
				r.SetTimer("never", 20*time.Millisecond)
				r.SetTimer("first", 20*time.Millisecond)
				r.SetTimer("second", 60*time.Millisecond) // anew
				r.StopTimer("never")
				return nil
			},
			timer: func(r *Room, name string) error {
				if name == "second" {
					r.SetTimer("third", time.Millisecond)
				}
				rung <- name
				return nil
			},
		}
	}})
	b.edge(t, "e1").open("clock", "a")
	for _, want := range []string{"first", "second", "third"} {
		if got := <-rung; got != want {
			t.Errorf("timer %q, want %q", got, want)
		}
	}
}

func TestEmptyRoomLeavesMemoryAndComesBackWithItsState(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	kind.EmptyFor = 20 * time.Millisecond
	w, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "add", nil)
	e.send(key, bus.Command{Op: bus.OpLeave, Member: m})
	waitFor(t, "the empty room to leave", func() bool { return w.Len() == 0 })
	e.send(key, bus.Command{Op: bus.OpJoin, Session: 88, Ref: 88, User: "Ben"})
	e.await("no responders", func(it *bus.Item) bool { return it.Code == "no responders" })
	e.open("counter", "a")
	back := e.join(key, "Ben")
	if back.To != 2 || back.Joined.At.Epoch != e.at[key].first+1 {
		t.Errorf("joined as %d %+v, want member 2 in the next epoch", back.To, back.Joined)
	}
	if got := e.call(key, back.To, 1, "add", nil); unpack[int](t, got.Data) != 2 {
		t.Errorf("count = %x, want 2", got.Data)
	}
}

func TestNoJoinIsLostWhileRoomsComeAndGo(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	kind.EmptyFor = time.Microsecond // gone as soon as it is empty
	kind.Linger = -1
	b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	for i := range uint64(300) {
		key := e.open("counter", "a")
		for joined := false; !joined; {
			e.send(key, bus.Command{Op: bus.OpJoin, Session: 100 + i, Ref: 100 + i, User: "Ann"})
			it := e.await("an answer, or word that nobody is there", func(it *bus.Item) bool {
				return it.Code == "no responders" || it.Op == bus.ItemJoined && it.Ref == 100+i
			})
			if joined = it.Op == bus.ItemJoined; joined {
				e.send(key, bus.Command{Op: bus.OpAway, Member: it.To})
			} else {
				e.open("counter", "a")
			}
		}
	}
}

func TestWorkerEndsInOrderWithManyRooms(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	w, stop := b.worker(t, "w1", Config{Shards: 3}, kind)
	e := b.edge(t, "e1")
	const n = 300
	for i := range n {
		key := e.open("counter", "r"+string(rune('a'+i%26))+strings.Repeat("x", i/26))
		m := e.join(key, "Ann").To
		e.call(key, m, 1, "add", nil)
	}
	if w.Len() != n {
		t.Fatalf("%d rooms, want %d", w.Len(), n)
	}
	stop()
	keys, err := b.store.Keys(t.Context(), "counter", 2*n)
	if err != nil || len(keys) != n {
		t.Fatalf("%d records, %v, want %d", len(keys), err, n)
	}
	for _, key := range keys {
		entry, err := b.store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := parseRecord(entry.Value)
		if err != nil || rec.owner != "" || rec.epoch == 0 {
			t.Fatalf("record of %s = %+v, %v, want it released", key, rec, err)
		}
		h := &counter{}
		r := &Room{kind: &kind, handler: h}
		if err := r.restore(rec.snapshot); err != nil || h.state.Count != 1 || len(r.members) != 1 {
			t.Fatalf("snapshot of %s: count %d, %d members, %v", key, h.state.Count, len(r.members), err)
		}
	}
}

func TestMethodsCalledOutsideCallbacksSaySo(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, counterKind())
	key := b.edge(t, "e1").open("counter", "a")
	r := w.room(key)
	waitFor(t, "the room's first turn to end", func() bool {
		r.box.mu.Lock()
		defer r.box.mu.Unlock()
		return !r.box.queued
	})
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "Broadcast") || !strings.Contains(p, key) {
			t.Errorf("panic = %q, want it to name the method and the room", p)
		}
	}()
	r.Broadcast("x", nil)
}
