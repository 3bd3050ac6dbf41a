package rooms

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"roomd/bus"
	"roomd/rooms/patch"
)

// board is a state that commands change at random.
type board struct {
	state struct {
		Cells map[int]int    `msgpack:"cells"`
		Names map[string]any `msgpack:"names"`
		Moves []int          `msgpack:"moves"`
	}
}

func newBoard() Handler {
	b := &board{}
	b.state.Cells, b.state.Names = make(map[int]int), make(map[string]any)
	return b
}

func (b *board) State() any                      { return &b.state }
func (b *board) Join(*Room, *Member) error       { return nil }
func (b *board) Leave(*Room, *Member, Reason)    {}
func (b *board) Tick(*Room, time.Duration) error { return nil }
func (b *board) Receive(r *Room, m *Member, msg *Message) error {
	if msg.Event != "move" {
		return Errorf(bus.UnknownEvent, "")
	}
	return On(msg, func(seed uint64) error {
		rnd := rand.New(rand.NewPCG(seed, 1))
		b.state.Cells[rnd.IntN(20)] += rnd.IntN(1000) - 500
		delete(b.state.Cells, rnd.IntN(20))
		b.state.Names[fmt.Sprint(rnd.IntN(5))] = []any{"x", rnd.IntN(3), nil, 1.5}
		b.state.Moves = append(b.state.Moves, rnd.IntN(9))
		if len(b.state.Moves) > 10 {
			b.state.Moves = b.state.Moves[rnd.IntN(4):]
		}
		return nil
	})
}

// A follower keeps the state as a client does.
type follower struct {
	state []byte
	ver   uint64
}

func (f *follower) see(t *testing.T, it *bus.Item) {
	t.Helper()
	switch it.Op {
	case bus.ItemJoined:
		f.state, f.ver = bytes.Clone(it.Data), it.Joined.At.Ver
	case bus.ItemState:
		f.state, f.ver = bytes.Clone(it.Data), it.Ver
	case bus.ItemPatch:
		if it.Ver != f.ver+1 {
			t.Fatalf("patch %d for a client at %d", it.Ver, f.ver)
		}
		var err error
		if f.state, err = patch.Apply(nil, f.state, it.Data); err != nil {
			t.Fatal(err)
		}
		f.ver++
	}
}

func TestPatchesConvergeForEarlyAndLateMembers(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, Kind{Name: "board", New: newBoard, Sync: time.Millisecond, TickRate: 200})
	e1, e2 := b.edge(t, "e1"), b.edge(t, "e2")
	key := e1.open("board", "a")
	var early, late follower
	joined := e1.join(key, "Ann")
	early.see(t, &joined)
	var m2 uint32
	for i := range 300 {
		e1.send(key, bus.Command{Op: bus.OpSend, Member: joined.To, Event: []byte("move"), Data: pack(i)})
		if i == 150 {
			second := e2.join(key, "Ben")
			late.see(t, &second)
			m2 = second.To
		}
		if i == 250 {
			e2.send(key, bus.Command{Op: bus.OpState, Member: m2})
		}
	}
	for _, it := range e1.drain(key, joined.To) {
		early.see(t, &it)
	}
	truth := make(chan []byte, 1)
	w.post(w.room(key), func(r *Room) { truth <- bytes.Clone(r.canonicalState()) })
	want := <-truth
	for name, f := range map[string]struct {
		e *testEdge
		*follower
	}{"early": {e1, &early}, "late": {e2, &late}} {
		if bytes.Equal(f.state, want) {
			continue
		}
		f.e.await(name+" member to have the state", func(it *bus.Item) bool {
			f.see(t, it)
			return bytes.Equal(f.state, want)
		})
	}
}

func TestStateIsSentAtMostOncePerSync(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, Kind{Name: "board", New: newBoard, Sync: time.Hour})
	e := b.edge(t, "e1")
	key := e.open("board", "a")
	m := e.join(key, "Ann").To
	for i := range 50 {
		e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("move"), Data: pack(i)})
		e.drain(key, m)
	}
	if r := e.at[key]; r.ver > 2 { // 1: what the first member was given
		t.Errorf("state is at version %d after many changes within one interval, want 2 at most", r.ver)
	}
	e.send(key, bus.Command{Op: bus.OpState, Member: m})
	if it := e.awaitOp(bus.ItemState); it.To != m || it.Ver != e.at[key].ver || len(it.Data) == 0 {
		t.Errorf("whole state = %+v", it)
	}
}

func TestNobodyListeningNoPatchIsMade(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, Kind{Name: "board", New: newBoard, Sync: time.Millisecond, TickRate: 100})
	e := b.edge(t, "e1")
	key := e.open("board", "a")
	m := e.joinAs(key, bus.Command{Session: 1000, User: "Ann"})
	e.send(key, bus.Command{Op: bus.OpAway, Member: m.To})
	room := w.room(key)
	waitFor(t, "the room to let its copy of the state go", func() bool {
		idle := make(chan bool)
		w.post(room, func(r *Room) { idle <- r.canon == nil && r.present == 0 })
		return <-idle
	})
	back := e.joinAs(key, bus.Command{Session: 1000, User: "Ann"})
	if back.Joined.At.Ver <= m.Joined.At.Ver || !back.Joined.HasState {
		t.Errorf("came back to %+v, want the state under a new version", back.Joined)
	}
}

func TestTickerGetsTheTimeThatPassedAndStopsWithoutMembers(t *testing.T) {
	b := startBus(t)
	ticks := make(chan time.Duration, 1000)
	w, _ := b.worker(t, "w1", Config{}, Kind{Name: "game", Linger: -1, TickRate: 100, New: func() Handler {
		return &scene{tick: func(r *Room, dt time.Duration) error {
			ticks <- dt
			return errors.New("is only logged")
		}}
	}})
	e := b.edge(t, "e1")
	key := e.open("game", "a")
	start := time.Now()
	m := e.join(key, "Ann").To
	var sum time.Duration
	for range 20 {
		dt := <-ticks
		if dt < 0 || dt > time.Second {
			t.Errorf("dt = %v", dt)
		}
		sum += dt
	}
	if passed := time.Since(start); sum > passed {
		t.Errorf("20 ticks say that %v passed, it was %v", sum, passed)
	}
	e.send(key, bus.Command{Op: bus.OpLeave, Member: m})
	e.awaitOp(bus.ItemLeft)
	stopped := make(chan int64)
	w.post(w.room(key), func(r *Room) {}) // a turn after the one in which the last member left
	w.post(w.room(key), func(r *Room) { stopped <- r.due[dueTick] })
	if at := <-stopped; at != 0 {
		t.Errorf("an empty room is due to tick at %d", at)
	}
}

func TestStateThatCannotBeEncodedClosesTheRoomOnly(t *testing.T) {
	b := startBus(t)
	fine := counterKind()
	bad := Kind{Name: "bad", Sync: time.Millisecond, New: func() Handler {
		s := &struct {
			X any `msgpack:"x"`
		}{}
		return &scene{state: s, receive: func(r *Room, m *Member, msg *Message) error {
			s.X = func() {}
			return nil
		}}
	}}
	b.worker(t, "w1", Config{}, fine, bad)
	e := b.edge(t, "e1")
	good, key := e.open("counter", "a"), e.open("bad", "a")
	m, g := e.join(key, "Ann").To, e.join(good, "Ann").To
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 1, Event: []byte("spoil")})
	if it := e.awaitOp(bus.ItemClosed); it.Code != bus.Internal {
		t.Errorf("closed with %q, want %q", it.Code, bus.Internal)
	}
	if got := e.call(good, g, 1, "add", nil); got.Code != "" {
		t.Errorf("another room: code %q", got.Code)
	}
}

func TestLargeOutputIsCutIntoEnvelopesThatFollowEachOther(t *testing.T) {
	b := startBus(t)
	big := make([]byte, 10_000)
	b.worker(t, "w1", Config{}, Kind{Name: "loud", New: func() Handler {
		return &scene{receive: func(r *Room, m *Member, msg *Message) error {
			for range 40 {
				r.Broadcast("big", Raw(pack(big)))
				m.Send("own", Raw(pack(big)))
			}
			return nil
		}}
	}})
	e1, e2 := b.edge(t, "e1"), b.edge(t, "e2")
	key := e1.open("loud", "a")
	m := e1.join(key, "Ann").To
	e2.join(key, "Ben")
	e1.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 1, Event: []byte("go")})
	got := make(map[bus.ItemOp]int)
	e1.await("reply", func(it *bus.Item) bool {
		got[it.Op]++
		return it.Op == bus.ItemReply
	})
	delete(got, bus.ItemPresence)
	if want := map[bus.ItemOp]int{bus.ItemMessage: 40, bus.ItemPrivate: 40, bus.ItemReply: 1}; !maps.Equal(got, want) {
		t.Errorf("sender got %v, want %v", got, want)
	}
	for range 40 {
		e2.awaitOp(bus.ItemMessage)
	}
}
