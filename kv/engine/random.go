package engine

import "math/rand/v2"

// What picks members by chance.

func spop(c *call) {
	count, ok := c.popCount()
	if !ok {
		return
	}
	en, ok := c.write(c.argv[1], kindSet)
	if !ok {
		return
	}
	var s *set
	if en != nil {
		s = en.obj.(*set)
		count = min(count, int64(s.len()))
	}
	switch {
	case len(c.argv) == 3 && s == nil:
		c.set(0)
		return
	case len(c.argv) == 3:
		c.set(int(count))
	case s == nil:
		c.null()
		return
	}
	if count == 0 {
		return
	}
	c.e.fx.begin(opSRem, en.key)
	for range count {
		i := rand.IntN(s.len())
		c.text(s.items[i].name)
		c.e.fx.str(s.items[i].name)
		s.remove(i)
	}
	c.e.fx.end()
	c.e.changed(en)
}

// maxSample is how many members may be asked for that may be the same.
const maxSample = 1 << 20

// sampleCount reads how many members are wanted, if that is said: one by itself
// otherwise.
func (c *call) sampleCount() (count int64, ok bool) {
	if len(c.argv) == 2 {
		return 1, true
	}
	count, ok = c.integer(c.argv[2])
	if ok && count < -maxSample {
		c.fail("ERR value is out of range")
		return 0, false
	}
	return count, ok
}

// sample replies with some of n members, with pick for the one of a number: count
// different ones, or -count that may be the same. If no count was given, it is
// one, or null.
func (c *call) sample(n int, count int64, pick func(i int)) {
	switch {
	case len(c.argv) == 2 && n == 0:
		c.null()
	case len(c.argv) == 2:
		pick(rand.IntN(n))
	case n == 0:
		c.array(0)
	case count < 0:
		c.array(int(-count))
		for range -count {
			pick(rand.IntN(n))
		}
	case count >= int64(n):
		c.array(n)
		for i := range n {
			pick(i)
		}
	default:
		c.array(int(count))
		taken := make(map[int]bool, count) // Floyd's way: each choice equally likely
		for last := n - int(count); last < n; last++ {
			i := rand.IntN(last + 1)
			if taken[i] {
				i = last
			}
			taken[i] = true
			pick(i)
		}
	}
}

func srandmember(c *call) {
	if len(c.argv) > 3 {
		c.syntaxError()
		return
	}
	count, ok := c.sampleCount()
	if !ok {
		return
	}
	if s, ok := c.readSet(c.argv[1]); ok {
		c.sample(s.len(), count, func(i int) { c.text(s.items[i].name) })
	}
}

func zrandmember(c *call) {
	count, ok := c.sampleCount()
	if !ok {
		return
	}
	withScores := len(c.argv) == 4 && is(c.argv[3], "WITHSCORES")
	if len(c.argv) > 3 && !withScores {
		c.syntaxError()
		return
	}
	if r, ok := c.sorted(c.argv[1]); ok {
		c.sample(r.len(), count, func(i int) { c.member(r.entry(i), withScores) })
	}
}
