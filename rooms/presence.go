package rooms

import "roomd/bus"

// A presence holds changes among the members that the others have not been told
// yet. They are told together, at most once per Config.PresenceEvery, and as
// what holds by then: who came and went in between is still named in left, since
// a newcomer's list may have had it; so clients take a diff as idempotent.
type presence struct {
	joined  []*Member
	toggled []*Member // gone away or come back
	left    []uint32
}

func (r *Room) presenceChanged() *presence {
	if r.presence == nil {
		r.presence = &presence{}
		r.at(duePresence, r.turn.now+int64(r.worker.cfg.PresenceEvery))
	}
	return r.presence
}

func (r *Room) presenceJoined(m *Member) {
	p := r.presenceChanged()
	m.fresh = true
	p.joined = append(p.joined, m)
}

func (r *Room) presenceLeft(m *Member) {
	p := r.presenceChanged()
	p.left = append(p.left, m.id)
}

func (r *Room) presenceToggled(m *Member) {
	if p := r.presenceChanged(); !m.toggled {
		m.toggled = true
		p.toggled = append(p.toggled, m)
	}
}

// untold reports whether there is somebody whose coming or going nobody would be
// told of if the room had another owner now: that is kept with the members.
func (p *presence) untold() bool { return p != nil && len(p.joined)+len(p.left) > 0 }

// append appends what untold means. Who is away follows from the members.
func (p *presence) append(b []byte) []byte {
	if p == nil {
		p = &presence{}
	}
	b = bus.AppendUint(b, uint64(len(p.left)))
	for _, id := range p.left {
		b = bus.AppendUint(b, uint64(id))
	}
	b = bus.AppendUint(b, uint64(len(p.joined)))
	for _, m := range p.joined {
		b = bus.AppendUint(b, uint64(m.id))
	}
	return b
}

// loadPresence reads what append has written, when the members are there.
func (r *Room) loadPresence(rd *bus.Reader) {
	p := &presence{}
	for range rd.Count() {
		p.left = append(p.left, rd.Uint32())
	}
	for range rd.Count() {
		if m := r.Member(rd.Uint32()); m != nil { // else it has left again
			m.fresh = true
			p.joined = append(p.joined, m)
		}
	}
	if p.untold() {
		r.presence = p
	}
}

// tellPresence broadcasts the changes as one diff.
func (r *Room) tellPresence() {
	p, t := r.presence, r.turn
	r.presence = nil
	if p == nil {
		return
	}
	large := len(r.members) > r.kind.PresenceLimit
	quiet := large && len(p.joined)+len(p.left) == 0 // the size is the same
	t.item.Op = bus.ItemPresence
	t.item.Presence = p.diff(len(r.members), large)
	if len(r.members) == 0 || quiet {
		return
	}
	b := t.all()
	r.seq++
	t.said()
	r.remember(r.seq, b)
}

// diff says the changes as what holds now, and clears the members' marks.
func (p *presence) diff(size int, large bool) bus.Presence {
	d := bus.Presence{Size: size, Left: p.left}
	for _, m := range p.joined {
		if m.seated {
			d.Joined = append(d.Joined, m.seat())
		}
	}
	for _, m := range p.toggled {
		switch m.toggled = false; {
		case !m.seated:
		case m.at == away:
			d.Away = append(d.Away, m.id)
		case !m.fresh:
			d.Back = append(d.Back, m.id)
		}
	}
	for _, m := range p.joined {
		m.fresh = false
	}
	if large {
		return bus.Presence{Size: size}
	}
	return d
}

func (m *Member) seat() bus.Seat { return bus.Seat{Member: m.id, User: m.user} }

// seats lists the members for a newcomer; nil above the kind's limit.
func (r *Room) seats() []bus.Seat {
	if len(r.members) > r.kind.PresenceLimit {
		return nil
	}
	list := make([]bus.Seat, 0, len(r.members))
	for _, m := range r.members {
		list = append(list, bus.Seat{Member: m.id, User: m.user, Away: m.at == away})
	}
	return list
}
