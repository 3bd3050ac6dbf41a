package edge

import (
	"context"
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
	a.want(fmt.Sprintf(`[12,%d,"reset",2,1,0,0,%d,1,[[%d,"x",false]],0,false]`, j.Room, 1, 1), fmt.Sprintf(`[10,%d,0,"state"]`, j.Room))
	b.want(fmt.Sprintf(`[12,%d,"reset",2,1,0,0,%d,1,[[%d,"x",false]],0,false]`, j.Room, 5, 5), fmt.Sprintf(`[10,%d,0,"state"]`, j.Room))
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

func TestSecondsThatComeInTimeDoubtNobodyHoweverShortLostAfterIs(t *testing.T) {
	conn, err := bus.Open(context.Background(), bus.Config{Name: "test", LostAfter: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	sc := &scene{newScriptedWorker(t, conn, "chat"), startEdge(t, conn, Config{})}
	sc.enter(t, nativeName, nil, 1)
	onLoop(t, sc.s, func(lp *sessions) {
		lp.second(lp.l.now)
		lp.second(lp.l.now.Add(1100 * time.Millisecond))
		if len(lp.entries) != 0 {
			t.Error("a member joins again though nobody was away")
		}
	})
}

func replayOf(seq uint64) bus.Item {
	return bus.Item{Op: bus.ItemReplay, To: 1, Seq: seq, Event: []byte("m"), Data: fromJSON(fmt.Sprint(seq))}
}

// replayOfPresence is a replay of the presence diff that came with seq.
func replayOfPresence(seq uint64) bus.Item {
	return bus.Item{Op: bus.ItemReplayed, To: 1, Seq: seq, Presence: bus.Presence{Size: int(seq)}}
}

func privateMessage(count uint64) bus.Item {
	return bus.Item{Op: bus.ItemPrivate, To: 1, Count: count, Seq: 1, Event: []byte("p"), Data: fromJSON(fmt.Sprint(count))}
}

// back is the answer to a member whose position the room's history covers.
func (r *scriptedRoom) back(c bus.Command) bus.Item {
	return r.admit(c, 1, func(j *bus.Joined) {
		j.Resumed, j.Recovered = true, true
		j.At.Seq, j.At.Count = c.Since.Seq, c.Since.Count
	})
}

// askAgain makes the edge send the joins again that have no answer yet.
func (sc *scene) askAgain(t *testing.T) {
	t.Helper()
	onLoop(t, sc.s, func(lp *sessions) {
		for _, e := range lp.entries {
			e.sentAt -= resendAfter
		}
		lp.endEntries()
	})
}

// wantUsual fails unless member 1 gets what rooms say from here on, once and in
// order, and so it gets what it misses. It has had count private messages.
func wantUsual(t *testing.T, a *testClient, r *scriptedRoom, room int, count uint64) {
	t.Helper()
	a.send(fmt.Sprintf(`[4,%d,1,"e"]`, room))
	cmd, at := r.command(bus.OpSend), r.seq
	r.say(message("m", `"all"`), privateMessage(count+1), replyTo(cmd, `"done"`), bus.Item{Op: bus.ItemPresence, Presence: bus.Presence{Size: 1}})
	a.want(fmt.Sprintf(`[7,%d,%d,"m","all"]`, room, at+1), fmt.Sprintf(`[8,%d,1,%d,"p",%d]`, room, count+1, count+1),
		fmt.Sprintf(`[4,%d,1,"done"]`, room), fmt.Sprintf(`[9,%d,%d,1,[],[],[],[]]`, room, at+2))
	r.seq++ // lost
	r.say(message("m", `"behind"`))
	r.say(r.back(r.command(bus.OpJoin)), replayOf(at+3), replayOf(at+4))
	for seq := at + 3; seq <= at+4; seq++ {
		a.want(fmt.Sprintf(`[7,%d,%d,"m",%d]`, room, seq, seq))
	}
}

func TestReplaysOfAJoinThatWasSentTwiceAreHeardOnce(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	r.seq = 2 // lost
	r.say(message("m", `3`))
	first := r.command(bus.OpJoin)
	sc.askAgain(t)
	second := r.command(bus.OpJoin)
	if first.Since != second.Since {
		t.Errorf("since %+v, and then %+v", first.Since, second.Since)
	}
	r.say(r.back(first), replayOf(1), replayOfPresence(2), replayOf(3), privateMessage(1))
	r.say(message("m", `4`), r.back(second), replayOf(1), replayOfPresence(2), replayOf(3), privateMessage(1), replayOf(4))
	r.say(replayOf(4)) // an envelope was too small for all
	a.want(fmt.Sprintf(`[7,%d,1,"m",1]`, j.Room), fmt.Sprintf(`[9,%d,2,2,[],[],[],[]]`, j.Room), fmt.Sprintf(`[7,%d,3,"m",3]`, j.Room),
		fmt.Sprintf(`[8,%d,1,1,"p",1]`, j.Room), fmt.Sprintf(`[7,%d,4,"m",4]`, j.Room))
	wantUsual(t, a, r, j.Room, 1)
}

func TestAnswerToAnOlderQuestionIsNotTakenForTheNewOne(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	r.seq = 1 // lost
	r.say(message("m", `2`))
	first := r.command(bus.OpJoin)
	sc.askAgain(t)
	second := r.command(bus.OpJoin)
	r.say(r.back(first), replayOf(1), replayOf(2))
	r.seq = 3 // lost
	r.say(message("m", `4`))
	third := r.command(bus.OpJoin)
	if want := (bus.Position{Epoch: 1, Seq: 2}); third.Since != want {
		t.Errorf("since %+v, want %+v", third.Since, want)
	}
	r.say(r.back(second), replayOf(1), replayOf(2), replayOf(3), replayOf(4))
	r.say(r.back(third), replayOf(3), replayOf(4))
	for seq := 1; seq <= 4; seq++ {
		a.want(fmt.Sprintf(`[7,%d,%d,"m",%d]`, j.Room, seq, seq))
	}
	wantUsual(t, a, r, j.Room, 0)
}

func TestAnswerWithAnOlderCountIsNotTakenForTheNewOne(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	r.say(privateMessage(2)) // the first is lost
	first := r.command(bus.OpJoin)
	sc.askAgain(t)
	second := r.command(bus.OpJoin)
	r.say(r.back(first), privateMessage(1), privateMessage(2), privateMessage(4))
	third := r.command(bus.OpJoin)
	if want := (bus.Position{Epoch: 1, Count: 2}); third.Since != want {
		t.Errorf("since %+v, want %+v", third.Since, want)
	}
	r.say(r.back(second), privateMessage(1), privateMessage(2), privateMessage(3), privateMessage(4))
	r.say(r.back(third), privateMessage(3), privateMessage(4))
	for count := 1; count <= 4; count++ {
		a.want(fmt.Sprintf(`[8,%d,1,%d,"p",%d]`, j.Room, count, count))
	}
	wantUsual(t, a, r, j.Room, 4)
}

func TestPrivateMessageOfAWaitingMemberIsHeardFromTheRoomThatLetsItIn(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	r.seq = 1 // lost
	r.say(message("m", `2`), bus.Item{Op: bus.ItemPrivate, To: 1, Count: 1, Seq: 2, Event: []byte("forgotten")})
	r.command(bus.OpJoin)
	r.epoch, r.seq = 2, 0 // the next owner has the room as it was before, and says other things
	r.say()
	r.say(r.back(r.command(bus.OpJoin)), privateMessage(1))
	a.want(fmt.Sprintf(`[12,%d,"resumed",2]`, j.Room), fmt.Sprintf(`[8,%d,1,1,"p",1]`, j.Room))
	wantUsual(t, a, r, j.Room, 1)
}

func TestJoinFromWhereverTheClientSaysIsAnswered(t *testing.T) {
	for name, at := range map[string]bus.Position{
		"covered, of an epoch before":   {Epoch: 4, Seq: 5, Count: 3, Ver: 9},
		"not covered, less is there":    {Epoch: 4, Seq: 2, Count: 1},
		"not covered, more is there":    {Epoch: 4, Seq: 70, Count: 80, Ver: 90},
		"not covered, the count is off": {Epoch: 4, Seq: 5, Count: 2, Ver: 2},
	} {
		t.Run(name, func(t *testing.T) {
			sc := newScene(t, Config{})
			c := connect(t, sc.s, nativeName, "Ann")
			c.send(`[2,7,"chat","lounge",null,[1,5,3,2]]`)
			r := sc.next()
			r.epoch, r.seq, r.ver = 4, at.Seq, at.Ver
			join := r.command(bus.OpJoin)
			if want := (bus.Position{Epoch: 1, Seq: 5, Count: 3, Ver: 2}); join.Since != want {
				t.Errorf("since %+v, want %+v", join.Since, want)
			}
			covered := at.Seq == join.Since.Seq && at.Count == join.Since.Count
			r.say(r.admit(join, 1, func(j *bus.Joined) { j.Resumed, j.Recovered, j.At = true, covered, at }))
			got := c.joined(7)
			if (bus.Position{Epoch: got.Epoch, Seq: got.Seq, Count: got.Count, Ver: got.Ver}) != at || got.Recovered != covered {
				t.Errorf("joined %+v, want %+v", got, at)
			}
			r.say(message("m", `1`))
			c.want(fmt.Sprintf(`[7,%d,%d,"m",1]`, got.Room, at.Seq+1))
		})
	}
}

func TestAnswerMeantForAnEarlierConnIsNotTaken(t *testing.T) {
	sc := newScene(t, Config{})
	first := dial(t, sc.s, nativeName)
	first.send(`[1,{"user":"Ann"}]`, `[2,1,"chat","lounge",null,[1,1,0,0]]`)
	w := first.welcome()
	r := sc.next()
	old := r.command(bus.OpJoin)
	first.hangUp()
	waitFor(t, sc.s, "the conn to be gone", func(lp *sessions) bool { return lp.counts.memberships == 0 })
	second := dial(t, sc.s, nativeName)
	second.send(fmt.Sprintf(`[1,{"resume":%q}]`, w.Resume), `[2,1,"chat","lounge",null,[1,3,0,0]]`)
	second.welcome()
	join := r.command(bus.OpJoin)
	r.seq = 4
	r.say(r.back(old), replayOf(2), replayOf(3), replayOf(4))
	r.say(r.back(join), replayOf(4))
	j := second.joined(1)
	if j.Seq != 3 {
		t.Errorf("joined at %d, want 3", j.Seq)
	}
	second.want(fmt.Sprintf(`[7,%d,4,"m",4]`, j.Room))
	wantUsual(t, second, r, j.Room, 0)
}

// A version names a state of one owner.
func TestStateOfTheNextOwnerIsPassedOnThoughItsVersionIsTheSame(t *testing.T) {
	sc := newScene(t, Config{})
	c, r, j := sc.enter(t, nativeName, nil, 1)
	r.say(patchItem(`[{"a":1}]`))
	c.want(fmt.Sprintf(`[11,%d,1,[{"a":1}]]`, j.Room))
	r.epoch = 2
	r.say() // announced, at the same version
	it := r.admit(r.command(bus.OpJoin), 1, func(j *bus.Joined) { j.Recovered, j.HasState = true, true })
	it.Data = fromJSON(`{"a":2}`)
	r.say(it)
	c.want(fmt.Sprintf(`[12,%d,"resumed",2]`, j.Room), fmt.Sprintf(`[10,%d,1,{"a":2}]`, j.Room))
}

// The client has sent command 2 before it hears of the reset, and means another
// command by the next number.
func TestCommandSentBeforeTheResetWasHeardIsNotTakenForAnother(t *testing.T) {
	sc := newScene(t, Config{})
	c, r, j := sc.enter(t, nativeName, nil, 1)
	c.send(fmt.Sprintf(`[4,%d,1,"first"]`, j.Room))
	r.say(replyTo(r.command(bus.OpSend), `1`))
	c.want(fmt.Sprintf(`[4,%d,1,1]`, j.Room))
	r.epoch = 2
	r.say()
	join := r.command(bus.OpJoin)
	if join.Floor <= 1 {
		t.Fatalf("floor %d, want one above what the client may have used", join.Floor)
	}
	r.say(r.admit(join, 1, func(j *bus.Joined) { j.N, j.Applied, j.Resumed = join.Floor, 1, true }))
	c.want(fmt.Sprintf(`[12,%d,"reset",2,0,0,%d,1,1,[],1,true]`, j.Room, join.Floor))
	c.send(fmt.Sprintf(`[4,%d,2,"old"]`, j.Room))
	c.send(fmt.Sprintf(`[4,%d,%d,"new"]`, j.Room, join.Floor+1))
	for _, want := range []bus.Command{{N: 2, Event: []byte("old")}, {N: join.Floor + 1, Event: []byte("new")}} {
		got := r.command(bus.OpSend)
		if got.N != want.N || string(got.Event) != string(want.Event) || got.Skipped != 0 {
			t.Errorf("command %+v, want %d %s", got, want.N, want.Event)
		}
	}
}
