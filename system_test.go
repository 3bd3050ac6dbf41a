package roomd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"roomd/bus"
	"roomd/client"
	"roomd/kv"
	"roomd/rooms"
)

// notes is the kind of the tests: it keeps what was added, and shows it as
// state and as messages.
type notes struct {
	Lines []string `msgpack:"lines"`
}

func notesKind() rooms.Kind {
	return rooms.Kind{
		Name: "notes", New: func() rooms.Handler { return &notes{} },
		Sync: 10 * time.Millisecond, Durability: rooms.Interval(50 * time.Millisecond),
	}
}

func (n *notes) State() any                                     { return n }
func (n *notes) Join(*rooms.Room, *rooms.Member) error          { return nil }
func (n *notes) Leave(*rooms.Room, *rooms.Member, rooms.Reason) {}
func (n *notes) Receive(r *rooms.Room, _ *rooms.Member, msg *rooms.Message) error {
	if msg.Event == "read" {
		msg.Reply(n.Lines)
		return nil
	}
	return rooms.On(msg, func(text string) error {
		n.Lines = append(n.Lines, text)
		r.Broadcast("added", text)
		msg.Reply(len(n.Lines))
		return nil
	})
}

// A guest is a client in a notes room who writes down what it is told.
type guest struct {
	*client.Client
	room   *client.Room
	added  chan string
	states chan []string
	joined chan client.Joined
	notice chan string
}

func (s *system) guest(t *testing.T, user string) *guest {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{URL: s.url, User: user})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	g := &guest{
		Client: c, added: make(chan string, 1000), states: make(chan []string, 1000),
		joined: make(chan client.Joined, 10), notice: make(chan string, 10),
	}
	g.room, err = c.Join(t.Context(), "notes", "n1", nil, client.Events{
		Joined: func(j client.Joined) {
			g.joined <- j
			g.shown(t, j.State)
		},
		Notice: func(notice string) { g.notice <- notice },
		Message: func(m client.Message) {
			var text string
			if err := m.Data.Decode(&text); err != nil {
				t.Error(err)
			}
			g.added <- text
		},
		State: func(state []byte, _ uint64) { g.shown(t, state) },
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, g.joined)
	return g
}

func (g *guest) shown(t *testing.T, state []byte) {
	var n notes
	if err := client.Data(state).Decode(&n); err != nil {
		t.Error(err)
	}
	g.states <- n.Lines
}

// add adds a line and returns how many there are.
func (g *guest) add(t *testing.T, text string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	reply, err := g.room.Call(ctx, "add", text)
	if errors.Is(err, client.ErrUnknownFate) { // the room was reset meanwhile; the count tells what happened
		reply, err = g.room.Call(ctx, "add", text)
	}
	if err != nil {
		t.Fatalf("add %q: %v", text, err)
	}
	var n int
	if err := reply.Decode(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// sees waits for a state with exactly these lines.
func (g *guest) sees(t *testing.T, want ...string) {
	t.Helper()
	for {
		if got := await(t, g.states); slices.Equal(got, want) {
			return
		}
	}
}

func await[T any](t *testing.T, from chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came in 20 s")
		panic("not reached")
	}
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

func TestMembersHearEachOtherInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, s *system) {
		ann, bob := s.guest(t, "Ann"), s.guest(t, "Bob")
		for i := range 50 {
			if n := ann.add(t, fmt.Sprint(i)); n != i+1 {
				t.Fatalf("reply %d to line %d", n, i)
			}
		}
		for i := range 50 {
			for _, g := range []*guest{ann, bob} {
				if got := await(t, g.added); got != fmt.Sprint(i) {
					t.Fatalf("heard %q as line %d", got, i)
				}
			}
		}
	})
}

func TestRoomsAndSeatsSurviveAnOrderlyRestart(t *testing.T) {
	onEach(t, func(t *testing.T, s *system) {
		ann := s.guest(t, "Ann")
		ann.add(t, "before")
		member := ann.room.Member()
		s.stop(t)
		s.start(t)
		j := await(t, ann.joined)
		if !j.Resumed || !j.Recovered || j.Member != member {
			t.Errorf("came back with %+v, want seat %d and nothing missed", j, member)
		}
		if n := ann.add(t, "after"); n != 2 {
			t.Errorf("%d lines after the restart, want 2", n)
		}
		s.guest(t, "Bob").sees(t, "before", "after")
	})
}

func TestKilledProcessesComeBackWithTheRoomsLastRecord(t *testing.T) {
	onEach(t, func(t *testing.T, s *system) {
		ann := s.guest(t, "Ann")
		ann.add(t, "kept")
		ann.sees(t, "kept")
		s.stored(t, "notes.n1", "kept")
		s.worker.stop(t, syscall.SIGKILL)
		s.worker.start(t)
		if n := ann.add(t, "after"); n != 2 {
			t.Errorf("%d lines after the kill, want 2", n)
		}
		if s.edge != s.worker && len(ann.joined) > 0 {
			t.Error("a worker's death cost the client its connection")
		}
	})
}

// stored waits until the record of a room is in its bucket with a text in it. To
// hear it on its way there is not enough: NATS may be killed before it has it.
func (s *system) stored(t *testing.T, key, text string) {
	t.Helper()
	conn, err := bus.Open(t.Context(), bus.Config{URL: s.nats})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	records, err := kv.OpenRecords(t.Context(), conn, storeConfig(conn, config{prefix: "r", replicas: 1}))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the record of "+key+" has "+text, func() bool {
		entry, err := records.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(entry.Value, []byte(text))
	})
}

func TestKilledEdgeLosesNothing(t *testing.T) {
	t.Parallel()
	s := apart(t)
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	second := s.secondEdge(t)
	ann := s.guest(t, "Ann")
	bob := (&system{url: second}).guest(t, "Bob")
	s.edge.stop(t, syscall.SIGKILL)
	for i := range 100 { // while Ann has no edge
		bob.add(t, fmt.Sprint(i))
	}
	s.edge.start(t)
	if j := await(t, ann.joined); !j.Resumed || !j.Recovered {
		t.Errorf("came back with %+v, want the seat and what was missed", j)
	}
	for i := range 100 {
		if got := await(t, ann.added); got != fmt.Sprint(i) {
			t.Fatalf("heard %q as line %d", got, i)
		}
	}
}

// secondEdge starts another edge, and returns its URL.
func (s *system) secondEdge(t *testing.T) (url string) {
	t.Helper()
	p, addr := &process{args: slices.Clone(s.edge.args)}, freeAddr(t)
	p.args[slices.Index(p.args, "-addr")+1] = addr
	p.start(t)
	t.Cleanup(func() { p.stop(t, syscall.SIGTERM) })
	return "ws://" + addr + "/ws"
}

// A crowd is two workers and two edges at one NATS, with a guest who says
// nothing at each edge. All rooms are the first worker's.
type crowd struct {
	*system
	second *process // worker
	guests []*guest
}

func newCrowd(t *testing.T) *crowd {
	s := apart(t)
	c := &crowd{system: s, second: &process{args: s.worker.args}}
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	second := s.secondEdge(t)
	c.guests = []*guest{s.guest(t, "Ann"), (&system{url: second}).guest(t, "Bob")}
	c.second.start(t)
	t.Cleanup(func() { c.second.stop(t, syscall.SIGTERM) })
	return c
}

func (g *guest) hears(t *testing.T, notice string) {
	t.Helper()
	for await(t, g.notice) != notice {
	}
}

func TestRoomOfAKilledWorkerComesBackToMembersWhoSayNothing(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	c.worker.stop(t, syscall.SIGKILL)
	for _, g := range c.guests {
		g.hears(t, "reset")
	}
	for i, g := range c.guests {
		if n := g.add(t, fmt.Sprint(i)); n != i+1 {
			t.Errorf("reply %d to line %d", n, i)
		}
		if len(g.joined) > 0 {
			t.Error("a worker's death cost a client its connection")
		}
	}
}

func TestPausedWorkerShowsNothingOnceItsRoomsWereTakenOver(t *testing.T) { // R1
	t.Parallel()
	c := newCrowd(t)
	resume := c.worker.pause(t)
	for i := range 10 { // which it finds when it wakes up, and nobody else ever
		if err := c.guests[0].room.Send("add", fmt.Sprint("ghost ", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range c.guests {
		g.hears(t, "reset")
	}
	if n := c.guests[0].add(t, "new"); n != 1 {
		t.Errorf("reply %d to the first line, want 1", n)
	}
	resume()
	for i := range 200 {
		if n := c.guests[1].add(t, fmt.Sprint(i)); n != i+2 {
			t.Fatalf("reply %d to line %d, want %d: two workers answer", n, i, i+2)
		}
	}
	for _, g := range c.guests {
		for i := -1; i < 200; i++ {
			want := fmt.Sprint(i)
			if i < 0 {
				want = "new"
			}
			if got := await(t, g.added); got != want {
				t.Fatalf("heard %q, want %q", got, want)
			}
		}
	}
}

func TestRoomsMoveFromAWorkerThatEndsInOrderWithoutLoss(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	ann, bob := c.guests[0], c.guests[1]
	ended := make(chan bool)
	for i := range 300 {
		if i == 100 {
			worker := c.worker.cmd
			go func() {
				defer close(ended)
				if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
					t.Error(err)
				}
				if err := worker.Wait(); err != nil {
					t.Error(err)
				}
			}()
			c.worker.cmd = nil
		}
		if n := ann.add(t, fmt.Sprint(i)); n != i+1 {
			t.Fatalf("reply %d to line %d", n, i)
		}
	}
	<-ended
	for i := range 300 {
		for _, g := range []*guest{ann, bob} {
			if got := await(t, g.added); got != fmt.Sprint(i) {
				t.Fatalf("heard %q as line %d", got, i)
			}
		}
	}
	for len(bob.notice) > 0 {
		if got := await(t, bob.notice); got == "reset" {
			t.Error("an orderly end was a reset")
		}
	}
}
