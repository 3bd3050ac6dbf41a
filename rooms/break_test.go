package rooms

import (
	"context"
	"strings"
	"testing"
	"time"

	"roomd/bus"
)

// This file is about rooms and workers that end at a bad moment.

func count(w *Worker, key string) (n int) {
	inRoom(w, key, func(r *Room) {
		switch h := r.handler.(type) {
		case *counter:
			n = h.state.Count
		case *fragile:
			n = h.state.Count
		}
	})
	return n
}

// A fragile handler is a counter whose code panics where it is told to.
type fragile struct {
	counter
	leave bool // in Leave
	fuse  int  // when State has been called that often; 0: never
}

func (f *fragile) Leave(*Room, *Member, Reason) {
	if f.leave {
		panic("as asked")
	}
}

func (f *fragile) State() any {
	if f.fuse--; f.fuse == 0 {
		panic("as asked")
	}
	return &f.counter.state
}

func TestTurnThatPanickedIsNotShown(t *testing.T) { // R5
	for name, end := range map[string]string{"in a command": "panic", "while the room closes": "close"} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t)
			kind := commitKind()
			kind.New = func() Handler { return &fragile{leave: true} }
			w, _ := b.worker(t, "w1", Config{}, kind)
			e := b.edge(t, "e1")
			key := e.open("counter", "a")
			m := e.join(key, "Ann").To
			e.call(key, m, 1, "add", nil)
			e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 2, Event: []byte("add")},
				bus.Command{Op: bus.OpSend, Member: m, Event: []byte("cast"), Data: pack("lost")},
				bus.Command{Op: bus.OpSend, Member: m, N: 3, Event: []byte(end)})
			closed := e.await("the end", func(it *bus.Item) bool {
				if it.Op == bus.ItemReply || it.Op == bus.ItemMessage {
					t.Errorf("the turn that panicked has said %+v", it)
				}
				return it.Op == bus.ItemClosed
			})
			if closed.Code != bus.Internal {
				t.Errorf("closed with %q", closed.Code)
			}
			e.open("counter", "a")
			if got := count(w, key); got != 1 {
				t.Errorf("count is %d, want 1: what was answered", got)
			}
		})
	}
}

func TestEntryOfATurnThatPanicsAfterwardsIsNotAppended(t *testing.T) {
	b := startBus(t)
	kind := commitKind()
	kind.New = func() Handler { return &fragile{} }
	w, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	e.call(key, e.join(key, "Ann").To, 1, "add", nil)
	inRoom(w, key, func(r *Room) {
		f := r.handler.(*fragile)
		f.counter.state.Count++
		f.fuse = 2 // the first is for the entry, the second for the record
		r.trail.bytes = 1 << 30
		r.ran()
	})
	e.awaitOp(bus.ItemClosed)
	e.open("counter", "a")
	if got := count(w, key); got != 1 {
		t.Errorf("count is %d, want 1", got)
	}
}

func TestRoomWhoseLastRecordCannotBeMadeIsGivenUp(t *testing.T) {
	b := startBus(t)
	kind := Kind{Name: "bad", Durability: Interval(time.Hour), New: func() Handler {
		h, state := &scene{}, &struct{ V any }{}
		h.state = state
		h.receive = func(*Room, *Member, *Message) error {
			state.V = make(chan int) // can't be encoded
			return nil
		}
		return h
	}}
	_, stop := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("bad", "a")
	e.call(key, e.join(key, "Ann").To, 1, "x", nil)
	stop() // and does not wait for it for ever
	if it := e.awaitOp(bus.ItemClosed); it.Code != bus.Internal {
		t.Errorf("closed with %q", it.Code)
	}
}

func TestWorkerEndsThoughItsLogCannotBeWritten(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	server := startNATS(t, dir, addr)
	b := busAt(t, addr)
	w, stop := b.worker(t, "w1", Config{Drain: time.Millisecond}, commitKind())
	<-w.Ready()
	server.Close()
	w.doubt("test") // something waits for the log
	stop()          // and does not wait for NATS
}

func TestEntryUnderWayWhenTheLastRecordFailsIsKeptInTheLog(t *testing.T) { // R5
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	e.join(key, "Ann")
	slow, err := b.logs.Begin(t.Context(), runName("slow")) // and nobody writes it yet
	if err != nil {
		t.Fatal(err)
	}
	own, r := w.own.Load(), w.room(key)
	w.own.Store(nil) // or the room would be brought back
	defer w.own.Store(own)
	inRoom(w, key, func(r *Room) {
		r.own = &ownership{slow.Name(), slow, 0}
		r.trail.tail.Store(0)
		r.handler.(*counter).state.Count++
		r.ran()
	})
	ended, end := context.WithCancel(t.Context())
	end()
	w.keeper.finish(ended, job{room: r, value: []byte("x"), final: true})
	slow.Close()
	if err := slow.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the room to be gone", func() bool { return w.room(key) == nil })
	if p := w.pinOf(key); p.own != r.own || p.tail != 1 {
		t.Errorf("pin %+v, want one at the entry", p)
	}
}

func TestLogIsNotCutBehindRoomsThatAreGoneAndWhoseRecordsLackIt(t *testing.T) { // R5
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	inRoom(w, key, func(r *Room) { r.saving = true }) // no record
	m := e.join(key, "Ann").To
	for n := range uint64(3) {
		e.call(key, m, n+1, "add", nil)
	}
	own, r := w.own.Load(), w.room(key)
	entries := func() int {
		found, err := w.readLog(t.Context(), own.run, key)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	gone := make(chan struct{}) // and nobody may bring it back
	w.mu.Lock()
	delete(w.rooms, key)
	w.moving[key] = gone
	p := pin{own, r.trail.tail.Load()}
	w.pins[key] = p
	w.mu.Unlock()
	want := entries()
	if err := w.cutLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := entries(); got != want {
		t.Errorf("after the cut the log has %d entries of a room that is only there, want %d", got, want)
	}
	w.unpin(key, p)
	if err := w.cutLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := entries(); got >= want {
		t.Errorf("when nobody needs them the log has still %d of %d entries", got, want)
	}
	w.mu.Lock()
	w.rooms[key] = r
	w.mu.Unlock()
	inRoom(w, key, func(r *Room) { r.saving = false })
	w.settled(key)
}

func TestWhatOnlyTheLogHasOfARoomThatIsGoneReachesAnotherWorker(t *testing.T) { // R5
	for name, ends := range map[string]bool{"from one that lives": false, "from one that has ended": true} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t)
			w1, stop := b.worker(t, "w1", Config{}, commitKind())
			e := b.edge(t, "e1")
			key := e.open("counter", "a")
			m := e.join(key, "Ann").To
			e.call(key, m, 1, "add", nil)
			w1.draining.Store(true) // it opens nothing any more
			e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 2, Event: []byte("panic")})
			e.awaitOp(bus.ItemClosed)
			waitFor(t, "the room to be gone", func() bool { return w1.room(key) == nil })
			if ends {
				stop()
			}
			w2, _ := b.worker(t, "w2", Config{}, commitKind())
			<-w2.Ready()
			if err := w2.open(t.Context(), w2.kinds["counter"], "a"); err != nil {
				t.Fatal(err)
			}
			if got := count(w2, key); got != 1 {
				t.Errorf("count is %d, want 1: what was answered", got)
			}
			if !ends && w2.tails.has(w1.own.Load().run) {
				t.Error("the log was sealed though its worker lives")
			}
		})
	}
}

func TestPinMadeSinceARoomWasOpenedStays(t *testing.T) {
	w := &Worker{pins: map[string]pin{"counter.a": {tail: 3}}}
	before := w.pinOf("counter.a")
	w.pins["counter.a"] = pin{tail: 7}
	if w.unpin("counter.a", before); w.pinOf("counter.a").tail != 7 {
		t.Error("a later pin went with an earlier one")
	}
	if w.unpin("counter.a", pin{tail: 7}); len(w.pins) != 0 {
		t.Error("the pin is still there")
	}
}

func TestRoomBegunAnewHasNothingOfTheOneBeforeAfterATakeover(t *testing.T) {
	b := startBus(t)
	w1, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	for n := range uint64(5) {
		e.call(key, m, n+1, "add", nil)
	}
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("close")})
	e.awaitOp(bus.ItemClosed)
	e.open("counter", "a")
	m = e.join(key, "Ann").To
	for n := range uint64(2) {
		e.call(key, m, n+1, "add", nil)
	}
	b.die(w1)
	w2, _ := b.worker(t, "w2", Config{}, commitKind())
	e.open("counter", "a")
	if got := count(w2, key); got != 2 {
		t.Errorf("count is %d, want 2", got)
	}
}

func TestTurnInWhichARoomHearsOfItsNextOwnerIsNotShown(t *testing.T) { // R1
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	own := w.own.Load()
	w.own.Store(nil) // or the room would be brought back
	defer w.own.Store(own)
	inRoom(w, key, func(r *Room) {
		r.Broadcast("cast", "too late")
		r.Member(m).Send("told", "too late")
		r.fenced("test")
	})
	waitFor(t, "the room to be gone", func() bool { return w.room(key) == nil })
	e.send(key)
	e.await("no responders", func(it *bus.Item) bool {
		if it.Op == bus.ItemMessage || it.Op == bus.ItemPrivate {
			t.Errorf("the old owner said %+v", it)
		}
		return it.Code == "no responders"
	})
}

func TestRoomThatWasBeingOpenedAsItsWorkerWasReplacedIsNotHere(t *testing.T) { // R1
	b := startBus(t)
	var w *Worker
	var seal bool
	kind := counterKind()
	kind.New = func() Handler {
		if seal { // the room is claimed and not yet in memory
			w.own.Store(nil)
		}
		return &counter{}
	}
	w, _ = b.worker(t, "w1", Config{}, kind)
	<-w.Ready()
	own := w.own.Load()
	seal = true
	err := w.open(t.Context(), w.kinds["counter"], "a")
	w.own.Store(own)
	if bus.CodeOf(err) != bus.Unavailable || w.room("counter.a") != nil {
		t.Errorf("open = %v, and the room is here: %v", err, w.room("counter.a") != nil)
	}
}

// A survey that finds a log whose run says nothing takes the run for dead.
func TestRunAnswersBeforeItHasALog(t *testing.T) {
	b := startBus(t)
	e := b.edge(t, "e1")
	begun := make(chan *bus.Msg, 16)
	if _, err := e.conn.Subscribe("$JS.API.STREAM.CREATE.*", "", begun); err != nil {
		t.Fatal(err)
	}
	if err := e.conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.worker(t, "w1", Config{}, counterKind())
	_, run, _ := strings.Cut((<-begun).Subject, "_log_")
	if _, err := e.conn.Request(t.Context(), e.conn.Subjects().Worker(run, "ping"), bus.AppendString(nil, "")); err != nil {
		t.Errorf("run %q is asked as its log is made: %v", run, err)
	}
}

func TestClosedRoomStaysClosedThoughItsWorkerDiesBeforeItsRecordSaysSo(t *testing.T) { // R5
	b := startBus(t)
	w1, _ := b.worker(t, "w1", Config{Drain: time.Millisecond}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "add", nil)
	r := w1.room(key)
	inRoom(w1, key, func(r *Room) { r.saving = true }) // the last record waits for that
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("close")})
	e.awaitOp(bus.ItemClosed)
	b.die(w1)
	w2, _ := b.worker(t, "w2", Config{}, commitKind())
	e.open("counter", "a")
	if got, size := count(w2, key), w2.room(key).size.Load(); got != 0 || size != 0 {
		t.Errorf("a closed room is back with count %d and %d members", got, size)
	}
	w1.post(r, func(r *Room) { r.wrote(r.revision, nil) })
}

func TestLogIsKeptFromTheFirstEntryThatNoRecordHas(t *testing.T) {
	w := &Worker{queue: newRunQueue(0, nil)}
	w.queue.close()
	r := &Room{worker: w, trail: &trail{}}
	l := r.trail
	entry := func(pos uint64) {
		l.number++
		r.acked(pos, nil)
	}
	want := func(when string, tail uint64) {
		t.Helper()
		if got := l.tail.Load(); got != tail {
			t.Errorf("%s the tail is %d, want %d", when, got, tail)
		}
	}
	entry(5)
	entry(6)
	want("before any record", 5)
	l.recordBegun(1)
	entry(7)
	entry(8)
	want("while the record is written", 5)
	l.recordFailed(1)
	want("when it failed", 5)
	l.recordBegun(1)
	entry(9)
	l.recordWritten()
	want("when it is written and an entry came meanwhile", 9)
	l.recordBegun(1)
	l.recordWritten()
	want("when the record has all", 0)
}
