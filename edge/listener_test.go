package edge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomd/bus"
)

// With a subscription to everything and a stream on all subjects, NATS never
// says that nobody listens.

// eavesdrop listens to everything, in both ways.
func eavesdrop(t *testing.T, conn *bus.Conn) {
	t.Helper()
	if _, err := conn.Subscribe(">", "", make(chan *bus.Msg, 1<<16)); err != nil {
		t.Fatal(err)
	}
	if err := conn.AwaitJetStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := conn.JetStream().CreateStream(t.Context(),
		jetstream.StreamConfig{Name: "everything", Subjects: []string{"r.>"}, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
}

func TestColdRoomsAreJoinedThoughEverythingIsListenedTo(t *testing.T) {
	conn := openBus(t)
	startWorker(t, conn, openStore(t, conn), "worker")
	s := startEdge(t, conn, Config{})
	eavesdrop(t, conn)
	c := connect(t, s, jsonName, "Ann")
	var took []time.Duration
	for i := range 16 { // as many as a session may be in
		began := time.Now()
		c.send(fmt.Sprintf(`[2,%d,"echo","cold%d"]`, i+1, i))
		if f := joinAnswer(c); strings.HasPrefix(f, fmt.Sprintf("[2,%d,null", i+1)) {
			t.Fatalf("join %d: %s", i+1, f)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("joins took %v, the slowest %v", took[len(took)/2], took[len(took)-1])
	other := connect(t, s, nativeName, "Bo")
	other.send(`[2,1,"nokind","a"]`)
	if f := joinAnswer(other); !strings.HasPrefix(f, `[2,1,null,["unknown_kind"`) {
		t.Errorf("join of an unknown kind: %s", f)
	}
	other.send(`[2,2,"echo",""]`)
	if f := joinAnswer(other); strings.HasPrefix(f, "[2,2,null") {
		t.Errorf("join of any room: %s", f)
	}
}

// joinAnswer is the next answer to a join: what the rooms say is passed over.
func joinAnswer(c *testClient) string {
	c.t.Helper()
	for {
		if f := c.next(); strings.HasPrefix(f, "[2,") {
			return f
		}
	}
}

func TestRoomWhoseOwnerDiesIsOpenedThoughEverythingIsListenedTo(t *testing.T) {
	sc := newScene(t, Config{})
	eavesdrop(t, sc.conn)
	a, r, j := sc.enter(t, nativeName, nil, 1)
	sc.die(r)
	a.send(fmt.Sprintf(`[4,%d,1,"e",1]`, j.Room))
	a.want(fmt.Sprintf(`[12,%d,"paused"]`, j.Room))
	next := sc.next()
	next.epoch = 2
	back := next.command(bus.OpJoin)
	if back.Ref != 0 || !back.Resume {
		t.Errorf("OpJoin %+v, want the member's", back)
	}
	next.say(next.admit(back, 1, resumed))
	if c := next.command(bus.OpSend); c.N != 1 {
		t.Errorf("command %+v, want the one that nobody took", c)
	}
}

// The room gets its owner between our join, which is lost, and our question who
// listens.
func TestJoinThatWasLostBeforeTheRoomWasOpenIsSentAgain(t *testing.T) {
	sc := newScene(t, Config{})
	eavesdrop(t, sc.conn)
	c := connect(t, sc.s, nativeName, "Ann")
	c.send(`[2,1,"chat","lounge"]`)
	waitFor(t, sc.s, "the join to be sent", func(lp *sessions) bool {
		r := lp.rooms["chat.lounge"]
		return r != nil && r.awaited
	})
	sc.mu.Lock()
	sc.start("chat", "lounge")
	sc.mu.Unlock()
	r := sc.next()
	r.say(r.admit(r.command(bus.OpJoin), 1, nil))
	c.joined(1)
	onLoop(t, sc.s, func(lp *sessions) {
		if lp.counts.opens != 0 {
			t.Errorf("%d requests to open a room that is open", lp.counts.opens)
		}
	})
}

func TestRoomIsOpenedByWorkersWhereNATSDoesNotKnowWhoListens(t *testing.T) {
	sc := newScene(t, Config{})
	eavesdrop(t, sc.conn)
	c := connect(t, sc.s, nativeName, "Ann")
	onLoop(t, sc.s, func(lp *sessions) {
		r := lp.roomFor("chat.lounge")
		r.looks = 3 // NATS itself is not asked for long
		r.awaited, r.lookAt = true, lp.l.ms+1<<20
	})
	c.send(`[2,1,"chat","lounge"]`)
	waitFor(t, sc.s, "the join to be sent", func(lp *sessions) bool {
		r := lp.rooms["chat.lounge"]
		return len(r.entering) == 1 && len(r.pending) == 0
	})
	onLoop(t, sc.s, func(lp *sessions) {
		r := lp.rooms["chat.lounge"]
		lp.foundOut(r.no, r.try, bus.Listening{})
	})
	r := sc.next()
	r.say(r.admit(r.command(bus.OpJoin), 1, nil))
	c.joined(1)
}

func TestSlowRoomIsLookedForSeldomAndNotAskedTwice(t *testing.T) {
	sc := newScene(t, Config{})
	_, r, _ := sc.enter(t, nativeName, nil, 1)
	b := connect(t, sc.s, nativeName, "Bo")
	b.send(`[2,1,"chat","lounge"]`)
	join := r.command(bus.OpJoin)
	waitFor(t, sc.s, "a look", func(lp *sessions) bool { return lp.counts.looks > 0 && !lp.rooms[r.key].looking })
	r.say(r.admit(join, 2, nil))
	b.joined(1)
	onLoop(t, sc.s, func(lp *sessions) {
		// The first join of the room asked NATS nothing: it said by itself that nobody listens.
		if lp.counts.looks != 1 || lp.counts.opens != 1 || lp.wild {
			t.Errorf("%d looks, %d opens, wild %t; want 1, 1, false", lp.counts.looks, lp.counts.opens, lp.wild)
		}
	})
	if len(r.in)+len(r.commands) > 0 {
		t.Error("the room was asked again")
	}
}
