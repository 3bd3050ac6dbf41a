package rooms

import (
	"slices"

	"roomd/bus"
)

// This file is about seats: taking one, coming back to it, losing the
// connection, giving it up.

// join answers OpJoin with ItemJoined or ItemRefused.
func (r *Room) join(from int32, c *bus.Command) {
	if m := r.bySession(c.Session); m != nil {
		r.comeBack(from, m, c)
		return
	}
	r.takePromise()
	if err := r.mayJoin(c); err != nil {
		r.refuseJoin(from, c, r.coded(err))
		return
	}
	r.rebase() // before the head of a new address says where the state is
	o := r.turn.to(from)
	at := len(o.buf)
	joined := bus.Joined{At: bus.Position{Epoch: r.epoch, Seq: r.seq, Ver: r.ver}}

	r.nextMember++
	m := &Member{room: r, id: r.nextMember, session: c.Session, user: c.User, at: away, options: c.Options}
	r.enter(m)
	r.mark(m)
	m.bornNow, m.born, m.bornTry = true, r.seq, c.Try
	if m.try = c.Try; c.Ref != 0 {
		m.joined(m.nextJoin())
	} else {
		m.joined(c.Last)
	}
	r.attach(m, from)
	err := r.handler.Join(r, m)
	m.options = nil
	r.ran()
	if err != nil {
		r.detach(m)
		r.exit(m)
		r.refuseJoin(from, c, r.coded(err))
		return
	}
	m.goAbove(c)
	r.presenceJoined(m)
	// What Join said to the member was counted from the position before; so
	// ItemJoined is put in front of it.
	t := r.turn
	r.welcome(m, c, &joined)
	t.scratch = t.item.Append(t.scratch[:0])
	t.outs[from].insert(at, t.scratch)
}

// mayJoin asks everybody who may object to a new member.
func (r *Room) mayJoin(c *bus.Command) error {
	if r.kind.Seats > 0 && len(r.members) >= r.kind.Seats {
		return bus.Errorf(bus.RoomFull, "")
	}
	if len(c.Options) > r.kind.MaxMessageBytes {
		return bus.Errorf(bus.TooLarge, "the limit is %d bytes", r.kind.MaxMessageBytes)
	}
	if r.kind.Allow == nil {
		return nil
	}
	msg := &r.turn.msg
	msg.set("join", c.Options, bus.BadOptions)
	return r.kind.Allow(c.User, msg)
}

// comeBack gives a session its seat again: after a reconnect, from wherever it
// is now, or because its edge has missed something.
func (r *Room) comeBack(from int32, m *Member, c *bus.Command) {
	if !m.mayReturn(from, c) {
		r.refuse(from, c, bus.Replaced)
		return
	}
	t := r.turn
	r.rebase()
	had, wasAway := m.had(from, c), m.at == away
	if !wasAway && m.at != from {
		r.sayLeft(m, 0, bus.Replaced, "")
	}
	r.detach(m)
	r.attach(m, from)
	if wasAway {
		r.presenceToggled(m)
	}
	joined := bus.Joined{
		At:      bus.Position{Epoch: r.epoch, Seq: r.seq, Count: m.count, Ver: r.ver},
		Resumed: had,
	}
	if had && c.Resume && r.covers(m, c.Since) {
		joined.Recovered = true
		joined.At.Seq, joined.At.Count = c.Since.Seq, c.Since.Count
	} else {
		m.goAbove(c)
	}
	r.welcome(m, c, &joined)
	t.one(from)
	if joined.Recovered {
		r.replay(m, c.Since)
	}
}

// had reports whether the seat is the one that the client had, and not one that it
// was given and has not heard of, as the answer was lost or came to a conn that was
// gone. Then commands of the old seat may have happened whatever the new one says.
func (m *Member) had(from int32, c *bus.Command) bool {
	switch {
	case m.bornNow && c.Try != 0 && c.Try == m.bornTry && m.at == from:
		return false // the answer to its join, once more
	case !c.Resume || c.Since.Epoch == 0:
		return true
	case m.bornNow && c.Since.Epoch < m.room.epoch:
		return false
	case c.Was != 0:
		return c.Was == m.id
	}
	return !m.bornNow || c.Since.Seq >= m.born
}

// mayReturn names a join of the member's client, and reports whether its edge may
// bring it back in by itself. An edge that stood still does not know that its
// client has joined from elsewhere meanwhile. Its conn must not take the seat from
// the newer one.
func (m *Member) mayReturn(from int32, c *bus.Command) bool {
	switch {
	case c.Ref == 0 && c.Last < m.join:
		return false
	case c.Ref == 0:
		m.joined(c.Last) // the room may have gone back
	case m.at != from || c.Try != m.try:
		m.joined(m.nextJoin())
	}
	if c.Ref != 0 {
		m.try = c.Try
	}
	return true
}

// nextJoin names a join by the time (milliseconds since 1970), so that it is above
// those of a seat that the session had before and has lost.
func (m *Member) nextJoin() uint64 {
	return max(m.join+1, uint64(m.room.turn.wall.UnixMilli()))
}

func (m *Member) joined(join uint64) {
	if m.join != join {
		m.join, m.rejoins = join, true
		m.room.mark(m)
	}
}

// goAbove keeps the numbers that the client may have used, for commands that the
// room has not seen and that may still come, from being given to others: the
// client, which has missed something and is told so, numbers its next commands
// above them. The same OpJoin may come twice and moves last once.
func (m *Member) goAbove(c *bus.Command) {
	if c.Floor > m.last {
		m.void += c.Floor - m.last
		m.last = c.Floor
		m.room.mark(m)
	}
}

// welcome makes turn.item the ItemJoined of a member.
func (r *Room) welcome(m *Member, c *bus.Command, j *bus.Joined) {
	it := &r.turn.item
	j.Last = m.join
	j.N, j.Applied, j.Seats, j.Size = m.last, m.last-m.void, r.kind.Seats, len(r.members)
	if !j.Recovered {
		j.Members = r.seats()
	}
	it.Op, it.To, it.Session, it.Ref, it.Data = bus.ItemJoined, m.id, m.session, c.Ref, nil
	it.Try = c.Try
	sameState := j.Recovered && c.Since.Epoch == r.epoch && c.Since.Ver == j.At.Ver
	if r.kind.Sync > 0 && !sameState {
		j.HasState, it.Data = true, r.canon
	}
	it.Joined = *j
}

func (r *Room) refuseJoin(from int32, c *bus.Command, e *bus.Error) {
	it := &r.turn.item
	it.Op, it.Session, it.Ref, it.Code, it.Text = bus.ItemRefused, c.Session, c.Ref, e.Code, e.Message
	it.Try = c.Try
	r.turn.one(from)
	r.worker.metrics.refuse(e.Code)
}

// sayLeft tells a member's address that its seat is gone, or elsewhere.
func (r *Room) sayLeft(m *Member, ref uint64, code bus.Code, text string) {
	if m.at == away {
		return
	}
	it := &r.turn.item
	it.Op, it.To, it.Session, it.Ref, it.Code, it.Text = bus.ItemLeft, m.id, m.session, ref, code, text
	r.turn.one(m.at)
}

// leave answers OpLeave with ItemLeft.
func (r *Room) leave(from int32, c *bus.Command) {
	m := r.Member(c.Member)
	if m == nil || m.at != from {
		it := &r.turn.item
		it.Op, it.To, it.Session, it.Ref, it.Code, it.Text = bus.ItemLeft, c.Member, 0, c.Ref, bus.NotJoined, ""
		r.turn.one(from)
		return
	}
	r.remove(m, Left, c.Ref, bus.Left, "")
}

// remove takes a member's seat, tells its address and then the handler.
func (r *Room) remove(m *Member, why Reason, ref uint64, code bus.Code, text string) {
	r.sayLeft(m, ref, code, text)
	r.detach(m)
	r.exit(m)
	r.presenceLeft(m)
	r.handler.Leave(r, m, why)
	r.ran()
}

// lose marks a member whose connection is gone. Its seat is kept for the
// linger.
func (r *Room) lose(m *Member) {
	r.detach(m)
	m.leaveAt = r.turn.now + int64(r.kind.Linger)
	r.at(dueLinger, m.leaveAt)
	r.presenceToggled(m)
}

// loseEdge does that for all members on one edge.
func (r *Room) loseEdge(edge string) {
	if r.phase >= closed {
		return
	}
	for _, m := range r.members {
		if m.at != away && r.peers[m.at].to.address.Edge() == edge {
			// Should the edge live after all, it hears that it has to come again.
			it := &r.turn.item
			it.Op, it.To, it.Code, it.Text = bus.ItemError, m.id, bus.NotJoined, ""
			r.turn.one(m.at)
			r.lose(m)
		}
	}
}

// endLingers takes the seats of those who have been away too long.
func (r *Room) endLingers() {
	var late []*Member
	for _, m := range r.members {
		switch {
		case m.at != away:
		case m.leaveAt <= r.turn.now:
			late = append(late, m)
		default:
			r.at(dueLinger, m.leaveAt)
		}
	}
	for _, m := range late {
		if m.seated && m.at == away {
			r.remove(m, Lost, 0, "", "")
		}
	}
}

// kicked is a seat to be taken, or the room to be closed, when the callback
// that runs has returned: callbacks do not call each other.
type kicked struct {
	member *Member // nil: the room
	code   bus.Code
	text   string
}

func (t *turn) kick(m *Member, code, text string) {
	t.kicks = append(t.kicks, kicked{m, code, clip(text)})
}

// settle does what callbacks have put off.
func (r *Room) settle() {
	t := r.turn
	for i := 0; i < len(t.kicks); i++ { // Leave may kick others
		k := t.kicks[i]
		switch {
		case r.phase >= closed:
		case k.member == nil:
			r.sayClosed(k.code)
			for _, m := range slices.Clone(r.members) {
				r.detach(m)
				r.exit(m)
				r.handler.Leave(r, m, Closed)
			}
		case k.member.seated:
			r.remove(k.member, Kicked, 0, k.code, k.text)
		}
	}
	t.kicks = t.kicks[:0]
}

// sayClosed ends the room for everybody. From here it says nothing more.
func (r *Room) sayClosed(code bus.Code) {
	t := r.turn
	t.item.Op, t.item.Code, t.item.Text = bus.ItemClosed, code, ""
	t.all()
	r.closing = true
	r.over = !r.crash
	r.phase = closed
	r.presence = nil
	r.due = [numDues]int64{}
	r.timers = nil
	r.depart()
}
