package rooms

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
func (r *Room) fenced() {
	r.Log().Error("room stopped: another worker owns it")
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

// arrived runs when the room is subscribed. Until then it can't depart.
func (r *Room) arrived() {
	r.departing = false
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
		// What the last record says holds, and as it names this run of the
		// worker, which does not have the room, anybody may take it.
		r.phase = ended
		r.worker.forget(r)
	case r.phase == leaving && !r.worker.draining.Load() && (err != nil || r.needed()):
		r.revive()
	default:
		final := job{room: r, revision: r.revision, final: true}
		final.retire = r.phase == closed || r.kind.Durability == None
		final.value = r.appendRecord(nil, "")
		r.phase = ended
		r.stopGo()
		r.worker.keeper.add(final)
	}
}

// needed reports whether somebody came while the room was about to go.
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
