package rooms

import (
	"strings"

	"roomd/bus"
)

// This file takes envelopes of commands apart and answers each command.

// A verdict is what is decided about a whole envelope before its commands are
// looked at.
type verdict struct {
	late    bool // its deadline has passed
	refused bool // the mailbox was full
	foreign bool // it was meant for another epoch
}

// envelope runs the commands of one envelope. Leaving and going away are always
// done, since nobody would repeat them.
func (r *Room) envelope(e *entry) {
	if r.phase == ended {
		return // silent: another owner answers, or nobody asks any more
	}
	if e.commands.Epoch > r.epoch && r.phase < closed {
		r.fenced("an edge has heard a later owner")
		return
	}
	t := r.turn
	from := r.peerOf(e.commands.From)
	if e.commands.Empty() { // an edge asks where the output stands
		t.open(&t.outs[from])
		return
	}
	v := verdict{
		late:    r.worker.conn.Late(r.peers[from].to.clock, e.commands.Deadline, t.wall),
		refused: e.refused,
		foreign: e.commands.Epoch != 0 && e.commands.Epoch != r.epoch,
	}
	var c bus.Command
	for e.commands.Next(&c) {
		t.commands++
		if r.phase >= closed {
			r.refuse(from, &c, bus.Closed)
			continue
		}
		switch c.Op {
		case bus.OpSend:
			r.receive(from, &c, v)
		case bus.OpJoin:
			r.joinUnless(from, &c, v)
		case bus.OpLeave:
			r.leave(from, &c)
		case bus.OpAway:
			if m := r.Member(c.Member); m != nil && m.at == from {
				r.lose(m)
			}
		case bus.OpState:
			if m := r.Member(c.Member); m != nil && m.at == from {
				r.sendState(m)
			}
		}
		if len(t.kicks) > 0 {
			r.settle()
		}
	}
	if e.commands.Err() != nil {
		r.worker.metrics.malformed.Inc()
	}
}

// joinUnless joins, whatever epoch the edge thought of: a join does not depend
// on it. A late one is refused, for its client has given up and would leave a
// seat behind that nobody sits on.
func (r *Room) joinUnless(from int32, c *bus.Command, v verdict) {
	switch {
	case v.late:
		r.refuse(from, c, bus.Timeout)
	case v.refused:
		r.refuse(from, c, bus.Overloaded)
	default:
		r.turn.joining, r.turn.joiner = c, from
		r.join(from, c)
		r.turn.joining = nil
	}
}

// receive runs a member's command once. What is refused for good (overloaded,
// too large, the handler's own errors) takes its number like a command that
// ran. What may be sent again (late) does not, and what comes behind it waits
// for it, so that commands keep their order.
func (r *Room) receive(from int32, c *bus.Command, v verdict) {
	m := r.Member(c.Member)
	switch {
	case m == nil || m.at != from:
		r.refuse(from, c, bus.NotJoined)
		return
	case v.foreign: // its number is of another count
		r.refuse(from, c, bus.Unavailable)
		return
	case c.N != 0:
		switch m.number(c) {
		case isRepeated:
			r.repeat(m, c)
			return
		case isGap:
			code := bus.OutOfOrder
			if m.hole {
				code = bus.Timeout
			}
			r.refuse(from, c, code)
			return
		}
	}
	if v.late {
		m.hole = c.N != 0 || m.hole
		r.refuse(from, c, bus.Timeout)
		return
	}
	if c.N != 0 {
		m.last, m.void, m.hole = c.N, 0, false
		r.mark(m)
	}
	r.run(m, c, v.refused)
}

// run calls the handler and sends the reply.
func (r *Room) run(m *Member, c *bus.Command, refused bool) {
	t := r.turn
	msg := &t.msg
	msg.set(t.eventName(c.Event), c.Data, bus.BadData)
	var err error
	switch {
	case refused:
		err = errOverloaded
	case len(c.Data) > r.kind.MaxMessageBytes:
		err = bus.Errorf(bus.TooLarge, "the limit is %d bytes", r.kind.MaxMessageBytes)
	default:
		err = r.handler.Receive(r, m, msg)
	}
	r.ran()
	it := &t.item
	it.To, it.N, it.Code, it.Text, it.Data = m.id, c.N, "", "", msg.reply
	if err != nil {
		e := r.coded(err)
		it.Code, it.Text, it.Data = e.Code, e.Message, nil
		r.worker.metrics.refuse(e.Code)
	}
	switch {
	case c.N != 0:
		it.Op = bus.ItemReply
		m.keepReply(c.N, t.one(m.at))
	case err != nil:
		it.Op = bus.ItemError
		t.one(m.at)
	}
}

// repeat answers a command that was run before: with the reply it got then, or
// not at all if the client has said that it has that.
func (r *Room) repeat(m *Member, c *bus.Command) {
	r.worker.metrics.repeated.Inc()
	if b := m.keptReply(c.N); b != nil {
		o := r.turn.to(m.at)
		o.buf = append(o.buf, b...)
		return
	}
	if c.N > c.Acked {
		r.refuse(m.at, c, bus.OutOfOrder)
	}
}

// refuse answers any command with a code.
func (r *Room) refuse(from int32, c *bus.Command, code bus.Code) {
	it := &r.turn.item
	it.To, it.Session, it.Try, it.Ref, it.N = c.Member, c.Session, c.Try, c.Ref, c.N
	it.Code, it.Text, it.Data = code, "", nil
	switch {
	case c.Op == bus.OpSend && c.N != 0:
		it.Op = bus.ItemReply
	case c.Op == bus.OpSend, c.Op == bus.OpState:
		it.Op = bus.ItemError
	case c.Op == bus.OpJoin:
		it.Op = bus.ItemRefused
	case c.Op == bus.OpLeave:
		it.Op = bus.ItemLeft
	default:
		return
	}
	r.turn.one(from)
	r.worker.metrics.refuse(code)
}

var errOverloaded = &bus.Error{Code: bus.Overloaded}

// maxErrorText is how many bytes of an error's text a client gets: envelopes
// have a limit, and texts are made of whatever an author had at hand.
const maxErrorText = 1 << 10

// clip returns the beginning of a text for clients.
func clip(text string) string {
	if len(text) <= maxErrorText {
		return text
	}
	return strings.ToValidUTF8(text[:maxErrorText], "")
}

// ran notes that a callback may have changed something.
func (r *Room) ran() {
	r.touched = true
	r.dirty = true
	if r.trail != nil {
		r.trail.touched = true
	}
}
