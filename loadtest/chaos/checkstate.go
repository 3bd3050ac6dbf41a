package chaos

import (
	"cmp"
	"slices"
	"time"
)

// This file checks what members of a synced room were shown.

// A view is a state and whoever was shown it.
type view struct {
	*Shown
	r *Record
}

// shown checks all states that members and visitors were shown: each is one that
// the room made, no position and no version names two, none goes back, and in the
// end every member has the room's.
func (c *check) shown() {
	if c.room.Own == nil {
		return
	}
	var all []view
	for _, r := range c.everybody() {
		c.made(r)
		for i := range r.Shown {
			all = append(all, view{&r.Shown[i], r})
		}
	}
	slices.SortStableFunc(all, func(a, b view) int {
		return cmp.Or(cmp.Compare(a.Ver, b.Ver), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.At, b.At))
	})
	c.versions(all)
	slices.SortStableFunc(all, func(a, b view) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Ver, b.Ver))
	})
	c.forward(all)
	c.finals()
}

// made wants a client's states to be what the room made. Patches that lead from a
// wrong state to others show here; the first such state is reported.
func (c *check) made(r *Record) {
	bad, first := 0, -1
	for i := range r.Shown {
		if r.Shown[i].Bad != "" {
			if bad++; first < 0 {
				first = i
			}
		}
	}
	c.did(didMade, len(r.Shown))
	if bad > 0 {
		x := &r.Shown[first]
		c.report(RuleMade, r, "at %v, epoch %d, ver %d: %s (%d such states)", x.At.Round(time.Millisecond), x.Epoch, x.Ver, x.Bad, bad)
	}
}

// versions takes the states by ver and looks for two that are not the same. Of
// each client the first is reported.
func (c *check) versions(all []view) {
	told := make(map[*Record]bool)
	for from := 0; from < len(all); {
		to := from
		for to < len(all) && all[to].Ver == all[from].Ver {
			to++
		}
		group := all[from:to]
		from = to
		c.did(didSame, len(group)-1)
		if group[0].Epoch != group[len(group)-1].Epoch {
			c.did(didVersion, 1)
		}
		for i := range group[1:] {
			a, b := group[0], group[i+1]
			if a.Hash == b.Hash || told[b.r] {
				continue
			}
			told[b.r] = true
			rule := RuleVersion
			for _, other := range group[:i+1] {
				if other.Epoch == b.Epoch && other.Hash != b.Hash {
					a, rule = other, RulePosition
				}
			}
			c.report(rule, b.r, "ver %d is a state with %d entries, hash %016x, at %v in epoch %d, and one with %d entries, hash %016x, for %s at %v in epoch %d",
				b.Ver, b.Count, b.Hash, b.At.Round(time.Millisecond), b.Epoch,
				a.Count, a.Hash, a.r.Client, a.At.Round(time.Millisecond), a.Epoch)
		}
	}
}

// forward takes the states by position and wants none to have less than one
// before it. A room that may lose goes back when its owner goes.
func (c *check) forward(all []view) {
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if !c.d.Strict && a.Epoch != b.Epoch {
			continue
		}
		c.did(didBack, 1)
		if b.Count < a.Count {
			c.report(RuleBack, b.r, "epoch %d, ver %d has %d entries, epoch %d, ver %d has %d", a.Epoch, a.Ver, a.Count, b.Epoch, b.Ver, b.Count)
			return
		}
	}
}

// finals wants every member that is there to have the room's state in the end.
func (c *check) finals() {
	for _, r := range c.room.Records {
		if !r.Seated {
			continue
		}
		c.did(didFinal, 1)
		switch n := len(r.Shown); {
		case n == 0 || r.Unshown:
			c.report(RuleFinal, r, "has none, the room has %d entries", c.room.Own.Count)
		case r.Shown[n-1].Sum != c.room.Own.Sum || r.Shown[n-1].Bad != "":
			x := &r.Shown[n-1]
			c.report(RuleFinal, r, "has sum %s with %d entries since %v (epoch %d, ver %d), the room has %s with %d",
				x.Sum, x.Count, x.At.Round(time.Millisecond), x.Epoch, x.Ver, c.room.Own.Sum, c.room.Own.Count)
		}
	}
}
