package chaos

import (
	"fmt"
	"slices"
	"time"
)

// Rules that a history can break.
const (
	RuleLost     = "acked, but not there"
	RuleMoved    = "acked at another place"
	RuleTwice    = "applied twice"
	RuleRefused  = "refused, but there"
	RuleForeign  = "there, but never sent"
	RuleOrder    = "one client's commands in another order"
	RuleGap      = "broadcast missed without notice"
	RuleRepeated = "broadcast heard twice or out of order"
	RuleWrong    = "broadcast is not what the room holds"
	RuleReset    = "reset of a room that loses nothing"
	RuleInterval = "more lost than the kind may lose"
	RuleSeat     = "seat lost"
	RulePresence = "members disagree on who is there"
	RuleRegister = "registers are not linearizable"
	RuleUnread   = "room cannot be read"
	RuleCount    = "count and list differ"
	RuleLeak     = "leak"
	RuleCrash    = "process ended by itself"
	RuleProcess  = "process did not do as asked"
	RuleSocket   = "connection lost although its edge lived"

	RuleAnswer    = "reply to another command"
	RuleRealTime  = "answered before another was sent, and behind it"
	RuleMade      = "state shown that the room did not make"
	RulePosition  = "two states at one position"
	RuleVersion   = "one version names two states"
	RuleBack      = "state went back"
	RuleFinal     = "member's state is not the room's at the end"
	RuleRung      = "timer rang more than once, or without being set"
	RuleSilent    = "timer did not ring"
	RuleEarly     = "timer rang before its time"
	RuleUntold    = "message to one member missed without notice"
	RuleToldTwice = "message to one member heard twice or out of order"
	RuleForOther  = "message to another member"
)

// A Violation is one broken promise.
type Violation struct {
	Rule   string `json:"rule"`
	Room   string `json:"room,omitempty"`
	Client string `json:"client,omitempty"`
	Text   string `json:"text"`
}

func (v Violation) String() string {
	where := ""
	if v.Room != "" {
		where = " in room " + v.Room
	}
	if v.Client != "" {
		where += ", client " + v.Client
	}
	return v.Rule + where + ": " + v.Text
}

// A Durability is what a kind promises of acked commands.
type Durability struct {
	Strict   bool          // all are kept
	Brief    bool          // little is kept for members who miss something: they may be reset
	Interval time.Duration // otherwise: how much time a loss may span, zero: any
}

// A Verdict is what the check of one room found.
type Verdict struct {
	Violations []Violation
	Checks     Checks
	Acked      int           // commands of all sorts
	Unknown    int           // commands
	Excused    int           // acked adds that a reset took, as the kind may
	Span       time.Duration // longest time from such an add's reply to the fault that took it
	Undecided  int           // registers with too long a history to tell
}

// Check holds a room's history against the rules.
func Check(room *Room, d Durability) *Verdict {
	c := &check{room: room, d: d, v: &Verdict{Checks: make(Checks)}, places: make(map[string][]int)}
	if room.Unread != "" {
		c.report(RuleUnread, nil, "%s", room.Unread)
		return c.v
	}
	for i, id := range room.Final {
		c.places[id] = append(c.places[id], i+1)
	}
	c.list()
	for _, r := range room.Records {
		c.adds(r)
	}
	for _, r := range c.everybody() {
		c.broadcasts(r)
		c.private(r)
	}
	c.realTime()
	c.bells()
	c.shown()
	c.presence()
	c.registers()
	return c.v
}

// A check is one room's check under way.
type check struct {
	room   *Room
	d      Durability
	v      *Verdict
	places map[string][]int // by id, from 1
	sent   map[string]bool
}

// everybody lists those who stayed and those who were there for a while.
func (c *check) everybody() []*Record { return slices.Concat(c.room.Records, c.room.Visitors) }

// did counts what was checked.
func (c *check) did(name string, n int) { c.v.Checks[name] += n }

func (c *check) report(rule string, r *Record, format string, args ...any) {
	v := Violation{Rule: rule, Room: c.room.ID, Text: fmt.Sprintf(format, args...)}
	if r != nil {
		v.Client = r.Client
	}
	c.v.Violations = append(c.v.Violations, v)
}

// list looks at the final list by itself: each id once, none that nobody sent.
func (c *check) list() {
	c.sent = make(map[string]bool)
	for _, r := range c.room.Records {
		for i := range r.Ops {
			c.sent[r.Ops[i].ID] = true
		}
	}
	for i, id := range c.room.Final {
		places := c.places[id]
		switch {
		case !c.sent[id]:
			c.report(RuleForeign, nil, "%q at place %d", id, i+1)
		case len(places) > 1 && places[0] == i+1:
			c.report(RuleTwice, nil, "%q at places %v", id, places)
		}
	}
	if c.room.Count >= 0 && c.room.Count != len(c.room.Final) {
		c.report(RuleCount, nil, "count %d, list of %d", c.room.Count, len(c.room.Final))
	}
}

// adds looks for each command of one client where its reply says that it is.
func (c *check) adds(r *Record) {
	last, lastID := 0, ""
	for i := range r.Ops {
		op := &r.Ops[i]
		switch op.Fate {
		case Acked:
			c.v.Acked++
		case Unknown:
			c.v.Unknown++
		}
		if op.Answer != "" {
			c.did(didAnswer, 1)
		}
		if op.foreign() {
			c.report(RuleAnswer, r, "%q, sent at %v, got the reply to %q", op.ID, op.Sent.Round(time.Millisecond), op.Answer)
			continue
		}
		if !op.enters() {
			continue
		}
		places := c.places[op.ID]
		if op.Fate == Refused && len(places) > 0 {
			c.report(RuleRefused, r, "%q was refused (%s) and is at place %d", op.ID, op.Code, places[0])
		}
		if op.Fate != Acked {
			continue
		}
		c.did(didAcked, 1)
		switch {
		case len(places) == 0:
			c.lost(r, op)
			continue
		case !slices.Contains(places, op.Place):
			c.report(RuleMoved, r, "%q was acked at place %d and is at %v", op.ID, op.Place, places)
		}
		c.did(didOrder, 1)
		if places[0] < last {
			c.report(RuleOrder, r, "%q is at place %d, before %q at %d, which was sent earlier", op.ID, places[0], lastID, last)
		}
		last, lastID = places[0], op.ID
	}
}

// lost judges an acked command that is gone: only a kind that may lose, and says
// so, is excused.
func (c *check) lost(r *Record, op *Op) {
	_, ok := toldOfLoss(r, op.Sent)
	if c.d.Strict || !ok {
		c.report(RuleLost, r, "%q was acked at %v at place %d", op.ID, op.Done.Round(time.Millisecond), op.Place)
		return
	}
	c.v.Excused++
	span := c.lastFault(op) - op.Done
	c.v.Span = max(c.v.Span, span)
	if c.d.Interval > 0 && span-c.away(op.Done, op.Done+span) > c.d.Interval {
		c.report(RuleInterval, r, "%q was acked %v before the fault that lost it; the kind may lose %v", op.ID, span.Round(time.Millisecond), c.d.Interval)
	}
}

// away is for how long in that time NATS was in trouble; such times overlap
// seldom, and then the sum is too generous.
func (c *check) away(from, to time.Duration) (sum time.Duration) {
	for _, a := range c.room.Away {
		sum += max(min(to, a[1])-max(from, a[0]), 0)
	}
	return sum
}

// lastFault is the fault that took a command: of those before a member of the room
// was told of a loss the first since the room was last heard to answer. What came
// after that one met a room that was down already.
func (c *check) lastFault(op *Op) time.Duration {
	said := time.Duration(forever)
	for _, r := range c.room.Records {
		if at, told := toldOfLoss(r, op.Sent); told {
			said = min(said, at)
		}
	}
	heard := op.Done
	for _, r := range c.room.Records {
		for i := range r.Ops {
			if o := &r.Ops[i]; o.Fate == Acked && o.Done < said {
				heard = max(heard, o.Done)
			}
		}
	}
	fault, found := op.Done, false
	for _, at := range c.room.Faults {
		if at <= said && at >= heard-underWay && (!found || at < fault) {
			fault, found = at, true
		}
	}
	return fault
}

// underWay is how long after a room has died its last answers may still arrive.
const underWay = 250 * time.Millisecond

// toldOfLoss reports whether a client was told after the given time that its room
// went back or that something is gone for good, and when first.
func toldOfLoss(r *Record, since time.Duration) (time.Duration, bool) {
	first := true
	for _, h := range r.Heard {
		switch h.What {
		case HeardReset:
			if h.At >= since {
				return h.At, true
			}
		case HeardJoined:
			if !first && !h.Recovered && h.At >= since {
				return h.At, true
			}
			first = false
		}
	}
	return 0, false
}

// broadcasts follows what one client heard, by seq and by place in the list.
func (c *check) broadcasts(r *Record) {
	f := follower{check: c, r: r}
	if r.Visitor {
		f.place = -1 // the list has begun
	}
	for i := range r.Heard {
		f.hear(&r.Heard[i])
	}
	if r.Seated && f.place >= 0 && f.place != len(c.room.Final) {
		c.report(RuleGap, r, "heard places up to %d, the list has %d", f.place, len(c.room.Final))
	}
}

// A follower knows what a client is to hear next.
type follower struct {
	*check
	r      *Record
	joined bool   // has been in the room
	seq    uint64 // last heard
	place  int    // last heard; -1: any, for something was missed with notice
}

func (f *follower) hear(h *Heard) {
	switch h.What {
	case HeardJoined:
		f.join(h)
	case HeardReset:
		if f.d.Strict && !f.d.Brief {
			f.report(RuleReset, f.r, "at %v", h.At.Round(time.Millisecond))
		}
		f.seq, f.place = h.Seq, -1
	case HeardLeft:
		f.report(RuleSeat, f.r, "%s", h.Text)
	case HeardPresence, HeardRung:
		f.advance(h)
	case HeardAdded:
		f.advance(h)
		f.added(h)
	}
}

// join moves to where joined says the room is. The first join is to an empty
// list; a later one either continues or says that something was missed.
func (f *follower) join(h *Heard) {
	switch {
	case !f.joined:
		f.joined, f.seq = true, h.Seq
	case !h.Recovered:
		f.seq, f.place = h.Seq, -1
	case h.Seq > f.seq:
		f.report(RuleGap, f.r, "recovered from seq %d, heard up to %d", h.Seq, f.seq)
		f.seq = h.Seq
	}
}

func (f *follower) advance(h *Heard) {
	f.did(didHeard, 1)
	switch {
	case h.Seq > f.seq+1:
		f.report(RuleGap, f.r, "seq %d after %d", h.Seq, f.seq)
	case h.Seq <= f.seq:
		f.report(RuleRepeated, f.r, "seq %d after %d", h.Seq, f.seq)
	}
	f.seq = max(f.seq, h.Seq)
}

// added holds one broadcast against the list and against the one before.
func (f *follower) added(h *Heard) {
	switch {
	case f.place < 0 || h.Place == f.place+1:
	case h.Place > f.place:
		f.report(RuleGap, f.r, "place %d after %d", h.Place, f.place)
	default:
		f.report(RuleRepeated, f.r, "place %d after %d", h.Place, f.place)
	}
	f.place = h.Place
	if h.Place >= 1 && h.Place <= len(f.room.Final) && f.room.Final[h.Place-1] == h.ID {
		return
	}
	if !f.d.Strict && f.wentBack(h.At) {
		return
	}
	at := "nothing"
	if h.Place >= 1 && h.Place <= len(f.room.Final) {
		at = fmt.Sprintf("%q", f.room.Final[h.Place-1])
	}
	f.report(RuleWrong, f.r, "heard %q at place %d, where the list has %s", h.ID, h.Place, at)
}

// wentBack reports whether the client was told of a loss after the given time; a
// visitor, who may have gone before, is excused if anybody was.
func (f *follower) wentBack(since time.Duration) bool {
	if !f.r.Visitor {
		_, told := toldOfLoss(f.r, since)
		return told
	}
	return slices.ContainsFunc(f.room.Records, func(r *Record) bool {
		_, told := toldOfLoss(r, since)
		return told
	})
}

// presence wants all members to see each other, and nobody else.
func (c *check) presence() {
	var want []uint32
	for _, r := range c.room.Records {
		if r.Seated {
			want = append(want, r.Member)
		}
	}
	slices.Sort(want)
	for _, r := range c.room.Records {
		c.did(didPresence, 1)
		switch {
		case !r.Seated:
			c.report(RuleSeat, r, "not back in the room at the end")
		case !slices.Equal(r.Members, want):
			c.report(RulePresence, r, "sees %v, there are %v", r.Members, want)
		}
	}
}
