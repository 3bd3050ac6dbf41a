package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func synced(event, id string, place, ms int) Op {
	return Op{Event: event, ID: id, Answer: id, Place: place, Fate: Acked, Sent: at(ms), Done: at(ms + 5)}
}

func toldTo(user string, number int, id string) Heard {
	return Heard{What: HeardTold, User: user, Number: number, ID: id}
}

// sumOf names the state with so many entries and rings.
func sumOf(entries, rings int) string { return fmt.Sprintf("%d+%d", entries, rings) }

func shownAt(epoch, ver uint64, entries, rings int) Shown {
	return Shown{Epoch: epoch, Ver: ver, Count: entries, Sum: sumOf(entries, rings), Hash: uint64(100*entries + rings), At: at(100 * int(ver))}
}

func rungAt(seq uint64, id string, ms int) Heard {
	return Heard{What: HeardRung, Seq: seq, ID: id, At: at(ms)}
}

// goodSynced is a history without a fault of a synced room with two members and a
// visitor: an add, a bell that rings when the room has a new owner, a message to
// bob, which he gets when he is back, and a count.
func goodSynced() *Room {
	bell := synced("arm", "a-2", 2, 200)
	bell.After = at(600)
	ann := &Record{
		Client: "ann", Member: 1, Members: []uint32{1, 2}, Seated: true, Private: 1,
		Ops: []Op{synced("add", "a-1", 1, 100), bell, synced("count", "a-3", 3, 900)},
		Heard: []Heard{
			{What: HeardJoined, Epoch: 1, Member: 1}, toldTo("ann", 1, ""),
			{What: HeardPresence, Seq: 1}, {What: HeardPresence, Seq: 2},
			added(3, 1, "a-1"), added(4, 2, "a-2"), added(5, 3, "b-1"),
			{What: HeardResumed}, rungAt(6, "a-2", 810),
		},
		Shown: []Shown{
			shownAt(1, 1, 0, 0), shownAt(1, 2, 1, 0), shownAt(1, 3, 2, 0), shownAt(1, 4, 3, 0),
			shownAt(2, 4, 3, 0), shownAt(2, 6, 3, 1),
		},
	}
	bob := &Record{
		Client: "bob", Member: 2, Members: []uint32{1, 2}, Seated: true, Private: 2,
		Ops: []Op{synced("tell", "b-1", 3, 300)},
		Heard: []Heard{
			{What: HeardJoined, Seq: 1, Epoch: 1, Member: 2}, toldTo("bob", 1, ""), {What: HeardPresence, Seq: 2},
			added(3, 1, "a-1"), {What: HeardLost}, {What: HeardBack},
			{What: HeardJoined, Seq: 3, Epoch: 1, Member: 2, Resumed: true, Recovered: true},
			added(4, 2, "a-2"), added(5, 3, "b-1"), toldTo("bob", 2, "b-1"), rungAt(6, "a-2", 811),
		},
		Shown: []Shown{shownAt(1, 1, 0, 0), shownAt(1, 2, 1, 0), shownAt(1, 4, 3, 0), shownAt(2, 6, 3, 1)},
	}
	eve := &Record{
		Client: "eve", Visitor: true,
		Heard: []Heard{
			{What: HeardJoined, Seq: 5, Epoch: 2, Member: 3}, toldTo("eve", 1, ""), rungAt(6, "a-2", 810),
		},
		Shown: []Shown{shownAt(2, 5, 3, 0), shownAt(2, 6, 3, 1)},
	}
	room := &Room{
		ID: "s", Kind: "synced", Final: []string{"a-1", "a-2", "b-1"}, Count: 3,
		Records: []*Record{ann, bob}, Visitors: []*Record{eve}, Own: &Own{Sum: sumOf(3, 1), Count: 3},
	}
	room.Own.Body.Rung = []string{"a-2"}
	room.Own.Body.Told = map[uint32]int{1: 1, 2: 2}
	return room
}

func TestCheckerAcceptsGoodSyncedHistories(t *testing.T) {
	for name, c := range map[string]struct {
		d      Durability
		change func(ann, bob *Record, r *Room)
	}{
		"as it is": {strict, func(_, _ *Record, _ *Room) {}},
		"two versions of one state": {strict, func(ann, _ *Record, _ *Room) {
			ann.Shown = append(ann.Shown, shownAt(2, 7, 3, 1))
		}},
		"a reset of a brief room": {Durability{Strict: true, Brief: true}, func(_, bob *Record, _ *Room) {
			bob.Heard = append(bob.Heard[:4], Heard{What: HeardReset, Seq: 6, Epoch: 2, Member: 2})
		}},
		"message missed with notice": {strict, func(_, bob *Record, _ *Room) {
			bob.Heard[6].Recovered, bob.Heard[6].Seq = false, 5
			bob.Heard = slices.Delete(bob.Heard, 7, 10)
		}},
		"another seat": {strict, func(_, bob *Record, r *Room) {
			bob.Heard = append(bob.Heard, Heard{What: HeardJoined, Seq: 9, Epoch: 2, Member: 4}, toldTo("bob", 1, ""))
			bob.Member, bob.Private, bob.Members, r.Records[0].Members = 4, 1, []uint32{1, 4}, []uint32{1, 4}
			r.Own.Body.Told = map[uint32]int{1: 1, 4: 1}
		}},
		"commands at the same time in any order": {strict, func(ann, bob *Record, _ *Room) {
			bob.Ops[0].Sent = at(204)
		}},
		"unknown bell that was not set": {strict, func(ann, _ *Record, _ *Room) {
			ann.Ops = append(ann.Ops, Op{Event: "arm", ID: "a-4", Fate: Unknown, Sent: at(1000)})
		}},
		"bell lost with notice": {lossy, func(ann, bob *Record, r *Room) {
			lost := synced("arm", "a-4", 4, 1000)
			ann.Ops = append(ann.Ops, lost)
			for _, rec := range []*Record{ann, bob} {
				rec.Heard = append(rec.Heard, added(7, 4, "a-4"), Heard{What: HeardReset, Seq: 7, Epoch: 3, At: at(1300)})
				rec.Shown = append(rec.Shown, shownAt(2, 7, 4, 1), shownAt(3, 107, 3, 1))
			}
			r.Faults = []time.Duration{at(1200)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			room := goodSynced()
			c.change(room.Records[0], room.Records[1], room)
			if v := Check(room, c.d); len(v.Violations) > 0 {
				t.Errorf("violations %v", v.Violations)
			}
		})
	}
}

// spoiledSynced are histories with a single fault, and the rule that it breaks.
var spoiledSynced = map[string]struct {
	spoil func(ann, bob *Record, r *Room)
	want  string
}{
	"reply to another command": {func(ann, _ *Record, _ *Room) { ann.Ops[0].Answer = "a-9" }, RuleAnswer},
	"second of two commands with one number never ran": {func(ann, _ *Record, _ *Room) {
		twin := synced("add", "a-5", 1, 950)
		twin.Answer = "a-1"
		ann.Ops = append(ann.Ops, twin)
	}, RuleAnswer},
	"bell's command is gone": {func(ann, _ *Record, r *Room) {
		ann.Ops = append(ann.Ops, synced("arm", "a-4", 4, 1000))
	}, RuleLost},
	"overtaken by a later command": {func(ann, bob *Record, _ *Room) {
		bob.Ops[0].Sent, bob.Ops[0].Done = at(50), at(60)
	}, RuleRealTime},
	"overtaken by one without an answer": {func(ann, bob *Record, _ *Room) {
		ann.Ops[0].Fate, ann.Ops[0].Sent = Unknown, at(206)
	}, RuleRealTime},
	"count from before": {func(ann, _ *Record, _ *Room) { ann.Ops[2].Place = 2 }, RuleRealTime},
	"count from later": {func(ann, _ *Record, _ *Room) {
		ann.Ops[2].Sent, ann.Ops[2].Done = at(250), at(255)
	}, RuleRealTime},
	"state with another sum":     {func(ann, _ *Record, _ *Room) { ann.Shown[2].Bad = "its body has another sum" }, RuleMade},
	"two states at one position": {func(_, bob *Record, _ *Room) { bob.Shown[2].Hash++ }, RulePosition},
	"visitor sees another state": {func(_, _ *Record, r *Room) { r.Visitors[0].Shown[1].Hash++ }, RulePosition},
	"a version again under the next epoch": {func(ann, _ *Record, r *Room) {
		r.Visitors[0].Shown = nil
		ann.Shown[4] = shownAt(2, 4, 3, 1)
	}, RuleVersion},
	"a version that only one saw again": {func(ann, bob *Record, _ *Room) {
		ann.Shown = slices.Delete(ann.Shown, 4, 5)
		bob.Shown[3].Ver = 4
	}, RuleVersion},
	"state went back": {func(ann, _ *Record, _ *Room) {
		ann.Shown = slices.Insert(ann.Shown, 5, shownAt(2, 5, 2, 0))
		ann.Shown[5].Hash = shownAt(2, 5, 3, 0).Hash
	}, RuleBack},
	"an old state in the end": {func(ann, _ *Record, _ *Room) { ann.Shown = ann.Shown[:5] }, RuleFinal},
	"no state after a reset":  {func(ann, _ *Record, _ *Room) { ann.Unshown = true }, RuleFinal},
	"never a state":           {func(_, bob *Record, _ *Room) { bob.Shown = nil }, RuleFinal},
	"bell rang twice":         {func(_, _ *Record, r *Room) { r.Own.Body.Rung = []string{"a-2", "a-2"} }, RuleRung},
	"bell rang that was not set": {func(_, _ *Record, r *Room) {
		r.Own.Body.Rung = []string{"a-2", "a-9"}
	}, RuleRung},
	"bell of a refused command rang": {func(ann, _ *Record, r *Room) {
		ann.Ops = append(ann.Ops, Op{Event: "arm", ID: "a-4", Fate: Refused, Sent: at(1000)})
		r.Own.Body.Rung = []string{"a-2", "a-4"}
	}, RuleRung},
	"bell heard twice": {func(ann, _ *Record, _ *Room) {
		ann.Heard = append(ann.Heard, rungAt(7, "a-2", 900))
	}, RuleRung},
	"bell did not ring": {func(_, _ *Record, r *Room) { r.Own.Body.Rung = nil }, RuleSilent},
	"bell without an answer did not ring": {func(ann, _ *Record, r *Room) {
		ann.Ops[1].Fate, r.Own.Body.Rung = Unknown, nil
	}, RuleSilent},
	"bell rang early": {func(ann, _ *Record, _ *Room) { ann.Heard[8].At = at(790) }, RuleEarly},
	"ring missed":     {func(ann, _ *Record, _ *Room) { ann.Heard[8].Seq = 7 }, RuleGap},
	"message missed": {func(_, bob *Record, _ *Room) {
		bob.Heard = slices.Delete(bob.Heard, 9, 10)
	}, RuleUntold},
	"message missed in between": {func(_, bob *Record, r *Room) {
		bob.Heard[9].Number, bob.Private, r.Own.Body.Told[2] = 3, 3, 3
	}, RuleUntold},
	"word of welcome missed": {func(ann, _ *Record, r *Room) {
		ann.Heard = slices.Delete(ann.Heard, 1, 2)
	}, RuleUntold},
	"positions count too few": {func(_, bob *Record, _ *Room) { bob.Private = 1 }, RuleUntold},
	"message heard twice": {func(_, bob *Record, _ *Room) {
		bob.Heard = append(bob.Heard, toldTo("bob", 2, "b-1"))
	}, RuleToldTwice},
	"message heard twice though told of a gap": {func(_, bob *Record, _ *Room) {
		bob.Heard = append(bob.Heard, Heard{What: HeardJoined, Seq: 6, Epoch: 2, Member: 2, Resumed: true}, toldTo("bob", 2, "b-1"))
	}, RuleToldTwice},
	"messages out of order": {func(_, bob *Record, r *Room) {
		bob.Heard = slices.Insert(bob.Heard, 9, toldTo("bob", 3, "b-2"))
		bob.Private, r.Own.Body.Told[2] = 3, 3
	}, rules(RuleToldTwice, RuleUntold)},
	"message for another": {func(ann, _ *Record, _ *Room) {
		ann.Heard = append(ann.Heard, toldTo("bob", 2, "b-1"))
	}, RuleForOther},
	"reset of a room that keeps enough": {func(ann, _ *Record, _ *Room) {
		ann.Heard = append(ann.Heard, Heard{What: HeardReset, Seq: 6, Epoch: 2, Member: 1})
	}, RuleReset},
}

func TestCheckerFindsEachViolationInSyncedRooms(t *testing.T) {
	for name, c := range spoiledSynced {
		t.Run(name, func(t *testing.T) {
			room := goodSynced()
			c.spoil(room.Records[0], room.Records[1], room)
			if v := Check(room, strict); broken(v) != c.want {
				t.Errorf("broken rules %q, want %q: %v", broken(v), c.want, v.Violations)
			}
		})
	}
}

func TestEveryCheckIsCounted(t *testing.T) {
	sum := make(Checks)
	sum.add(Check(good(), strict).Checks)
	sum.add(Check(goodSynced(), strict).Checks)
	for _, name := range []string{didSockets, didLeaks, didCrashes} {
		sum[name] = 1 // of a run, not of a room
	}
	for _, name := range checkNames {
		if sum[name] == 0 {
			t.Errorf("not counted: %s", name)
		}
	}
	if len(sum) != len(checkNames) {
		t.Errorf("counted %v, printed are %q", sum, checkNames)
	}
}

// A lossy room may name fewer entries under a later epoch, but no version twice.
func TestLossyRoomMayGoBackWithItsOwnerOnly(t *testing.T) {
	again := func(epoch uint64) *Room {
		room := goodSynced()
		for _, r := range room.Records {
			r.Heard = append(r.Heard, Heard{What: HeardReset, Seq: 9, Epoch: 3, At: at(2000)})
			r.Shown = append(r.Shown, shownAt(epoch, 9, 2, 0), shownAt(epoch, 10, 3, 1))
		}
		return room
	}
	if v := Check(again(3), lossy); len(v.Violations) > 0 {
		t.Errorf("with its owner: %v", v.Violations)
	}
	if got := broken(Check(again(2), lossy)); got != RuleBack {
		t.Errorf("with the same owner: %q, want %q", got, RuleBack)
	}
}
