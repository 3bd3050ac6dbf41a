package edge

import (
	"slices"
	"unicode/utf8"

	"roomd/bus"
)

// Commands of members: from the client to the room, kept until they are
// answered, and sent again when the room has a new owner.

// A flight is a member's commands that have a number and no reply yet. It
// exists only while there are some.
type flight struct {
	m        *membership
	at       int    // index in sessions.flights
	open     int    // items without a reply
	last     uint64 // highest number in items
	items    []inFlight
	buf      []byte // the commands as they are in envelopes, in the order of items
	resentAt uint32 // loop's milliseconds, 0 if never; to do it once for many out of order
}

type inFlight struct {
	n          uint64 // 0: answered
	sentAt     uint32 // loop's milliseconds
	start, end uint32 // in flight.buf
}

const (
	keptFlights  = 4096    // free ones, by a loop
	keptCommands = 4 << 10 // bytes; a free one with room for more gives it back
)

func (lp *sessions) sendCommand(s *session, f *frame) {
	m := s.find(f.room)
	ok := s.budget.take(lp.cfg, lp.l.ms)
	if m == nil || m.flags&memberLeaving != 0 {
		lp.refuse(s, f, bus.NotJoined, "")
		return
	}
	if f.n > m.taken+uint64(m.skipped)+1 {
		lp.refuse(s, f, bus.OutOfOrder, "")
		return
	}
	code := bus.Code("")
	switch {
	case !ok:
		code = bus.RateLimited
	case len(f.event) == 0 || len(f.event) > bus.MaxEvent || !utf8.Valid(f.event):
		code = bus.BadName
	case f.n == 0 && m.flags&memberEntering != 0:
		code = bus.Unavailable // nobody to take it, and it is not worth keeping
	case f.n != 0 && m.flight != nil && m.flight.open >= lp.cfg.MaxInFlight && !m.flight.has(f.n):
		code = bus.InFlight
	case f.n != 0 && lp.flightBytes+len(f.data) > lp.cfg.BufferBytes/lp.cfg.Loops:
		code = bus.Overloaded
	}
	if code != "" {
		if f.n > m.taken {
			m.skipped = max(m.skipped, uint32(f.n-m.taken))
		}
		lp.refuse(s, f, code, "")
		return
	}
	lp.passOn(m, f)
}

// passOn sends a command to the room, or keeps it until there is one.
func (lp *sessions) passOn(m *membership, f *frame) {
	lp.counts.commands++
	c := &lp.cmd
	*c = bus.Command{Op: bus.OpSend, Member: m.member, N: f.n, Acked: f.acked, Event: f.event, Data: f.data}
	if f.n > m.taken {
		c.Skipped = f.n - m.taken - 1
		m.skipped -= min(m.skipped, uint32(f.n-m.taken))
		m.taken = f.n
	}
	if f.n == 0 {
		lp.command(m.room, c)
		return
	}
	fl := m.flight
	if fl == nil {
		fl = lp.launch(m)
	}
	lp.flightBytes -= len(fl.buf)
	raw := fl.put(c, lp.l.ms, lp.cfg.MaxInFlight)
	lp.flightBytes += len(fl.buf)
	if m.flags&memberEntering == 0 {
		lp.pend(m.room)
		m.room.pending = append(m.room.pending, raw...)
	}
}

func (lp *sessions) launch(m *membership) *flight {
	var fl *flight
	if n := len(lp.landed); n > 0 {
		fl = lp.landed[n-1]
		lp.landed = lp.landed[:n-1]
	} else {
		fl = new(flight)
	}
	fl.m, fl.at = m, len(lp.flights)
	lp.flights = append(lp.flights, fl)
	m.flight = fl
	return fl
}

// land ends m's flight, if it has one.
func (lp *sessions) land(m *membership) {
	fl := m.flight
	if fl == nil {
		return
	}
	m.flight = nil
	lp.flightBytes -= len(fl.buf)
	last := len(lp.flights) - 1
	lp.flights[fl.at] = lp.flights[last]
	lp.flights[fl.at].at = fl.at
	lp.flights[last] = nil
	lp.flights = lp.flights[:last]
	if cap(fl.buf) > keptCommands || len(lp.landed) >= keptFlights {
		return
	}
	*fl = flight{items: fl.items[:0], buf: fl.buf[:0]}
	lp.landed = append(lp.landed, fl)
}

// index returns where command n is, or -1.
func (fl *flight) index(n uint64) int {
	return slices.IndexFunc(fl.items, func(x inFlight) bool { return x.n == n })
}

func (fl *flight) has(n uint64) bool { return fl.index(n) >= 0 }

// put keeps a command and returns its bytes; one that is there already is as it
// was first.
func (fl *flight) put(c *bus.Command, ms uint32, limit int) []byte {
	again := c.N <= fl.last // rare: the client has sent it before
	if again {
		if i := fl.index(c.N); i >= 0 {
			x := &fl.items[i]
			x.sentAt = ms
			return fl.buf[x.start:x.end]
		}
	}
	if len(fl.items) > 2*limit {
		fl.compact()
	}
	start := len(fl.buf)
	fl.buf = c.Append(fl.buf)
	x := inFlight{c.N, ms, uint32(start), uint32(len(fl.buf))}
	fl.open++
	if !again {
		fl.last = c.N
		fl.items = append(fl.items, x)
		return fl.buf[start:]
	}
	at := slices.IndexFunc(fl.items, func(x inFlight) bool { return x.n > c.N })
	if at < 0 {
		at = len(fl.items)
	}
	fl.items = slices.Insert(fl.items, at, x)
	return fl.buf[start:]
}

// compact forgets what was answered between others that were not.
func (fl *flight) compact() {
	buf := make([]byte, 0, len(fl.buf))
	items := fl.items[:0]
	for _, x := range fl.items {
		if x.n != 0 {
			start := uint32(len(buf))
			buf = append(buf, fl.buf[x.start:x.end]...)
			items = append(items, inFlight{x.n, x.sentAt, start, uint32(len(buf))})
		}
	}
	fl.items, fl.buf = items, buf
}

// reply takes ItemReply and reports whether the client shall see it. A room
// that misses a command that was lost on the way refuses the later ones: then
// all are sent again.
func (lp *sessions) reply(m *membership, it *bus.Item) bool {
	fl := m.flight
	if fl == nil {
		return true
	}
	i := fl.index(it.N)
	if i < 0 {
		return true
	}
	if it.Code == bus.OutOfOrder && fl.earlier(i) {
		if fl.resentAt == 0 || lp.after(fl.resentAt+resendAfter) {
			fl.resentAt = max(lp.l.ms, 1)
			lp.resend(fl)
		}
		return false
	}
	lp.answered(fl, i)
	return true
}

// answered takes item i off a flight.
func (lp *sessions) answered(fl *flight, i int) {
	fl.items[i].n = 0
	fl.open--
	if fl.open == 0 {
		lp.land(fl.m)
	}
}

// earlier reports whether a command before item i has no reply.
func (fl *flight) earlier(i int) bool {
	return slices.ContainsFunc(fl.items[:i], func(x inFlight) bool { return x.n != 0 })
}

// resend sends everything in a flight again, in order.
func (lp *sessions) resend(fl *flight) {
	r := fl.m.room
	for _, x := range fl.items {
		if x.n != 0 {
			lp.counts.resent++
			lp.pend(r)
			r.pending = append(r.pending, fl.buf[x.start:x.end]...)
		}
	}
}

// endFlights tells clients of commands that got no reply in time.
func (lp *sessions) endFlights() {
	limit := millis(lp.cfg.CommandTimeout)
	for i := len(lp.flights) - 1; i >= 0; i-- {
		fl := lp.flights[i]
		for j := range fl.items {
			x := &fl.items[j]
			if x.n == 0 || !lp.after(x.sentAt+limit) {
				continue
			}
			lp.counts.refuse(bus.Timeout)
			lp.sendTo(fl.m, appendReply(lp.wire[:0], fl.m.room.no, x.n, nil, bus.Timeout, ""))
			x.n = 0
			fl.open--
		}
		switch {
		case fl.open == 0:
			lp.land(fl.m)
		case fl.m.flags&memberEntering == 0 && lp.overdue(fl):
			fl.resentAt = max(lp.l.ms, 1)
			lp.resend(fl)
		}
	}
}

// overdue reports whether a flight's first command has been without a reply for
// so long that it, or the reply, is better taken for lost: nothing else tells if
// the room's worker was cut off for a moment. Its number keeps it from happening
// twice.
func (lp *sessions) overdue(fl *flight) bool {
	if fl.resentAt != 0 && !lp.after(fl.resentAt+resendAfter) {
		return false
	}
	i := slices.IndexFunc(fl.items, func(x inFlight) bool { return x.n != 0 })
	return i >= 0 && lp.after(fl.items[i].sentAt+resendAfter)
}

// A leave is a member's wish to go that the room has not confirmed.
type leave struct {
	ref   uint64
	until uint32 // loop's milliseconds when it is gone in any case
}

func (lp *sessions) leave(s *session, f *frame) {
	m := s.find(f.room)
	if m == nil || m.flags&memberLeaving != 0 {
		lp.refuse(s, f, bus.NotJoined, "")
		return
	}
	m.flags |= memberLeaving
	lp.leaving[m] = leave{f.ref, lp.l.ms + millis(lp.cfg.CommandTimeout)}
	if m.flags&memberEntering == 0 {
		lp.command(m.room, &bus.Command{Op: bus.OpLeave, Member: m.member, Ref: f.ref})
	}
}

// endLeaves lets those go whose room does not answer.
func (lp *sessions) endLeaves() {
	for m, l := range lp.leaving {
		if lp.after(l.until) {
			lp.counts.refuse(bus.Timeout)
			lp.sendTo(m, appendLeft(lp.wire[:0], m.room.no, bus.Timeout, "", l.ref))
			lp.away(m)
		}
	}
}
