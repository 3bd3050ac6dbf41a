package chaos

import "time"

// This file checks the bells of a synced room, which are its timers.

// earlyBy is how much before its time a bell may ring: rooms keep whole
// milliseconds, and the clocks of a machine are moved a little.
const earlyBy = 5 * time.Millisecond

// bells wants each bell that is in the list to have rung once, and no other; in
// the end none is left. This holds for every durability: a room's list, timers and
// rings are lost together.
func (c *check) bells() {
	if c.room.Own == nil {
		return
	}
	rings := make(map[string]int)
	for _, id := range c.room.Own.Body.Rung {
		rings[id]++
	}
	armed := make(map[string]*Op)
	for _, r := range c.room.Records {
		for i := range r.Ops {
			op := &r.Ops[i]
			if op.Event != "arm" {
				continue
			}
			armed[op.ID] = op
			set := len(c.places[op.ID]) > 0
			if set {
				c.did(didRung, 1)
			}
			switch n := rings[op.ID]; {
			case n > 1:
				c.report(RuleRung, r, "%q rang %d times", op.ID, n)
			case n == 1 && !set:
				c.report(RuleRung, r, "%q rang, and is not in the list", op.ID)
			case n == 0 && set:
				c.report(RuleSilent, r, "%q was set at %v for %v later", op.ID, op.Sent.Round(time.Millisecond), op.After)
			}
			delete(rings, op.ID)
		}
	}
	for id := range rings {
		c.report(RuleRung, nil, "%q rang, and nobody set it", id)
	}
	for _, r := range c.everybody() {
		c.heardBells(r, armed)
	}
}

// heardBells wants no client to hear a bell before its time, nor twice. A room
// that went back may ring again.
func (c *check) heardBells(r *Record, armed map[string]*Op) {
	heard := make(map[string]bool)
	for i := range r.Heard {
		h := &r.Heard[i]
		if h.What != HeardRung {
			continue
		}
		if op := armed[h.ID]; op != nil {
			c.did(didEarly, 1)
			if due := op.Sent + op.After; h.At < due-earlyBy {
				c.report(RuleEarly, r, "%q was heard %v before its time", h.ID, due-h.At)
			}
		}
		if c.d.Strict && heard[h.ID] {
			c.report(RuleRung, r, "%q was heard twice", h.ID)
		}
		heard[h.ID] = true
	}
}
