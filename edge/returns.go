package edge

import "roomd/bus"

// Returns that a room refuses for now. A member that the edge brings back in by
// itself had its seat before: a mailbox that is full, or an answer that came too
// late as the worker or NATS stood still, says nothing about that seat. So the
// member stays, hears that the room paused, and the room is asked again, less and
// less often. Commands with a number wait meanwhile, each for as long as
// Config.CommandTimeout, as they do while a room has no owner. Invariant: an entry
// with ref 0 ends with an answer that lets the member in, a code that is final, or
// the conn; never with a code for which passing holds.

// How soon a room is asked again after a refusal, in milliseconds: after a random
// time up to the first of these, twice as long after each refusal, up to the
// second; never below half of it, so that it is not asked all the time.
const (
	firstReturn = 50
	maxReturn   = 2000
	returnEvery = 10 // at most so often returns that are put off are looked at
)

// putOff has m ask its room again later. m is on its way back in (entry.ref is 0).
func (lp *sessions) putOff(m *membership) {
	e := m.entry
	lp.counts.putOff++
	lp.pause(m)
	wait := min(maxReturn, firstReturn<<min(e.refusals, 6))
	e.refusals = min(e.refusals+1, 250)
	e.sent, e.waits = false, true
	e.next = lp.l.ms + uint32(wait/2) + uint32(random(int64(wait/2)))
	if !e.listed {
		e.listed = true
		lp.putOffs = append(lp.putOffs, e)
	}
	if at := lp.l.ms + returnEvery; len(lp.putOffs) == 1 || int32(at-lp.putOffAt) < 0 {
		lp.putOffAt = at
		lp.l.wakeAt(at)
	}
}

// pause tells m that nobody takes its commands now, once until it is back.
func (lp *sessions) pause(m *membership) {
	if m.flags&memberPaused != 0 {
		return
	}
	m.flags |= memberPaused
	lp.counts.pauses++
	lp.sendTo(m, appendNotice(lp.wire[:0], m.room.no, "paused"))
}

// askAgain has all who wait for r ask it as soon as it can be asked: it has a new
// owner, or none, so a refusal by the last one says nothing more.
func (r *room) askAgain() {
	for _, m := range r.entering {
		m.entry.sent, m.entry.waits, m.entry.repeated = false, false, false
	}
}

// askPutOffs asks rooms again for those whose time has come, and forgets those
// who are in, gone or asked for already.
func (lp *sessions) askPutOffs() {
	if len(lp.putOffs) == 0 {
		return
	}
	if !lp.after(lp.putOffAt) {
		lp.l.wakeAt(lp.putOffAt)
		return
	}
	rest, next := lp.putOffs[:0], uint32(maxReturn)
	for _, e := range lp.putOffs {
		switch {
		case e.m.entry != e || !e.waits:
			e.listed = false
		case lp.after(e.next):
			e.listed, e.waits = false, false
			if e.m.room.phase == roomLive { // else it is asked when it is
				lp.sendJoin(e.m)
			}
		default:
			rest = append(rest, e)
			next = min(next, e.next-lp.l.ms)
		}
	}
	clear(lp.putOffs[len(rest):])
	if lp.putOffs = rest; len(rest) == 0 {
		lp.putOffs = nil
		return
	}
	lp.putOffAt = lp.l.ms + max(next, returnEvery)
	lp.l.wakeAt(lp.putOffAt)
}

// refusedReturn reports whether a refusal is to be outwaited: the seat was the
// member's, and the code may not stand a little later.
func (e *entry) refusedReturn(code bus.Code) bool { return e.ref == 0 && passing(code) }
