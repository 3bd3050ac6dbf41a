package chaos

// This file checks messages to one member. The room numbers them for each seat,
// from 1, which is the word of welcome.

// private follows what one client was told alone.
func (c *check) private(r *Record) {
	last := 0     // number last heard in this seat
	sure := false // the next is last + 1; otherwise something was missed with notice
	var member uint32
	for i := range r.Heard {
		h := &r.Heard[i]
		switch h.What {
		case HeardJoined:
			switch {
			case !h.Resumed:
				last, sure = 0, true
			case !h.Recovered:
				if sure = false; !c.d.Strict {
					last = 0
				}
			}
			member = h.Member
		case HeardReset:
			if sure = false; h.Member != member || !c.d.Strict {
				last = 0
			}
			member = h.Member
		case HeardTold:
			c.did(didPrivate, 1)
			if h.User != r.Client {
				c.report(RuleForOther, r, "heard number %d, from %q, which is for %s", h.Number, h.ID, h.User)
				continue
			}
			switch {
			case h.Number <= last:
				c.report(RuleToldTwice, r, "number %d after %d, from %q", h.Number, last, h.ID)
			case sure && h.Number != last+1:
				c.report(RuleUntold, r, "number %d after %d, from %q", h.Number, last, h.ID)
			}
			last, sure = max(last, h.Number), true
		}
	}
	if !r.Seated || c.room.Own == nil {
		return
	}
	told := c.room.Own.Body.Told[r.Member]
	if sure && last != told {
		c.report(RuleUntold, r, "heard up to number %d, the room told %d", last, told)
	}
	if r.Private != uint64(told) {
		c.report(RuleUntold, r, "its position counts %d, the room told %d", r.Private, told)
	}
}
