package rooms

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/bus"
)

func commitKind() Kind {
	k := counterKind()
	k.Durability = Commit
	return k
}

// die ends a worker's connection, as if its process was gone.
func (b *testBus) die(w *Worker) { b.cut[w]() }

func TestWhatWasShownSurvivesTheWorker(t *testing.T) { // R5, R6
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	session := e.session()
	joined := e.joinAs(key, bus.Command{Session: session, User: "Ann"})
	other := e.join(key, "Ben")
	for n := range uint64(5) {
		e.call(key, joined.To, n+1, "add", nil)
	}
	before := e.call(key, joined.To, 6, "cast", pack("hello"))
	e.call(key, other.To, 1, "tell", pack(joined.To))
	e.call(key, other.To, 2, "meta", pack(map[string]any{"topic": "x"}))
	at := *e.at[key]
	b.die(w)

	w2, _ := b.worker(t, "w2", Config{}, commitKind())
	e.open("counter", "a")
	back := e.joinAs(key, bus.Command{
		Session: session, User: "Ann", Resume: true,
		Since: bus.Position{Epoch: at.epoch, Seq: joined.Joined.At.Seq, Ver: at.ver},
	})
	j := back.Joined
	if !j.Resumed || !j.Recovered || back.To != joined.To || j.N != 6 || j.At.Epoch != at.epoch+1 || j.Size != 2 {
		t.Fatalf("came back as %d %+v, want member %d with everything", back.To, j, joined.To)
	}
	replayed := 0
	e.await("the broadcast again", func(it *bus.Item) bool {
		if it.Op == bus.ItemReplayed {
			replayed++
		}
		return it.Op == bus.ItemReplay && unpack[string](t, it.Data) == "hello"
	})
	if it := e.awaitOp(bus.ItemPrivate); it.To != joined.To || it.Count != 1 {
		t.Errorf("private message again: %+v", it)
	}
	again := e.call(key, joined.To, 6, "cast", pack("hello"))
	if again.Code != before.Code || !bytes.Equal(again.Data, before.Data) {
		t.Errorf("the last command again: %+v, want %+v", again, before)
	}
	if got := e.call(key, joined.To, 7, "add", nil); unpack[int](t, got.Data) != 6 {
		t.Errorf("count is %d, want 6: five before and one after", unpack[int](t, got.Data))
	}
	if meta := metaMap(w2.room(key).metaBytes()); meta["topic"] != "x" {
		t.Errorf("meta is %v", meta)
	}
}

func TestSealedWorkerShowsNothing(t *testing.T) { // R1, R5
	b := startBus(t)
	var log lockedBuffer
	w, _ := b.worker(t, "w1", Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "add", nil)
	run := w.own.Load().run
	if err := b.logs.Seal(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 2, Event: []byte("cast"), Data: pack("too late")})
	waitFor(t, "the room to stop", func() bool { return w.room(key) == nil })
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 3, Event: []byte("add")})
	e.await("no responders", func(it *bus.Item) bool {
		if it.Op == bus.ItemReply || it.Op == bus.ItemMessage {
			t.Errorf("a worker that was replaced said %+v", it)
		}
		return it.Code == "no responders"
	})
	waitFor(t, "the log to say so", func() bool { return strings.Contains(log.String(), "worker was replaced") })
	entries, err := w.readLog(t.Context(), run, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.number > 3 { // the join, its presence, the first command
			t.Errorf("entry %d was committed after the seal", e.number)
		}
	}
}

// TestReplayIsWhatTheRoomWas compares, after anything that may happen to a room,
// what a takeover would find with the room.
func TestReplayIsWhatTheRoomWas(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			b := startBus(t)
			kind := commitKind()
			kind.History = []int{256, 4, -1}[seed%3]
			kind.Linger = 20 * time.Millisecond
			w, _ := b.worker(t, "w1", Config{PresenceEvery: time.Millisecond}, kind)
			e := b.edge(t, "e1")
			key := e.open("counter", "a")
			rng := rand.New(rand.NewPCG(seed, 0))
			numbers := map[uint32]uint64{}
			seated := []uint32{e.join(key, "Ann").To}
			for range 400 {
				i := rng.IntN(len(seated))
				m := seated[i]
				gone := func(i int) { seated = slices.Delete(seated, i, i+1) }
				c := bus.Command{Op: bus.OpSend, Member: m}
				switch what := rng.IntN(30); {
				case what < 3:
					seated = append(seated, e.join(key, "Ann").To)
					continue
				case what == 3 && len(seated) > 1:
					c.Op, c.Ref = bus.OpLeave, rng.Uint64()
					gone(i)
				case what == 4 && len(seated) > 1:
					c.Op = bus.OpAway // and after the linger the seat goes
					gone(i)
				default:
					c.Event = []byte([]string{"add", "cast", "cast", "tell", "meta", "timer", "log", "kick"}[rng.IntN(8)])
					c.Data = pack(fmt.Sprint(rng.IntN(1000)))
					switch j := rng.IntN(len(seated)); string(c.Event) {
					case "tell":
						c.Data = pack(seated[j])
					case "kick":
						if c.Data = pack(seated[j]); len(seated) > 1 {
							gone(j)
						} else {
							c.Event = []byte("add")
						}
					case "meta":
						c.Data = pack(map[string]any{"n": rng.IntN(5)})
					case "timer":
						c.Data = pack(time.Duration(rng.IntN(3)) * time.Millisecond)
					}
					if rng.IntN(3) > 0 {
						numbers[m]++
						c.N = numbers[m]
						c.Acked = uint64(rng.Int64N(int64(c.N)))
					}
				}
				e.send(key, c)
			}
			e.join(key, "Last") // all that was sent before has run now
			compareReplay(t, b, w, key)
		})
	}
}

// inRoom runs f in a turn of a room, after all that was sent before, and waits
// until what came before it is committed.
func inRoom(w *Worker, key string, f func(r *Room)) {
	done := make(chan bool)
	w.post(w.room(key), func(r *Room) { f(r); close(done) })
	<-done
}

func compareReplay(t *testing.T, b *testBus, w *Worker, key string) {
	t.Helper()
	var want []byte
	var number uint64
	r := w.room(key)
	waitFor(t, "a moment when all is committed", func() (quiet bool) {
		inRoom(w, key, func(r *Room) {
			l := r.trail
			quiet = len(l.members)+len(l.gone) == 0 && l.seq == r.seq && !l.touched && !l.meta && !l.timers && !r.saving &&
				r.presence == nil && len(r.timers) == 0 && r.due[dueLinger] == 0
			number = l.number
			want = r.appendSnapshot(nil, l.state, true, true)
		})
		return quiet
	})
	entry, err := b.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := parseRecord(entry.Value)
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.readLog(t.Context(), w.own.Load().run, key)
	if err != nil {
		t.Fatal(err)
	}
	var entries []entryHead
	for _, e := range all {
		if e.number <= number {
			entries = append(entries, e)
		}
	}
	got, _, err := bring(r.kind, rec, entries)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("replay of %d entries differs at byte %d:\n%.200q\n%.200q", len(entries), at, got[at:], want[at:])
	}
}

func TestRoomsWithoutTrafficAreTakenOver(t *testing.T) {
	b := startBus(t)
	rang := make(chan string, 1)
	kind := commitKind()
	kind.Linger = -1
	kind.New = func() Handler { return &counter{timers: rang} }
	w1, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "timer", pack(400*time.Millisecond))
	quiet := e.open("counter", "quiet")
	w2, _ := b.worker(t, "w2", Config{}, kind)
	<-w2.Ready()
	b.die(w1)
	if name := <-rang; name != "bell" {
		t.Errorf("timer %q rang", name)
	}
	waitFor(t, "both rooms to be at the other worker", func() bool { return w2.room(key) != nil && w2.room(quiet) != nil })
	waitFor(t, "the dead worker's log to be deleted", func() bool {
		runs, err := b.logs.Runs(t.Context())
		return err == nil && len(runs) == 1
	})
}

func TestRoomsAreHandedOffWhenAWorkerLeaves(t *testing.T) {
	for name, durability := range map[string]Durability{"commit": Commit, "interval": Interval(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t)
			kind := counterKind()
			kind.Durability = durability
			_, stop := b.worker(t, "w1", Config{}, kind)
			e := b.edge(t, "e1")
			announced := make(chan *bus.Msg, 16)
			if _, err := e.conn.Subscribe(e.conn.Subjects().Announce(), "", announced); err != nil {
				t.Fatal(err)
			}
			key := e.open("counter", "a")
			m := e.join(key, "Ann").To
			e.call(key, m, 1, "add", nil)
			w2, _ := b.worker(t, "w2", Config{}, kind)
			<-w2.Ready()
			stop()
			if w2.room(key) == nil {
				t.Fatal("when its worker has ended, the room is nowhere")
			}
			out, err := bus.ParseOutput((<-announced).Data)
			if err != nil || string(out.Key) != key || out.Epoch != e.at[key].first+1 {
				t.Errorf("announced %q in epoch %d, %v", out.Key, out.Epoch, err)
			}
			e.at[key].members = map[uint32]bool{}
			back := e.joinAs(key, bus.Command{Session: w2.room(key).members[0].session, User: "Ann"})
			if got := e.call(key, back.To, 2, "add", nil); unpack[int](t, got.Data) != 2 {
				t.Errorf("count %x, want 2", got.Data)
			}
		})
	}
}

func TestRoomThatPanickedComesBackAsItWasCommitted(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "add", nil)
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 2, Event: []byte("add")},
		bus.Command{Op: bus.OpSend, Member: m, N: 3, Event: []byte("panic")})
	if it := e.awaitOp(bus.ItemClosed); it.Code != bus.Internal {
		t.Errorf("closed with %q", it.Code)
	}
	// Nobody asks for it, but it comes back, so that its part of the log can go.
	waitFor(t, "the room to come back", func() bool { r := w.room(key); return r != nil && r.epoch == e.at[key].first+1 })
	count := 0
	inRoom(w, key, func(r *Room) { count = r.handler.(*counter).state.Count })
	if count != 1 {
		t.Errorf("count is %d, want 1: what was answered, and nothing of the turn that panicked", count)
	}
}

func TestLogIsCutBehindTheRecords(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	large := pack(strings.Repeat("x", 15<<10))
	for n := range uint64(12) { // more than recordBytes
		e.call(key, m, n+1, "log", large)
	}
	waitFor(t, "the record to be written and the log to be cut", func() bool {
		entries, err := w.readLog(t.Context(), w.own.Load().run, key)
		return err == nil && len(entries) < 12
	})
	compareReplay(t, b, w, key)
}

func TestCommandsWaitWhileTheLogCannotBeWrittenAndAreAppliedOnce(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	server := startNATS(t, dir, addr)
	t.Cleanup(func() { server.Close() }) // after the worker
	b := busAt(t, addr)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "add", nil)
	before := uint64(0)
	inRoom(w, key, func(r *Room) { before = r.trail.number })
	server.Close()
	w.post(w.room(key), func(r *Room) { r.handler.(*counter).state.Count += 10; r.ran() })
	server = startNATS(t, dir, addr)
	waitFor(t, "the change to be committed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		entries, err := w.readLog(ctx, w.own.Load().run, key)
		return err == nil && len(entries) > 0 && entries[len(entries)-1].number > before
	})
	waitFor(t, "everybody to be back", func() bool { return w.conn.Connected() && e.conn.Connected() })
	if got := e.call(key, m, 2, "add", nil); unpack[int](t, got.Data) != 12 {
		t.Errorf("count is %x, want 12", got.Data)
	}
}

func TestLargeStateIsCommittedAndATooLargeOneIsNot(t *testing.T) {
	b := startBus(t)
	type large struct{ Chunks [][]byte }
	kind := Kind{Name: "large", Durability: Commit, New: func() Handler {
		state := &large{}
		h := &scene{state: state}
		h.receive = func(_ *Room, _ *Member, msg *Message) error {
			return On(msg, func(n int) error { // adds a chunk that no patch makes shorter
				chunk := make([]byte, n)
				rng := rand.NewChaCha8([32]byte{byte(len(state.Chunks))})
				rng.Read(chunk)
				state.Chunks = append(state.Chunks, chunk)
				msg.Reply(len(state.Chunks))
				return nil
			})
		}
		return h
	}}
	w1, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("large", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "add", pack(5<<20))
	b.die(w1)
	w2, _ := b.worker(t, "w2", Config{}, kind)
	e.open("large", "a")
	back := e.joinAs(key, bus.Command{Session: 77, User: "Ben"})
	if got := e.call(key, back.To, 1, "add", pack(1<<20)); unpack[int](t, got.Data) != 2 {
		t.Fatalf("after the takeover there are %x chunks, want 2", got.Data)
	}
	e.send(key, bus.Command{Op: bus.OpSend, Member: back.To, N: 2, Event: []byte("add"), Data: pack(4 << 20)})
	if it := e.awaitOp(bus.ItemClosed); it.Code != bus.Internal {
		t.Errorf("closed with %q", it.Code)
	}
	e.open("large", "a")
	chunks := 0
	inRoom(w2, key, func(r *Room) { chunks = len(r.handler.(*scene).state.(*large).Chunks) })
	if chunks != 2 {
		t.Errorf("the room is back with %d chunks, want the 2 that fit", chunks)
	}
}
