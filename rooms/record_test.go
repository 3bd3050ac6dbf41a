package rooms

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/bus"
)

func TestRestartKeepsStateMembersTimersRepliesAndRaisesTheEpoch(t *testing.T) {
	b := startBus(t)
	rung := make(chan string, 1)
	kind := Kind{Name: "counter", New: func() Handler { return &counter{timers: rung} }}
	_, stop := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	joined := e.joinAs(key, bus.Command{Session: 4000, User: "Ann"})
	m := joined.To
	e.call(key, m, 1, "add", nil)
	second := e.call(key, m, 2, "add", nil)
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("meta"), Data: pack(map[string]any{"topic": "x"})})
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("timer"), Data: pack(300 * time.Millisecond)})
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("cast"), Data: pack(1)})
	e.awaitOp(bus.ItemMessage)
	stop()
	had := bus.Position{Epoch: e.at[key].first, Seq: e.at[key].seq}
	if len(rung) > 0 {
		t.Fatal("the timer went off before the restart; the machine is too slow for this test")
	}

	w2, _ := b.worker(t, "w1", Config{}, kind)
	e.open("counter", "a")
	back := e.joinAs(key, bus.Command{Session: 4000, User: "Ann", Resume: true, Since: had})
	j := back.Joined
	if back.To != m || !j.Resumed || j.At.Epoch != e.at[key].first+1 || j.N != 2 {
		t.Errorf("after the restart: member %d %+v, want the old seat in the next epoch with n 2", back.To, j)
	}
	if !j.Recovered {
		t.Errorf("after a restart in order nothing is missing, but joined says %+v", j)
	}
	if again := e.call(key, m, 2, "add", nil); !bytes.Equal(again.Data, second.Data) || again.Code != "" {
		t.Errorf("retry across the restart: %x %q, want the first reply %x", again.Data, again.Code, second.Data)
	}
	if got := e.call(key, m, 3, "add", nil); unpack[int](t, got.Data) != 3 {
		t.Errorf("count = %x, want 3", got.Data)
	}
	select {
	case name := <-rung:
		if name != "bell" {
			t.Errorf("timer %q went off, want bell", name)
		}
	case <-time.After(patience):
		t.Error("the timer did not survive")
	}
	if meta := metaMap(w2.room(key).metaBytes()); meta["topic"] != "x" {
		t.Errorf("meta = %v", meta)
	}
}

func TestMemberWhoDoesNotComeBackAfterARestartIsLost(t *testing.T) {
	b := startBus(t)
	lost := make(chan string, 1)
	kind := Kind{Name: "hall", Linger: 50 * time.Millisecond, New: func() Handler {
		return &scene{leave: func(r *Room, m *Member, why Reason) { lost <- m.User() + " " + why.String() }}
	}}
	_, stop := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	e.join(e.open("hall", "a"), "Ann")
	stop()
	if len(lost) > 0 {
		t.Errorf("the end of the worker made %q", <-lost)
	}
	b.worker(t, "w1", Config{}, kind)
	e.open("hall", "a")
	if got := <-lost; got != "Ann lost" {
		t.Errorf("left: %q", got)
	}
}

func TestRoomThatLostItsWorkerGoesBackToTheLastSnapshot(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	kind.Durability = Interval(time.Millisecond)
	w1, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.joinAs(key, bus.Command{Session: 4000, User: "Ann"}).To
	e.call(key, m, 1, "add", nil)
	waitFor(t, "the snapshot", func() bool {
		entry, err := b.store.Get(t.Context(), key)
		rec, perr := parseRecord(entry.Value)
		if err != nil || perr != nil || len(rec.snapshot) == 0 {
			return false
		}
		r := &Room{kind: w1.kinds["counter"], handler: &counter{}}
		return r.restore(rec.snapshot) == nil && len(r.members) == 1 && r.members[0].last == 1
	})
	b.cut[w1]()
	w2, _ := b.worker(t, "w2", Config{}, kind)
	e.open("counter", "a")
	back := e.joinAs(key, bus.Command{Session: 4000, User: "Ann", Resume: true, Since: bus.Position{Epoch: e.at[key].first}})
	if back.To != m || back.Joined.At.Epoch != e.at[key].first+1 || back.Joined.Recovered {
		t.Errorf("after the loss of the worker: %d %+v, want the seat in the next epoch and nothing recovered", back.To, back.Joined)
	}
	if got := e.call(key, m, 2, "add", nil); unpack[int](t, got.Data) != 2 {
		t.Errorf("count = %x, want 2", got.Data)
	}
	if w2.Len() != 1 {
		t.Errorf("%d rooms at the second worker", w2.Len())
	}
}

func TestOwnerThatWasReplacedWritesAndShowsNothing(t *testing.T) { // R1
	b := startBus(t)
	kind := counterKind()
	kind.Durability = Interval(time.Millisecond)
	var log lockedBuffer
	w, _ := b.worker(t, "w1", Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	// Another worker takes over while this one is paused.
	var taken []byte
	waitFor(t, "the other worker's write", func() bool {
		entry, err := b.store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := parseRecord(entry.Value)
		if err != nil {
			t.Fatal(err)
		}
		rec.epoch, rec.owner = rec.epoch+1, "w2-0"
		taken = rec.append(nil)
		_, err = b.store.Update(t.Context(), key, taken, rec.owner, entry.Revision)
		return err == nil
	})
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 1, Event: []byte("add")}) // makes the room dirty
	waitFor(t, "the old owner to stop", func() bool { return w.Len() == 0 })
	entry, err := b.store.Get(t.Context(), key)
	if err != nil || !bytes.Equal(entry.Value, taken) {
		t.Errorf("the record was changed by the old owner: %x, %v", entry.Value, err)
	}
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 2, Event: []byte("add")})
	e.await("no responders", func(it *bus.Item) bool {
		if it.Op == bus.ItemReply && it.N == 2 {
			t.Error("the old owner answered")
		}
		return it.Code == "no responders"
	})
	if !strings.Contains(log.String(), "another worker owns it") {
		t.Errorf("the log does not say so: %s", log.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestWriteWhoseAnswerWasLostIsNoRival(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	r := w.room(key)
	entry, err := b.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	mine := record{epoch: r.epoch, owner: w.own.Load().run}
	landed, err := b.store.Update(t.Context(), key, mine.append(nil), mine.owner, entry.Revision) // and nobody heard of it
	if err != nil {
		t.Fatal(err)
	}
	mine.snapshot = []byte("newer")
	revision, err := w.keeper.write(t.Context(), job{room: r, value: mine.append(nil), revision: entry.Revision})
	if err != nil || revision <= landed {
		t.Errorf("write = %d, %v, want success after %d", revision, err, landed)
	}
	if again, err := w.keeper.write(t.Context(), job{room: r, value: mine.append(nil), revision: landed}); err != nil || again != revision {
		t.Errorf("the same write again = %d, %v, want %d: it was done", again, err, revision)
	}
	mine.epoch++
	if _, err := b.store.Update(t.Context(), key, mine.append(nil), mine.owner, revision); err != nil {
		t.Fatal(err)
	}
	if _, err := w.keeper.write(t.Context(), job{room: r, value: []byte("x"), revision: revision}); !errors.Is(err, errFenced) {
		t.Errorf("write under a later epoch = %v, want errFenced", err)
	}
}

func TestTwoWorkersNeverBothOwnARoom(t *testing.T) { // R1
	b := startBus(t)
	kind := counterKind()
	w1, _ := b.worker(t, "w1", Config{}, kind)
	w2, _ := b.worker(t, "w2", Config{}, kind)
	e := b.edge(t, "e1")
	e.open("counter", "first")
	for i := range 50 {
		id := fmt.Sprint("r", i)
		var openers sync.WaitGroup
		for _, w := range []*Worker{w1, w2, w1, w2} {
			openers.Go(func() {
				if err := w.open(t.Context(), w.kinds["counter"], id); err != nil {
					t.Error(err)
				}
			})
		}
		openers.Wait()
		key := "counter." + id
		if (w1.room(key) != nil) == (w2.room(key) != nil) {
			t.Fatalf("room %s: at w1 %v, at w2 %v, want exactly one", key, w1.room(key) != nil, w2.room(key) != nil)
		}
	}
}

func TestSilentOwnerIsNotTakenForDeadWhileItsNodeIsAlive(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	e.open("counter", "first")
	s := e.conn.Subjects()
	b.node(t, "busy")
	waitFor(t, "the node to be heard", func() bool { return w.nodes.Alive("busy") })
	busy, hung, dead := runName("busy"), runName("hung"), runName("dead")
	for _, run := range []string{busy, hung} {
		if _, err := e.conn.Subscribe(s.Worker(run, "ping"), "", make(chan *bus.Msg, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[string]string{busy: bus.Unavailable, hung: "", dead: ""} {
		rec := record{epoch: 3, owner: owner}
		id := owner
		if _, err := b.store.Create(t.Context(), "counter."+id, rec.append(nil), owner); err != nil {
			t.Fatal(err)
		}
		_, err := e.conn.Request(t.Context(), s.Open("counter"), bus.AppendString(bus.AppendString(nil, "counter"), id))
		code := ""
		if err != nil {
			code = bus.CodeOf(err)
		}
		if code != want && !(want == bus.Unavailable && code == bus.Timeout) {
			t.Errorf("open of a room of %s: %v, want code %q", owner, err, want)
		}
		if has := w.room("counter."+id) != nil; has != (want == "") {
			t.Errorf("room of %s is here: %v", owner, has)
		}
	}
	if r := w.room("counter." + dead); r.epoch != 4 {
		t.Errorf("epoch %d after one of 3", r.epoch)
	}
}

func TestClosedRoomBeginsAnewWithAHigherEpoch(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "add", nil)
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 2, Event: []byte("close")})
	e.reply(m, 2)
	if it := e.awaitOp(bus.ItemClosed); it.Code != bus.Closed {
		t.Errorf("closed with %q", it.Code)
	}
	waitFor(t, "the room to be gone", func() bool { return w.Len() == 0 })
	if keys, err := b.store.Keys(t.Context(), "counter", 10); err != nil || len(keys) != 0 {
		t.Errorf("a closed room is listed: %q, %v", keys, err)
	}
	e.open("counter", "a")
	anew := e.join(key, "Ann")
	if anew.Joined.At.Epoch != e.at[key].first+1 || anew.To != 1 || anew.Joined.Size != 1 {
		t.Errorf("joined the new room as %d %+v, want member 1 of the next epoch", anew.To, anew.Joined)
	}
	if got := e.call(key, anew.To, 1, "add", nil); unpack[int](t, got.Data) != 1 {
		t.Errorf("count = %x, want 1", got.Data)
	}
}

func TestDurabilityNoneKeepsNothingButTheEpoch(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	kind.Durability = None
	_, stop := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "add", nil)
	stop()
	b.worker(t, "w1", Config{}, kind)
	e.open("counter", "a")
	anew := e.join(key, "Ben")
	if anew.Joined.At.Epoch != e.at[key].first+1 || anew.Joined.Size != 1 || anew.To != 1 {
		t.Errorf("joined as %d %+v, want an empty room in the next epoch", anew.To, anew.Joined)
	}
}

func FuzzRecord(f *testing.F) {
	rec := record{epoch: 7, owner: "w1-0", snapshot: []byte{1, 2, 3}}
	f.Add(rec.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := parseRecord(b)
		if err != nil {
			return
		}
		if again, err := parseRecord(rec.append(nil)); err != nil || again.epoch != rec.epoch || again.owner != rec.owner ||
			again.closed != rec.closed || !bytes.Equal(again.snapshot, rec.snapshot) {
			t.Errorf("record %+v came back as %+v, %v", rec, again, err)
		}
		k, err := counterKind().check()
		if err != nil {
			t.Fatal(err)
		}
		r := &Room{kind: &k, handler: k.New(), worker: &Worker{}}
		_ = r.restore(rec.snapshot) // must not panic, whatever is in there
	})
}

// FuzzEntry replays whatever a log may hold.
func FuzzEntry(f *testing.F) {
	k, err := commitKind().check()
	if err != nil {
		f.Fatal(err)
	}
	r := &Room{kind: &k, handler: k.New(), worker: &Worker{}, key: "counter.a", epoch: 1, lineage: 1, trail: &trail{}, turn: newTurn()}
	m := &Member{room: r, id: 1, session: 9, user: "Ann", at: away}
	r.enter(m)
	r.mark(m)
	m.keepReply(1, []byte{byte(bus.ItemReply), 1, 2, 3})
	it := bus.Item{Op: bus.ItemMessage, Event: []byte("cast"), Data: []byte{1}}
	r.seq = 1
	r.remember(1, it.Append(nil))
	r.trail.touched = true
	r.makeEntry()
	f.Add(r.trail.entry)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEntry(b)
		if err != nil {
			return
		}
		again := e
		again.number++
		if e.number = 1; again.number != 2 {
			again.number = 2
		}
		_, _, _ = replay(&k, nil, []entryHead{e, again}) // must not panic, whatever is in there
	})
}
