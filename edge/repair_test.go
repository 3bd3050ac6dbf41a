package edge

import (
	"fmt"
	"testing"
	"time"

	"roomd/bus"
)

// What was lost on the way, and rooms whose owners are gone: how members get
// back to where they were.

func TestGapIsRepairedFromWhereTheMembersAre(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	r.say(message("m", `1`), patchItem(`1`))
	r.seq += 2 // two messages that never arrive
	r.say(message("m", `4`))
	back := r.command(bus.OpJoin)
	if want := (bus.Position{Epoch: 1, Seq: 1, Ver: 1}); back.Since != want || !back.Resume || back.Ref != 0 {
		t.Errorf("OpJoin %+v, want since %+v", back, want)
	}
	r.say(message("m", `5`)) // in the meantime
	it := r.admit(back, 1, func(j *bus.Joined) { j.Resumed, j.Recovered, j.At.Seq = true, true, 1 })
	replay := func(seq uint64) bus.Item {
		return bus.Item{Op: bus.ItemReplay, To: 1, Seq: seq, Event: []byte("m"), Data: fromJSON(fmt.Sprint(seq))}
	}
	r.say(it, replay(2), replay(3), replay(4), replay(5), message("m", `6`))
	a.want(fmt.Sprintf(`[7,%d,1,"m",1]`, j.Room), fmt.Sprintf(`[11,%d,1,1]`, j.Room))
	for seq := 2; seq <= 6; seq++ {
		a.want(fmt.Sprintf(`[7,%d,%d,"m",%d]`, j.Room, seq, seq))
	}
}

func TestGapInPrivateMessagesIsRepairedForThatMember(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	b, _, _ := sc.enter(t, nativeName, r, 2)
	private := func(count uint64) bus.Item {
		return bus.Item{Op: bus.ItemPrivate, To: 1, Count: count, Seq: 1, Event: []byte("p"), Data: fromJSON(`0`)}
	}
	r.say(message("m", `1`), private(2), message("m", `2`))
	back := r.command(bus.OpJoin)
	if want := (bus.Position{Epoch: 1, Seq: 1}); back.Since != want {
		t.Errorf("since %+v, want %+v", back.Since, want)
	}
	r.say(r.admit(back, 1, func(j *bus.Joined) { j.Resumed, j.Recovered, j.At.Seq, j.At.Count = true, true, 1, 0 }),
		private(1), private(2), bus.Item{Op: bus.ItemReplay, To: 1, Seq: 2, Event: []byte("m"), Data: fromJSON(`2`)})
	a.want(fmt.Sprintf(`[7,%d,1,"m",1]`, j.Room), fmt.Sprintf(`[8,%d,1,1,"p",0]`, j.Room),
		fmt.Sprintf(`[8,%d,1,2,"p",0]`, j.Room), fmt.Sprintf(`[7,%d,2,"m",2]`, j.Room))
	b.want(fmt.Sprintf(`[7,%d,1,"m",1]`, j.Room), fmt.Sprintf(`[7,%d,2,"m",2]`, j.Room))
}

func TestDeadOwnerPausesAndCommandsReachTheNextInOrder(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	r.say(message("m", `1`))
	a.want(fmt.Sprintf(`[7,%d,1,"m",1]`, j.Room))
	a.send(fmt.Sprintf(`[4,%d,1,"e",1]`, j.Room), fmt.Sprintf(`[4,%d,2,"e",2]`, j.Room))
	first := r.command(bus.OpSend)
	r.command(bus.OpSend)
	r.say(replyTo(first, `"one"`))
	a.want(fmt.Sprintf(`[4,%d,1,"one"]`, j.Room))
	sc.die(r)
	a.send(fmt.Sprintf(`[4,%d,3,"e",3]`, j.Room), fmt.Sprintf(`[4,%d,0,"e",0]`, j.Room))
	a.want(fmt.Sprintf(`[12,%d,"paused"]`, j.Room))

	next := sc.next()
	next.epoch, next.seq = 2, 1
	back := next.command(bus.OpJoin)
	if want := (bus.Position{Epoch: 1, Seq: 1}); back.Since != want || back.Ref != 0 {
		t.Errorf("OpJoin %+v, want since %+v", back, want)
	}
	a.send(fmt.Sprintf(`[4,%d,4,"e",4]`, j.Room), fmt.Sprintf(`[4,%d,0,"e",0]`, j.Room)) // waits too; without a number it does not
	a.want(fmt.Sprintf(`[0,"unavailable","",4,%d]`, j.Room))
	next.say(next.admit(back, 1, func(j *bus.Joined) { j.Resumed, j.Recovered, j.N = true, true, 1 }))
	a.want(fmt.Sprintf(`[12,%d,"resumed",2]`, j.Room))
	for n := uint64(2); n <= 4; n++ {
		if c := next.command(bus.OpSend); c.N != n || toJSON(c.Data) != fmt.Sprint(n) {
			t.Fatalf("command %+v, want number %d", c, n)
		}
	}
	a.send(fmt.Sprintf(`[4,%d,5,"e",5]`, j.Room))
	if c := next.command(bus.OpSend); c.N != 5 {
		t.Errorf("command %+v, want number 5", c)
	}
}

func TestNewOwnerThatForgotIsToldAsReset(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 5)
	b, _, _ := sc.enter(t, nativeName, r, 1)
	a.send(fmt.Sprintf(`[4,%d,1,"e"]`, j.Room))
	r.command(bus.OpSend)

	// a gets the number that was b's, b gets a's
	members := map[uint64]uint32{sessionOf(t, sc.s, 5): 1, sessionOf(t, sc.s, 1): 5}
	r.epoch, r.seq = 2, 0 // taken over; what it says now shows it
	r.say(message("m", `"new"`))
	again := []bus.Command{r.command(bus.OpJoin), r.command(bus.OpJoin)}
	for _, c := range again {
		it := r.admit(c, members[c.Session], func(j *bus.Joined) {
			j.HasState = true
			j.Members = []bus.Seat{{Member: members[c.Session], User: "x"}}
		})
		it.Data = fromJSON(`"state"`)
		r.say(it)
	}
	r.say(message("m", `"for all"`), bus.Item{Op: bus.ItemPrivate, To: 1, Count: 1, Seq: 2, Event: []byte("p")})
	a.want(fmt.Sprintf(`[12,%d,"reset",2,1,0,0,%d,1,[[%d,"x",false]]]`, j.Room, 1, 1), fmt.Sprintf(`[10,%d,0,"state"]`, j.Room))
	b.want(fmt.Sprintf(`[12,%d,"reset",2,1,0,0,%d,1,[[%d,"x",false]]]`, j.Room, 5, 5), fmt.Sprintf(`[10,%d,0,"state"]`, j.Room))
	a.want(fmt.Sprintf(`[7,%d,2,"m","for all"]`, j.Room), fmt.Sprintf(`[8,%d,2,1,"p",null]`, j.Room))
	b.want(fmt.Sprintf(`[7,%d,2,"m","for all"]`, j.Room))
	a.send(fmt.Sprintf(`[4,%d,1,"again"]`, j.Room)) // numbers begin anew, and the old command is not sent again
	if c := r.command(bus.OpSend); c.N != 1 || string(c.Event) != "again" || c.Member != 1 {
		t.Errorf("command %+v, want number 1 of member 1", c)
	}
}

func TestOutputOfAnOlderOwnerIsDropped(t *testing.T) { // R2
	sc := newScene(t, Config{})
	c := connect(t, sc.s, nativeName, "Ann")
	c.send(`[2,1,"chat","lounge"]`)
	r := sc.next()
	r.epoch = 7
	r.say(r.admit(r.command(bus.OpJoin), 1, nil))
	j := c.joined(1)
	old := *r
	old.epoch = 6
	old.say(message("m", `"from the grave"`))
	r.say(message("m", `"alive"`))
	c.want(fmt.Sprintf(`[7,%d,1,"m","alive"]`, j.Room))
}

func TestCommandLostOnTheWayIsSentAgainBeforeThoseAfterIt(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	a.send(fmt.Sprintf(`[4,%d,1,"e"]`, j.Room), fmt.Sprintf(`[4,%d,2,"e"]`, j.Room))
	r.command(bus.OpSend) // lost, let us say
	two := r.command(bus.OpSend)
	r.say(bus.Item{Op: bus.ItemReply, To: 1, N: two.N, Code: bus.OutOfOrder})
	for n := uint64(1); n <= 2; n++ {
		c := r.command(bus.OpSend)
		if c.N != n {
			t.Fatalf("command %d, want %d", c.N, n)
		}
		r.say(replyTo(c, `null`))
		a.want(fmt.Sprintf(`[4,%d,%d,null]`, j.Room, n))
	}
}

func TestCommandWithoutAReplyIsSentAgainBeforeItTimesOut(t *testing.T) {
	sc := newScene(t, Config{CommandTimeout: time.Minute})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	a.send(fmt.Sprintf(`[4,%d,1,"e"]`, j.Room))
	first := r.command(bus.OpSend) // lost, let us say: the worker was cut off for a moment
	again := r.command(bus.OpSend)
	if again.N != first.N {
		t.Fatalf("command %d, want %d again", again.N, first.N)
	}
	r.say(replyTo(again, `null`))
	a.want(fmt.Sprintf(`[4,%d,1,null]`, j.Room))
}

func TestMemberThatTheRoomHasLostGoesBackIn(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	a.send(fmt.Sprintf(`[4,%d,1,"e"]`, j.Room), fmt.Sprintf(`[4,%d,2,"e"]`, j.Room))
	notJoined := func() {
		for range 2 {
			c := r.command(bus.OpSend)
			r.say(bus.Item{Op: bus.ItemReply, To: 1, N: c.N, Code: bus.NotJoined})
		}
	}
	notJoined()
	r.say(r.admit(r.command(bus.OpJoin), 1, func(j *bus.Joined) { j.Resumed, j.Recovered = true, true }))
	notJoined() // sent again; if it is what the room means, the client hears it
	a.want(fmt.Sprintf(`[4,%d,1,null,["not_joined"]]`, j.Room), fmt.Sprintf(`[4,%d,2,null,["not_joined"]]`, j.Room))
}

func TestMemberThatTheRoomLosesAgainLaterGoesBackInAgain(t *testing.T) {
	later := map[string]func(sc *scene, r *scriptedRoom){
		"after another return": func(_ *scene, r *scriptedRoom) {
			r.epoch++
			r.say()
			r.say(r.admit(r.command(bus.OpJoin), 1, resumed))
		},
		"after a while": func(sc *scene, r *scriptedRoom) {
			onLoop(r.t, sc.s, func(lp *sessions) { lp.rooms[r.key].find(1).lostAt -= disownedFor })
		},
	}
	for name, pass := range later {
		t.Run(name, func(t *testing.T) {
			sc := newScene(t, Config{})
			a, r, j := sc.enter(t, nativeName, nil, 1)
			lose := func() {
				a.send(fmt.Sprintf(`[4,%d,0,"e"]`, j.Room))
				r.command(bus.OpSend)
				r.say(bus.Item{Op: bus.ItemError, To: 1, Code: bus.NotJoined})
				r.say(r.admit(r.command(bus.OpJoin), 1, resumed))
				waitFor(t, sc.s, "the member to be back", func(lp *sessions) bool { return len(lp.entries) == 0 })
			}
			lose()
			pass(sc, r)
			waitFor(t, sc.s, "the member to be back", func(lp *sessions) bool { return len(lp.entries) == 0 })
			lose()
		})
	}
}

func TestLostWorkerIsNoticedWithoutACommand(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	sc.die(r)
	sc.s.lostNode(bus.Node{Name: "worker", Role: "worker"})
	a.want(fmt.Sprintf(`[12,%d,"paused"]`, j.Room))
	next := sc.next()
	next.epoch = 2
	next.say(next.admit(next.command(bus.OpJoin), 1, func(j *bus.Joined) { j.Resumed, j.Recovered = true, true }))
	a.want(fmt.Sprintf(`[12,%d,"resumed",2]`, j.Room))
}

func TestEdgeThatWasStoppedJoinsItsMembersAgain(t *testing.T) {
	sc := newScene(t, Config{})
	_, r, _ := sc.enter(t, nativeName, nil, 1)
	r.say(message("m", `1`))
	waitFor(t, sc.s, "the message", func(lp *sessions) bool { return lp.rooms[r.key].seq == 1 })
	onLoop(t, sc.s, func(lp *sessions) {
		lp.second(lp.l.now)
		lp.second(lp.l.now.Add(3 * time.Second))
	})
	if c := r.command(bus.OpJoin); c.Since != (bus.Position{Epoch: 1, Seq: 1}) {
		t.Errorf("since %+v", c.Since)
	}
}
