package edge

import (
	"slices"

	"roomd/bus"
)

// Who of this loop is in which room. A room is here while it has a member, or
// one on the way in; a broadcast finds its members in one slice.

// A room is what a loop knows of one: its members here and how far its output
// has come.
type room struct {
	in      string // subject of commands
	nr      string // subject for NATS's answer that nobody takes them
	keyAt   uint16 // where in holds the key
	keyEnd  uint16
	kindEnd uint16

	phase   phase
	retries uint8  // openings in a row that led to nothing
	try     uint8  // +1 each time the owner is lost; part of nr, so that late answers are told apart
	listed  bool   // in sessions.retries
	queued  bool   // roomOpening: the request to open it had to wait for its turn
	opened  bool   // a worker has said that the room is open, and has not been heard as its owner yet
	awaited bool   // it was sent something and has said nothing since
	watched bool   // in sessions.silent
	looking bool   // NATS or workers are asked for it
	looks   uint8  // times that they were since it said something
	lookAt  uint32 // loop's milliseconds when to, if it is awaited
	again   uint32 // roomWaiting: loop's milliseconds when to open it
	no      uint64 // names the room on this loop, for clients too

	owner uint64 // epoch that commands are meant for; 0: whichever there is
	epoch uint64 // newest seen, 0 before the first; older output is dropped (R2)
	seq   uint64 // position of the output seen so far
	ver   uint64

	numbers  []uint32               // of members, rising
	members  []*membership          // in the same order
	entering map[uint64]*membership // those who wait for an answer to OpJoin, by session
	pending  []byte                 // Commands for the end of the turn; lent, nil if there are none
}

// A phase says whether a room can be talked to.
type phase uint8

const (
	roomLive    phase = iota // has an owner, for all we know
	roomOpening              // a worker is asked to open it
	roomWaiting              // nobody opened it; tried again at room.again
)

func (r *room) key() string  { return r.in[r.keyAt:r.keyEnd] }
func (r *room) kind() string { return r.in[r.keyAt:r.kindEnd] }
func (r *room) id() string   { return r.in[r.kindEnd+1 : r.keyEnd] }

// empty reports whether nobody here is in the room or on the way.
func (r *room) empty() bool { return len(r.members) == 0 && len(r.entering) == 0 }

// find returns the member of that number, or nil.
func (r *room) find(member uint32) *membership {
	if i, ok := slices.BinarySearch(r.numbers, member); ok {
		return r.members[i]
	}
	return nil
}

// seat puts m in its place by m.member. Nobody may be there.
func (r *room) seat(m *membership) {
	n := len(r.numbers)
	if n == 0 || r.numbers[n-1] < m.member { // numbers rise, so this is usual
		r.numbers = append(r.numbers, m.member)
		r.members = append(r.members, m)
		return
	}
	i, _ := slices.BinarySearch(r.numbers, m.member)
	r.numbers = slices.Insert(r.numbers, i, m.member)
	r.members = slices.Insert(r.members, i, m)
}

// unseat takes m from its place, if it has one.
func (r *room) unseat(m *membership) {
	i, ok := slices.BinarySearch(r.numbers, m.member)
	if ok && r.members[i] == m {
		r.numbers = slices.Delete(r.numbers, i, i+1)
		r.members = slices.Delete(r.members, i, i+1)
	}
}

// A membership is one session in one room, or on the way there.
type membership struct {
	c      *conn
	room   *room       // nil while a room is looked for
	next   *membership // of the same session
	entry  *entry      // while it waits for an answer to OpJoin
	flight *flight     // while commands wait for replies

	taken   uint64 // number of the last command passed on
	count   uint64 // messages to this member alone, so far
	join    uint64 // bus.Joined.Last, as of the last answer
	member  uint32 // its number in the room, 0 before the first answer
	skipped uint32 // commands just above taken that were refused here
	special int32  // index in fan.specials; valid with memberSpecial
	lostAt  uint32 // loop's milliseconds; valid with memberDisowned
	flags   memberFlags
}

type memberFlags uint8

const (
	memberJSON     memberFlags = 1 << iota // its conn does not speak the native protocol
	memberEntering                         // waits for an answer to OpJoin: gets only what is for it alone
	memberStale                            // has missed a patch: gets none until it has the state
	memberSpecial                          // the envelope at hand has something for it alone
	memberPaused                           // was told that the room paused
	memberLeaving                          // has asked to leave: sends nothing any more
	memberDisowned                         // the room said that it is no member, at lostAt
	memberDeaf                             // replays that come are of a join that was answered before
)

func (m *membership) session() *session { return m.c.user.(*session) }

// roomFor returns the room with that key, and makes it if it is not here.
func (lp *sessions) roomFor(key string) *room {
	if r := lp.rooms[key]; r != nil {
		return r
	}
	lp.lastNo++
	in := lp.subjects.In(key)
	at := len(in) - len(".in") - len(key)
	r := &room{in: in, no: lp.lastNo, keyAt: uint16(at), keyEnd: uint16(at + len(key))}
	r.kindEnd = r.keyAt + uint16(kindLen(key))
	lp.renew(r)
	lp.rooms[r.key()] = r
	lp.byNo[r.no] = r
	return r
}

// kindLen is the length of the kind in a valid key.
func kindLen(key string) int {
	for i := range len(key) {
		if key[i] == '.' {
			return i
		}
	}
	return len(key)
}

// The address for "no responders" holds the room's number and, in its low bits,
// the room's try.
const tryBits = 8

// renew makes answers to what was sent so far void.
func (lp *sessions) renew(r *room) {
	r.try++
	r.awaited = false
	r.nr = lp.subjects.NoResponders(lp.addr, r.no<<tryBits|uint64(r.try))
}

// roomOf returns the room that a "no responders" is about, or nil if it is gone
// or the answer is about an earlier try.
func (lp *sessions) roomOf(nr uint64) *room {
	r := lp.byNo[nr>>tryBits]
	if r == nil || r.try != uint8(nr) {
		return nil
	}
	return r
}

// tidy forgets a room that nobody here is in any more. What is pending for it
// still goes.
func (lp *sessions) tidy(r *room) {
	if !r.empty() || lp.byNo[r.no] != r {
		return
	}
	delete(lp.rooms, r.key())
	delete(lp.byNo, r.no)
}

// add puts a new membership on its session's list.
func (lp *sessions) add(s *session) *membership {
	m := &membership{c: s.c, next: s.first}
	if s.c.protocol != 0 {
		m.flags |= memberJSON
	}
	s.first = m
	s.rooms++
	lp.counts.memberships++
	return m
}

// drop ends a membership: everywhere it is known it is forgotten. Nobody is
// told.
func (lp *sessions) drop(m *membership) {
	s := m.session()
	for at := &s.first; *at != nil; at = &(*at).next {
		if *at == m {
			*at = m.next
			break
		}
	}
	s.rooms--
	lp.counts.memberships--
	lp.endEntry(m)
	lp.land(m)
	if m.flags&memberStale != 0 {
		delete(lp.stale, m)
	}
	if m.flags&memberLeaving != 0 {
		delete(lp.leaving, m)
	}
	if r := m.room; r != nil {
		r.unseat(m)
		lp.tidy(r)
	}
	m.c = nil
}

// away ends a membership whose conn is gone, and tells the room.
func (lp *sessions) away(m *membership) {
	r := m.room
	id := m.session().id
	lp.drop(m)
	if r == nil || m.member == 0 {
		return // should OpJoin be answered yet, that answer finds nobody (joined)
	}
	if r.entering[id] != nil {
		return // the same session is on its way in again
	}
	if !lp.conn.Connected() || r.phase != roomLive {
		lp.remember(r.key(), m.member) // its owner may be out of reach, and not dead
		return
	}
	lp.command(r, &bus.Command{Op: bus.OpAway, Member: m.member})
}

// find returns the session's membership in the room of that number, or nil.
func (s *session) find(no uint64) *membership {
	for m := s.first; m != nil; m = m.next {
		if m.room != nil && m.room.no == no && m.member != 0 {
			return m
		}
	}
	return nil
}

// in reports whether the session is in the room with that key, or on the way.
func (s *session) in(key string) bool {
	for m := s.first; m != nil; m = m.next {
		if m.room != nil && m.room.key() == key {
			return true
		}
	}
	return false
}
