package edge

import (
	"slices"

	"roomd/bus"
)

// Members that may have missed something, or may be thought away: how they are
// brought back in; and what rooms were to be told of those who went while they
// could not be.

// gap brings everyone back in who was following r's output, as some of it was
// lost, or as r has a new owner.
func (lp *sessions) gap(r *room) {
	if lp.reenterAll(r) {
		lp.counts.gaps++
	}
}

// reconnected brings everyone back in, after NATS was away, or the loop, or a
// worker took this edge for lost: output was lost, and nothing might ever show it.
func (lp *sessions) reconnected() {
	lp.doubted = lp.doubted[:0]
	for no, r := range lp.byNo {
		lp.doubted = append(lp.doubted, no)
		r.again = lp.l.ms // if it waits
	}
	lp.retryAt = lp.l.ms
	lp.rejoin()
	lp.tellAways()
}

// takenForLost takes word that a worker took this edge for lost, and our members in
// its rooms for away, which nothing else would tell those who only listen.
// Several workers tell about the same time.
func (lp *sessions) takenForLost() {
	if !lp.missing {
		lp.missing, lp.missedAt = true, lp.l.ms+missedDelay
		lp.l.wakeAt(lp.missedAt)
	}
}

const missedDelay = 300 // milliseconds

// Every edge's members come back at once when NATS was away, so each loop takes
// its time.
const (
	rejoinsAtOnce = 2000 // members
	rejoinEvery   = 10   // milliseconds
)

// rejoin goes on bringing back in who is in a doubted room, and doubts all of
// them when it is time to.
func (lp *sessions) rejoin() {
	if lp.missing {
		if lp.after(lp.missedAt) {
			lp.missing = false
			lp.reconnected()
			return
		}
		lp.l.wakeAt(lp.missedAt)
	}
	if len(lp.doubted) == 0 {
		return
	}
	if !lp.after(lp.doubtAt) {
		lp.l.wakeAt(lp.doubtAt)
		return
	}
	for budget := rejoinsAtOnce; budget > 0 && len(lp.doubted) > 0; {
		last := len(lp.doubted) - 1
		r := lp.byNo[lp.doubted[last]]
		lp.doubted = lp.doubted[:last]
		budget-- // rooms cost too
		if r == nil || r.phase != roomLive {
			continue // gone, or about to be entered anew
		}
		for _, m := range r.entering {
			m.entry.sent = false
		}
		lp.gap(r)
		budget -= len(r.entering)
		lp.enterAll(r)
	}
	if len(lp.doubted) == 0 {
		lp.doubted = nil
		return
	}
	lp.doubtAt = lp.l.ms + rejoinEvery
	lp.l.wakeAt(lp.doubtAt)
}

// lostWorker looks which rooms are without an owner now. One that hangs and does
// not die has its subscriptions until NATS cuts it off, some seconds after its
// peers have given it up; so rooms are asked a few times.
func (lp *sessions) lostWorker() {
	lp.giveUpOpens()
	lp.pokes = pokesAfterLoss
	lp.poke()
}

const pokesAfterLoss = 4 // one a second

// poke sends an empty envelope to every room. One that has no owner says so, and
// one that has answers with where its output stands: a new owner does not know
// yet that there is somebody here.
func (lp *sessions) poke() {
	for _, r := range lp.byNo {
		if r.phase == roomLive {
			lp.pend(r)
		}
	}
}

// An away is a member that is gone from a room that could not be told, as NATS
// was away or the room's owner out of reach. The owner may be back later than we
// are, or only seem to be back, so it is told a few times: after 0, 2, 6, 14 and 30
// seconds in which the room could be reached.
type away struct {
	key    string
	member uint32
	again  uint32 // loop's milliseconds
	tries  uint8
}

const (
	// maxAways bounds what is kept of an outage; the other seats stay taken
	// until their rooms miss the edge or are told otherwise.
	maxAways  = 1 << 16
	awayTries = 5
	awayAfter = 2000 // milliseconds between the first two times, then twice as long each time
)

func (lp *sessions) remember(key string, member uint32) {
	if len(lp.aways) < maxAways {
		lp.aways = append(lp.aways, away{key: key, member: member, again: lp.l.ms})
	}
}

// tellAways makes up for it, unless the member is here again.
func (lp *sessions) tellAways() {
	if len(lp.aways) == 0 || !lp.conn.Connected() {
		return
	}
	lp.aways = slices.DeleteFunc(lp.aways, func(a away) bool { return a.tries >= awayTries })
	for i := range lp.aways {
		a := &lp.aways[i]
		if !lp.after(a.again) {
			continue
		}
		if r := lp.rooms[a.key]; r != nil && (r.phase != roomLive || len(r.entering) > 0) {
			continue // one of those who are on their way in may be this member
		}
		a.again = lp.l.ms + awayAfter<<a.tries
		a.tries++
		r := lp.roomFor(a.key)
		if r.find(a.member) == nil {
			lp.command(r, &bus.Command{Op: bus.OpAway, Member: a.member})
		}
		lp.tidy(r)
	}
}

// unsent keeps from commands that could not be published what nobody would
// ask for again.
func (lp *sessions) unsent(r *room) {
	lp.counts.unsent++
	commands, err := bus.ParseCommands(r.pending)
	if err != nil {
		return // cannot be: we wrote it
	}
	var c bus.Command
	for commands.Next(&c) {
		if c.Op == bus.OpAway {
			lp.remember(r.key(), c.Member)
		}
	}
}
