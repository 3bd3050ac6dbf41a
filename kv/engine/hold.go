package engine

import (
	"encoding/binary"
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
		l := en.obj.(*lock)
		b = binary.AppendUvarint(b, l.epoch)
		b = binary.AppendUvarint(b, l.ttl)
		b = binary.AppendUvarint(b, uint64(len(l.token)))
		return append(b, l.token...)
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
	en, ok := c.write(c.argv[1], kindLock)
	if !ok {
		return
	}
	ttl, ok := c.holdTTL()
	switch {
	case !ok:
		return
	case en == nil:
		en = c.e.add(c.argv[1], kindLock, nil)
		pg := &c.e.pages[en.page]
		pg.epoch++
		en.obj = &lock{token: append([]byte{}, c.argv[2]...), epoch: pg.epoch}
	case string(en.obj.(*lock).token) != string(c.argv[2]):
		c.block()
		return
	}
	c.renew(en, ttl)
}

// renewHold is RENEW key token ttl: the epoch, null if the hold is over.
func renewHold(c *call) {
	en, ok := c.write(c.argv[1], kindLock)
	if !ok {
		return
	}
	ttl, ok := c.holdTTL()
	switch {
	case !ok:
	case en == nil || string(en.obj.(*lock).token) != string(c.argv[2]):
		c.null()
	default:
		c.renew(en, ttl)
	}
}

func (c *call) holdTTL() (ttl int64, ok bool) {
	if ttl, ok = c.integer(c.argv[3]); ok && (ttl <= 0 || ttl > maxHold) {
		c.badExpire()
		return 0, false
	}
	return ttl, ok
}

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
	en, ok := c.write(c.argv[1], kindLock)
	if !ok {
		return
	}
	held := en != nil && string(en.obj.(*lock).token) == string(c.argv[2])
	if held {
		c.e.logDel(en.key)
		c.e.remove(en)
	}
	c.one(held)
}
