package roomd

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomd/client"
	"roomd/rooms"
)

// minutes is notes whose every change is committed. Its state is read, not
// watched.
func minutesKind() rooms.Kind {
	return rooms.Kind{Name: "minutes", New: func() rooms.Handler { return &notes{} }, Durability: rooms.Commit}
}

// An office is rooms of a kind with clerks in each of them who add lines all the
// time, each the next one as soon as the last one was acknowledged. In the end
// it knows what the rooms must hold.
type office struct {
	clerks []*clerk
	acks   chan struct{}
	stop   chan struct{}
	work   sync.WaitGroup
}

// A clerk writes down what it did and what it heard.
type clerk struct {
	*client.Client
	room *client.Room
	name string
	done []deed // owned by work until that has ended

	mu      sync.Mutex // guards what follows
	heard   []string   // missed where it was told that it missed something
	joined  []client.Joined
	notices []string
}

// missed stands for any number of messages.
const missed = "(missed)"

// A deed is a line that was acknowledged, and the place that it was given.
type deed struct {
	text  string
	place int
}

const (
	officeRooms   = 3
	clerksPerRoom = 2
)

// office opens the rooms and sets the clerks to work until close.
func (s *system) office(t *testing.T, kind string) *office {
	t.Helper()
	o := &office{acks: make(chan struct{}, 1<<16), stop: make(chan struct{})}
	for i := range officeRooms * clerksPerRoom {
		at := *s // half of them at the next edge, if there is one
		if i >= officeRooms {
			at.turn()
		}
		o.clerks = append(o.clerks, at.clerk(t, kind, fmt.Sprint("o", i%officeRooms), fmt.Sprint("clerk", i)))
	}
	for _, c := range o.clerks {
		o.work.Go(func() { c.work(t, o) })
	}
	t.Cleanup(o.close)
	return o
}

// turn puts another edge in the first place.
func (s *system) turn() {
	urls := append(slices.Clone(s.more), s.url)
	s.url, s.more = urls[0], urls[1:]
}

func (s *system) clerk(t *testing.T, kind, id, name string) *clerk {
	t.Helper()
	c := &clerk{name: name}
	var err error
	if c.Client, err = client.Dial(t.Context(), client.Config{URL: s.url, More: s.more, User: name}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	note := func(what func()) {
		c.mu.Lock()
		defer c.mu.Unlock()
		what()
	}
	c.room, err = c.Join(t.Context(), kind, id, nil, client.Events{
		Joined: func(j client.Joined) {
			note(func() {
				if len(c.joined) > 0 && !j.Recovered {
					c.heard = append(c.heard, missed)
				}
				c.joined = append(c.joined, j)
			})
		},
		Notice: func(notice string) { note(func() { c.notices = append(c.notices, notice) }) },
		Message: func(m client.Message) {
			var text string
			if err := m.Data.Decode(&text); err != nil {
				t.Error(err)
			}
			note(func() { c.heard = append(c.heard, text) })
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *clerk) work(t *testing.T, o *office) {
	for i := 0; ; i++ {
		select {
		case <-o.stop:
			return
		default:
		}
		d := deed{text: fmt.Sprintf("%s-%d", c.name, i)}
		reply, err := c.call(t, "add", d.text)
		if err == nil {
			err = reply.Decode(&d.place)
		}
		if err != nil {
			t.Errorf("%s: %v", d.text, err)
			return
		}
		c.done = append(c.done, d)
		select {
		case o.acks <- struct{}{}:
		default: // nobody waits for so many
		}
	}
}

func (c *clerk) call(t *testing.T, event string, data any) (client.Data, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return c.room.Call(ctx, event, data)
}

// progress waits until the clerks have got some more done.
func (o *office) progress(t *testing.T) {
	t.Helper()
	for len(o.acks) > 0 {
		<-o.acks // of what was done before
	}
	for range 40 * len(o.clerks) {
		await(t, o.acks)
	}
}

// close ends the work and waits for what is under way.
func (o *office) close() {
	select {
	case <-o.stop:
	default:
		close(o.stop)
	}
	o.work.Wait()
}

// audit ends the work and compares what the rooms hold with what the clerks were
// told: each line that was acknowledged, once, in its place, and nothing else;
// and all were told of all lines in that order.
func (o *office) audit(t *testing.T, s *system, kind string) {
	t.Helper()
	o.close()
	for i := range officeRooms {
		id := fmt.Sprint("o", i)
		var lines []string
		reply, err := s.clerk(t, kind, id, "auditor").call(t, "read", nil)
		if err == nil {
			err = reply.Decode(&lines)
		}
		if err != nil {
			t.Fatalf("read %s: %v", id, err)
		}
		acked := 0
		for _, c := range o.clerks {
			if c.room.ID() != id {
				continue
			}
			acked += len(c.done)
			for _, d := range c.done {
				if d.place < 1 || d.place > len(lines) || lines[d.place-1] != d.text {
					t.Fatalf("%s was acknowledged as line %d of %s, which is not there", d.text, d.place, id)
				}
			}
			c.hears(t, lines)
		}
		if acked != len(lines) { // all acknowledged ones are there: others must be doubled
			t.Errorf("%s has %d lines, %d were acknowledged", id, len(lines), acked)
		}
	}
}

// hears waits until the clerk was told of the last line, and looks whether it
// was told of all, in order and once, but for what it knows that it missed.
func (c *clerk) hears(t *testing.T, lines []string) {
	t.Helper()
	var heard []string
	until(t, c.name+" has heard the last line", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		heard = slices.Clone(c.heard)
		return len(heard) > 0 && heard[len(heard)-1] == lines[len(lines)-1]
	})
	next, gap := 0, false
	for _, text := range heard {
		if text == missed {
			gap = true
			continue
		}
		at := slices.Index(lines[next:], text)
		if at < 0 || at > 0 && !gap {
			t.Fatalf("%s heard %q as line %d, want %q", c.name, text, next+1, lines[next:min(next+1, len(lines))])
		}
		next, gap = next+at+1, false
	}
}

// stayed checks that no client was cut off, and that none was told of a reset.
func (o *office) stayed(t *testing.T) {
	t.Helper()
	for _, c := range o.clerks {
		c.mu.Lock()
		if len(c.joined) != 1 {
			t.Errorf("%s had to join again: %+v", c.name, c.joined)
		}
		if slices.Contains(c.notices, "reset") {
			t.Errorf("%s was told of %v", c.name, c.notices)
		}
		c.mu.Unlock()
	}
}

// swap puts the spare worker in the place of the other one, which is ended with
// a signal. Where all is in one process that is started again.
func (s *system) swap(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if s.spare == nil {
		s.worker.stop(t, sig)
		s.worker.start(t)
		return
	}
	s.spare.start(t)
	s.worker, s.spare = s.spare, s.worker
	s.spare.stop(t, sig)
}

func TestNoAcknowledgedCommandIsLostOrDoneTwiceWhenWorkersAreKilled(t *testing.T) {
	onEach(t, func(t *testing.T, s *system) {
		o := s.office(t, "minutes")
		for range 2 {
			o.progress(t)
			s.swap(t, syscall.SIGKILL)
		}
		o.progress(t)
		o.audit(t, s, "minutes")
		if s.spare != nil {
			o.stayed(t)
		}
	})
}

func TestWorkersCanBeRestartedOneByOneUnderLoadWithoutADisconnect(t *testing.T) {
	for _, kind := range []string{"minutes", "notes"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := apart(t)
			s.start(t)
			t.Cleanup(func() { s.stop(t) })
			o := s.office(t, kind)
			for range 3 {
				o.progress(t)
				s.swap(t, syscall.SIGTERM)
			}
			o.progress(t)
			o.audit(t, s, kind)
			o.stayed(t)
		})
	}
}

func TestPausedWorkerCommitsNothingOnceItWasReplacedAndSaysSo(t *testing.T) { // R1
	t.Parallel()
	s := apart(t)
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	o := s.office(t, "minutes")
	o.progress(t)
	s.spare.start(t)
	t.Cleanup(func() { s.spare.stop(t, syscall.SIGTERM) })
	resume := s.worker.pause(t)
	o.progress(t)
	resume()
	s.worker.log.awaits(t, "worker was replaced")
	o.progress(t)
	o.audit(t, s, "minutes")
	o.stayed(t)
}

func TestClientsOfAnEdgeThatGoesCarryOnAtAnotherOne(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "in order": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apart(t)
			s.start(t)
			t.Cleanup(func() { s.stop(t) })
			s.more = []string{s.secondEdge(t)}
			o := s.office(t, "minutes")
			o.progress(t)
			s.edge.stop(t, sig)
			o.progress(t)
			s.turn() // the auditor goes where there is an edge
			o.audit(t, s, "minutes")
			for _, c := range o.clerks[:officeRooms] {
				if again := c.joined[len(c.joined)-1]; len(c.joined) != 2 || !again.Resumed {
					t.Errorf("%s came back with %+v, want its seat", c.name, again)
				}
			}
			for _, c := range o.clerks[officeRooms:] {
				if len(c.joined) != 1 {
					t.Errorf("%s, at the other edge, had to join again", c.name)
				}
			}
		})
	}
}

func TestOutageOfNATSCostsNoConnectionAndNoLine(t *testing.T) {
	t.Parallel()
	s := apart(t)
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	o := s.office(t, "minutes")
	o.progress(t)
	s.server.stop()
	for _, p := range []*process{s.edge, s.worker} {
		p.log.awaits(t, "NATS connection lost")
	}
	s.server.start(t)
	o.progress(t)
	o.audit(t, s, "minutes")
	o.stayed(t)
}
