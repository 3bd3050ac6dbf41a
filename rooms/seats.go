package rooms

import (
	"slices"

	"roomd/bus"
)

// This file keeps a room's tables: its members by id and by session, and the
// addresses that they are at.

// bySession returns the member of a session, or nil.
func (r *Room) bySession(session uint64) *Member {
	if r.sessions != nil {
		return r.sessions[session]
	}
	for _, m := range r.members {
		if m.session == session {
			return m
		}
	}
	return nil
}

// fewMembers is up to how many members are searched without a map.
const fewMembers = 16

// enter gives a member its place among the others; ids only grow.
func (r *Room) enter(m *Member) {
	m.seated = true
	r.members = append(r.members, m)
	r.size.Store(int32(len(r.members)))
	switch {
	case r.sessions != nil:
		r.sessions[m.session] = m
	case len(r.members) > fewMembers:
		r.sessions = make(map[uint64]*Member, 2*fewMembers)
		for _, m := range r.members {
			r.sessions[m.session] = m
		}
	}
}

// exit is the reverse of enter.
func (r *Room) exit(m *Member) {
	m.seated = false
	r.members = slices.DeleteFunc(r.members, func(other *Member) bool { return other == m })
	r.size.Store(int32(len(r.members)))
	delete(r.sessions, m.session)
	if r.trail != nil {
		r.trail.gone = append(r.trail.gone, m.id)
	}
	if len(r.members) == 0 {
		r.members, r.sessions = nil, nil
	}
}

// peerOf returns the number of an address, given to it if it has none.
func (r *Room) peerOf(a bus.Address) int32 {
	free := -1
	for i := range r.peers {
		switch p := &r.peers[i]; {
		case p.to == nil:
			free = i
		case p.to.address == a:
			return int32(i)
		}
	}
	if free < 0 {
		free = len(r.peers)
		r.peers = append(r.peers, peer{})
	}
	r.peers[free] = peer{to: r.worker.endpoint(a)}
	r.turn.addOut(free, true)
	return int32(free)
}

// freePeers gives up the numbers of addresses without members.
func (r *Room) freePeers() {
	for i := range r.peers {
		if r.peers[i].members == 0 {
			r.peers[i].to = nil
		}
	}
	for len(r.peers) > 0 && r.peers[len(r.peers)-1].to == nil {
		r.peers = r.peers[:len(r.peers)-1]
	}
	if len(r.peers) == 0 {
		r.peers = nil
	}
}

// attach connects a member to an address, detach takes it off.
func (r *Room) attach(m *Member, from int32) {
	m.at = from
	r.peers[from].members++
	r.present++
}

func (r *Room) detach(m *Member) {
	if m.at != away {
		r.peers[m.at].members--
		r.present--
		m.at = away
	}
}
