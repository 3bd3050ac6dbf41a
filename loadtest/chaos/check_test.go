package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	strict = Durability{Strict: true}
	lossy  = Durability{Interval: 500 * time.Millisecond}
)

func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

func acked(id string, place, ms int) Op {
	return Op{Event: "add", ID: id, Place: place, Fate: Acked, Sent: at(ms), Done: at(ms + 5)}
}

func added(seq uint64, place int, id string) Heard {
	return Heard{What: HeardAdded, Seq: seq, Place: place, ID: id, At: at(100 * place)}
}

// good is a history of two clients without a fault in it: three adds, of which one
// has an unknown fate and happened, a presence diff in between, a come-back with
// all that was missed, a register written and read.
func good() *Room {
	ann := &Record{
		Client: "ann", Member: 1, Members: []uint32{1, 2}, Seated: true,
		Ops: []Op{
			acked("a-1", 1, 100), acked("a-2", 3, 300),
			{Event: "put", Key: 1, Value: 7, Fate: Acked, Sent: at(400), Done: at(405)},
		},
		Heard: []Heard{
			{What: HeardJoined, Seq: 0, Epoch: 1}, {What: HeardPresence, Seq: 1}, {What: HeardPresence, Seq: 2},
			added(3, 1, "a-1"), {What: HeardPaused, At: at(150)}, {What: HeardResumed, At: at(160)},
			{What: HeardPresence, Seq: 4}, added(5, 2, "b-1"), {What: HeardPresence, Seq: 6}, added(7, 3, "a-2"),
		},
	}
	bob := &Record{
		Client: "bob", Member: 2, Members: []uint32{1, 2}, Seated: true,
		Ops: []Op{
			{Event: "add", ID: "b-1", Fate: Unknown, Sent: at(200), Done: at(9000)},
			{Event: "add", ID: "b-2", Fate: Unknown, Sent: at(210), Done: at(9000)},
			{Event: "add", ID: "b-3", Fate: Refused, Code: "overloaded", Sent: at(220), Done: at(225)},
			{Event: "get", Key: 1, Got: 7, Fate: Acked, Sent: at(500), Done: at(505)},
			{Event: "cas", Key: 1, Old: 7, Value: 8, Swapped: true, Fate: Acked, Sent: at(600), Done: at(605)},
			{Event: "cas", Key: 1, Old: 7, Value: 9, Fate: Acked, Sent: at(700), Done: at(705)},
		},
		Heard: []Heard{
			{What: HeardJoined, Seq: 1, Epoch: 1}, {What: HeardPresence, Seq: 2}, added(3, 1, "a-1"),
			{What: HeardLost}, {What: HeardBack},
			{What: HeardJoined, Seq: 3, Epoch: 1, Resumed: true, Recovered: true},
			{What: HeardPresence, Seq: 4}, added(5, 2, "b-1"), {What: HeardPresence, Seq: 6}, added(7, 3, "a-2"),
		},
	}
	return &Room{
		ID: "r", Final: []string{"a-1", "b-1", "a-2"}, Count: 3, Records: []*Record{ann, bob},
		Registers: []Op{{Event: "get", Key: 1, Got: 8, Fate: Acked, Sent: at(9000), Done: at(9005)}},
	}
}

// broken lists the rules that a verdict says were broken.
func broken(v *Verdict) string {
	var list []string
	for _, violation := range v.Violations {
		list = append(list, violation.Rule)
	}
	return rules(list...)
}

// rules lists rules, each once.
func rules(list ...string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "; ")
}

func TestCheckerAcceptsGoodHistories(t *testing.T) {
	for name, change := range map[string]func(room *Room){
		"as it is":          func(*Room) {},
		"unknown command 1": func(room *Room) { room.Records[1].Ops[3].Fate = Unknown },
		"snapshot with notice": func(room *Room) { // bob missed seq 4 and 5, and was told
			bob := room.Records[1]
			bob.Heard[5].Recovered, bob.Heard[5].Seq = false, 5
			bob.Heard = slices.Delete(bob.Heard, 6, 8)
		},
		"a cas whose answer is unknown explains": func(room *Room) {
			room.Records[1].Ops[4].Fate, room.Records[1].Ops[4].Swapped = Unknown, false
		},
	} {
		t.Run(name, func(t *testing.T) {
			room := good()
			change(room)
			if v := Check(room, strict); len(v.Violations) > 0 {
				t.Errorf("violations %v", v.Violations)
			}
		})
	}
}

// spoiled are histories with a single fault, and the rule that it breaks.
var spoiled = map[string]struct {
	spoil func(ann, bob *Record, r *Room)
	want  string
}{
	"acked add is gone": {func(ann, bob *Record, r *Room) {
		r.Final, r.Count = r.Final[:2], 2
		ann.Heard, bob.Heard = ann.Heard[:len(ann.Heard)-2], bob.Heard[:len(bob.Heard)-2]
	}, RuleLost},
	"acked add was replaced": {func(ann, bob *Record, r *Room) {
		r.Final[2] = "b-2"
		ann.Heard[9].ID, bob.Heard[9].ID = "b-2", "b-2"
	}, RuleLost},
	"acked at another place": {func(ann, _ *Record, _ *Room) { ann.Ops[1].Place = 2 }, RuleMoved},
	"add applied twice": {func(ann, bob *Record, r *Room) {
		r.Final, r.Count = append(r.Final, "a-1"), 4
		ann.Heard, bob.Heard = append(ann.Heard, added(8, 4, "a-1")), append(bob.Heard, added(8, 4, "a-1"))
	}, RuleTwice},
	"unknown add applied twice": {func(ann, bob *Record, r *Room) {
		r.Final, r.Count = append(r.Final, "b-1"), 4
		ann.Heard, bob.Heard = append(ann.Heard, added(8, 4, "b-1")), append(bob.Heard, added(8, 4, "b-1"))
	}, RuleTwice},
	"refused add applied": {func(ann, bob *Record, r *Room) {
		r.Final, r.Count = append(r.Final, "b-3"), 4
		ann.Heard, bob.Heard = append(ann.Heard, added(8, 4, "b-3")), append(bob.Heard, added(8, 4, "b-3"))
	}, RuleRefused},
	"entry nobody sent": {func(ann, bob *Record, r *Room) {
		r.Final, r.Count = append(r.Final, "x-1"), 4
		ann.Heard, bob.Heard = append(ann.Heard, added(8, 4, "x-1")), append(bob.Heard, added(8, 4, "x-1"))
	}, RuleForeign},
	"client's adds in another order": {func(ann, _ *Record, _ *Room) {
		ann.Ops[0], ann.Ops[1] = ann.Ops[1], ann.Ops[0]
	}, RuleOrder},
	"count is not the list's": {func(_, _ *Record, r *Room) { r.Count = 2 }, RuleCount},
	"broadcast missed":        {func(ann, _ *Record, _ *Room) { ann.Heard = slices.Delete(ann.Heard, 7, 8) }, RuleGap},
	"presence missed":         {func(ann, _ *Record, _ *Room) { ann.Heard = slices.Delete(ann.Heard, 6, 7) }, RuleGap},
	"broadcast missed though seq goes on": {func(ann, _ *Record, _ *Room) {
		ann.Heard[7] = Heard{What: HeardPresence, Seq: 5}
	}, RuleGap},
	"last broadcast missed": {func(ann, _ *Record, _ *Room) { ann.Heard = ann.Heard[:len(ann.Heard)-1] }, RuleGap},
	"recovered from too far on": {func(_, bob *Record, _ *Room) {
		bob.Heard[5].Seq = 4
		bob.Heard = slices.Delete(bob.Heard, 6, 7)
	}, RuleGap},
	"broadcast heard twice": {func(ann, _ *Record, _ *Room) { ann.Heard = slices.Insert(ann.Heard, 4, ann.Heard[3]) }, RuleRepeated},
	"broadcast heard twice under another seq": {func(ann, _ *Record, _ *Room) {
		ann.Heard[9] = added(7, 2, "b-1")
		ann.Heard = append(ann.Heard, added(8, 3, "a-2"))
	}, RuleRepeated},
	"broadcasts out of order": {func(ann, _ *Record, _ *Room) {
		ann.Heard[8], ann.Heard[9] = ann.Heard[9], ann.Heard[8]
	}, rules(RuleGap, RuleRepeated)},
	"heard what never was": {func(ann, _ *Record, _ *Room) { ann.Heard[7].ID = "b-2" }, RuleWrong},
	"reset":                {func(ann, _ *Record, _ *Room) { ann.Heard = append(ann.Heard, Heard{What: HeardReset, Seq: 7}) }, RuleReset},
	"seat lost":            {func(ann, _ *Record, _ *Room) { ann.Heard = append(ann.Heard, Heard{What: HeardLeft}) }, RuleSeat},
	"not back":             {func(ann, _ *Record, _ *Room) { ann.Seated = false }, rules(RulePresence, RuleSeat)},
	"ghost":                {func(ann, _ *Record, _ *Room) { ann.Members = []uint32{1, 2, 3} }, RulePresence},
	"stale read":           {func(_, bob *Record, _ *Room) { bob.Ops[3].Got = 0 }, RuleRegister},
	"lost write":           {func(_, _ *Record, r *Room) { r.Registers[0].Got = 7 }, RuleRegister},
	"cas that cannot be":   {func(_, bob *Record, _ *Room) { bob.Ops[5].Swapped = true }, RuleRegister},
	"unreadable":           {func(_, _ *Record, r *Room) { r.Unread = "timeout" }, RuleUnread},
}

func TestCheckerFindsEachViolation(t *testing.T) {
	for name, c := range spoiled {
		t.Run(name, func(t *testing.T) {
			room := good()
			c.spoil(room.Records[0], room.Records[1], room)
			if got := broken(Check(room, strict)); got != c.want {
				t.Errorf("broken rules %q, want %q", got, c.want)
			}
		})
	}
}

// back takes a good history and lets the room go back behind its last add, which
// ann and bob had heard of. Those who are told may have lost it.
func back(told ...int) *Room {
	room := good()
	room.Final, room.Count = room.Final[:2], 2
	room.Faults = []time.Duration{at(20), at(600)}
	for _, i := range told {
		r := room.Records[i]
		r.Heard = append(r.Heard, Heard{What: HeardReset, Seq: 5, At: at(1000)})
	}
	return room
}

func TestLossIsExcusedOnlyWithNotice(t *testing.T) {
	v := Check(back(0, 1), lossy)
	if len(v.Violations) > 0 || v.Excused != 1 || v.Span != at(600)-at(305) {
		t.Errorf("with notice: %v, %d excused over %v", v.Violations, v.Excused, v.Span)
	}
	if got, want := broken(Check(back(1), lossy)), rules(RuleGap, RuleLost, RuleWrong); got != want {
		t.Errorf("the sender was not told: %q, want %q", got, want)
	}
	if got, want := broken(Check(back(0), lossy)), rules(RuleGap, RuleWrong); got != want {
		t.Errorf("another was not told: %q, want %q", got, want)
	}
	if got := broken(Check(back(0, 1), Durability{Interval: at(200)})); got != RuleInterval {
		t.Errorf("more than the interval: %q", got)
	}
	room := back(0, 1)
	room.Away = [][2]time.Duration{{at(400), at(5000)}}
	if got := broken(Check(room, Durability{Interval: at(200)})); got != "" {
		t.Errorf("more than the interval, but NATS was away: %q", got)
	}
	if got, want := broken(Check(back(0, 1), strict)), rules(RuleLost, RuleReset, RuleWrong); got != want {
		t.Errorf("of a kind that loses nothing: %q, want %q", got, want)
	}
}
