package edge

import (
	"errors"

	"roomd/bus"
)

// Rooms that say nothing. A room without an owner shows at once, as NATS says
// that nobody listens to its commands, unless something else does: an operator's
// subscription to everything, or a stream. So a room that was sent something and
// is silent for a moment is looked for: NATS is asked who listens there, and if
// it does not know, the workers are asked to open the room, which does no harm to
// one that is open.

// How rooms are looked for. A room that is there and slow is looked for less and
// less often, until it says something.
const (
	silentAfter = 75   // milliseconds
	maxSilent   = 2000 // the longest that it comes to; four times as long each time
	lookWindow  = 10   // in so many milliseconds
	fewLooks    = 1    // so many rooms are looked for while nobody but owners listens,
	manyLooks   = 50   // and so many where NATS can't say that nobody does
	wildFor     = 10_000
)

// An expected is a room that is to say something.
type expected struct {
	r  *room
	at uint32 // loop's milliseconds when to see whether it has
}

// expect expects something of a room that was sent something.
func (lp *sessions) expect(r *room) {
	if !r.awaited {
		r.awaited = true
		r.lookAt = lp.l.ms + min(uint32(silentAfter)<<(2*r.looks), maxSilent)
	}
	if !r.watched {
		lp.watch(r)
	}
}

func (lp *sessions) watch(r *room) {
	r.watched = true
	lp.silent = append(lp.silent, expected{r, lp.l.ms + silentAfter})
	if len(lp.silent) == 1 {
		lp.l.wakeAt(lp.silent[0].at)
	}
}

// heardOf takes note that a room has said something.
func (lp *sessions) heardOf(r *room) { r.awaited, r.looks = false, 0 }

// lookForSilent looks for rooms that have been silent for too long.
func (lp *sessions) lookForSilent() {
	n := 0
	for ; n < len(lp.silent) && lp.after(lp.silent[n].at); n++ {
		r := lp.silent[n].r
		r.watched = false
		switch {
		case !r.awaited || r.phase != roomLive || r.looking || lp.byNo[r.no] != r:
		case lp.after(r.lookAt) && lp.mayLook():
			lp.look(r)
		default:
			lp.watch(r)
		}
	}
	if n == 0 && len(lp.silent) == 0 {
		return
	}
	clear(lp.silent[:n])
	if lp.silent = lp.silent[n:]; len(lp.silent) == 0 {
		lp.silent = nil
		return
	}
	lp.l.wakeAt(lp.silent[0].at)
}

// mayLook spares NATS: where it says by itself that nobody listens, silence
// hardly ever means that.
func (lp *sessions) mayLook() bool {
	if lp.after(lp.lookedAt + lookWindow) {
		lp.lookedAt, lp.looked = lp.l.ms, 0
	}
	limit := fewLooks
	if lp.wild && !lp.after(lp.wildAt+wildFor) {
		limit = manyLooks
	}
	lp.looked++
	return lp.looked <= limit
}

// look asks NATS who listens to a room's commands.
func (lp *sessions) look(r *room) {
	lp.counts.looks++
	r.looking = true
	r.looks = min(r.looks+1, 3)
	no, try := r.no, r.try
	lp.conn.Listens(r.in, func(l bus.Listening) {
		lp.l.do(func() { lp.foundOut(no, try, l) })
	})
}

// foundOut takes what NATS says.
func (lp *sessions) foundOut(no uint64, try uint8, l bus.Listening) {
	if l.Known && l.Other {
		lp.wild, lp.wildAt = true, lp.l.ms
	}
	r := lp.byNo[no]
	if r == nil {
		return
	}
	r.looking = false
	switch {
	case r.try != try || !r.awaited || r.phase != roomLive:
	case !l.Known:
		lp.askWorkers(r)
	case !l.There:
		lp.noOwner(r)
	case l.Other:
		lp.joinAgain(r) // it may have got its owner after it was asked
	}
}

// askWorkers has workers open a room that may be open.
func (lp *sessions) askWorkers(r *room) {
	r.looking = true
	no, try := r.no, r.try
	lp.counts.opens++
	answered := func(_ []byte, err error) {
		if lp.byNo[no] != r {
			return
		}
		r.looking = false
		switch {
		case r.try != try || !r.awaited || r.phase != roomLive:
		case err == nil:
			lp.joinAgain(r)
		case bus.CodeOf(err) == bus.Unavailable:
			lp.noOwner(r) // and no worker to be one: that is opened with patience
		case bus.CodeOf(err) == bus.Overloaded && !errors.Is(err, errCrowded):
			lp.noOwner(r) // all workers were asked: none has it, and none has room
		default:
			lp.watch(r)
		}
	}
	lp.call(request{
		subject: lp.subjects.Open(r.kind()), body: openBody(r.kind(), r.id()), open: true,
		until: r.until(), done: answered,
	})
}

// joinAgain sends the joins again that are without an answer, each once: those
// to a room that was not open were lost. Commands of members are sent again when
// their room's new owner makes itself known.
func (lp *sessions) joinAgain(r *room) {
	for _, m := range r.entering {
		if e := m.entry; e.sent && !e.repeated {
			e.repeated = true
			lp.sendJoin(m)
		}
	}
}
