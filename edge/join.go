package edge

import (
	"slices"

	"roomd/bus"
)

// Getting into a room, and back into it. One mechanism serves the client that
// joins, the client that comes back after a reconnect, the gap in a room's
// output and the room that has a new owner: OpJoin with the place where the
// member stopped, answered by ItemJoined in the room's output.

// An entry is a membership's wait for the answer to OpJoin.
type entry struct {
	m        *membership
	at       int    // index in sessions.entries
	try      uint64 // names the entry in OpJoin and its answers; another one for each, never 0
	ref      uint64 // of the client's join; 0: the edge asks by itself
	kind     string // only while a room is looked for
	options  []byte
	since    bus.Position
	floor    uint64 // with resume: numbers that the client may have used; fixed while the answer is awaited
	was      uint32 // with resume: the seat that the client had; 0: it did not say
	resume   bool   // since is given
	repeated bool   // sent again, as the room was not heard
	again    bool   // the room has said that it does not know the member
	any      bool   // the client named no id
	tries    uint8  // any: how often no room was found, or a full one
	asking   bool   // any: a worker is asked for a room
	queued   bool   // asking: the request had to wait for its turn
	sent     bool
	sentAt   uint32 // loop's milliseconds
	until    uint32 // with ref: when to give up

	// A return that the room has refused for now (returns.go).
	refusals uint8  // how often
	waits    bool   // until next, loop's milliseconds; then not sent
	next     uint32 // and then the room is asked again
	listed   bool   // in sessions.putOffs
}

const (
	resendAfter = 3000 // milliseconds after which an unanswered OpJoin is sent again
	maxFull     = 5    // rooms that may be full when "any room" is asked for
)

func (lp *sessions) join(s *session, f *frame) {
	kind, id := string(f.kind), string(f.id)
	switch {
	case !bus.ValidKind(kind):
		lp.refuse(s, f, bus.BadName, "kind: 1 to 32 of a-z 0-9 _ -")
		return
	case id != "" && !bus.ValidID(id):
		lp.refuse(s, f, bus.BadName, "room id: 1 to 64 of A-Z a-z 0-9 _ -")
		return
	case id != "" && s.in(bus.Key(kind, id)):
		lp.refuse(s, f, bus.AlreadyJoined, "")
		return
	case int(s.rooms) >= lp.cfg.MaxRooms:
		lp.refuse(s, f, bus.TooManyRooms, "")
		return
	}
	lp.counts.joins++
	m := lp.add(s)
	e := lp.beginEntry(m)
	e.ref, e.options = f.ref, slices.Clone(f.data)
	e.since, e.was, e.resume = f.since, f.was, f.isSince
	e.until = lp.l.ms + millis(lp.cfg.CommandTimeout)
	if id == "" {
		e.any, e.kind = true, kind
		lp.lookForRoom(m)
		return
	}
	lp.enter(m, bus.Key(kind, id))
}

func (lp *sessions) beginEntry(m *membership) *entry {
	lp.lastTry++
	e := &entry{m: m, at: len(lp.entries), try: lp.lastTry}
	m.entry = e
	m.flags |= memberEntering
	lp.entries = append(lp.entries, e)
	return e
}

func (lp *sessions) endEntry(m *membership) {
	e := m.entry
	if e == nil {
		return
	}
	m.entry = nil
	m.flags &^= memberEntering
	last := len(lp.entries) - 1
	lp.entries[e.at] = lp.entries[last]
	lp.entries[e.at].at = e.at
	lp.entries[last] = nil
	lp.entries = lp.entries[:last]
	lp.notEntering(m)
}

// notEntering takes m off its room's list of those who wait.
func (lp *sessions) notEntering(m *membership) {
	r := m.room
	if r == nil || r.entering == nil {
		return
	}
	if id := m.session().id; r.entering[id] == m {
		delete(r.entering, id)
		if len(r.entering) == 0 {
			r.entering = nil
		}
	}
}

// enter asks the room of that key to let m in, when it can be asked.
func (lp *sessions) enter(m *membership, key string) {
	r := lp.roomFor(key)
	m.room = r
	lp.await(r, m)
	if r.phase == roomLive { // a room that is not open says so at once, and then it is opened
		lp.sendJoin(m)
	}
}

// await puts m on r's list of those who wait for an answer. Another conn of the
// same session there has been replaced.
func (lp *sessions) await(r *room, m *membership) {
	if r.entering == nil {
		r.entering = make(map[uint64]*membership)
	}
	id := m.session().id
	old := r.entering[id]
	r.entering[id] = m
	if old != nil && old != m {
		lp.replaced(old)
	}
}

func (lp *sessions) sendJoin(m *membership) {
	e, s := m.entry, m.session()
	e.sent, e.sentAt = true, lp.l.ms
	lp.command(m.room, &bus.Command{
		Op: bus.OpJoin, Session: s.id, Try: e.try, Ref: e.ref, User: s.user,
		Options: e.options, Since: e.since, Resume: e.resume, Was: e.was, Floor: e.floor, Last: m.join,
	})
}

// unheard is how many commands a client is thought to send at most before it has
// heard of a reset. The numbers that it may have given them are never used for
// others: the room goes on above them. A client has 64 without a reply at a time;
// what was refused for coming too fast took numbers too.
const unheard = 1 << 16

// reenter makes m wait for its place in the room's output again, as of now.
func (lp *sessions) reenter(m *membership) {
	r := m.room
	e := lp.beginEntry(m)
	e.since, e.resume = bus.Position{Epoch: r.epoch, Seq: r.seq, Count: m.count, Ver: r.ver}, true
	e.was, e.floor = m.member, m.taken+uint64(m.skipped)+unheard
	lp.await(r, m)
}

// disowned reports whether an answer says that the room has lost m: it took this
// edge for dead. Then m goes back in, and what it asked is sent again, instead
// of the client hearing of it. A second such answer soon after is believed: it
// may be the kind's own.
func (lp *sessions) disowned(m *membership, it *bus.Item) bool {
	switch {
	case it.Code != bus.NotJoined:
		m.flags &^= memberDisowned
		return false
	case m.flags&memberLeaving != 0:
		return false
	case m.flags&memberEntering != 0:
		return true
	case m.flags&memberDisowned != 0 && !lp.after(m.lostAt+disownedFor):
		return false
	}
	m.flags |= memberDisowned
	m.lostAt = lp.l.ms
	lp.counts.gaps++
	lp.special(m) // what is for all is not missing
	lp.finishSpecial(m)
	lp.reenter(m)
	m.entry.again = true
	lp.sendJoin(m)
	return true
}

const disownedFor = 3000 // milliseconds

// reenterAll is reenter for everyone who follows r's output; it reports
// whether there is anyone.
func (lp *sessions) reenterAll(r *room) bool {
	var replaced []*membership
	found := false
	for _, m := range r.members {
		switch {
		case m.flags&memberEntering != 0:
		case r.entering[m.session().id] != nil: // on another conn
			replaced = append(replaced, m)
		default:
			found = true
			lp.reenter(m)
		}
	}
	for _, m := range replaced {
		lp.replaced(m)
	}
	return found
}

// joined takes ItemJoined. What answers an entry before the one at hand says
// nothing to it: its replays begin elsewhere. An entry's join is sent again where
// its answer may be lost, and any of its answers will do; when all are answered,
// the replays that come with the second are not to be heard twice.
func (lp *sessions) joined(r *room, it *bus.Item) {
	lp.alive(r)
	r.owner, r.opened = r.epoch, false
	m := r.entering[it.Session]
	if m == nil || m.entry.try != it.Try {
		there := r.find(it.To)
		if there != nil {
			there.flags |= memberDeaf
		}
		if m == nil && (there == nil || there.session().id != it.Session) {
			// The conn is gone or gave up before the room answered.
			lp.command(r, &bus.Command{Op: bus.OpAway, Member: it.To})
		}
		return
	}
	asked, fresh := *m.entry, m.member == 0
	if r.find(it.To) != m {
		lp.reseat(m, it.To)
	}
	lp.endEntry(m)
	if !asked.again {
		m.flags &^= memberDisowned
	}
	m.flags &^= memberDeaf
	m.count, m.join = it.Joined.At.Count, it.Joined.Last
	if fresh || !it.Joined.Recovered {
		m.taken, m.skipped = it.Joined.N, 0
	}
	stale := m.flags&memberStale != 0
	lp.fresh(m)
	sp := lp.startSpecial(m)
	if asked.ref != 0 {
		sp.buf = appendJoined(sp.buf, asked.ref, r.no, r.kind(), r.id(), it)
		return
	}
	lp.back(sp, m, &asked, it)
	if it.Joined.HasState && (stale || !it.Joined.Recovered || !sameState(it.Joined.At, asked.since)) {
		sp.buf = appendState(sp.buf, typeState, r.no, it.Joined.At.Ver, it.Data)
	}
}

// sameState reports whether two positions are at one state: a version names a
// state of one owner, the next owner may call another one by the same number.
func sameState(a, b bus.Position) bool { return a.Epoch == b.Epoch && a.Ver == b.Ver }

// reseat gives m the number that the room gave it. Who has it here already is
// another conn of the same session, or a member from before the room began anew
// and numbered its members afresh; the latter waits for its new number.
func (lp *sessions) reseat(m *membership, member uint32) {
	r := m.room
	r.unseat(m)
	if old := r.find(member); old != nil {
		if old.session().id == m.session().id {
			lp.replaced(old)
		} else {
			r.unseat(old)
		}
	}
	m.member = member
	r.seat(m)
}

// back tells a member what became of the room behind its back: nothing, if
// nothing was lost.
func (lp *sessions) back(sp *special, m *membership, asked *entry, it *bus.Item) {
	r, j := m.room, &it.Joined
	switch {
	case !j.Recovered:
		lp.counts.resets++
		lp.land(m) // their numbers mean nothing any more; the client sends again under new ones
		sp.buf = appendReset(sp.buf, r.no, m.member, j)
	case m.flags&memberPaused != 0 || asked.since.Epoch != j.At.Epoch:
		sp.buf = appendResumed(sp.buf, r.no, j.At.Epoch)
	}
	m.flags &^= memberPaused
	if f := m.flight; f != nil {
		lp.resend(f)
	}
	if l, ok := lp.leaving[m]; ok {
		lp.command(r, &bus.Command{Op: bus.OpLeave, Member: m.member, Ref: l.ref})
	}
}

// refused takes ItemRefused.
func (lp *sessions) refused(r *room, it *bus.Item) {
	m := r.entering[it.Session]
	if m == nil || m.entry.try != it.Try {
		return
	}
	e := m.entry
	switch {
	case e.any && it.Code == bus.RoomFull && e.tries < maxFull:
		e.tries++
		e.sent = false
		lp.notEntering(m)
		m.room = nil
		lp.tidy(r)
		lp.lookForRoom(m)
		return
	case it.Code == bus.Closed:
		e.sent = false // it is on its way out: open it again
		lp.lost(r)
		return
	case e.ref == 0 && it.Code == bus.Replaced:
		lp.replaced(m)
		return
	case e.refusedReturn(it.Code):
		lp.putOff(m)
		return
	}
	lp.turnAway(m, it.Code, it.Text)
}

// turnAway tells the client that there is no seat, and forgets the membership.
func (lp *sessions) turnAway(m *membership, code bus.Code, text string) {
	s, ref := m.session(), m.entry.ref
	lp.counts.refuse(code)
	if ref != 0 {
		lp.send(s, appendRefusal(lp.wire[:0], typeJoin, ref, code, text), false)
	} else {
		lp.finishSpecial(m)
		lp.send(s, appendLeft(lp.wire[:0], m.room.no, code, text, 0), false)
	}
	lp.drop(m)
}

// replaced ends a conn whose session goes on elsewhere.
func (lp *sessions) replaced(m *membership) {
	s := m.session()
	lp.finishSpecial(m)
	lp.drop(m)
	lp.bye(s, closeReplaced, bus.Replaced, "the session continues on another connection", -1)
}

// endEntries gives up on those who waited too long and asks again where an
// answer may have been lost.
func (lp *sessions) endEntries() {
	for i := len(lp.entries) - 1; i >= 0; i-- {
		if i >= len(lp.entries) {
			continue // several went at once
		}
		e := lp.entries[i]
		r := e.m.room
		switch {
		case e.ref != 0 && lp.after(e.until):
			lp.turnAway(e.m, e.late(), "")
		case r == nil:
			if !e.asking {
				lp.lookForRoom(e.m)
			}
		case e.sent && r.phase == roomLive && lp.after(e.sentAt+resendAfter):
			lp.publish(r)
			r.owner = 0
			lp.sendJoin(e.m)
		}
	}
}

// late is the code for a join that was not answered in time.
func (e *entry) late() bus.Code {
	switch {
	case e.sent:
		return bus.Timeout
	case e.queued || e.m.room != nil && e.m.room.queued:
		return bus.Overloaded
	}
	return bus.Unavailable
}

// stray takes output of a room that nobody here is in: if it lets somebody in,
// he is gone already.
func (lp *sessions) stray(o *bus.Output) {
	var it bus.Item
	for o.Next(&it) {
		if it.Op == bus.ItemJoined {
			r := lp.roomFor(string(o.Key))
			r.owner = o.Epoch
			lp.command(r, &bus.Command{Op: bus.OpAway, Member: it.To})
			lp.tidy(r)
		}
	}
}
