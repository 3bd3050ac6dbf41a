package rooms

import (
	"fmt"
	"runtime/debug"
	"time"

	"roomd/bus"
)

// runTurn gives the room its turn: everything that waits is run through the
// handler, then what is due, and then the output leaves. It reports whether the
// room needs another turn at once. A room whose changes are being committed
// stays queued, as far as its mailbox knows, until acked queues it.
func (r *Room) runTurn(t *turn) (again bool) {
	if r.oneTurn(t) {
		r.worker.append(r) // from here the room may be in its next turn
		return false
	}
	return r.rest != nil || r.box.rest()
}

// oneTurn is a turn without what follows it. It reports whether the room waits
// for its entry, which is to be appended.
func (r *Room) oneTurn(t *turn) (waits bool) {
	t.begin(r)
	if r.trail != nil && r.trail.waiting {
		r.committed()
	}
	b := r.rest
	if r.rest = nil; b == nil {
		b = r.box.take()
	}
	for !r.work(b) {
	}
	waits = t.release()
	if b != nil {
		if b.next < len(b.entries) {
			r.rest = b
		} else {
			b.free()
		}
	}
	r.afterTurn(t)
	t.end()
	return waits
}

// work runs callbacks. It reports false if one of them panicked: then the room
// is closed, and work is called again for those who still wait for an answer.
func (r *Room) work(b *batch) (done bool) {
	defer func() {
		if done {
			return
		}
		r.crashed(recover())
	}()
	if b != nil {
		for b.next < len(b.entries) && !r.turn.full() {
			e := &b.entries[b.next]
			b.next++
			if e.event != nil {
				e.event(r)
			} else {
				r.envelope(e)
			}
			r.settle()
		}
		if b.lossy && b.next == len(b.entries) {
			b.lossy = false
			for _, m := range r.members {
				m.hole = true // what was dropped may have been anybody's
			}
		}
	}
	if r.phase < closed {
		r.doDue()
	}
	r.store()
	return true
}

// crashed closes the room after a panic.
func (r *Room) crashed(p any) {
	r.worker.metrics.panics.Inc()
	r.Log().Error("room closed: its code panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	r.turn.kicks = r.turn.kicks[:0]
	r.crash = true
	untold := r.trail != nil && r.closing // closed in this turn, of which nothing is committed
	if r.phase >= closed && !untold && !r.leaves {
		return // in a Leave; everybody has been told already
	}
	r.leaves = false // its last record can't be made
	r.forgetTurn()
	if c := r.turn.joining; c != nil {
		// Those whose join finds a closed room come into the next one. This one
		// would make that panic too, and for ever.
		r.turn.joining = nil
		r.refuse(r.turn.joiner, c, bus.Internal)
	}
	r.sayClosed(bus.Internal)
	for _, m := range r.members {
		r.detach(m)
		m.seated = false
	}
	r.members, r.sessions = nil, nil
	r.size.Store(0)
}

// forgetTurn takes back what a turn has said whose changes will not be
// committed, as its room's code has panicked.
func (r *Room) forgetTurn() {
	if r.trail == nil {
		return
	}
	t := r.turn
	r.trail.entry = nil
	r.seq, r.ver = t.seq, t.ver
	t.shared, t.marks = t.shared[:0], t.marks[:0]
	for i := range r.peers {
		t.addOut(i, t.outs[i].fresh)
	}
}

// doDue does what the room has put off to now.
func (r *Room) doDue() {
	if r.isDue(dueLinger) {
		r.endLingers()
		r.settle()
	}
	if r.isDue(dueTimer) {
		r.ring()
	}
	r.tick()
	if r.phase >= closed {
		return
	}
	if r.isDue(duePresence) {
		r.tellPresence()
	}
	if r.isDue(dueTrim) {
		r.trimIdle()
	}
	r.sync()
	if r.isDue(dueBeacon) {
		r.beacon()
	}
	r.watchEmpty()
}

// afterTurn leaves the room as an idle one and sets its alarm.
func (r *Room) afterTurn(t *turn) {
	w := r.worker
	w.metrics.turns.Inc()
	if t.commands > 0 {
		w.metrics.commands.Add(float64(t.commands))
		w.metrics.batch.Observe(float64(t.commands))
	}
	r.freePeers()
	r.closing = false
	if r.phase >= closed {
		return
	}
	if len(t.shared) > 0 && r.due[dueBeacon] == 0 {
		r.due[dueBeacon] = t.now + int64(beaconAfter)
	}
	next := int64(0)
	for _, when := range r.due {
		if when != 0 && (next == 0 || when < next) {
			next = when
		}
	}
	if next != 0 {
		w.alarms.set(r, next)
	}
}

// tick calls the ticker if it is time, and sets the time of the next tick.
func (r *Room) tick() {
	if r.kind.TickRate == 0 {
		return
	}
	if len(r.members) == 0 && !r.kind.TickWhenEmpty {
		r.due[dueTick] = 0
		return
	}
	t := r.turn
	every := int64(time.Second) / int64(r.kind.TickRate)
	if r.due[dueTick] == 0 {
		// Rooms of a kind tick at different moments, or they would all ask for
		// the CPU at the same one.
		r.lastTick = t.now
		r.due[dueTick] = t.now + every/2 + int64(r.worker.nextPhase())%every
		return
	}
	late := t.now - r.due[dueTick]
	if late < 0 {
		return
	}
	r.worker.metrics.tickLateness.Observe(float64(late) / float64(time.Second))
	missed := late / every
	r.worker.metrics.ticksMissed.Add(float64(missed))
	r.due[dueTick] += (missed + 1) * every
	dt := min(time.Duration(t.now-r.lastTick), time.Second)
	r.lastTick = t.now
	r.handled(r.handler.(Ticker).Tick(r, dt))
}

// handled ends a callback that is nobody's command: an error has nobody to go
// to but the log.
func (r *Room) handled(err error) {
	r.ran()
	if err != nil {
		r.worker.logFault(r, err)
	}
	r.settle()
}
