package rooms

import (
	"bytes"
	"testing"
	"time"

	"roomd/bus"
)

// versions is what a member was shown under each version of the state.
type versions struct {
	follower
	shown map[uint64][]byte
}

// see takes an item, and fails if its version has named another state before.
func (v *versions) see(t *testing.T, it *bus.Item) {
	t.Helper()
	v.follower.see(t, it)
	if before, ok := v.shown[v.ver]; ok && !bytes.Equal(before, v.state) {
		t.Errorf("version %d is %q and was %q", v.ver, v.state, before)
	}
	v.shown[v.ver] = bytes.Clone(v.state)
}

// The owner dies after it has shown a patch that nothing stored speaks of. The
// next one changes the state before the member is back.
func TestNoVersionNamesTwoStatesOverOwners(t *testing.T) {
	for name, durability := range map[string]Durability{"Commit": Commit, "Interval": Interval(time.Hour), "None": None} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBus(t)
			kind := counterKind()
			kind.Durability, kind.Sync = durability, 50*time.Millisecond // the second patch waits, and has a turn of its own
			w, _ := b.worker(t, "w1", Config{}, kind)
			e := b.edge(t, "e1")
			key := e.open("counter", "a")
			joined := e.join(key, "Ann")
			v := versions{shown: make(map[uint64][]byte)}
			v.see(t, &joined)
			e.awaitOp(bus.ItemPresence) // later it would make an entry
			patched := func() {
				t.Helper()
				e.await("a patch", func(it *bus.Item) bool { v.see(t, it); return it.Op == bus.ItemPatch })
			}
			at := time.Now().Add(300 * time.Millisecond)
			e.call(key, joined.To, 1, "timer", pack(time.Until(at)))
			for n := range uint64(2) {
				e.send(key, bus.Command{Op: bus.OpSend, Member: joined.To, N: n + 2, Event: []byte("add")})
				patched()
			}
			last := v.ver
			if err := b.logs.Seal(t.Context(), w.own.Load().run); err != nil { // logs are not the worker's connection's
				t.Fatal(err)
			}
			b.die(w)
			<-time.After(time.Until(at)) // the timer is due before the next owner begins
			b.worker(t, "w2", Config{}, kind)
			e.open("counter", "a")
			back := e.joinAs(key, bus.Command{
				Session: joined.Session, User: "Ann", Resume: true,
				Since: bus.Position{Epoch: joined.Joined.At.Epoch, Ver: v.ver},
			})
			if !back.Joined.HasState || back.Joined.At.Ver <= last {
				t.Errorf("came back to %+v, want a state above version %d", back.Joined, last)
			}
			v.see(t, &back)
			e.send(key, bus.Command{Op: bus.OpSend, Member: back.To, N: back.Joined.N + 1, Event: []byte("add")})
			patched()
		})
	}
}

// Members that go and come back raise the version, without a change that would
// make an entry if nobody is told of them.
func TestVersionIsNeverFarAheadOfTheLog(t *testing.T) {
	b := startBus(t)
	kind := commitKind()
	kind.Sync = time.Millisecond
	w, _ := b.worker(t, "w1", Config{PresenceEvery: time.Hour}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	joined := e.join(key, "Ann")
	at := joined.Joined.At
	for at.Ver <= leapCommit {
		e.send(key, bus.Command{Op: bus.OpAway, Member: joined.To})
		inRoom(w, key, func(*Room) {}) // the next turn begins without a member
		at = e.joinAs(key, bus.Command{Session: joined.Session, Resume: true, Since: at}).Joined.At
	}
	inRoom(w, key, func(r *Room) {
		if ahead := r.ver - r.trail.ver; ahead > leapCommit/2 {
			t.Errorf("version %d is %d ahead of the log", r.ver, ahead)
		}
	})
}

// The numbers that a client may have used before it heard that something was
// missed for good are never given to other commands, however often the join is
// answered and whoever owns the room then.
func TestNumbersThatWereOnTheirWayAreNotUsedAgain(t *testing.T) {
	b := startBus(t)
	kind := commitKind()
	kind.History = 1
	w, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	joined := e.join(key, "Ann")
	for n := range uint64(3) {
		e.call(key, joined.To, n+1, "cast", pack("x"))
	}
	again := bus.Command{Session: joined.Session, Resume: true, Since: bus.Position{Epoch: 1}, Floor: 100}
	back := func() bus.Joined {
		t.Helper()
		j := e.joinAs(key, again).Joined
		if j.Recovered || j.N != 100 || j.Applied != 3 {
			t.Fatalf("came back to %+v, want 100 above the 3 that were taken in", j)
		}
		return j
	}
	back()
	back()
	compareReplay(t, b, w, key)
	if it := e.call(key, joined.To, 4, "add", nil); it.Code != bus.OutOfOrder {
		t.Errorf("command on its way = %+v, want out_of_order", it)
	}
	b.die(w)
	b.worker(t, "w2", Config{}, kind)
	e.open("counter", "a")
	back()
	if it := e.call(key, joined.To, 101, "add", nil); it.Code != "" || unpack[int](t, it.Data) != 1 {
		t.Errorf("next command = %+v, want it to run", it)
	}
	again.Floor = 0
	if j := e.joinAs(key, again).Joined; j.N != 101 || j.Applied != 101 {
		t.Errorf("afterwards: %+v", j)
	}
}

// A log that is gone is not taken for an empty one: members hear that the room
// went back to its record.
func TestRoomWhoseLogIsGoneSaysThatItWentBack(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	joined := e.join(key, "Ann")
	e.awaitOp(bus.ItemPresence)
	waitFor(t, "the record to have the member", func() (written bool) {
		inRoom(w, key, func(r *Room) { written = r.trail.first == 0 && !r.saving })
		return written
	})
	e.call(key, joined.To, 1, "add", nil)
	run := w.own.Load().run
	b.die(w)
	if err := b.logs.Delete(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	b.worker(t, "w2", Config{}, commitKind())
	e.open("counter", "a")
	back := e.joinAs(key, bus.Command{
		Session: joined.Session, User: "Ann", Resume: true, Since: bus.Position{Epoch: 1, Seq: 1},
	})
	if j := back.Joined; !j.Resumed || j.Recovered {
		t.Errorf("came back to %+v, want the seat and recovered false", j)
	}
}

// An owner dies between a change of who is there and telling it.
func TestWhoCameAndWentIsToldByTheNextOwner(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{PresenceEvery: time.Hour}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	ann := e.join(key, "Ann")
	gone := e.join(key, "Ben").To
	inRoom(w, key, func(r *Room) { r.tellPresence() }) // Ann knows of Ben
	e.awaitOp(bus.ItemPresence)
	came := e.join(key, "Cyd").To
	e.send(key, bus.Command{Op: bus.OpLeave, Member: gone, Ref: 1})
	e.awaitOp(bus.ItemLeft)
	b.die(w)
	b.worker(t, "w2", Config{}, commitKind())
	e.open("counter", "a")
	e.joinAs(key, bus.Command{
		Session: ann.Session, User: "Ann", Resume: true, Since: bus.Position{Epoch: ann.Joined.At.Epoch, Seq: 1},
	})
	told := e.awaitOp(bus.ItemPresence).Presence
	if len(told.Left) != 1 || told.Left[0] != gone || len(told.Joined) != 1 || told.Joined[0].Member != came {
		t.Errorf("told %+v, want that %d left and %d joined", told, gone, came)
	}
}
