package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomd/bus"
	"roomd/rooms"
)

// Returns that the room refuses for now: members that the edge brings back in by
// itself are not thrown out for them.

// A gated room stands still at "stall" until the test lets it go on.
type gated struct {
	parrot
	stalled chan struct{} // has something when the room stands still
	open    chan struct{} // closed to let it go on
}

func (g *gated) Receive(r *rooms.Room, m *rooms.Member, msg *rooms.Message) error {
	switch msg.Event {
	case "stall":
		g.stalled <- struct{}{}
		<-g.open
	case "idle":
	default:
		return g.parrot.Receive(r, m, msg)
	}
	return nil
}

// A stall is an edge and a worker with one gated room, and two clients in it.
type stall struct {
	t      *testing.T
	s      *Server
	gate   *gated
	worker *prometheus.Registry
	a, b   *testClient
	room   int
	epoch  uint64
}

func newStall(t *testing.T) *stall {
	gate := &gated{parrot{new(parrotState)}, make(chan struct{}, 1), make(chan struct{})}
	conn := openBus(t)
	w, _ := runWorker(t, conn, openStore(t, conn), "worker", rooms.Config{}, rooms.Kind{
		Name: "gated", New: func() rooms.Handler { return gate }, MaxMailbox: 1,
	})
	st := &stall{t: t, s: startEdge(t, conn, unlimited(Config{})), gate: gate, worker: prometheus.NewRegistry()}
	st.worker.MustRegister(w.Collectors()...)
	enter := func(user string) *testClient {
		c := connect(t, st.s, nativeName, user)
		c.send(`[2,1,"gated","x"]`)
		j := c.joined(1)
		st.room, st.epoch = j.Room, j.Epoch
		c.want(fmt.Sprintf(`[8,%d,0,1,"welcome",%q]`, st.room, user))
		return c
	}
	st.a, st.b = enter("a"), enter("b")
	return st
}

// waitForWorker waits until a counter of the worker is above 0.
func (st *stall) waitForWorker(counter string) {
	st.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		families, err := st.worker.Gather()
		if err != nil {
			st.t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == counter && f.Metric[0].GetCounter().GetValue() > 0 {
				return
			}
		}
		if time.Now().After(deadline) {
			st.t.Fatalf("waited too long for %s", counter)
		}
	}
}

// close makes the room stand still.
func (st *stall) close() {
	st.t.Helper()
	st.b.send(fmt.Sprintf(`[4,%d,0,"stall"]`, st.room))
	select {
	case <-st.gate.stalled:
	case <-time.After(patience):
		st.t.Fatal("the room does not stall")
	}
}

// goesOn lets the room go on, and checks that a is in it as before.
func (st *stall) goesOn() {
	st.t.Helper()
	close(st.gate.open)
	waitFor(st.t, st.s, "the refusal", func(lp *sessions) bool { return lp.counts.putOff > 0 })
	st.a.send(fmt.Sprintf(`[4,%d,1,"echo",7]`, st.room))
	for _, want := range []string{
		fmt.Sprintf(`[12,%d,"paused"]`, st.room), fmt.Sprintf(`[12,%d,"resumed",%d]`, st.room, st.epoch), fmt.Sprintf(`[4,%d,1,7]`, st.room),
	} {
		got := st.a.next()
		for strings.HasPrefix(got, "[9,") { // presence, whenever it was told
			got = st.a.next()
		}
		if got != want {
			st.t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

func TestMemberWhoseReturnComesTooLateStays(t *testing.T) {
	st := newStall(t)
	st.close()
	const short = 20 * time.Millisecond
	var deadline time.Time
	onLoop(t, st.s, func(lp *sessions) { // as after NATS was away; the room is asked now, and late when it goes on
		timeout := lp.cfg.CommandTimeout
		lp.cfg.CommandTimeout = short
		lp.reconnected()
		lp.publish(lp.rooms["gated.x"])
		lp.cfg.CommandTimeout = timeout
		deadline = lp.l.now.Add(short)
	})
	<-time.After(time.Until(deadline) + short)
	st.goesOn()
}

func TestMemberWhoseReturnFindsAFullMailboxStays(t *testing.T) {
	st := newStall(t)
	st.close()
	st.b.send(fmt.Sprintf(`[4,%d,0,"idle"]`, st.room))
	waitFor(t, st.s, "the command that fills the mailbox", func(lp *sessions) bool { return lp.counts.commands == 2 })
	onLoop(t, st.s, func(lp *sessions) {
		lp.publish(lp.rooms["gated.x"]) // by itself, or all of it would be let in
		lp.reconnected()
	})
	st.waitForWorker("roomd_rooms_mailbox_full_total")
	st.goesOn()
}

func TestLateAnswersToAnEarlierReturnEndNoLaterOne(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	gapAgain := func() bus.Command {
		r.seq++ // one that never arrives
		r.say()
		return r.command(bus.OpJoin)
	}
	first := gapAgain()
	r.say(r.admit(first, 1, resumed))
	second := gapAgain()
	if second.Try == first.Try {
		t.Fatalf("both returns have the number %d", first.Try)
	}
	// The first was sent twice, say; what the room answers to that comes now.
	r.say(refuseJoin(first, bus.RoomFull, ""), r.admit(first, 1, nil))
	r.say(r.admit(second, 1, func(j *bus.Joined) { resumed(j); j.At.Seq = second.Since.Seq }), message("m", `3`))
	a.want(fmt.Sprintf(`[7,%d,3,"m",3]`, j.Room))
}

func TestReturnRefusedForNowIsAskedAgainAndForGoodIsNot(t *testing.T) {
	for _, code := range []bus.Code{bus.Overloaded, bus.Timeout, bus.Unavailable} {
		t.Run(code, func(t *testing.T) {
			sc := newScene(t, Config{})
			a, r, j := sc.enter(t, nativeName, nil, 1)
			r.seq++
			r.say()
			for i := range 3 {
				back := r.command(bus.OpJoin)
				if i == 0 {
					a.send(fmt.Sprintf(`[4,%d,1,"e",1]`, j.Room)) // waits until a is back
				}
				r.say(refuseJoin(back, code, "not now"))
			}
			r.say(r.admit(r.command(bus.OpJoin), 1, func(j *bus.Joined) { resumed(j); j.At.Seq = 0 }))
			a.want(fmt.Sprintf(`[12,%d,"paused"]`, j.Room), fmt.Sprintf(`[12,%d,"resumed",1]`, j.Room))
			if c := r.command(bus.OpSend); c.N != 1 {
				t.Errorf("command %+v, want number 1", c)
			}
			r.seq++
			r.say()
			r.say(refuseJoin(r.command(bus.OpJoin), bus.Forbidden, "banned"))
			a.want(fmt.Sprintf(`[3,%d,"forbidden","banned"]`, j.Room))
		})
	}
}

func TestJoinIsRefusedAtOnceWhenNoWorkerHasRoom(t *testing.T) {
	conn := openBus(t)
	runWorker(t, conn, openStore(t, conn), "worker", rooms.Config{MaxRooms: 1})
	s := startEdge(t, conn, Config{CommandTimeout: time.Hour}) // no client waits that long
	a := connect(t, s, nativeName, "a")
	a.send(`[2,1,"echo","first"]`)
	a.joined(1)
	a.send(`[2,2,"echo","second"]`)
	for f := a.next(); ; f = a.next() {
		if strings.HasPrefix(f, "[2,") {
			if want := `[2,2,null,["overloaded","all workers have as many rooms as they may"]]`; f != want {
				t.Errorf("got  %s\nwant %s", f, want)
			}
			return
		}
	}
}

func TestJoinsOfMoreNewRoomsThanCanBeOpenedAreRefusedEarly(t *testing.T) {
	const joins = 20_000
	for name, cfg := range map[string]Config{
		"too many wait":              {MaxOpenQueue: 10, CommandTimeout: time.Hour},
		"the last would be too late": {MaxOpenQueue: 2 * joins, CommandTimeout: 20 * time.Second}, // it takes 100 s or more
	} {
		t.Run(name, func(t *testing.T) {
			conn := openBus(t)
			slow := func() rooms.Handler {
				time.Sleep(5 * time.Millisecond) // with MaxOpens 1: at most 200 a second
				return &parrot{new(parrotState)}
			}
			runWorker(t, conn, openStore(t, conn), "worker", rooms.Config{}, rooms.Kind{Name: "slow", New: slow})
			cfg.MaxOpens, cfg.MaxRooms = 1, joins
			s := startEdge(t, conn, unlimited(cfg))
			c := connect(t, s, jsonName, "a")
			for i := range joins {
				c.send(fmt.Sprintf(`[2,%d,"slow","r%d"]`, i+1, i))
			}
			for {
				f := c.next()
				if !strings.HasPrefix(f, "[2,") || !strings.Contains(f, `,null,["`) {
					continue
				}
				if !strings.Contains(f, `,null,["overloaded","too many rooms are being opened"]]`) {
					t.Errorf("the first refusal is %s", f)
				}
				return
			}
		})
	}
}

// The room says that the session goes on elsewhere: then the conn here, which may
// be dead without our knowing, ends as a replaced one.
func TestReturnOfAConnThatWasReplacedElsewhereEndsIt(t *testing.T) {
	sc := newScene(t, Config{})
	c := connect(t, sc.s, nativeName, "Ann")
	c.send(`[2,1,"chat","lounge"]`)
	r := sc.next()
	r.say(r.admit(r.command(bus.OpJoin), 1, func(j *bus.Joined) { j.Last = 3 }))
	j := c.joined(1)
	r.say(bus.Item{Op: bus.ItemError, To: j.Member, Code: bus.NotJoined})
	back := r.command(bus.OpJoin)
	if back.Ref != 0 || back.Last != 3 {
		t.Errorf("return %+v, want the join that the edge knows of", back)
	}
	r.say(bus.Item{Op: bus.ItemRefused, Session: back.Session, Try: back.Try, Code: bus.Replaced})
	c.want(`[13,"replaced","the session continues on another connection",-1]`)
}

// A conn that goes while its room's owner is out of reach is a member that the
// owner, should it live, still has.
func TestMemberThatWentWhileItsOwnerWasOutOfReachIsToldAsAway(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, _ := sc.enter(t, nativeName, nil, 1)
	b, _, j := sc.enter(t, nativeName, r, 2)
	opens := func(open func(kind, id string) (string, error)) {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		sc.open = open
	}
	opens(func(string, string) (string, error) { return "", bus.Errorf(bus.Unavailable, "") })
	onLoop(t, sc.s, func(lp *sessions) { lp.lost(lp.rooms[r.key]) })
	b.want(fmt.Sprintf(`[12,%d,"paused"]`, j.Room))
	a.hangUp()
	waitFor(t, sc.s, "the conn to go", func(lp *sessions) bool { return len(lp.rooms[r.key].entering) == 1 })
	opens(nil) // the owner was only out of reach
	r.say(r.admit(r.command(bus.OpJoin), 2, func(j *bus.Joined) { j.Recovered = true }))
	if c := r.command(bus.OpAway); c.Member != 1 {
		t.Errorf("told that member %d is away, want 1", c.Member)
	}
}
