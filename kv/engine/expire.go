package engine

import "math"

var expireSpecs = []Spec{
	{Name: "expire", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { expire(c, timeUnit{ms: 1000}) }},
	{Name: "pexpire", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { expire(c, timeUnit{ms: 1}) }},
	{Name: "expireat", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { expire(c, timeUnit{1000, true}) }},
	{Name: "pexpireat", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { expire(c, timeUnit{1, true}) }},
	{Name: "persist", Arity: 2, Write: true, First: 1, Last: 1, Step: 1, run: persist},
	{Name: "ttl", Arity: 2, First: 1, Last: 1, Step: 1, run: func(c *call) { ttl(c, 1000, false) }},
	{Name: "pttl", Arity: 2, First: 1, Last: 1, Step: 1, run: func(c *call) { ttl(c, 1, false) }},
	{Name: "expiretime", Arity: 2, First: 1, Last: 1, Step: 1, run: func(c *call) { ttl(c, 1000, true) }},
	{Name: "pexpiretime", Arity: 2, First: 1, Last: 1, Step: 1, run: func(c *call) { ttl(c, 1, true) }},
}

// A timeUnit says what the number of a time means.
type timeUnit struct {
	ms       int64
	absolute bool // since 1970, not from now
}

func timeUnitOf(option []byte) (u timeUnit, ok bool) {
	switch {
	case is(option, "EX"):
		return timeUnit{1000, false}, true
	case is(option, "PX"):
		return timeUnit{1, false}, true
	case is(option, "EXAT"):
		return timeUnit{1000, true}, true
	case is(option, "PXAT"):
		return timeUnit{1, true}, true
	}
	return u, false
}

// time returns when a number of units is; if that overflows, the error is the
// reply.
func (c *call) time(n int64, u timeUnit) (at int64, ok bool) {
	if n > math.MaxInt64/u.ms || n < math.MinInt64/u.ms {
		c.badExpire()
		return 0, false
	}
	at = n * u.ms
	if !u.absolute {
		if at > math.MaxInt64-c.e.now {
			c.badExpire()
			return 0, false
		}
		at += c.e.now
	}
	return min(at, maxTime), true
}

// positiveTime reads a time that has to be more than zero.
func (c *call) positiveTime(arg []byte, u timeUnit) (at int64, ok bool) {
	n, ok := c.integer(arg)
	if ok && n <= 0 {
		c.badExpire()
		return 0, false
	}
	if !ok {
		return 0, false
	}
	return c.time(n, u)
}

// expireAt sets when a key expires; zero is never.
func (e *Engine) expireAt(en *entry, at int64) {
	e.setExpires(en, at)
	e.logExpire(en)
	e.changed(en)
}

func expire(c *call, u timeUnit) {
	o, ok := c.expireOptions()
	if !ok {
		return
	}
	n, ok := c.integer(c.argv[2])
	if !ok {
		return
	}
	at, ok := c.time(n, u)
	if !ok {
		return
	}
	en, ok := c.any(c.argv[1])
	if !ok {
		return
	}
	if en == nil || !o.allow(en.expires, at) {
		c.int(0)
		return
	}
	if at <= c.e.now {
		c.e.del(en)
	} else {
		c.e.expireAt(en, at)
	}
	c.int(1)
}

type expireOptions struct{ nx, xx, gt, lt bool }

// allow reports whether a key that expires at old (0 is never) may expire at next.
func (o expireOptions) allow(old, next int64) bool {
	return !(o.nx && old != 0 ||
		o.xx && old == 0 ||
		o.gt && (old == 0 || next <= old) ||
		o.lt && old != 0 && next >= old)
}

func (c *call) expireOptions() (o expireOptions, ok bool) {
	for _, arg := range c.argv[3:] {
		switch {
		case is(arg, "NX"):
			o.nx = true
		case is(arg, "XX"):
			o.xx = true
		case is(arg, "GT"):
			o.gt = true
		case is(arg, "LT"):
			o.lt = true
		default:
			c.fail("ERR Unsupported option " + string(arg))
			return o, false
		}
	}
	switch {
	case o.nx && (o.xx || o.gt || o.lt):
		c.fail("ERR NX and XX, GT or LT options at the same time are not compatible")
		return o, false
	case o.gt && o.lt:
		c.fail("ERR GT and LT options at the same time are not compatible")
		return o, false
	}
	return o, true
}

func persist(c *call) {
	en, ok := c.any(c.argv[1])
	if !ok {
		return
	}
	had := en != nil && en.expires != 0
	if had {
		c.e.expireAt(en, 0)
	}
	c.one(had)
}

func ttl(c *call, ms int64, absolute bool) {
	en := c.e.find(c.argv[1])
	switch {
	case en == nil:
		c.int(-2)
	case en.expires == 0:
		c.int(-1)
	case absolute:
		c.int64(rounded(en.expires, ms))
	default:
		c.int64(rounded(en.expires-c.e.now, ms))
	}
}

// rounded returns a time in units of some ms, half of one rounded up.
func rounded(time, ms int64) int64 { return time/ms + time%ms*2/ms }
