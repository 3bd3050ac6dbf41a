package kv

import (
	"time"

	"roomd/bus"
)

// This file is what a link does with what a shard says.

// receive takes an answer.
func (l *link) receive(m *bus.Msg) {
	if m.Subject != l.inbox {
		return // of a session before this one
	}
	if bus.NoResponders(m) {
		l.noOwner()
		return
	}
	// An owner that was replaced and does not know it yet may answer too (R2).
	current := func(tenure uint64) bool { return tenure>>20 >= l.tenure>>20 }
	tenure, ok := parseAnswer(m.Data, current, l.take)
	if !ok {
		return
	}
	l.heard, l.unheard, l.looks = time.Now(), time.Time{}, 0
	changed, owner := l.tenure != 0 && tenure != l.tenure, l.tenure>>20 != tenure>>20
	switch {
	case l.forgotten:
		l.lost(changed && owner)
	case changed:
		l.moved(owner)
	}
	l.tenure, l.forgotten = tenure, false
	for _, c := range l.withheld {
		if c.state == asking {
			l.fresh = append(l.fresh, c)
		}
	}
	l.withheld = nil
}

// moved asks another owner, or one that has given us up.
func (l *link) moved(owner bool) {
	for _, c := range l.calls {
		if owner && c.once && c.sent {
			l.end(c, nil, bus.Errorf(bus.Timeout, "nobody knows whether it was published"))
		}
	}
	l.again()
}

func (l *link) take(it item) {
	l.greeted = true
	if it.number == 0 {
		switch it.kind {
		case itemUnknown:
			l.forgotten = true
		case itemFull:
			l.greeted = false
			for _, c := range l.calls {
				l.end(c, nil, bus.Errorf(bus.Overloaded, "too many stores use kv"))
			}
		}
		return
	}
	c := l.calls[it.number]
	if c == nil {
		if it.kind == itemHanded { // to somebody who has gone
			l.body = appendNumber(l.body, opDecline, it.number)
			if it.number > l.floor {
				l.done = append(l.done, it.number)
			}
		}
		return
	}
	switch it.kind {
	case itemPart:
		c.part(it)
	case itemReply:
		if reply, ok := c.whole(it.reply); ok {
			l.end(c, reply, nil)
		} else if !c.once {
			l.fresh = append(l.fresh, c) // a part was lost on the way
		}
	case itemHanded:
		reply, ok := c.whole(it.reply)
		switch {
		case c.vain:
			l.body = appendNumber(l.body, opDecline, c.number)
			l.end(c, nullReply, nil)
		case c.state != confirming && !ok:
			l.fresh = append(l.fresh, c)
		case c.state != confirming:
			c.state, c.reply = confirming, reply
			l.fresh = append(l.fresh, c)
		default: // said again: the shard has not heard that it arrived
			l.fresh = append(l.fresh, c)
		}
	case itemConfirmed:
		l.end(c, c.reply, nil)
	case itemWithdrawn:
		l.withdrawn(c)
	}
}

// part takes a part of a large reply. The reply may come twice, and what NATS
// carries may have a gap.
func (c *call) part(it item) {
	if it.offset == 0 {
		c.parts, c.size = nil, it.size
	}
	if it.offset == uint64(len(c.parts)) {
		c.parts = append(c.parts, it.reply...)
	}
}

// whole returns a reply, which is what its parts say if there is nothing in it.
func (c *call) whole(reply []byte) (_ []byte, ok bool) {
	if len(reply) > 0 {
		return reply, true
	}
	parts := c.parts
	c.parts = nil
	return parts, len(parts) > 0 && uint64(len(parts)) == c.size
}

// withdrawn has a call wait anew whose element was given back, as we were not
// heard for a while.
func (l *link) withdrawn(c *call) {
	if c.state == cancelling || !c.until.IsZero() {
		l.end(c, nullReply, nil)
		return
	}
	delete(l.calls, c.number)
	l.done = append(l.done, c.number)
	l.last++
	c.number, c.state, c.reply, c.sent = l.last, asking, nil, false
	l.calls[c.number] = c
	l.fresh = append(l.fresh, c)
}

// lost begins another session: the shard has forgotten this one, as it does when
// it has not heard of it for minutes. So what was asked a short while ago it
// cannot have run, unless that was another owner, who could not keep what was
// only published.
func (l *link) lost(owner bool) {
	for _, c := range l.calls {
		if c.state == confirming { // it was given back when we were forgotten, unless it had been confirmed
			l.end(c, nil, bus.Errorf(bus.Timeout, "nobody knows whether it was handed over"))
		} else if c.sent && c.op == opRun && !l.blocks && (owner && c.once || time.Since(c.first) > forgetAfter) {
			l.end(c, nil, bus.Errorf(bus.Timeout, "nobody knows whether it happened"))
		}
		c.sent = false
	}
	l.begin()
	l.again()
}
