package edge

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"roomd/bus"
)

// Rooms whose owners hang or die: how fast, and how surely, their members find
// the next ones.

// takeOver is a new owner of r, who announces itself; the old one still listens
// to the room's commands, but does nothing.
func (r *scriptedRoom) takeOver() *scriptedRoom {
	r.t.Helper()
	next := &scriptedRoom{t: r.t, conn: r.conn, key: r.key, in: make(chan *bus.Msg, 1000), from: r.from, epoch: r.epoch + 1, seq: r.seq}
	var err error
	if next.sub, err = r.conn.Subscribe(r.conn.Subjects().In(r.key), "", next.in); err != nil {
		r.t.Fatal(err)
	}
	next.announce()
	return next
}

func (r *scriptedRoom) announce() {
	r.t.Helper()
	if err := r.conn.Publish(r.conn.Subjects().Announce(), bus.AppendOutput(nil, r.key, r.epoch, r.seq, r.ver)); err != nil {
		r.t.Fatal(err)
	}
}

func resumed(j *bus.Joined) { j.Resumed, j.Recovered = true, true }

func TestAnnouncedOwnerGetsTheMembersOfAnOwnerThatHangs(t *testing.T) {
	sc := newScene(t, Config{Loops: 2})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	a.send(fmt.Sprintf(`[4,%d,1,"e",1]`, j.Room))
	r.command(bus.OpSend) // delivered, and never answered
	next := r.takeOver()
	back := next.command(bus.OpJoin)
	if want := (bus.Position{Epoch: 1}); back.Since != want || !back.Resume {
		t.Errorf("OpJoin %+v, want since %+v", back, want)
	}
	next.say(next.admit(back, 1, resumed))
	a.want(fmt.Sprintf(`[12,%d,"resumed",2]`, j.Room))
	if c := next.command(bus.OpSend); c.N != 1 {
		t.Errorf("command %+v, want the one that the old owner had", c)
	}
	r.announce() // the old one wakes up
	next.say(message("m", `"still here"`))
	a.want(fmt.Sprintf(`[7,%d,1,"m","still here"]`, j.Room))
	onLoop(t, sc.s, func(lp *sessions) {
		if len(lp.rooms) > 0 && (lp.counts.stale != 1 || lp.rooms[r.key].epoch != 2 || lp.counts.gaps != 1) {
			t.Errorf("an older owner's announcement: stale %d, epoch %d, gaps %d", lp.counts.stale, lp.rooms[r.key].epoch, lp.counts.gaps)
		}
	})
}

func TestJoinsUnderWayGoToTheAnnouncedOwner(t *testing.T) {
	sc := newScene(t, Config{})
	_, r, _ := sc.enter(t, nativeName, nil, 1)
	second := connect(t, sc.s, nativeName, "user2")
	second.send(`[2,7,"chat","lounge"]`)
	r.command(bus.OpJoin) // delivered, and never answered
	next := r.takeOver()
	var fresh bus.Command
	for range 2 {
		if c := next.command(bus.OpJoin); c.Ref == 7 {
			fresh = c
		} else if c.Ref != 0 {
			t.Errorf("OpJoin %+v", c)
		}
	}
	next.say(next.admit(fresh, 2, nil))
	second.joined(7)
	third := next.takeOver() // while one of them still waits
	if c := third.command(bus.OpJoin); c.Ref != 0 {
		t.Errorf("OpJoin %+v, want a member's", c)
	}
	third.command(bus.OpJoin)
}

func TestFirstJoinGoesToTheAnnouncedOwner(t *testing.T) {
	sc := newScene(t, Config{})
	sc.mu.Lock()
	sc.start("chat", "lounge")
	sc.mu.Unlock()
	r := sc.next()
	a := connect(t, sc.s, nativeName, "Ann")
	a.send(`[2,1,"chat","lounge"]`)
	r.command(bus.OpJoin) // it hangs
	next := r.takeOver()
	next.say(next.admit(next.command(bus.OpJoin), 1, nil))
	if j := a.joined(1); j.Epoch != 2 {
		t.Errorf("joined %+v, want epoch 2", j)
	}
}

func TestAnnouncementEndsOpeningAndWaiting(t *testing.T) {
	for _, phase := range []phase{roomOpening, roomWaiting} {
		t.Run(fmt.Sprint(phase), func(t *testing.T) {
			sc := newScene(t, Config{})
			release, hang := make(chan struct{}), phase == roomOpening
			sc.mu.Lock()
			sc.open = func(string, string) (string, error) {
				if hang {
					<-release
				}
				return "", bus.Errorf(bus.Unavailable, "not now")
			}
			sc.mu.Unlock()
			a := connect(t, sc.s, nativeName, "Ann")
			a.send(`[2,1,"chat","lounge"]`)
			waitFor(t, sc.s, "the phase", func(lp *sessions) bool {
				r := lp.rooms["chat.lounge"]
				if r == nil || r.phase != phase {
					return false
				}
				r.again += 1 << 20 // it shall not come to another try
				return true
			})
			r := &scriptedRoom{t: t, conn: sc.conn, key: "chat.lounge", epoch: 4, from: bus.NewAddress("test", 0)}
			r = r.takeOver()
			join := r.command(bus.OpJoin)
			close(release) // a late answer is of no interest
			r.say(r.admit(join, 1, nil))
			if j := a.joined(1); j.Epoch != 5 {
				t.Errorf("joined %+v, want epoch 5", j)
			}
			waitFor(t, sc.s, "nothing to be tried again", func(lp *sessions) bool {
				lp.retryAt = lp.l.ms
				lp.retry()
				return lp.opens == 0 && len(lp.retries) == 0 && lp.rooms["chat.lounge"].phase == roomLive
			})
		})
	}
}

func TestOwnerThatWasAskedToOpenIsNotAskedTwiceAsItAnnouncesItself(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	sc.die(r)
	a.send(fmt.Sprintf(`[4,%d,1,"e",1]`, j.Room))
	next := sc.next()
	next.epoch = 2
	back := next.command(bus.OpJoin)
	next.announce()
	next.say(next.admit(back, 1, resumed))
	a.want(fmt.Sprintf(`[12,%d,"paused"]`, j.Room), fmt.Sprintf(`[12,%d,"resumed",2]`, j.Room))
	next.command(bus.OpSend) // and no other OpJoin before
	a.send(fmt.Sprintf(`[4,%d,2,"e",2]`, j.Room))
	if c := next.command(bus.OpSend); c.N != 2 {
		t.Errorf("command %+v, want number 2", c)
	}
}

func TestAnnouncementOfARoomThatIsNotHereCostsNothing(t *testing.T) {
	s := startEdge(t, openBus(t), Config{})
	b := bus.AppendOutput(nil, "chat.elsewhere", 7, 0, 0)
	onLoop(t, s, func(lp *sessions) {
		if n := testing.AllocsPerRun(100, func() { lp.output(b) }); n != 0 || len(lp.rooms) != 0 {
			t.Errorf("%v allocations, %d rooms, want none", n, len(lp.rooms))
		}
	})
}

func TestOneRoomWithoutAnOwnerShowsThatItsWorkerIsGone(t *testing.T) {
	conn, err := bus.Open(context.Background(), bus.Config{Name: "test", LostAfter: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	own, err := conn.Dial(t.Context(), "worker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	sc := &scene{newScriptedWorker(t, own, "chat"), startEdge(t, conn, Config{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bus.NewNodes(own, "worker", nil, nil).Run(ctx) }()
	// Each node looks after the next one: that is not to be the worker.
	stop, err := conn.Handle(conn.Subjects().Node("tester")+".ping", "", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	beat := bus.AppendBool(bus.AppendUint(bus.AppendString(nil, "edge"), 0), false)
	beat = bus.AppendUint(beat, uint64(time.Now().UnixMilli()))
	waitFor(t, sc.s, "the others to be known", func(lp *sessions) bool {
		if err := conn.Publish(conn.Subjects().Node("tester"), beat); err != nil {
			t.Error(err)
		}
		return lp.srv.nodes.Alive("worker") && lp.srv.nodes.Alive("tester")
	})

	a, _, ja := sc.enter(t, nativeName, nil, 1)
	b := connect(t, sc.s, nativeName, "quiet")
	b.send(`[2,1,"chat","other"]`)
	other := sc.next()
	other.say(other.admit(other.command(bus.OpJoin), 1, nil))
	jb := b.joined(1)
	own.Close() // killed
	a.send(fmt.Sprintf(`[4,%d,1,"e"]`, ja.Room))
	a.want(fmt.Sprintf(`[12,%d,"paused"]`, ja.Room))
	b.want(fmt.Sprintf(`[12,%d,"paused"]`, jb.Room))
	cancel()
	<-ended // with whatever a closed connection gives
}

func TestRequestThatADeadWorkerMayHaveHadIsMadeAgain(t *testing.T) {
	conn := openBus(t)
	corpse := make(chan *bus.Msg, 10) // took the request, and never answers
	sub, err := conn.Subscribe(conn.Subjects().Open("chat"), "open", corpse)
	if err != nil {
		t.Fatal(err)
	}
	sc := &scene{s: startEdge(t, conn, Config{MaxOpens: 1})}
	a := connect(t, sc.s, nativeName, "Ann")
	a.send(`[2,1,"chat","lounge"]`, `[2,2,"chat","den"]`)
	<-corpse
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	sc.scriptedWorker = newScriptedWorker(t, conn, "chat")
	if err := conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var first []*answer
	onLoop(t, sc.s, func(lp *sessions) { first = slices.Collect(maps.Keys(lp.asked)) })
	sc.s.lostNode(bus.Node{Name: "worker", Role: "worker"})
	onLoop(t, sc.s, func(*sessions) {
		if len(first) != 1 || first[0].done != nil {
			t.Errorf("the answer to %v is still waited for", first)
		}
	})
	for range 2 {
		r := sc.next()
		r.say(r.admit(r.command(bus.OpJoin), 1, nil))
		a.until("[2,")
	}
	waitFor(t, sc.s, "no request", func(lp *sessions) bool { return lp.opens == 0 && len(lp.asked)+lp.waiting.len() == 0 })
}

func TestOpeningIsTriedAgainSoonAndThenLessOften(t *testing.T) {
	s := startEdge(t, openBus(t), Config{})
	onLoop(t, s, func(lp *sessions) {
		r := lp.roomFor("chat.x")
		for retries, most := range map[uint8]uint32{0: 25, 1: 25, 2: 50, 3: 100, 4: 200, 7: 1600, 8: 2000, 16: 2000} {
			r.retries = retries
			lp.openLater(r)
			if wait := r.again - lp.l.ms; wait < most/2 || wait > most {
				t.Errorf("try %d after %d ms, want %d to %d", retries, wait, most/2, most)
			}
		}
		if len(lp.retries) != 1 {
			t.Errorf("one room is listed %d times", len(lp.retries))
		}
		lp.tidy(r)
		lp.retryAt = lp.l.ms
		lp.retry()
		if len(lp.retries) != 0 {
			t.Error("a room that is gone will be opened again")
		}
	})
}

func TestLoopWakesWhenItIsMeantTo(t *testing.T) {
	s := startEdge(t, openBus(t), Config{})
	onLoop(t, s, func(lp *sessions) {
		lp.l.wakeAt(lp.l.ms + 1<<20)
		lp.l.wakeAt(lp.l.ms + 5) // sooner
		lp.l.wakeAt(lp.l.ms + 50)
		if lp.l.alarmAt != lp.l.ms+5 {
			t.Errorf("wakes in %d ms, want 5", lp.l.alarmAt-lp.l.ms)
		}
	})
	waitFor(t, s, "the alarm", func(lp *sessions) bool { return !lp.l.alarmed })
}

func TestManyRoomsAreNotBroughtBackAllAtOnce(t *testing.T) {
	s := startEdge(t, openBus(t), Config{})
	const rooms = 5*rejoinsAtOnce/2 + 7
	onLoop(t, s, func(lp *sessions) {
		for i := range rooms {
			lp.roomFor(fmt.Sprintf("chat.%d", i))
		}
		lp.reconnected()
		if got := len(lp.doubted); got != rooms-rejoinsAtOnce {
			t.Errorf("%d rooms left for later, want %d", got, rooms-rejoinsAtOnce)
		}
	})
	waitFor(t, s, "the others", func(lp *sessions) bool { return len(lp.doubted) == 0 })
}

func TestMembersGoBackInWhenAWorkerHadTakenTheirEdgeForLost(t *testing.T) {
	sc := newScene(t, Config{})
	_, r, _ := sc.enter(t, nativeName, nil, 1)
	for range 3 { // several workers
		if _, err := sc.conn.Request(t.Context(), sc.conn.Subjects().Node("test")+".ping", []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	r.say(r.admit(r.command(bus.OpJoin), 1, resumed))
	waitFor(t, sc.s, "an end", func(lp *sessions) bool { return !lp.missing && len(lp.entries) == 0 })
}
