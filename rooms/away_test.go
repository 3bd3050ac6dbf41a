package rooms

import (
	"net"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv"

	"github.com/prometheus/client_golang/prometheus"
)

// takeOver writes a room's record as if another worker had taken the room.
func (b *testBus) takeOver(t *testing.T, key string) {
	t.Helper()
	waitFor(t, "the other worker's write", func() bool {
		entry, err := b.store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := parseRecord(entry.Value)
		if err != nil {
			t.Fatal(err)
		}
		if rec.owner != "" {
			if err := b.logs.Seal(t.Context(), rec.owner); err != nil {
				t.Fatal(err)
			}
		}
		rec.epoch, rec.owner = rec.epoch+1, "w2-0"
		_, err = b.store.Update(t.Context(), key, rec.append(nil), rec.owner, entry.Revision)
		return err == nil
	})
}

func TestRoomThatHearsOfALaterEpochStops(t *testing.T) { // R1, R2
	for name, durability := range map[string]Durability{"stored": 0, "not stored": None} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t)
			kind := counterKind()
			kind.Durability = durability
			w, _ := b.worker(t, "w1", Config{}, kind)
			e := b.edge(t, "e1")
			key := e.open("counter", "a")
			m := e.join(key, "Ann").To
			e.sendAs(key, envelope{epoch: e.at[key].first + 1}, bus.Command{Op: bus.OpSend, Member: m, N: 1, Event: []byte("add")})
			waitFor(t, "the old owner to stop", func() bool { return w.Len() == 0 })
			e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 1, Event: []byte("add")})
			e.await("no responders", func(it *bus.Item) bool {
				if it.Op == bus.ItemReply {
					t.Errorf("the old owner answered %+v", it)
				}
				return it.Code == "no responders"
			})
		})
	}
}

func TestWorkerThatWasReplacedGivesUpItsRoomsAndGoesOnUnderANewRun(t *testing.T) { // R1
	for name, durability := range map[string]Durability{"stored": 0, "not stored": None} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t)
			kind := counterKind()
			kind.Durability = durability
			w, _ := b.worker(t, "w1", Config{}, kind)
			e := b.edge(t, "e1")
			lost, other := e.open("counter", "lost"), e.open("counter", "other")
			e.join(lost, "Ann")
			first := e.join(other, "Ann").Joined.At.Epoch
			old := w.own.Load()
			b.takeOver(t, lost)
			w.doubt("test")
			waitFor(t, "the rooms to stop", func() bool { return w.Len() == 0 })
			waitFor(t, "a new run", func() bool { own := w.own.Load(); return own != nil && own != old })
			e.open("counter", "other")
			back := e.join(other, "Ann")
			if back.Joined.At.Epoch != first+1 {
				t.Errorf("the room that nobody took is back in epoch %d, want %d", back.Joined.At.Epoch, first+1)
			}
			if got := e.call(other, back.To, 1, "add", nil); got.Code != "" {
				t.Errorf("it answers %q", got.Code)
			}
		})
	}
}

func TestRoomTellsAnEdgeThatAsksWhereItsOutputStands(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e, other := b.edge(t, "e1"), b.edge(t, "e2")
	key := e.open("counter", "a")
	e.join(key, "Ann")
	other.send(key) // nobody there is a member, as far as this owner knows
	for other.at[key] == nil {
		if !other.read(nil) {
			t.Fatal("no answer")
		}
	}
	if got := other.at[key]; got.epoch != e.at[key].epoch {
		t.Errorf("the answer is of epoch %d, want %d", got.epoch, e.at[key].epoch)
	}
}

func TestEdgeThatWasTakenForDeadHearsOfIt(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	w.lostNode(bus.Node{Name: "e1", Role: "edge"})
	e.await("word that the member is away", func(it *bus.Item) bool {
		return it.Op == bus.ItemError && it.To == m && it.Code == bus.NotJoined
	})
}

func TestPanicOutsideTheRoomsTurnKeepsTheRoomClosedAndTheWorkerUp(t *testing.T) {
	b := startBus(t)
	calls := 0 // of New; the first is NewWorker's
	b.worker(t, "w1", Config{}, counterKind(), Kind{Name: "bad", New: func() Handler {
		if calls++; calls > 1 {
			panic("as asked")
		}
		return &scene{}
	}})
	e := b.edge(t, "e1")
	var err error
	waitFor(t, "the worker to listen", func() bool {
		_, err = e.tryOpen("bad", "a")
		return bus.CodeOf(err) != bus.Unavailable
	})
	if bus.CodeOf(err) != bus.Internal {
		t.Errorf("open = %v, want internal", err)
	}
	key := e.open("counter", "a")
	if got := e.call(key, e.join(key, "Ann").To, 1, "add", nil); got.Code != "" {
		t.Errorf("another room answers %q", got.Code)
	}
}

func TestJoinThatPanicsIsRefusedAndNotTriedAgain(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, Kind{Name: "bad", New: func() Handler {
		return &scene{join: func(_ *Room, m *Member) error {
			if m.User() == "Eve" {
				panic("as asked")
			}
			return nil
		}}
	}})
	e := b.edge(t, "e1")
	key := e.open("bad", "a")
	e.join(key, "Ann")
	if it := e.join(key, "Eve"); it.Op != bus.ItemRefused || it.Code != bus.Internal {
		t.Errorf("Eve is told %d %q, want a refusal with internal", it.Op, it.Code)
	}
}

func TestLongTextForAClientIsCut(t *testing.T) {
	b := startBus(t)
	long := string(make([]byte, 2<<20))
	b.worker(t, "w1", Config{}, Kind{Name: "wordy", New: func() Handler {
		return &scene{receive: func(*Room, *Member, *Message) error { return Errorf("no", "%s", long) }}
	}})
	e := b.edge(t, "e1")
	key := e.open("wordy", "a")
	if got := e.call(key, e.join(key, "Ann").To, 1, "x", nil); got.Code != "no" || len(got.Text) != maxErrorText {
		t.Errorf("reply %q with %d bytes of text, want no with %d", got.Code, len(got.Text), maxErrorText)
	}
}

func TestWhatWasMissedAroundAnOrderlyRestartIsReplayed(t *testing.T) {
	b := startBus(t)
	_, stop := b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	joined := e.joinAs(key, bus.Command{Session: 4000, User: "Ann"})
	m := joined.To
	had := joined.Joined.At
	cast := func(n int) bus.Command {
		return bus.Command{Op: bus.OpSend, Member: m, Event: []byte("cast"), Data: pack(n)}
	}
	tell := bus.Command{Op: bus.OpSend, Member: m, Event: []byte("tell"), Data: pack(m)}
	e.send(key, cast(1), tell, cast(2))
	e.drain(key, m)
	stop()
	b.worker(t, "w1", Config{}, counterKind())
	e.open("counter", "a")
	back := e.joinAs(key, bus.Command{Session: 4000, User: "Ann", Resume: true, Since: had})
	if !back.Joined.Recovered {
		t.Errorf("joined = %+v, want recovered", back.Joined)
	}
	var casts []int
	told := 0
	for _, it := range e.drain(key, m) {
		switch it.Op {
		case bus.ItemReplay:
			casts = append(casts, unpack[int](t, it.Data))
		case bus.ItemPrivate:
			told++
		}
	}
	if len(casts) != 2 || casts[0] != 1 || casts[1] != 2 || told != 1 {
		t.Errorf("replayed broadcasts %v and %d private messages, want [1 2] and 1", casts, told)
	}
}

func TestRecordThatIsTooLargeGoesWithoutReplies(t *testing.T) {
	b := startBus(t)
	large := make([]byte, 700<<10)
	kind := Kind{Name: "large", Durability: Interval(time.Millisecond), New: func() Handler {
		h := &scene{state: &struct{ Count int }{}}
		h.receive = func(_ *Room, _ *Member, msg *Message) error {
			h.state.(*struct{ Count int }).Count++
			msg.Reply(large)
			return nil
		}
		return h
	}}
	_, stop := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("large", "a")
	var last bus.Item
	for i := range uint64(30) { // a reply of 0.7 MB for each member
		last = e.joinAs(key, bus.Command{Session: 5000 + i, User: "Ann"})
		e.call(key, last.To, 1, "x", nil)
	}
	stop()
	b.worker(t, "w1", Config{}, kind)
	e.open("large", "a")
	back := e.joinAs(key, bus.Command{Session: 5029, User: "Ann"})
	if back.To != last.To || back.Joined.N != 1 {
		t.Errorf("after the restart: member %d, n %d, want %d and 1", back.To, back.Joined.N, last.To)
	}
	if got := e.call(key, back.To, 1, "x", nil); got.Code != bus.OutOfOrder {
		t.Errorf("retry = %q, want out_of_order: its reply was too much to keep", got.Code)
	}
}

func TestLastRecordIsWrittenWhenNATSIsBack(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	server := startNATS(t, dir, addr)
	b := busAt(t, addr)
	kind := counterKind()
	kind.Durability = Interval(time.Hour)
	w, stop := b.worker(t, "w1", Config{Drain: patience}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	e.call(key, e.join(key, "Ann").To, 1, "add", nil)
	server.Close()
	stopped := make(chan bool)
	go func() { stop(); close(stopped) }()
	counters := prometheus.NewRegistry()
	counters.MustRegister(w.metrics.writeErrors)
	failed := func() float64 {
		families, err := counters.Gather()
		if err != nil {
			t.Error(err)
		}
		return families[0].GetMetric()[0].GetCounter().GetValue()
	}
	waitFor(t, "some tries to fail", func() bool { return failed() > 3 })
	server = startNATS(t, dir, addr)
	t.Cleanup(server.Close)
	<-stopped
	entry, err := b.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := parseRecord(entry.Value); err != nil || rec.owner != "" {
		t.Errorf("last record has owner %q, %v, want none", rec.owner, err)
	}
}

// startNATS runs a server in this process that clients reach at addr.
func startNATS(t *testing.T, dir, addr string) *bus.Conn {
	t.Helper()
	conn, err := bus.Open(t.Context(), bus.Config{Server: bus.ServerConfig{Addr: addr, Dir: dir}, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// busAt connects to a server.
func busAt(t *testing.T, addr string) *testBus {
	t.Helper()
	conn, err := bus.Open(t.Context(), bus.Config{URL: "nats://" + addr, Name: "test", Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	store, err := kv.OpenRecords(t.Context(), conn, kv.Storage{})
	if err != nil {
		t.Fatal(err)
	}
	return &testBus{conn, store, kv.OpenLogs(conn, kv.Storage{}), make(map[*Worker]func())}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
