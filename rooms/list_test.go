package rooms

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv"
)

func TestListShowsLiveRoomsOfAllWorkersAndDormantOnes(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	kind.Seats = 5
	_, stop := b.worker(t, "w0", Config{}, kind)
	e := b.edge(t, "e1")
	e.open("counter", "asleep")
	stop()
	w1, _ := b.worker(t, "w1", Config{}, kind)
	w2, _ := b.worker(t, "w2", Config{}, kind)
	waitFor(t, "the workers to know each other", func() bool {
		return len(w1.nodes.List("worker")) == 2 && len(w2.nodes.List("worker")) == 2
	})
	for _, w := range []*Worker{w1, w2} {
		for i := range 2 {
			if err := w.open(t.Context(), w.kinds["counter"], fmt.Sprint(w.conn.Name(), "-", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.conn.Flush(t.Context()); err != nil { // nobody asked by way of NATS, so no answer says that rooms are subscribed
			t.Fatal(err)
		}
	}
	key := "counter.w2-1"
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "meta", pack(map[string]any{"topic": "tea"}))

	list, err := w1.List(t.Context(), Query{Kind: "counter"})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, l := range list {
		got[l.ID] = fmt.Sprintln(l.Kind, l.Members, l.Seats, l.Dormant, l.Meta["topic"])
	}
	empty := "counter 0 5 false <nil>\n"
	want := map[string]string{
		"w1-0": empty, "w1-1": empty, "w2-0": empty,
		"w2-1": "counter 1 5 false tea\n", "asleep": "counter 0 5 true <nil>\n",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("list = %v, want %v", got, want)
	}
	if list[0].ID != "w2-1" {
		t.Errorf("first is %s, want the fullest", list[0].ID)
	}
	if short, err := w1.List(t.Context(), Query{Kind: "counter", Limit: 2}); err != nil || len(short) != 2 {
		t.Errorf("list of two = %v, %v", short, err)
	}
	if none, err := w1.List(t.Context(), Query{Kind: "nothing"}); err != nil || len(none) != 0 {
		t.Errorf("list of an unknown kind = %v, %v", none, err)
	}
}

func TestEdgesGetListsInTheirFormat(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.call(key, m, 1, "meta", pack(map[string]any{"topic": "tea"}))
	answer, err := e.conn.Request(t.Context(), e.conn.Subjects().List(), bus.AppendUint(bus.AppendString(nil, "counter"), 10))
	if err != nil {
		t.Fatal(err)
	}
	rows := unpack[[][]any](t, answer)
	if want := "[[counter a 1 0 map[topic:tea]]]"; fmt.Sprint(rows) != want {
		t.Errorf("list = %v, want %v", rows, want)
	}
}

func TestEmptyIDOpensRoomsAsTheyFillUp(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	kind.Name, kind.Seats = "duel", 2
	w, _ := b.worker(t, "w1", Config{}, kind)
	first := b.edge(t, "e0").open("duel", "")
	w.mu.RLock()
	if w.rooms[first] == nil {
		t.Errorf("room %s is not here", first)
	}
	w.mu.RUnlock()
	var players sync.WaitGroup
	for i := range 9 {
		e := b.edge(t, fmt.Sprint("f", i))
		players.Go(func() {
			key := e.open("duel", "")
			if got := e.join(key, "Ann"); got.Code != "" {
				t.Errorf("join of %s: %q", key, got.Code)
			}
		})
	}
	players.Wait()
	if n := w.Len(); n != 5 {
		t.Errorf("%d rooms for ten seats given out in twos, want 5", n)
	}
}

func TestOpenRefusesWithItsCodes(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	broken := Kind{Name: "broken", New: func() Handler {
		return &scene{open: func(*Room) error { return Errorf("broken.today", "come back") }}
	}}
	w, _ := b.worker(t, "w1", Config{MaxRooms: 2}, kind, broken)
	e := b.edge(t, "e1")
	e.open("counter", "one")
	for _, c := range []struct{ kind, id, code string }{
		{"counter", "a.b", bus.BadName},
		{"counter", string(make([]byte, 10_000)), bus.BadName},
		{"broken", "x", "broken.today"},
		{"broken", "x", "broken.today"}, // and it can be tried again
		{"nokind", "x", bus.Unavailable},
		{"counter", "two", ""},
		{"counter", "three", bus.Overloaded},
		{"counter", "two", ""},
	} {
		_, err := e.tryOpen(c.kind, c.id)
		code := ""
		if err != nil {
			code = bus.CodeOf(err)
		}
		if code != c.code {
			t.Errorf("open %s %.10q: %v, want code %q", c.kind, c.id, err, c.code)
		}
	}
	if w.Len() != 2 {
		t.Errorf("%d rooms, want 2", w.Len())
	}
}

func TestKindsAreChecked(t *testing.T) {
	b := startBus(t)
	good := counterKind()
	for name, kinds := range map[string][]Kind{
		"bad name":              {{Name: "Bad Name", New: good.New}},
		"no New":                {{Name: "a"}},
		"New returns nil":       {{Name: "a", New: func() Handler { return nil }}},
		"twice":                 {good, good},
		"ticks without Tick":    {{Name: "a", New: good.New, TickRate: 5}},
		"sync without State":    {{Name: "a", New: func() Handler { return plain{} }, Sync: time.Second}},
		"negative seats":        {{Name: "a", New: good.New, Seats: -1}},
		"durability of nothing": {{Name: "a", New: good.New, Durability: -7}},
	} {
		if _, err := NewWorker(b.conn, b.store, b.logs, Config{}, kinds...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewWorker(b.conn, b.store, b.logs, Config{MaxRooms: -1}, good); err == nil {
		t.Error("negative MaxRooms: accepted")
	}
}

type plain struct{}

func (plain) Join(*Room, *Member) error              { return nil }
func (plain) Leave(*Room, *Member, Reason)           {}
func (plain) Receive(*Room, *Member, *Message) error { return nil }

func TestRoomListsOthersFromGo(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind(), Kind{Name: "lobby", New: func() Handler {
		return &scene{receive: func(r *Room, m *Member, msg *Message) error {
			return r.Go(func(ctx context.Context) func(*Room) {
				list, err := r.List(ctx, Query{Kind: "counter"})
				return func(r *Room) {
					if err == nil {
						r.Broadcast("rooms", len(list))
					}
				}
			})
		}}
	}})
	e := b.edge(t, "e1")
	e.open("counter", "a")
	e.open("counter", "b")
	key := e.open("lobby", "main")
	m := e.join(key, "Ann").To
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("list")})
	if it := e.awaitOp(bus.ItemMessage); unpack[int](t, it.Data) != 2 {
		t.Errorf("lobby sees %x rooms, want 2", it.Data)
	}
}

func TestListsShowNoShardsOfTheSharedData(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, counterKind())
	if err := b.openStore(t, "client").Set(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	e := b.edge(t, "e1")
	e.open("counter", "a")
	for kind, want := range map[string]string{"": "[[counter a 0 0 <nil>]]", kv.ShardKind: "[]", kv.PageKind: "[]"} {
		answer, err := e.conn.Request(t.Context(), e.conn.Subjects().List(), bus.AppendUint(bus.AppendString(nil, kind), 10))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(unpack[[][]any](t, answer)); got != want {
			t.Errorf("a client's list of %q = %s, want %s", kind, got, want)
		}
		list, err := w.List(t.Context(), Query{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			if l.Kind != "counter" {
				t.Errorf("a room's list of %q shows %s.%s", kind, l.Kind, l.ID)
			}
		}
	}
}
