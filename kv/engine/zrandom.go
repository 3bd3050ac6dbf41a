package engine

import "math/rand/v2"

// zrandmember replies with members by chance: count different ones, or -count
// that may be the same.
func zrandmember(c *call) {
	withScores := len(c.argv) == 4 && is(c.argv[3], "WITHSCORES")
	count := int64(1)
	if len(c.argv) > 2 {
		var ok bool
		if count, ok = c.integer(c.argv[2]); !ok {
			return
		}
		if len(c.argv) > 4 || len(c.argv) == 4 && !withScores {
			c.syntaxError()
			return
		}
		if count < -maxSample {
			c.fail("ERR value is out of range")
			return
		}
	}
	r, ok := c.sorted(c.argv[1])
	switch {
	case !ok:
	case len(c.argv) == 2 && r.len() == 0:
		c.null()
	case len(c.argv) == 2:
		c.text(r.entry(rand.IntN(r.len())).member)
	case r.len() == 0:
		c.array(0)
	default:
		c.zsample(r, count, withScores)
	}
}

func (c *call) zsample(r *ranking, count int64, withScores bool) {
	n := r.len()
	pick := func(i int) {
		s := r.entry(i)
		if withScores {
			c.array(2)
		}
		c.text(s.member)
		if withScores {
			c.double(s.score)
		}
	}
	if count < 0 {
		c.array(int(-count))
		for range -count {
			pick(rand.IntN(n))
		}
		return
	}
	count = min(count, int64(n))
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
