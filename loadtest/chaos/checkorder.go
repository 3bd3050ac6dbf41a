package chaos

import (
	"cmp"
	"slices"
	"time"
)

// A step is a command at its place in the history of the room.
type step struct {
	op *Op
	r  *Record
	at int // twice its place in the list; one that counts entries comes behind the last of them, at an odd number
}

// realTime wants commands of all clients in the order of real time: one that was
// answered before another was sent comes before it. One without an answer has no
// end.
func (c *check) realTime() {
	var steps []step
	for _, r := range c.room.Records {
		for i := range r.Ops {
			op := &r.Ops[i]
			places := c.places[op.ID]
			switch {
			case op.enters() && len(places) == 1:
				steps = append(steps, step{op, r, 2 * places[0]})
			case op.Event == "count" && op.Fate == Acked && c.d.Strict && !op.foreign():
				steps = append(steps, step{op, r, 2*op.Place + 1})
			}
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	c.did(didRealTime, len(steps))
	var latest *step // of those before, the one sent last
	for from := 0; from < len(steps); {
		to := from
		for ; to < len(steps) && steps[to].at == steps[from].at; to++ {
			s := &steps[to]
			if latest != nil && s.op.Fate == Acked && s.op.Done < latest.op.Sent {
				c.report(RuleRealTime, s.r, "%q was answered at %v and comes behind %q of %s, which was sent at %v", s.op.ID,
					s.op.Done.Round(time.Millisecond), latest.op.ID, latest.r.Client, latest.op.Sent.Round(time.Millisecond))
			}
		}
		for i := from; i < to; i++ {
			if latest == nil || steps[i].op.Sent > latest.op.Sent {
				latest = &steps[i]
			}
		}
		from = to
	}
}
