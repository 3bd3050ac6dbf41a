package rooms

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"roomd/bus"
)

// echo is the handler of the benchmarks: no state, data passed on raw.
type echo struct{}

func (echo) Join(*Room, *Member) error    { return nil }
func (echo) Leave(*Room, *Member, Reason) {}
func (echo) Receive(r *Room, m *Member, msg *Message) error {
	switch msg.Event {
	case "echo":
		msg.Reply(msg.Raw())
	case "cast":
		r.Broadcast("cast", msg.Raw())
	}
	return nil
}

func echoKind() Kind {
	return Kind{Name: "echo", Durability: None, New: func() Handler { return echo{} }}
}

// benchRoom is a room with members on a few addresses that nobody listens to:
// what is measured is the room.
func benchRoom(b *testing.B, kind Kind, addresses, members int) (*Worker, *Room) {
	bus := startBus(b)
	w, _ := bus.worker(b, "w1", Config{}, kind)
	e := bus.edge(b, "e1")
	key := e.open(kind.Name, "a")
	fill(b, w, w.room(key), addresses, members)
	return w, w.room(key)
}

// fill seats members with ids from 1.
func fill(b testing.TB, w *Worker, r *Room, addresses, members int) {
	for a := range addresses {
		at := bus.NewAddress(fmt.Sprint("bench", a), 0)
		envelope := bus.AppendCommands(nil, at, 0, time.Now().Add(time.Hour))
		for i := a; i < members; i += addresses {
			c := bus.Command{Op: bus.OpJoin, Session: uint64(i + 1), User: fmt.Sprint("user", i)}
			envelope = c.Append(envelope)
		}
		commands, err := bus.ParseCommands(envelope)
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan bool)
		w.post(r, func(r *Room) {
			r.envelope(&entry{commands: commands})
			done <- true
		})
		<-done
	}
}

// inTurns runs n commands in turns of batch each, on the benchmark's own
// goroutine: the cost of a room without that of NATS reading and waking.
func inTurns(b *testing.B, w *Worker, r *Room, batch int, command func(n uint64) bus.Command) {
	from := r.peers[0].to.address
	done := make(chan bool)
	w.post(r, func(r *Room) { // take the room: its runner waits here
		done <- true
		<-done
	})
	<-done
	defer func() { done <- true }()
	held := r.turn
	t := newTurn()
	b.ReportAllocs()
	b.ResetTimer()
	for n := uint64(0); n < uint64(b.N); {
		envelope := bus.AppendCommands(nil, from, 0, time.Now().Add(time.Hour))
		for range min(batch, b.N-int(n)) {
			n++
			c := command(n)
			envelope = c.Append(envelope)
		}
		commands, err := bus.ParseCommands(envelope)
		if err != nil {
			b.Fatal(err)
		}
		r.box.put(commands, batch, len(envelope), 1<<20)
		r.oneTurn(t) // the room stays queued, as its runner has it: no other one may take it
	}
	b.StopTimer()
	r.turn = held
}

func BenchmarkEcho(b *testing.B) {
	data := pack(make([]byte, 62))
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			w, r := benchRoom(b, echoKind(), 1, 100)
			numbers := make([]uint64, 101)
			inTurns(b, w, r, batch, func(n uint64) bus.Command {
				m := uint32(n%100) + 1
				numbers[m]++
				return bus.Command{Op: bus.OpSend, Member: m, N: numbers[m], Acked: numbers[m] - 1, Event: []byte("echo"), Data: data}
			})
		})
	}
}

func BenchmarkBroadcast(b *testing.B) {
	data := pack(make([]byte, 126))
	for _, c := range []struct{ addresses, batch int }{{1, 1}, {1, 16}, {4, 16}, {40, 16}} {
		b.Run(fmt.Sprintf("addresses=%d/batch=%d", c.addresses, c.batch), func(b *testing.B) {
			w, r := benchRoom(b, echoKind(), c.addresses, 1000)
			inTurns(b, w, r, c.batch, func(n uint64) bus.Command {
				return bus.Command{Op: bus.OpSend, Member: 1, Event: []byte("cast"), Data: data}
			})
		})
	}
}

// BenchmarkTick is a tick of a room of 50 whose members all move, with its
// patch.
func BenchmarkTick(b *testing.B) {
	type avatar struct {
		//lint:ignore U1000 tells the encoder
		_msgpack struct{} `msgpack:",as_array"`
		X, Y     int
		Hue      int
		Name     string
	}
	s := &struct {
		Avatars map[uint32]*avatar `msgpack:"avatars"`
	}{make(map[uint32]*avatar)}
	for i := range uint32(50) {
		s.Avatars[i+1] = &avatar{X: int(i) * 20, Y: 500, Name: fmt.Sprint("user", i)}
	}
	w, r := benchRoom(b, Kind{Name: "plaza", Sync: time.Nanosecond, New: func() Handler {
		return &scene{state: s, receive: func(r *Room, m *Member, msg *Message) error {
			for i, a := range s.Avatars {
				a.X += 3 - int(i)%7
				a.Y += 2
			}
			return nil
		}}
	}}, 1, 50)
	inTurns(b, w, r, 1, func(n uint64) bus.Command {
		return bus.Command{Op: bus.OpSend, Member: 1, Event: []byte("move")}
	})
	b.ReportMetric(float64(r.ver)/float64(b.N), "patches/op")
}

// BenchmarkThroughNATS is the whole way of a command: published by an edge,
// run by a room, the reply read by the edge; 64 rooms, many in flight.
func BenchmarkThroughNATS(b *testing.B) {
	bs := startBus(b)
	bs.worker(b, "w1", Config{}, echoKind())
	e := bs.edge(b, "e1")
	const rooms, window = 64, 2048
	keys := make([]string, rooms)
	for i := range keys {
		keys[i] = e.open("echo", fmt.Sprint("r", i))
		e.join(keys[i], "Ann")
	}
	data := pack(make([]byte, 62))
	b.ReportAllocs()
	b.ResetTimer()
	replies := 0
	for n := range b.N {
		c := bus.Command{Op: bus.OpSend, Member: 1, N: uint64(n/rooms) + 1, Acked: uint64(n / rooms), Event: []byte("echo"), Data: data}
		e.send(keys[n%rooms], c)
		for n-replies >= window {
			replies += e.countReplies(b)
		}
	}
	for replies < b.N {
		replies += e.countReplies(b)
	}
}

func (e *testEdge) countReplies(b *testing.B) (n int) {
	out, err := bus.ParseOutput((<-e.in).Data)
	if err != nil {
		b.Fatal(err)
	}
	for it := (bus.Item{}); out.Next(&it); {
		if it.Op == bus.ItemReply {
			n++
		}
	}
	return n
}

// BenchmarkIdleRoom reports what a room with ten members costs when nothing
// happens: its heap, with its subscription at the worker and in the server of
// the same process.
func BenchmarkIdleRoom(b *testing.B) {
	bs := startBus(b)
	kind := counterKind()
	w, _ := bs.worker(b, "w1", Config{}, kind)
	e := bs.edge(b, "e1")
	e.open("counter", "first")
	const rooms = 2000
	before := heap()
	for i := range rooms {
		id := fmt.Sprint("r", i)
		if err := w.open(b.Context(), w.kinds["counter"], id); err != nil {
			b.Fatal(err)
		}
		fill(b, w, w.room("counter."+id), 1, 10)
	}
	waitFor(b, "all rooms to be written and idle", func() bool {
		idle := true
		for _, r := range w.rooms {
			seen := make(chan bool)
			w.post(r, func(r *Room) { seen <- r.presence == nil && !r.dirty && !r.saving && r.due[dueBeacon] == 0 })
			idle = <-seen && idle
		}
		return idle
	})
	after := heap()
	for b.Loop() {
	}
	b.ReportMetric(float64(after-before)/rooms, "B/room")
	b.ReportMetric(0, "ns/op")
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkReturn brings a room back that had left memory, with its state.
func BenchmarkReturn(b *testing.B) {
	bus := startBus(b)
	kind := counterKind()
	kind.Durability, kind.EmptyFor, kind.Linger = Commit, time.Nanosecond, -1
	w, _ := bus.worker(b, "w1", Config{}, kind)
	e := bus.edge(b, "e1")
	key := e.open("counter", "a")
	b.ResetTimer()
	for b.Loop() {
		e.open("counter", "a")
		b.StopTimer()
		waitFor(b, "the room to leave memory", func() bool { return w.room(key) == nil })
		b.StartTimer()
	}
}
