package edge

import (
	"fmt"
	"testing"
	"time"

	"roomd/bus"
)

// scene is an edge, a worker whose rooms do what the test says, and one room
// with one member.
type scene struct {
	*scriptedWorker
	s *Server
}

func newScene(t *testing.T, cfg Config) *scene {
	conn := openBus(t)
	return &scene{newScriptedWorker(t, conn, "chat"), startEdge(t, conn, cfg)}
}

// enter brings a new client into a room that exists or is opened for it.
func (sc *scene) enter(t *testing.T, protocol string, r *scriptedRoom, member uint32) (*testClient, *scriptedRoom, joinedMap) {
	t.Helper()
	c := connect(t, sc.s, protocol, fmt.Sprintf("user%d", member))
	c.send(`[2,1,"chat","lounge"]`)
	if r == nil {
		r = sc.next()
	}
	r.say(r.admit(r.command(bus.OpJoin), member, nil))
	return c, r, c.joined(1)
}

func TestJoinOpensTheRoomAndAnswers(t *testing.T) {
	sc := newScene(t, Config{})
	c := connect(t, sc.s, nativeName, "Ann")
	c.send(`[2,7,"chat","lounge",{"x":1}]`)
	r := sc.next()
	join := r.command(bus.OpJoin)
	if join.User != "Ann" || join.Ref != 7 || join.Resume || toJSON(join.Options) != `{"x":1}` {
		t.Errorf("OpJoin %+v", join)
	}
	r.seq, r.ver = 5, 9
	it := r.admit(join, 3, func(j *bus.Joined) { j.HasState, j.Seats = true, 10 })
	it.Data = fromJSON(`{"s":1}`)
	r.say(it, message("said", `"hi"`))
	j := c.joined(7)
	if j.Kind != "chat" || j.ID != "lounge" || j.Member != 3 || j.Epoch != 1 || j.Seq != 5 || j.Ver != 9 || j.Seats != 10 || fmt.Sprint(j.State) != "map[s:1]" {
		t.Errorf("joined %+v", j)
	}
	c.want(fmt.Sprintf(`[7,%d,6,"said","hi"]`, j.Room))
}

func TestJoinIsRefusedWithTheRightCode(t *testing.T) {
	sc := newScene(t, Config{MaxRooms: 2})
	c := connect(t, sc.s, nativeName, "Ann")
	for frame, want := range map[string]string{
		`[2,1,"Chat","a"]`:                        `[2,1,null,["bad_name","kind: 1 to 32 of a-z 0-9 _ -"]]`,
		`[2,1,"","a"]`:                            `[2,1,null,["bad_name","kind: 1 to 32 of a-z 0-9 _ -"]]`,
		`[2,2,"chat","a.*>"]`:                     `[2,2,null,["bad_name","room id: 1 to 64 of A-Z a-z 0-9 _ -"]]`,
		`[2,2,"chat","\u0000"]`:                   `[2,2,null,["bad_name","room id: 1 to 64 of A-Z a-z 0-9 _ -"]]`,
		fmt.Sprintf(`[2,2,"chat","%010000d"]`, 1): `[2,2,null,["bad_name","room id: 1 to 64 of A-Z a-z 0-9 _ -"]]`,
		`[2,3,"nokind","a"]`:                      `[2,3,null,["unknown_kind","nobody listens"]]`,
		`[2,4,"nokind",""]`:                       `[2,4,null,["unknown_kind","nobody listens"]]`,
	} {
		c.send(frame)
		c.want(want)
	}
	c.send(`[2,5,"chat","full"]`)
	r := sc.next()
	join := r.command(bus.OpJoin)
	r.say(refuseJoin(join, bus.RoomFull, "no seat"))
	c.want(`[2,5,null,["room_full","no seat"]]`)

	c.send(`[2,6,"chat","a"]`)
	a := sc.next()
	a.say(a.admit(a.command(bus.OpJoin), 1, nil))
	c.joined(6)
	c.send(`[2,7,"chat","a"]`)
	c.want(`[2,7,null,["already_joined"]]`)
	c.send(`[2,8,"chat","b"]`, `[2,9,"chat","b"]`, `[2,10,"chat","c"]`)
	c.want(`[2,9,null,["already_joined"]]`, `[2,10,null,["too_many_rooms"]]`)
}

func TestAnyRoomTriesAnotherWhenTheFirstIsFull(t *testing.T) {
	sc := newScene(t, Config{})
	n := 0
	sc.mu.Lock()
	sc.open = func(kind, id string) (string, error) {
		if id != "" {
			return id, nil
		}
		n++
		return fmt.Sprintf("any%d", n), nil
	}
	sc.mu.Unlock()
	c := connect(t, sc.s, nativeName, "Ann")
	c.send(`[2,1,"chat",""]`)
	r := sc.next()
	join := r.command(bus.OpJoin)
	r.say(refuseJoin(join, bus.RoomFull, ""))
	r = sc.next()
	r.say(r.admit(r.command(bus.OpJoin), 1, nil))
	if j := c.joined(1); j.ID != "any2" {
		t.Errorf("joined %q, want any2", j.ID)
	}
}

func TestBroadcastsRepliesAndPrivateMessagesKeepTheirOrder(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, ja := sc.enter(t, nativeName, nil, 1)
	b, _, jb := sc.enter(t, jsonName, r, 2)
	if ja.Room != jb.Room {
		t.Errorf("rooms %d and %d, want the same number for both", ja.Room, jb.Room)
	}
	a.send(fmt.Sprintf(`[4,%d,1,"say","x"]`, ja.Room))
	cmd := r.command(bus.OpSend)
	if cmd.Member != 1 || cmd.N != 1 || string(cmd.Event) != "say" || toJSON(cmd.Data) != `"x"` {
		t.Errorf("command %+v", cmd)
	}
	r.say(
		message("m", `1`),
		bus.Item{Op: bus.ItemPrivate, To: 1, Count: 1, Seq: 1, Event: []byte("p"), Data: fromJSON(`1`)},
		patchItem(`{"k":1}`), patchItem(`{"k":2}`),
		replyTo(cmd, `"done"`),
		message("m", `2`),
		bus.Item{Op: bus.ItemPresence, Presence: bus.Presence{Size: 2, Joined: []bus.Seat{{Member: 2, User: "user2"}}}},
		bus.Item{Op: bus.ItemError, To: 2, Code: "nope", Text: "why"},
	)
	n := ja.Room
	all := []string{
		fmt.Sprintf(`[7,%d,1,"m",1]`, n), fmt.Sprintf(`[11,%d,1,{"k":1}]`, n), fmt.Sprintf(`[11,%d,2,{"k":2}]`, n),
		fmt.Sprintf(`[7,%d,2,"m",2]`, n), fmt.Sprintf(`[9,%d,3,2,[[2,"user2"]],[],[],[]]`, n),
	}
	a.want(all[0], fmt.Sprintf(`[8,%d,1,1,"p",1]`, n), all[1], all[2], fmt.Sprintf(`[4,%d,1,"done"]`, n), all[3], all[4])
	b.want(all...)
	b.want(fmt.Sprintf(`[0,"nope","why",4,%d]`, n))
}

func TestCommandNumbers(t *testing.T) {
	sc := newScene(t, Config{MaxInFlight: 3})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	send := func(n int) { a.send(fmt.Sprintf(`[4,%d,%d,"e",%d]`, j.Room, n, n)) }
	refused := func(n int, code string) { a.want(fmt.Sprintf(`[4,%d,%d,null,["%s"]]`, j.Room, n, code)) }
	take := func(n, skipped uint64) bus.Command {
		t.Helper()
		c := r.command(bus.OpSend)
		if c.N != n || c.Skipped != skipped {
			t.Fatalf("command %d, skipped %d, want %d, skipped %d", c.N, c.Skipped, n, skipped)
		}
		return c
	}
	send(2)
	refused(2, "out_of_order")
	send(1)
	send(2)
	send(3)
	send(4)
	refused(4, "in_flight")
	send(5)
	refused(5, "in_flight")
	one, _, _ := take(1, 0), take(2, 0), take(3, 0)
	r.say(replyTo(one, `null`))
	a.want(fmt.Sprintf(`[4,%d,1,null]`, j.Room))
	send(6) // who takes a refusal for an answer goes on with the next number
	six := take(6, 2)
	r.say(replyTo(six, `null`))
	a.want(fmt.Sprintf(`[4,%d,6,null]`, j.Room))
	send(2) // who sends again what has no reply gets it sent again
	take(2, 0)
	send(1)
	take(1, 0)
	a.send(fmt.Sprintf(`[4,%d,7,"",1]`, j.Room))
	refused(7, "bad_name")
	a.send(fmt.Sprintf(`[4,%d,0,"",1]`, j.Room), fmt.Sprintf(`[4,%d,0,"e",1]`, j.Room+1))
	a.want(fmt.Sprintf(`[0,"bad_name","",4,%d]`, j.Room), fmt.Sprintf(`[0,"not_joined","",4,%d]`, j.Room+1))
	a.send(fmt.Sprintf(`[4,%d,1,"e",1]`, j.Room+1))
	a.want(fmt.Sprintf(`[4,%d,1,null,["not_joined"]]`, j.Room+1))
}

func TestNoReplyInTimeIsATimeout(t *testing.T) {
	sc := newScene(t, Config{CommandTimeout: time.Millisecond})
	sc.mu.Lock()
	sc.open = func(_, id string) (string, error) { return id, bus.Errorf(bus.Unavailable, "not now") }
	sc.mu.Unlock()
	c := connect(t, sc.s, nativeName, "Ann")
	c.send(`[2,1,"chat","never"]`)
	c.want(`[2,1,null,["unavailable"]]`)

	sc.mu.Lock()
	sc.open = nil
	sc.mu.Unlock()
	onLoop(t, sc.s, func(lp *sessions) { lp.cfg.CommandTimeout = time.Minute })
	a, r, j := sc.enter(t, nativeName, nil, 1)
	onLoop(t, sc.s, func(lp *sessions) { lp.cfg.CommandTimeout = time.Millisecond })
	a.send(fmt.Sprintf(`[4,%d,1,"e"]`, j.Room))
	a.want(fmt.Sprintf(`[4,%d,1,null,["timeout"]]`, j.Room))
	r.command(bus.OpSend)
	a.send(fmt.Sprintf(`[3,2,%d]`, j.Room))
	a.want(fmt.Sprintf(`[3,%d,"timeout","",2]`, j.Room))
}

func TestLeaveAndAwayReachTheRoom(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	b, _, _ := sc.enter(t, nativeName, r, 2)
	a.send(fmt.Sprintf(`[3,9,%d]`, j.Room), fmt.Sprintf(`[4,%d,1,"e"]`, j.Room), fmt.Sprintf(`[3,10,%d]`, j.Room))
	leave := r.command(bus.OpLeave)
	r.say(bus.Item{Op: bus.ItemLeft, To: leave.Member, Session: sessionOf(t, sc.s, 1), Ref: leave.Ref, Code: bus.Left})
	a.want(fmt.Sprintf(`[4,%d,1,null,["not_joined"]]`, j.Room), fmt.Sprintf(`[3,%d,"not_joined","",10]`, j.Room), fmt.Sprintf(`[3,%d,"left","",9]`, j.Room))
	a.send(`[2,11,"chat","lounge"]`)
	again := r.command(bus.OpJoin)
	b.hangUp()
	if c := r.command(bus.OpAway); c.Member != 2 {
		t.Errorf("away %d, want 2", c.Member)
	}
	a.hangUp() // before its join is answered
	waitFor(t, sc.s, "the conns to be gone", func(lp *sessions) bool { return len(lp.rooms) == 0 })
	r.say(r.admit(again, 7, nil))
	if c := r.command(bus.OpAway); c.Member != 7 {
		t.Errorf("away %d, want 7", c.Member)
	}
	waitFor(t, sc.s, "the room to be forgotten", func(lp *sessions) bool {
		return len(lp.rooms)+len(lp.byNo)+len(lp.entries)+len(lp.flights)+len(lp.leaving) == 0 && lp.counts.memberships == 0 && lp.counts.sessions == 0
	})
}

func TestKickedAndClosedEndTheMembership(t *testing.T) {
	sc := newScene(t, Config{})
	a, r, j := sc.enter(t, nativeName, nil, 1)
	b, _, _ := sc.enter(t, nativeName, r, 2)
	r.say(message("m", `1`), bus.Item{Op: bus.ItemLeft, To: 1, Session: sessionOf(t, sc.s, 1), Code: bus.Kicked, Text: "rude"}, message("m", `2`))
	a.want(fmt.Sprintf(`[7,%d,1,"m",1]`, j.Room), fmt.Sprintf(`[3,%d,"kicked","rude"]`, j.Room))
	r.say(message("m", `3`), bus.Item{Op: bus.ItemClosed, Code: "game_over"})
	b.want(fmt.Sprintf(`[7,%d,1,"m",1]`, j.Room), fmt.Sprintf(`[7,%d,2,"m",2]`, j.Room), fmt.Sprintf(`[7,%d,3,"m",3]`, j.Room), fmt.Sprintf(`[3,%d,"game_over"]`, j.Room))
	a.send(fmt.Sprintf(`[4,%d,0,"e"]`, j.Room))
	a.want(fmt.Sprintf(`[0,"not_joined","",4,%d]`, j.Room))
	waitFor(t, sc.s, "the room to be forgotten", func(lp *sessions) bool { return len(lp.rooms) == 0 })
}

func TestSessionOnAnotherConnReplacesTheFirst(t *testing.T) {
	sc := newScene(t, Config{})
	first := dial(t, sc.s, nativeName)
	first.send(`[1,{"user":"Ann"}]`, `[2,1,"chat","lounge"]`)
	w := first.welcome()
	r := sc.next()
	r.say(r.admit(r.command(bus.OpJoin), 1, nil))
	j := first.joined(1)

	second := dial(t, sc.s, jsonName)
	second.send(fmt.Sprintf(`[1,{"resume":%q}]`, w.Resume), `[2,1,"chat","lounge",null,[1,0,0,0]]`)
	if got := second.welcome(); got.Session != w.Session {
		t.Fatalf("session %s, want %s", got.Session, w.Session)
	}
	back := r.command(bus.OpJoin)
	r.say(r.admit(back, 1, func(j *bus.Joined) { j.Resumed, j.Recovered = true, true }))
	if got := second.joined(1); got.Member != 1 || !got.Resumed || !got.Recovered || got.Room != j.Room {
		t.Errorf("joined %+v", got)
	}
	first.wantClose(closeReplaced, `[13,"replaced","the session continues on another connection",-1]`)
	second.send(fmt.Sprintf(`[4,%d,1,"e"]`, j.Room)) // and no OpAway comes first
	r.command(bus.OpSend)

	r.say(bus.Item{Op: bus.ItemLeft, To: 1, Session: back.Session, Code: bus.Replaced}) // on another edge
	second.wantClose(closeReplaced, `[13,"replaced","the session continues on another connection",-1]`)
}

func TestStatePatchesAreSparedAndAStateFollows(t *testing.T) {
	sc := newScene(t, Config{SendBufferBytes: 4096, OutboxBytes: 16 << 20})
	slow, r, j := sc.enter(t, nativeName, nil, 1)
	quick, _, _ := sc.enter(t, nativeName, r, 2)
	pad := fmt.Sprintf("%0100000d", 1)
	unblock := slow.stall()
	rounds := 0
	for stale := false; !stale; rounds++ {
		r.say(message("m", `"`+pad+`"`))
		quick.scan(quick.next(), typeMessage)
		r.say(patchItem(`{"n":1}`))
		quick.scan(quick.next(), typePatch)
		onLoop(t, sc.s, func(lp *sessions) { stale = len(lp.stale) == 1 })
	}
	unblock()
	messages, patches := 0, 0
	for messages < rounds {
		var typ int
		switch f := slow.next(); {
		case f[:3] == "[7,":
			messages++
		case f[:4] == "[11,":
			patches++
		default:
			slow.scan(f, -1, &typ)
		}
	}
	if patches >= rounds {
		t.Errorf("%d patches, want some to be dropped", patches)
	}
	ask := r.command(bus.OpState)
	r.say(patchItem(`{"n":2}`)) // before the state: it is in it
	r.say(bus.Item{Op: bus.ItemState, To: ask.Member, Ver: r.ver, Data: fromJSON(`{"n":9}`)}, patchItem(`{"n":3}`))
	slow.want(fmt.Sprintf(`[10,%d,%d,{"n":9}]`, j.Room, rounds+1), fmt.Sprintf(`[11,%d,%d,{"n":3}]`, j.Room, rounds+2))
}

// sessionOf is the id of the session that has a member's seat.
func sessionOf(t *testing.T, s *Server, member uint32) (id uint64) {
	t.Helper()
	onLoop(t, s, func(lp *sessions) {
		for _, r := range lp.rooms {
			if m := r.find(member); m != nil {
				id = m.session().id
			}
		}
	})
	return id
}

// waitFor waits until a loop's sessions are as they should be.
func waitFor(t testing.TB, s *Server, what string, done func(lp *sessions) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for ok := false; !ok; {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		ok = true
		onLoop(t, s, func(lp *sessions) { ok = ok && done(lp) })
	}
}
