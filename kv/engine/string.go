package engine

import (
	"math"
	"strconv"
)

var stringSpecs = []Spec{
	{Name: "get", Arity: 2, First: 1, Last: 1, Step: 1, run: get},
	{Name: "set", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: setKey},
	{Name: "setex", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { setFor(c, 1000) }},
	{Name: "psetex", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { setFor(c, 1) }},
	{Name: "setnx", Arity: 3, Write: true, First: 1, Last: 1, Step: 1, run: setNX},
	{Name: "getset", Arity: 3, Write: true, First: 1, Last: 1, Step: 1, run: getSet},
	{Name: "getdel", Arity: 2, Write: true, First: 1, Last: 1, Step: 1, run: getDel},
	{Name: "getex", Arity: -2, Write: true, First: 1, Last: 1, Step: 1, run: getEx},
	{Name: "getrange", Arity: 4, First: 1, Last: 1, Step: 1, run: getRange},
	{Name: "mget", Arity: -2, First: 1, Last: -1, Step: 1, run: mget},
	{Name: "mset", Arity: -3, Write: true, First: 1, Last: -1, Step: 2, run: mset},
	{Name: "msetnx", Arity: -3, Write: true, First: 1, Last: -1, Step: 2, run: msetNX},
	{Name: "append", Arity: 3, Write: true, First: 1, Last: 1, Step: 1, run: appendTo},
	{Name: "strlen", Arity: 2, First: 1, Last: 1, Step: 1, run: strlen},
	{Name: "incr", Arity: 2, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { c.incr(1) }},
	{Name: "decr", Arity: 2, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { c.incr(-1) }},
	{Name: "incrby", Arity: 3, Write: true, First: 1, Last: 1, Step: 1, run: incrBy},
	{Name: "decrby", Arity: 3, Write: true, First: 1, Last: 1, Step: 1, run: decrBy},
	{Name: "incrbyfloat", Arity: 3, Write: true, First: 1, Last: 1, Step: 1, run: incrByFloat},
}

var stringCodec = codec{
	name:   "string",
	append: func(b []byte, en *entry) []byte { return append(b, en.str...) },
	read: func(en *entry, r *reader) error {
		en.str = overwrite(en.str, r.rest())
		return nil
	},
}

// overwrite returns a copy of s, in the memory of old if that fits.
func overwrite(old, s []byte) []byte {
	if len(s) > cap(old) || cap(old) > 64+4*len(s) {
		return append(make([]byte, 0, len(s)), s...)
	}
	return append(old[:0], s...)
}

// put sets a key, which has the entry en or none, to a string.
func (e *Engine) put(key []byte, en *entry, val []byte, expires int64) {
	if en == nil {
		en = e.add(key, kindString, nil)
	}
	en.kind, en.obj, en.str = kindString, nil, overwrite(en.str, val)
	if en.expires != expires {
		e.setExpires(en, expires)
	}
	e.logPut(en)
	e.changed(en)
}

// any finds a key that is to be removed or overwritten, whatever it holds. But
// nobody takes away a lock from who holds it: then ok is false and the error is
// the reply.
func (c *call) any(key []byte) (en *entry, ok bool) {
	en = c.e.findForWrite(key)
	if en != nil && en.kind == kindLock {
		c.wrongType()
		return nil, false
	}
	return en, true
}

func get(c *call) {
	if en, ok := c.read(c.argv[1], kindString); ok {
		c.str(en)
	}
}

// str replies with a string, null for none.
func (c *call) str(en *entry) {
	if en == nil {
		c.null()
		return
	}
	c.bulk(en.str)
}

func setKey(c *call) {
	key, val := c.argv[1], c.argv[2]
	o, ok := c.setOptions(c.argv[3:])
	if !ok {
		return
	}
	expires, ok := o.expires(c)
	if !ok {
		return
	}
	en, ok := c.any(key)
	if !ok {
		return
	}
	if o.get {
		if en != nil && en.kind != kindString {
			c.wrongType()
			return
		}
		c.str(en)
	}
	if o.nx && en != nil || o.xx && en == nil {
		if !o.get {
			c.null()
		}
		return
	}
	if o.keepTTL && en != nil {
		expires = en.expires
	}
	c.e.put(key, en, val, expires)
	if !o.get {
		c.ok()
	}
}

// setOptions are those of SET and GETEX.
type setOptions struct {
	nx, xx, get, keepTTL, persist bool

	at   []byte // a time, nil for none
	unit timeUnit
}

// setOptions reads options; if they are wrong, the error is the reply.
func (c *call) setOptions(args [][]byte) (o setOptions, ok bool) {
	getEx := c.spec.Name == "getex"
	for i := 0; i < len(args); i++ {
		timed := o.at != nil || o.keepTTL || o.persist
		unit, isTime := timeUnitOf(args[i])
		switch arg := args[i]; {
		case isTime && (!timed || o.at != nil && unit == o.unit) && i+1 < len(args):
			i++
			o.at, o.unit = args[i], unit
		case is(arg, "KEEPTTL") && o.at == nil && !getEx:
			o.keepTTL = true
		case is(arg, "PERSIST") && o.at == nil && getEx:
			o.persist = true
		case is(arg, "NX") && !o.xx && !getEx:
			o.nx = true
		case is(arg, "XX") && !o.nx && !getEx:
			o.xx = true
		case is(arg, "GET") && !getEx:
			o.get = true
		default:
			c.syntaxError()
			return o, false
		}
	}
	return o, true
}

// expires returns the time that the options say, zero for none.
func (o *setOptions) expires(c *call) (at int64, ok bool) {
	if o.at == nil {
		return 0, true
	}
	return c.positiveTime(o.at, o.unit)
}

func setFor(c *call, ms int64) {
	expires, ok := c.positiveTime(c.argv[2], timeUnit{ms: ms})
	if !ok {
		return
	}
	if en, ok := c.any(c.argv[1]); ok {
		c.e.put(c.argv[1], en, c.argv[3], expires)
		c.ok()
	}
}

func setNX(c *call) {
	en := c.e.findForWrite(c.argv[1])
	if en == nil {
		c.e.put(c.argv[1], nil, c.argv[2], 0)
	}
	c.one(en == nil)
}

func getSet(c *call) {
	if en, ok := c.write(c.argv[1], kindString); ok {
		c.str(en)
		c.e.put(c.argv[1], en, c.argv[2], 0)
	}
}

func getDel(c *call) {
	en, ok := c.write(c.argv[1], kindString)
	if !ok {
		return
	}
	c.str(en)
	if en != nil {
		c.e.del(en)
	}
}

func getEx(c *call) {
	o, ok := c.setOptions(c.argv[2:])
	if !ok {
		return
	}
	en, ok := c.write(c.argv[1], kindString)
	if !ok {
		return
	}
	if en == nil {
		c.null()
		return
	}
	expires, ok := o.expires(c)
	if !ok {
		return
	}
	c.str(en)
	switch {
	case o.persist && en.expires != 0 || expires > c.e.now:
		c.e.expireAt(en, expires)
	case o.at != nil:
		c.e.del(en)
	}
}

func getRange(c *call) {
	start, ok := c.integer(c.argv[2])
	if !ok {
		return
	}
	end, ok := c.integer(c.argv[3])
	if !ok {
		return
	}
	en, ok := c.read(c.argv[1], kindString)
	if !ok {
		return
	}
	var s []byte
	if en != nil {
		s = en.str
	}
	n := int64(len(s))
	if start < 0 && end < 0 && start > end {
		c.bulk(nil)
		return
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	end = min(end, n-1)
	if start > end {
		c.bulk(nil)
		return
	}
	c.bulk(s[start : end+1])
}

func mget(c *call) {
	c.array(len(c.argv) - 1)
	for _, key := range c.argv[1:] {
		if en := c.e.find(key); en != nil && en.kind == kindString {
			c.bulk(en.str)
		} else {
			c.null()
		}
	}
}

func mset(c *call) {
	if len(c.argv)%2 == 0 {
		c.wrongArity()
		return
	}
	for i := 1; i < len(c.argv); i += 2 {
		if _, ok := c.any(c.argv[i]); !ok {
			return
		}
	}
	c.putAll()
	c.ok()
}

func msetNX(c *call) {
	if len(c.argv)%2 == 0 {
		c.wrongArity()
		return
	}
	for i := 1; i < len(c.argv); i += 2 {
		if c.e.findForWrite(c.argv[i]) != nil {
			c.int(0)
			return
		}
	}
	c.putAll()
	c.int(1)
}

func (c *call) putAll() {
	for i := 1; i < len(c.argv); i += 2 {
		key := c.argv[i]
		c.e.put(key, c.e.keys[string(key)], c.argv[i+1], 0)
	}
}

func appendTo(c *call) {
	key, tail := c.argv[1], c.argv[2]
	en, ok := c.write(key, kindString)
	if !ok {
		return
	}
	if en == nil {
		c.e.put(key, nil, tail, 0)
		c.int(len(tail))
		return
	}
	en.str = append(en.str, tail...)
	c.e.fx.begin(opAppend, en.key)
	c.e.fx.raw(tail)
	c.e.fx.end()
	c.e.changed(en)
	c.int(len(en.str))
}

func strlen(c *call) {
	en, ok := c.read(c.argv[1], kindString)
	switch {
	case !ok:
	case en == nil:
		c.int(0)
	default:
		c.int(len(en.str))
	}
}

func incrBy(c *call) {
	if by, ok := c.integer(c.argv[2]); ok {
		c.incr(by)
	}
}

func decrBy(c *call) {
	by, ok := c.integer(c.argv[2])
	switch {
	case !ok:
	case by == math.MinInt64:
		c.fail("ERR decrement would overflow")
	default:
		c.incr(-by)
	}
}

func (c *call) incr(by int64) {
	en, ok := c.write(c.argv[1], kindString)
	if !ok {
		return
	}
	var n, expires int64
	if en != nil {
		if n, ok = c.integer(en.str); !ok {
			return
		}
		expires = en.expires
	}
	n, ok = c.plus(n, by)
	if !ok {
		return
	}
	c.e.put(c.argv[1], en, strconv.AppendInt(c.e.digits[:0], n, 10), expires)
	c.int64(n)
}

// plus adds; if that overflows, the error is the reply.
func (c *call) plus(n, by int64) (sum int64, ok bool) {
	sum = n + by
	if (sum > n) != (by > 0) && by != 0 {
		c.fail("ERR increment or decrement would overflow")
		return 0, false
	}
	return sum, true
}

func incrByFloat(c *call) {
	en, ok := c.write(c.argv[1], kindString)
	if !ok {
		return
	}
	old, expires := []byte("0"), int64(0)
	if en != nil {
		old, expires = en.str, en.expires
	}
	const bad = "ERR value is not a valid float"
	by, ok := longDouble(c.argv[2])
	if !ok {
		c.fail(bad)
		return
	}
	sum, ok := c.plusFloat(old, by, bad)
	if !ok {
		return
	}
	c.e.put(c.argv[1], en, sum, expires)
	c.bulk(sum)
}
