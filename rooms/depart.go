package rooms

import "roomd/bus"

// This file is about how a room ends, for now or for good: it leaves memory
// when nobody needs it, closes, loses its owner, or its worker leaves service.

// watchEmpty lets a room that nobody needs leave memory after Kind.EmptyFor.
func (r *Room) watchEmpty() {
	if len(r.members) > 0 || len(r.timers) > 0 || r.running > 0 || r.kind.EmptyFor < 0 {
		r.due[dueEmpty] = 0
		return
	}
	if r.phase == leaving {
		return
	}
	if r.isDue(dueEmpty) {
		r.phase = leaving
		r.depart()
		return
	}
	r.at(dueEmpty, r.turn.now+int64(r.kind.EmptyFor))
}

// fenced ends a room that has another owner by now: it shows nothing more, not
// even what it has said in this turn.
func (r *Room) fenced(why string) {
	r.Log().Warn("room stopped: another worker owns it", "why", why)
	r.worker.metrics.fenced.Inc()
	t := r.turn
	t.shared, t.marks = t.shared[:0], t.marks[:0]
	for i := range r.peers {
		t.addOut(i, true)
	}
	r.phase = ended
	r.stopGo()
	r.depart()
}

// stopGo ends the context of what Go started.
func (r *Room) stopGo() {
	if r.gone != nil {
		r.gone()
		r.gone = nil
	}
}

// arrived runs when the room is subscribed. Until then it can't depart. Edges
// with members of the room hear where its new owner begins, and bring them back
// in.
func (r *Room) arrived() {
	r.departing = false
	if r.heir && r.phase < closed {
		w, t := r.worker, r.turn
		t.scratch = bus.AppendOutput(t.scratch[:0], r.key, r.epoch, t.seq, t.ver)
		r.publish(w.everyone, t.scratch)
	}
	if r.phase != live {
		r.depart()
	}
}

// depart begins the room's way out: when its subscription is gone and
// everything that came before has been run, detached is called.
func (r *Room) depart() {
	if !r.departing {
		r.departing = true
		r.worker.retire(r)
	}
}

// detached decides what becomes of a room that nothing reaches any more. err is
// not nil if the bus was away, so that something may have been lost.
func (r *Room) detached(err error) {
	if r.saving {
		r.onWrote = func() { r.detached(err) }
		return
	}
	r.departing = false
	switch {
	case r.phase == ended, r.crash:
		// What record and log say holds, and as the record names this run of
		// the worker, which does not have the room, anybody may take it.
		r.phase = ended
		r.stopGo()
		r.abandon()
	case r.phase == leaving && !r.worker.draining.Load() && (err != nil || r.needed()):
		r.revive()
	default:
		r.leaves = true
		r.phase = ended
		r.stopGo()
	}
}

// writeLast writes the record with which the room is released.
func (r *Room) writeLast() {
	if r.keys != nil {
		r.writeLastPages()
		return
	}
	r.wanted.Store(!r.over && (r.needed() || r.kind.TickWhenEmpty))
	r.worker.keeper.add(job{
		room: r, value: r.appendRecord(nil, ""), revision: r.revision, final: true,
		retire: r.over || r.kind.Durability == None,
	})
}

// needed reports whether the room has members, or something to do without them.
// A room that was about to go stays then, and one whose worker ends is opened by
// another.
func (r *Room) needed() bool { return len(r.members) > 0 || len(r.timers) > 0 || r.running > 0 }

// revive takes a room back that was about to leave memory.
func (r *Room) revive() {
	r.phase = live
	r.due[dueEmpty] = 0
	if err := r.worker.listen(r); err != nil {
		r.phase = leaving // the bus is closed, so this worker is about to end
		r.depart()
		return
	}
	r.worker.settled(r.key)
}
