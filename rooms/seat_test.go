package rooms

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"roomd/bus"
)

func TestJoinTellsTheNewcomerWhereOutputStartsAndWhoIsHere(t *testing.T) {
	b := startBus(t)
	kind := Kind{Name: "hall", Seats: 9, New: func() Handler {
		return &scene{join: func(r *Room, m *Member) error {
			m.Send("hello", m.User())
			r.Broadcast("came", m.User())
			m.Send("bye", nil)
			return nil
		}}
	}}
	b.worker(t, "w1", Config{PresenceEvery: time.Millisecond}, kind)
	e := b.edge(t, "e1")
	key := e.open("hall", "a")
	ann := e.join(key, "Ann")
	j := ann.Joined
	if ann.To != 1 || j.At != (bus.Position{Epoch: e.at[key].first}) || j.Seats != 9 || j.Size != 1 || j.Resumed || j.Recovered || j.HasState {
		t.Errorf("first joined = member %d %+v", ann.To, j)
	}
	// What Join said follows the answer, in order.
	var said []string
	for len(said) < 3 {
		it := e.await("what Join said", func(*bus.Item) bool { return true })
		switch it.Op {
		case bus.ItemMessage, bus.ItemPrivate:
			said = append(said, fmt.Sprintf("%s seq %d count %d", it.Event, it.Seq, it.Count))
		}
	}
	if want := []string{"hello seq 0 count 1", "came seq 1 count 0", "bye seq 1 count 2"}; !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
	if p := e.awaitOp(bus.ItemPresence).Presence; p.Size != 1 || len(p.Joined) != 1 || p.Joined[0].User != "Ann" {
		t.Errorf("presence = %+v, want Ann to have joined", p)
	}
	ben := e.join(key, "Ben")
	if got := ben.Joined.Members; len(got) != 2 || got[0].User != "Ann" || got[1].User != "Ben" || got[1].Member != ben.To {
		t.Errorf("members for the second = %+v", got)
	}
	if ben.Joined.At.Seq != 2 {
		t.Errorf("second starts at seq %d, want 2", ben.Joined.At.Seq)
	}
}

func TestRoomFullAllowAndJoinRefuseWithTheirCodes(t *testing.T) {
	b := startBus(t)
	left := make(chan string, 10)
	kind := Kind{Name: "duel", Seats: 2,
		Allow: func(user string, options *Message) error {
			var o struct{ Key string }
			if err := options.Decode(&o); err != nil {
				return err
			}
			if user == "Eve" && o.Key != "1234" {
				return Errorf(bus.Forbidden, "not you")
			}
			return nil
		},
		New: func() Handler {
			return &scene{
				join: func(r *Room, m *Member) error {
					switch m.User() {
					case "Odd":
						return Errorf("duel.odd", "odd")
					case "Bug":
						return errors.New("secret of the author")
					}
					return nil
				},
				leave: func(r *Room, m *Member, why Reason) { left <- m.User() },
			}
		}}
	b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("duel", "a")
	for _, c := range []struct {
		user    string
		options []byte
		code    string
	}{
		{"Eve", nil, bus.Forbidden},
		{"Ann", pack("no map"), bus.BadOptions},
		{"Odd", nil, "duel.odd"},
		{"Bug", nil, bus.Internal},
		{"Eve", pack(map[string]string{"Key": "1234"}), ""},
		{"Ann", nil, ""},
		{"Ben", nil, bus.RoomFull},
	} {
		got := e.joinAs(key, bus.Command{User: c.user, Options: c.options})
		if got.Code != c.code || got.Code == bus.Internal && got.Text != "" {
			t.Errorf("%s joins: code %q %q, want %q", c.user, got.Code, got.Text, c.code)
		}
	}
	if len(left) > 0 {
		t.Errorf("Leave was called for %s, who never had a seat", <-left)
	}
}

func TestLeaveAnswersAndOthersAreTold(t *testing.T) {
	b := startBus(t)
	reasons := make(chan Reason, 1)
	b.worker(t, "w1", Config{}, Kind{Name: "hall", New: func() Handler {
		return &scene{leave: func(r *Room, m *Member, why Reason) { reasons <- why }}
	}})
	e := b.edge(t, "e1")
	key := e.open("hall", "a")
	ann, ben := e.join(key, "Ann").To, e.join(key, "Ben").To
	e.send(key, bus.Command{Op: bus.OpLeave, Member: ann, Ref: 77})
	if it := e.awaitOp(bus.ItemLeft); it.To != ann || it.Ref != 77 || it.Code != bus.Left {
		t.Errorf("answer to leave = %+v", it)
	}
	if why := <-reasons; why != Left {
		t.Errorf("Leave was told %v, want %v", why, Left)
	}
	e.await("presence without Ann", func(it *bus.Item) bool {
		return it.Op == bus.ItemPresence && slices.Contains(it.Presence.Left, ann) && it.Presence.Size == 1
	})
	e.send(key, bus.Command{Op: bus.OpLeave, Member: ann, Ref: 78})
	if it := e.awaitOp(bus.ItemLeft); it.Ref != 78 || it.Code != bus.NotJoined {
		t.Errorf("answer to the second leave = %+v", it)
	}
	if e.call(key, ben, 1, "x", nil).Code != bus.UnknownEvent {
		t.Error("the other member was harmed")
	}
}

func TestKickTakesTheSeatAfterTheCallback(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	ann, ben := e.join(key, "Ann").To, e.join(key, "Ben").To
	e.send(key, bus.Command{Op: bus.OpSend, Member: ann, N: 1, Event: []byte("kick"), Data: pack(ben)})
	if it := e.awaitOp(bus.ItemReply); it.Code != "" {
		t.Errorf("kick was answered %q", it.Code)
	}
	if it := e.awaitOp(bus.ItemLeft); it.To != ben || it.Code != bus.Kicked || it.Text != "go away" {
		t.Errorf("the kicked member was told %+v", it)
	}
	if got := e.call(key, ben, 1, "add", nil); got.Code != bus.NotJoined {
		t.Errorf("command of the kicked member: code %q, want %q", got.Code, bus.NotJoined)
	}
	// Itself, in the middle of a command: the reply still comes.
	e.send(key, bus.Command{Op: bus.OpSend, Member: ann, N: 2, Event: []byte("kick"), Data: pack(ann)})
	e.reply(ann, 2)
	if it := e.awaitOp(bus.ItemLeft); it.To != ann {
		t.Errorf("left = %+v, want Ann", it)
	}
}

func TestAbsentMemberKeepsItsSeatForTheLingerAndThenIsLost(t *testing.T) {
	b := startBus(t)
	type farewell struct {
		user string
		why  Reason
	}
	gone := make(chan farewell, 4)
	b.worker(t, "w1", Config{PresenceEvery: time.Millisecond}, Kind{Name: "hall", Linger: 100 * time.Millisecond, New: func() Handler {
		return &scene{leave: func(r *Room, m *Member, why Reason) { gone <- farewell{m.User(), why} }}
	}})
	e := b.edge(t, "e1")
	key := e.open("hall", "a")
	ann, ben := e.join(key, "Ann").To, e.join(key, "Ben").To
	e.send(key, bus.Command{Op: bus.OpAway, Member: ann})
	e.await("presence: Ann away", func(it *bus.Item) bool {
		return it.Op == bus.ItemPresence && slices.Contains(it.Presence.Away, ann) && it.Presence.Size == 2
	})
	e.await("presence: Ann left", func(it *bus.Item) bool {
		return it.Op == bus.ItemPresence && slices.Contains(it.Presence.Left, ann) && it.Presence.Size == 1
	})
	if got := <-gone; got != (farewell{"Ann", Lost}) {
		t.Errorf("left: %+v, want Ann lost", got)
	}
	if e.call(key, ben, 1, "x", nil).Code != bus.UnknownEvent || len(gone) > 0 {
		t.Error("a member who was here all the time was harmed")
	}
}

func TestPresenceOfManyChangesIsOneDiffAndAboveTheLimitOnlyASize(t *testing.T) {
	b := startBus(t)
	kind := Kind{Name: "hall", PresenceLimit: 3, New: func() Handler { return &scene{} }}
	b.worker(t, "w1", Config{PresenceEvery: 200 * time.Millisecond}, kind)
	e := b.edge(t, "e1")
	key := e.open("hall", "a")
	var joins []bus.Command
	for i := range uint64(3) {
		joins = append(joins, bus.Command{Op: bus.OpJoin, Session: 100 + i, Ref: 100 + i, User: fmt.Sprint("u", i)})
	}
	e.send(key, joins...)
	p := e.awaitOp(bus.ItemPresence).Presence
	if p.Size != 3 || len(p.Joined) != 3 {
		t.Errorf("presence of three joins = %+v, want one diff with all", p)
	}
	fourth := e.join(key, "u4")
	if fourth.Joined.Members != nil || fourth.Joined.Size != 4 {
		t.Errorf("joined above the limit = %+v, want no list of members", fourth.Joined)
	}
	if p := e.awaitOp(bus.ItemPresence).Presence; p.Size != 4 || len(p.Joined) != 0 {
		t.Errorf("presence above the limit = %+v, want only the size", p)
	}
}

func TestPresenceConverges(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{PresenceEvery: time.Millisecond}, Kind{Name: "hall", Linger: -1, New: func() Handler { return &scene{} }})
	watch, e := b.edge(t, "e1"), b.edge(t, "e2")
	key := watch.open("hall", "a")
	here := make(map[uint32]string)
	for _, s := range watch.join(key, "watcher").Joined.Members {
		here[s.Member] = s.User
	}
	want := map[uint32]string{1: "watcher"}
	for i := range 60 {
		user := fmt.Sprint("u", i)
		m := e.join(key, user).To
		want[m] = user
		switch i % 3 {
		case 1:
			e.send(key, bus.Command{Op: bus.OpLeave, Member: m})
			delete(want, m)
		case 2:
			e.send(key, bus.Command{Op: bus.OpAway, Member: m}) // lost at once: no linger
			delete(want, m)
		}
	}
	watch.await("presence to converge", func(it *bus.Item) bool {
		if it.Op != bus.ItemPresence {
			return false
		}
		for _, s := range it.Presence.Joined {
			here[s.Member] = s.User
		}
		for _, m := range it.Presence.Left {
			delete(here, m)
		}
		return it.Presence.Size == len(want) && fmt.Sprint(here) == fmt.Sprint(want)
	})
}

func TestMembersOnALostEdgeAreAwayAndCanComeBackElsewhere(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{PresenceEvery: time.Millisecond}, counterKind())
	e1, e2 := b.edge(t, "e1"), b.edge(t, "e2")
	key := e1.open("counter", "a")
	ann := e1.joinAs(key, bus.Command{Session: 500, User: "Ann"}).To
	e2.join(key, "Ben")
	w.lostNode(bus.Node{Name: "e1", Role: "edge"})
	e2.await("presence: Ann away", func(it *bus.Item) bool {
		return it.Op == bus.ItemPresence && slices.Contains(it.Presence.Away, ann)
	})
	back := e2.joinAs(key, bus.Command{Session: 500, User: "Ann"})
	if back.To != ann || !back.Joined.Resumed {
		t.Errorf("came back as %d, %+v, want the old seat %d", back.To, back.Joined, ann)
	}
	e2.await("presence: Ann back", func(it *bus.Item) bool {
		return it.Op == bus.ItemPresence && slices.Contains(it.Presence.Back, ann)
	})
}
