package edge

import "roomd/bus"

// Rooms without an owner: how a loop learns of it and has them opened.

// Opening again takes longer each time, up to two seconds: a worker that has
// just gone is replaced within a moment, if it is at all.
const (
	firstRetry   = 25 // milliseconds
	maxRetry     = 2000
	unknownTries = 5 // after so many, a kind that was never opened here is unknown
	noneTries    = 3 // the same when any room is looked for, once a second
)

func openBody(kind, id string) []byte {
	return bus.AppendString(bus.AppendString(nil, kind), id)
}

// noResponders takes NATS's answer that nobody listens to a room's commands.
func (lp *sessions) noResponders(nr uint64) {
	if r := lp.roomOf(nr); r != nil {
		lp.noOwner(r)
	}
}

// noOwner says that nobody listens to a room's commands.
func (lp *sessions) noOwner(r *room) {
	lp.counts.noResponders++
	if len(r.members) > 0 {
		lp.srv.nodes.Check() // it was open: its worker may be gone, and the others' rooms with it
	}
	lp.lost(r)
}

// lost says that r has no owner. Its members hear that it pauses, wait for the
// next owner, and what they asked is kept if it has a number.
func (lp *sessions) lost(r *room) {
	if r.phase != roomLive || lp.byNo[r.no] != r {
		return
	}
	lp.renew(r)
	r.owner, r.opened = 0, false
	if r.pending != nil {
		lp.unsent(r)
		lp.spareBuffer(r.pending)
		r.pending = nil
	}
	lp.reenterAll(r)
	for _, m := range r.members {
		lp.pause(m)
	}
	r.askAgain()
	if r.retries > 0 {
		lp.openLater(r)
		return
	}
	lp.open(r)
}

func (lp *sessions) open(r *room) {
	until := r.until()
	if lp.crowded(until) {
		lp.notOpened(r, errCrowded)
		return
	}
	r.queued = false
	r.phase = roomOpening
	try := r.try
	lp.counts.opens++
	// Not if no member wants it any more, or it has spoken already.
	wanted := func() bool { return lp.byNo[r.no] == r && r.phase == roomOpening && r.try == try }
	opened := func(_ []byte, err error) {
		if !wanted() {
			return
		}
		if err != nil {
			lp.notOpened(r, bus.AsError(err))
			return
		}
		lp.srv.kinds.add(r.kind())
		r.retries = min(r.retries+1, 16) // until somebody is let in
		r.phase, r.opened = roomLive, true
		lp.enterAll(r)
	}
	lp.call(request{
		subject: lp.subjects.Open(r.kind()), body: openBody(r.kind(), r.id()), open: true,
		until: until, wanted: wanted, queued: &r.queued, done: opened,
	})
}

// until is when the last client that waits for r to be opened gives up; 0 if
// members wait that were in before.
func (r *room) until() (last uint32) {
	for _, m := range r.entering {
		e := m.entry
		if e.ref == 0 {
			return 0
		}
		if last == 0 || int32(e.until-last) > 0 {
			last = e.until
		}
	}
	return last
}

// enterAll asks for everyone who waits and has not been asked for.
func (lp *sessions) enterAll(r *room) {
	for _, m := range r.entering {
		if !m.entry.sent && !m.entry.waits {
			lp.sendJoin(m)
		}
	}
}

// notOpened turns away who cannot be helped, and tries again for the others.
func (lp *sessions) notOpened(r *room, err *bus.Error) {
	r.retries = min(r.retries+1, 16)
	for _, m := range r.entering {
		e := m.entry
		if e.ref == 0 {
			continue // was in before: a worker will come
		}
		if code := lp.verdict(r.kind(), e, err.Code, r.retries >= unknownTries); code != "" {
			lp.turnAway(m, code, err.Message)
		}
	}
	if !r.empty() {
		lp.openLater(r)
	}
}

// verdict says with which code a join fails; empty means to go on trying. That
// no worker opens rooms of a kind may be the moment's fault, or, after enough
// tries, the kind does not exist. That no worker has room is said at once.
func (lp *sessions) verdict(kind string, e *entry, code bus.Code, enough bool) bus.Code {
	switch {
	case !passing(code), code == bus.Overloaded:
		return code
	case code == bus.Unavailable && !e.resume && enough && lp.conn.Connected() && !lp.srv.kinds.has(kind):
		return bus.UnknownKind
	}
	return ""
}

func (lp *sessions) openLater(r *room) {
	delay := min(maxRetry, firstRetry<<min(max(r.retries, 1)-1, 8))
	r.phase = roomWaiting
	r.again = lp.l.ms + uint32(delay/2) + uint32(random(int64(delay/2)))
	if !r.listed {
		r.listed = true
		lp.retries = append(lp.retries, r)
	}
	lp.retryBy(r.again)
}

// retryBy has retry look again at that time at the latest.
func (lp *sessions) retryBy(at uint32) {
	if len(lp.retries) == 1 || int32(at-lp.retryAt) < 0 {
		lp.retryAt = at
		lp.l.wakeAt(at)
	}
}

// retry opens the rooms whose time has come, and forgets those that are open by
// now or gone.
func (lp *sessions) retry() {
	if len(lp.retries) == 0 {
		return
	}
	if !lp.after(lp.retryAt) {
		lp.l.wakeAt(lp.retryAt)
		return
	}
	var due []*room
	rest := lp.retries[:0]
	next := uint32(maxRetry)
	for _, r := range lp.retries {
		switch {
		case r.phase != roomWaiting || lp.byNo[r.no] != r:
			r.listed = false
		case lp.after(r.again):
			r.listed = false
			due = append(due, r)
		default:
			rest = append(rest, r)
			next = min(next, r.again-lp.l.ms)
		}
	}
	clear(lp.retries[len(rest):])
	lp.retries = rest
	if len(rest) > 0 {
		lp.retryAt = lp.l.ms + next
		lp.l.wakeAt(lp.retryAt)
	}
	for _, r := range due {
		lp.open(r)
	}
}

// alive says that r has an owner: it has let somebody in or has a new epoch.
func (lp *sessions) alive(r *room) {
	r.retries = 0
	if r.phase != roomLive {
		r.phase = roomLive
		lp.enterAll(r)
	}
}

// lookForRoom asks for any open room of a kind, and enters it.
func (lp *sessions) lookForRoom(m *membership) {
	e := m.entry
	if lp.crowded(e.until) {
		lp.turnAway(m, errCrowded.Code, errCrowded.Message)
		return
	}
	e.asking, e.queued = true, false
	lp.counts.opens++
	wanted := func() bool { return m.entry == e } // else it was given up
	found := func(body []byte, err error) {
		if !wanted() {
			return
		}
		e.asking = false
		if err != nil {
			e.tries = min(e.tries+1, 250)
			lp.notFound(m, bus.AsError(err))
			return
		}
		r := bus.NewReader(body)
		id := r.String()
		if r.Err() != nil || !bus.ValidID(id) {
			lp.turnAway(m, bus.Internal, "")
			return
		}
		lp.srv.kinds.add(e.kind)
		key := bus.Key(e.kind, id)
		if m.session().in(key) {
			lp.turnAway(m, bus.AlreadyJoined, "")
			return
		}
		lp.enter(m, key)
	}
	lp.call(request{
		subject: lp.subjects.Open(e.kind), body: openBody(e.kind, ""), open: true,
		until: e.until, wanted: wanted, queued: &e.queued, done: found,
	})
}

// notFound turns away who looks for a room in vain; endEntries tries again for
// those who may wait.
func (lp *sessions) notFound(m *membership, err *bus.Error) {
	if code := lp.verdict(m.entry.kind, m.entry, err.Code, m.entry.tries >= noneTries); code != "" {
		lp.turnAway(m, code, err.Message)
	}
}

// list asks for live rooms on behalf of a client.
func (lp *sessions) list(s *session, f *frame) {
	kind := string(f.kind)
	switch {
	case kind != "" && !bus.ValidKind(kind):
		lp.refuse(s, f, bus.BadName, "kind: 1 to 32 of a-z 0-9 _ -")
		return
	case s.asked:
		lp.refuse(s, f, bus.InFlight, "one list at a time")
		return
	}
	limit := min(f.limit, maxListed)
	if limit == 0 {
		limit = defaultListed
	}
	s.asked = true
	ref := f.ref
	body := bus.AppendUint(bus.AppendString(nil, kind), limit)
	lp.call(request{subject: lp.subjects.List(), body: body, done: func(rows []byte, err error) {
		s.asked = false
		if s.state != sessionWelcome {
			return
		}
		if n, bad := valueLen(rows); err == nil && (bad != nil || n != len(rows)) {
			err = &bus.Error{Code: bus.Internal}
		}
		if err != nil {
			e := bus.AsError(err)
			lp.counts.refuse(e.Code)
			lp.send(s, appendRefusal(lp.wire[:0], typeList, ref, e.Code, e.Message), false)
			return
		}
		lp.send(s, appendRooms(lp.wire[:0], ref, rows), false)
	}})
}

const (
	maxListed     = 1000
	defaultListed = 100
)
