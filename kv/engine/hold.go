package engine

import (
	"bytes"
	"fmt"
	"math"
)

// A lock is a key that somebody holds. When the hold ends, the key is gone; the
// page keeps the epoch. The key expires when the hold's time is over; this time
// is not in effects or pages: for whoever loads it, it begins again, since it
// was measured by another clock.
type lock struct {
	token []byte
	epoch uint64
	ttl   uint64 // ms
}

func (l *lock) len() int   { return 1 }
func (l *lock) bytes() int { return 64 + len(l.token) }

var lockCodec = codec{
	name: "lock",
	append: func(b []byte, en *entry) []byte {
		f, l := effects{b: b}, en.obj.(*lock)
		f.num(l.epoch)
		f.num(l.ttl)
		f.bytes(l.token)
		return f.b
	},
	read: func(en *entry, r *reader) error {
		l := &lock{epoch: r.num(), ttl: r.num(), token: append([]byte{}, r.bytes()...)}
		if l.epoch == 0 || l.epoch > math.MaxInt64 || l.ttl == 0 || l.ttl > maxHold {
			return fmt.Errorf("%w: impossible lock", errDamaged)
		}
		en.obj = l
		return nil
	},
}

// maxHold is the longest time a hold may last without being renewed, in ms.
const maxHold = 1 << 40

// renewLoaded begins the time of the holds that were loaded.
func (e *Engine) renewLoaded() {
	for _, key := range e.loaded {
		if en := e.keys[key]; en != nil && en.kind == kindLock {
			e.setExpires(en, e.now+int64(en.obj.(*lock).ttl))
		}
	}
	e.loaded = nil
}

// hold is HOLD key token ttl: the epoch, as soon as nobody else holds the key.
func hold(c *call) {
	en, ttl, ok := c.holdArgs()
	switch {
	case !ok:
		return
	case en == nil:
		en = c.e.add(c.argv[1], kindLock, nil)
		pg := &c.e.pages[en.page]
		pg.epoch = max(pg.epoch+1, c.e.firstHold)
		en.obj = &lock{token: append([]byte{}, c.argv[2]...), epoch: pg.epoch}
	case !c.holds(en):
		c.block()
		return
	}
	c.renew(en, ttl)
}

// renewHold is RENEW key token ttl: the epoch, null if the hold is over.
func renewHold(c *call) {
	en, ttl, ok := c.holdArgs()
	switch {
	case !ok:
	case en == nil || !c.holds(en):
		c.null()
	default:
		c.renew(en, ttl)
	}
}

// holdArgs finds the lock, nil if nobody holds it, and reads for how long.
func (c *call) holdArgs() (en *entry, ttl int64, ok bool) {
	if en, ok = c.write(c.argv[1], kindLock); !ok {
		return nil, 0, false
	}
	if ttl, ok = c.integer(c.argv[3]); ok && (ttl <= 0 || ttl > maxHold) {
		c.badExpire()
		return nil, 0, false
	}
	return en, ttl, ok
}

// holds reports whether a lock is held by the token that the command has.
func (c *call) holds(en *entry) bool { return bytes.Equal(en.obj.(*lock).token, c.argv[2]) }

// renew begins a hold's time anew. That has an effect only if it is another time
// than before.
func (c *call) renew(en *entry, ttl int64) {
	l := en.obj.(*lock)
	c.e.setExpires(en, c.e.now+ttl)
	if l.ttl != uint64(ttl) {
		l.ttl = uint64(ttl)
		c.e.fx.begin(opLock, en.key)
		c.e.fx.b = lockCodec.append(c.e.fx.b, en)
		c.e.fx.end()
		c.e.changed(en)
	}
	c.int64(int64(l.epoch))
}

// unhold is UNHOLD key token: 1 if the hold was let go.
func unhold(c *call) {
	en := c.existing(c.argv[1], kindLock)
	if en == nil {
		return
	}
	held := c.holds(en)
	if held {
		c.e.logDel(en.key)
		c.e.remove(en)
	}
	c.one(held)
}
