package edge

import (
	"slices"
	"sync/atomic"
	"time"

	"roomd/bus"
)

// Rooms without an owner: how a loop learns of it, has them opened, and brings
// its members back in.

// An answer to a request comes on another goroutine, and perhaps before the
// request has returned. Whoever is second hands it to the loop.
type answer struct {
	state atomic.Int32 // 0 at first, 1 when either has been here
	body  []byte
	err   error
}

// call sends a request to workers; done runs on the loop, never during call.
// At most Config.MaxOpens are out at once, the others wait their turn; rooms
// and sessions have at most one each, which bounds those.
func (lp *sessions) call(subject string, body []byte, done func(body []byte, err error)) {
	if lp.opens >= lp.cfg.MaxOpens {
		lp.waiting = append(lp.waiting, func() { lp.call(subject, body, done) })
		return
	}
	lp.opens++
	a := new(answer)
	answered := func() {
		lp.opens--
		done(a.body, a.err)
		if len(lp.waiting) > 0 && lp.opens < lp.cfg.MaxOpens {
			next := lp.waiting[0]
			lp.waiting = slices.Delete(lp.waiting, 0, 1)
			next()
		}
	}
	lp.conn.Call(subject, body, callTimeout, func(body []byte, err error) {
		a.body, a.err = body, err
		if !a.state.CompareAndSwap(0, 1) {
			lp.l.do(answered)
		}
	})
	if !a.state.CompareAndSwap(0, 1) {
		lp.early = append(lp.early, answered)
	}
}

const callTimeout = 5 * time.Second

// Opening again takes longer each time, up to two seconds.
const (
	firstRetry   = 100 // milliseconds
	maxRetry     = 2000
	unknownTries = 3 // after so many, a kind that was never opened here is unknown
)

func openBody(kind, id string) []byte {
	return bus.AppendString(bus.AppendString(nil, kind), id)
}

// noResponders takes NATS's answer that nobody listens to a room's commands.
func (lp *sessions) noResponders(nr uint64) {
	lp.counts.noResponders++
	if r := lp.roomOf(nr); r != nil {
		lp.lost(r)
	}
}

// lost says that r has no owner. Its members hear that it pauses, wait for the
// next owner, and what they asked is kept if it has a number.
func (lp *sessions) lost(r *room) {
	if r.phase != roomLive || lp.byNo[r.no] != r {
		return
	}
	lp.renew(r)
	r.owner = 0
	if r.pending != nil {
		lp.spareBuffer(r.pending)
		r.pending = nil
	}
	lp.reenterAll(r)
	for _, m := range r.members {
		if m.flags&memberPaused == 0 {
			m.flags |= memberPaused
			lp.counts.pauses++
			lp.sendTo(m, appendNotice(lp.wire[:0], r.no, "paused"))
		}
	}
	for _, m := range r.entering {
		m.entry.sent = false
	}
	if r.retries > 0 {
		lp.openLater(r)
		return
	}
	lp.open(r)
}

func (lp *sessions) open(r *room) {
	r.phase = roomOpening
	lp.counts.opens++
	lp.call(lp.subjects.Open(r.kind()), openBody(r.kind(), r.id()), func(_ []byte, err error) {
		if lp.byNo[r.no] != r || r.phase != roomOpening {
			return // nobody wants it any more, or it has spoken already
		}
		if err != nil {
			lp.notOpened(r, bus.AsError(err))
			return
		}
		lp.srv.kinds.add(r.kind())
		r.retries = min(r.retries+1, 16) // until somebody is let in
		r.phase = roomLive
		lp.enterAll(r)
	})
}

// enterAll asks for everyone who waits and has not been asked for.
func (lp *sessions) enterAll(r *room) {
	for _, m := range r.entering {
		if !m.entry.sent {
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
		if code := lp.verdict(r.kind(), e, err.Code, int(r.retries)); code != "" {
			lp.turnAway(m, code, err.Message)
		}
	}
	if !r.empty() {
		lp.openLater(r)
	}
}

// verdict says with which code a join fails after so many tries; empty means to
// go on trying. That nobody opens rooms of a kind may be the moment's fault, or
// the kind does not exist.
func (lp *sessions) verdict(kind string, e *entry, code bus.Code, tries int) bus.Code {
	switch {
	case !passing(code):
		return code
	case code == bus.Unavailable && !e.resume && tries >= unknownTries && lp.conn.Connected() && !lp.srv.kinds.has(kind):
		return bus.UnknownKind
	}
	return ""
}

func (lp *sessions) openLater(r *room) {
	delay := min(maxRetry, firstRetry<<min(r.retries, 8))
	r.phase = roomWaiting
	r.again = lp.l.ms + uint32(delay/2) + uint32(random(int64(delay/2)))
	lp.retries = append(lp.retries, r)
}

// retry opens the rooms whose time has come.
func (lp *sessions) retry() {
	var due []*room
	lp.retries = slices.DeleteFunc(lp.retries, func(r *room) bool {
		if !lp.after(r.again) {
			return false
		}
		due = append(due, r)
		return true
	})
	for _, r := range due {
		lp.open(r)
	}
}

// alive says that r has an owner: it has let somebody in or has a new epoch.
func (lp *sessions) alive(r *room) {
	r.retries = 0
	if r.phase == roomWaiting {
		lp.retries = slices.DeleteFunc(lp.retries, func(x *room) bool { return x == r })
	}
	if r.phase != roomLive {
		r.phase = roomLive
		lp.enterAll(r)
	}
}

// gap brings everyone back in who was following r's output, as some of it was
// lost, or as r has a new owner.
func (lp *sessions) gap(r *room) {
	if lp.reenterAll(r) {
		lp.counts.gaps++
	}
}

// reconnected brings everyone back in: output was lost while NATS was away, and
// nothing might ever show it.
func (lp *sessions) reconnected() {
	for _, r := range lp.byNo {
		switch r.phase {
		case roomWaiting:
			r.again = lp.l.ms
		case roomLive:
			for _, m := range r.entering {
				m.entry.sent = false
			}
			lp.gap(r)
			lp.enterAll(r)
		}
	}
	lp.tellAways()
}

// lostWorker looks which rooms are without an owner now. One that hangs and does
// not die has its subscriptions until NATS cuts it off, some seconds after its
// peers have given it up; so rooms are asked a few times.
func (lp *sessions) lostWorker() {
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
// was away. The room's worker may be back later than we are, so it is told a
// few times.
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
	awayTries = 4
	awayEvery = 2000 // milliseconds
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
		a.tries++
		a.again = lp.l.ms + awayEvery
		r := lp.roomFor(a.key)
		if r.find(a.member) == nil && len(r.entering) == 0 {
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

// lookForRoom asks for any open room of a kind, and enters it.
func (lp *sessions) lookForRoom(m *membership) {
	e := m.entry
	e.asking = true
	lp.counts.opens++
	lp.call(lp.subjects.Open(e.kind), openBody(e.kind, ""), func(body []byte, err error) {
		if m.entry != e {
			return // given up
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
	})
}

// notFound turns away who looks for a room in vain; endEntries tries again for
// those who may wait.
func (lp *sessions) notFound(m *membership, err *bus.Error) {
	if code := lp.verdict(m.entry.kind, m.entry, err.Code, int(m.entry.tries)); code != "" {
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
	lp.call(lp.subjects.List(), body, func(rows []byte, err error) {
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
	})
}

const (
	maxListed     = 1000
	defaultListed = 100
)
