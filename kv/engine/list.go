package engine

import (
	"bytes"
	"math"

	"roomd/kv/resp"
)

var listSpecs = []Spec{
	{Name: "lpush", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { push(c, true, false) }},
	{Name: "rpush", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { push(c, false, false) }},
	{Name: "lpushx", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { push(c, true, true) }},
	{Name: "rpushx", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { push(c, false, true) }},
	{Name: "lpop", Arity: -2, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { pop(c, true) }},
	{Name: "rpop", Arity: -2, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { pop(c, false) }},
	{Name: "lmpop", Arity: -4, Write: true, keys: numKeys, run: lmpop},
	{Name: "blpop", Arity: -3, Write: true, Blocking: true, waits: kindList, First: 1, Last: -2, Step: 1, run: func(c *call) { blockingPop(c, true) }},
	{Name: "brpop", Arity: -3, Write: true, Blocking: true, waits: kindList, First: 1, Last: -2, Step: 1, run: func(c *call) { blockingPop(c, false) }},
	{Name: "lmove", Arity: 5, Write: true, First: 1, Last: 2, Step: 1, run: lmove},
	{Name: "rpoplpush", Arity: 3, Write: true, First: 1, Last: 2, Step: 1, run: func(c *call) { move(c, false, true) }},
	{Name: "llen", Arity: 2, First: 1, Last: 1, Step: 1, run: func(c *call) { length(c, kindList) }},
	{Name: "lindex", Arity: 3, First: 1, Last: 1, Step: 1, run: lindex},
	{Name: "lrange", Arity: 4, First: 1, Last: 1, Step: 1, run: lrange},
	{Name: "lpos", Arity: -3, First: 1, Last: 1, Step: 1, run: lpos},
	{Name: "lset", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: lset},
	{Name: "linsert", Arity: 5, Write: true, First: 1, Last: 1, Step: 1, run: linsert},
	{Name: "lrem", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: lrem},
	{Name: "ltrim", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: ltrim},
}

// push is LPUSH and RPUSH, and LPUSHX and RPUSHX, for which the list must be there.
func push(c *call, left, mustBe bool) {
	en, ok := c.write(c.argv[1], kindList)
	if !ok {
		return
	}
	if en == nil {
		if mustBe {
			c.int(0)
			return
		}
		en = c.e.add(c.argv[1], kindList, &deque{})
	}
	d := en.obj.(*deque)
	for _, v := range c.argv[2:] {
		d.push(left, v)
	}
	c.e.logArgs(pushOp(left), en.key, c.argv[2:])
	c.e.changed(en)
	c.int(d.len())
}

// pop is LPOP and RPOP.
func pop(c *call, left bool) {
	if len(c.argv) > 3 {
		c.wrongArity()
		return
	}
	count, ok := c.popCount()
	if !ok {
		return
	}
	en, ok := c.write(c.argv[1], kindList)
	switch {
	case !ok:
	case en == nil:
		c.null()
	case len(c.argv) == 2:
		v, _ := en.obj.(*deque).pop(left)
		c.bulk(v)
		c.popped(en, left, 1)
	default:
		c.popMany(en, left, count)
	}
}

// popCount reads how many elements to take, if that is said: 1 otherwise.
func (c *call) popCount() (n int64, ok bool) {
	switch len(c.argv) {
	case 2:
		return 1, true
	case 3:
		if n, ok = parseInt(c.argv[2]); !ok || n < 0 {
			c.fail("ERR value is out of range, must be positive")
			return 0, false
		}
		return n, true
	}
	c.syntaxError()
	return 0, false
}

// popMany takes up to count elements and replies with an array of them.
func (c *call) popMany(en *entry, left bool, count int64) {
	d := en.obj.(*deque)
	n := int(min(count, int64(d.len())))
	c.array(n)
	for range n {
		v, _ := d.pop(left)
		c.bulk(v)
	}
	if n > 0 {
		c.popped(en, left, n)
	}
}

// popped logs that elements were taken.
func (c *call) popped(en *entry, left bool, n int) {
	o := opRPop
	if left {
		o = opLPop
	}
	c.e.fx.begin(o, en.key)
	c.e.fx.num(uint64(n))
	c.e.fx.end()
	c.e.changed(en)
}

// manyPop is LMPOP and ZMPOP, which say with one of two words which end to take
// from. take takes from the first key that is there, and replies.
func (c *call) manyPop(k kind, first, second string, take func(en *entry, isFirst bool, count int64)) {
	keys, isFirst, count, ok := c.manyPopArgs(first, second)
	if !ok {
		return
	}
	for _, key := range keys {
		en, ok := c.write(key, k)
		if !ok {
			return
		}
		if en != nil {
			c.array(2)
			c.bulk(key)
			take(en, isFirst, count)
			return
		}
	}
	c.null()
}

// manyPopArgs reads keys, one of two words, and how many elements to take.
func (c *call) manyPopArgs(first, second string) (keys [][]byte, isFirst bool, count int64, ok bool) {
	n, ok := parseInt(c.argv[1])
	if !ok || n <= 0 {
		c.fail("ERR numkeys should be greater than 0")
		return nil, false, 0, false
	}
	if n > int64(len(c.argv)-3) {
		c.syntaxError()
		return nil, false, 0, false
	}
	keys, rest := c.argv[2:2+n], c.argv[2+n:]
	isFirst = is(rest[0], first)
	switch {
	case !isFirst && !is(rest[0], second), len(rest) == 2, len(rest) > 2 && !is(rest[1], "COUNT"):
		c.syntaxError()
		return nil, false, 0, false
	case len(rest) == 1:
		return keys, isFirst, 1, true
	}
	if count, ok = parseInt(rest[2]); !ok || count <= 0 {
		c.fail("ERR count should be greater than 0")
		return nil, false, 0, false
	}
	if len(rest) > 3 {
		c.syntaxError()
		return nil, false, 0, false
	}
	return keys, isFirst, count, true
}

func lmpop(c *call) {
	c.manyPop(kindList, "LEFT", "RIGHT", c.popMany)
}

// timeout checks how long a command is to wait at most. Waiting is for whoever
// called the engine.
func (c *call) timeout(arg []byte) (ok bool) {
	seconds, err := resp.NearestFloat(string(arg))
	switch ms := math.Ceil(seconds * 1000); {
	case err != nil:
		c.fail("ERR timeout is not a float or out of range")
	case ms < 0, ms >= 1<<63:
		c.fail("ERR timeout is negative")
	case int64(ms) > math.MaxInt64-c.e.now:
		c.fail("ERR timeout is out of range")
	default:
		return true
	}
	return false
}

// firstThere returns the first key of a command that blocks, which are its
// arguments but the last, that is there. en is nil if the command is refused or
// has to wait.
func (c *call) firstThere(k kind) (key []byte, en *entry) {
	last := len(c.argv) - 1
	if !c.timeout(c.argv[last]) {
		return nil, nil
	}
	for _, key := range c.argv[1:last] {
		if en, ok := c.read(key, k); !ok || en != nil {
			return key, en
		}
	}
	c.block()
	return nil, nil
}

// blockingPop is BLPOP and BRPOP.
func blockingPop(c *call, left bool) {
	key, en := c.firstThere(kindList)
	if en == nil {
		return
	}
	v, _ := en.obj.(*deque).pop(left)
	c.array(2)
	c.bulk(key)
	c.bulk(v)
	if c.serving {
		c.took = Taken{Any: true, Key: bytes.Clone(key), Value: bytes.Clone(v), Left: left}
	}
	c.popped(en, left, 1)
}

func lmove(c *call) {
	from, okFrom := side(c.argv[3])
	to, okTo := side(c.argv[4])
	if !okFrom || !okTo {
		c.syntaxError()
		return
	}
	move(c, from, to)
}

func side(arg []byte) (left, ok bool) {
	left = is(arg, "LEFT")
	return left, left || is(arg, "RIGHT")
}

// move takes an element from one list and puts it into another or the same.
func move(c *call, fromLeft, toLeft bool) {
	src, ok := c.write(c.argv[1], kindList)
	if !ok {
		return
	}
	if src == nil {
		c.null()
		return
	}
	dst, ok := c.write(c.argv[2], kindList)
	if !ok {
		return
	}
	d := src.obj.(*deque)
	if src == dst {
		c.bulk(d.turn(fromLeft, toLeft))
		c.e.fx.begin(opLTurn, src.key)
		c.e.fx.byte(byte(b2i(fromLeft)))
		c.e.fx.byte(byte(b2i(toLeft)))
		c.e.fx.end()
		c.e.changed(src)
		return
	}
	v, _ := d.pop(fromLeft)
	c.bulk(v)
	c.popped(src, fromLeft, 1)
	if dst == nil {
		dst = c.e.add(c.argv[2], kindList, &deque{})
	}
	dst.obj.(*deque).push(toLeft, v)
	c.e.logArgs(pushOp(toLeft), dst.key, [][]byte{v})
	c.e.changed(dst)
}

// index finds the number of an element that an argument means, which is negative
// if it counts from the end.
func (c *call) index(d *deque, arg []byte) (i int, there, ok bool) {
	n, ok := c.integer(arg)
	if n < 0 {
		n += int64(d.len())
	}
	if !ok || n < 0 || n >= int64(d.len()) {
		return 0, false, ok
	}
	return int(n), true, true
}

func lindex(c *call) {
	en, ok := c.read(c.argv[1], kindList)
	if !ok {
		return
	}
	if en == nil {
		c.null()
		return
	}
	d := en.obj.(*deque)
	i, there, ok := c.index(d, c.argv[2])
	switch {
	case !ok:
	case there:
		c.bulk(d.at(i))
	default:
		c.null()
	}
}

func lset(c *call) {
	en, ok := c.write(c.argv[1], kindList)
	if !ok {
		return
	}
	if en == nil {
		c.fail("ERR no such key")
		return
	}
	d := en.obj.(*deque)
	i, there, ok := c.index(d, c.argv[2])
	if !ok {
		return
	}
	if !there {
		c.fail("ERR index out of range")
		return
	}
	d.set(i, c.argv[3])
	c.logAt(opLSet, en, i, c.argv[3])
	c.e.changed(en)
	c.ok()
}

// logAt logs an effect on the element of a number.
func (c *call) logAt(o op, en *entry, i int, v []byte) {
	c.e.fx.begin(o, en.key)
	c.e.fx.num(uint64(i))
	c.e.fx.bytes(v)
	c.e.fx.end()
}

func linsert(c *call) {
	after := is(c.argv[2], "AFTER")
	if !after && !is(c.argv[2], "BEFORE") {
		c.syntaxError()
		return
	}
	en := c.existing(c.argv[1], kindList)
	if en == nil {
		return
	}
	d := en.obj.(*deque)
	i := d.index(c.argv[3])
	if i < 0 {
		c.int(-1)
		return
	}
	i += b2i(after)
	d.insert(i, c.argv[4])
	c.logAt(opLInsert, en, i, c.argv[4])
	c.e.changed(en)
	c.int(d.len())
}

// bounds reads the numbers where a range begins and ends.
func (c *call) bounds(from, to []byte) (start, stop int64, ok bool) {
	if start, ok = c.integer(from); !ok {
		return 0, 0, false
	}
	stop, ok = c.integer(to)
	return start, stop, ok
}

func lrange(c *call) {
	start, stop, ok := c.bounds(c.argv[2], c.argv[3])
	if !ok {
		return
	}
	en, ok := c.read(c.argv[1], kindList)
	if !ok {
		return
	}
	if en == nil {
		c.array(0)
		return
	}
	d := en.obj.(*deque)
	lo, hi := byIndex(start, stop, d.len())
	c.array(hi - lo)
	if lo == hi {
		return
	}
	for v := range d.from(lo) {
		c.bulk(v)
		if lo++; lo == hi {
			return
		}
	}
}

func ltrim(c *call) {
	start, stop, ok := c.bounds(c.argv[2], c.argv[3])
	if !ok {
		return
	}
	en, ok := c.write(c.argv[1], kindList)
	if !ok {
		return
	}
	c.ok()
	if en == nil {
		return
	}
	d := en.obj.(*deque)
	lo, hi := byIndex(start, stop, d.len())
	if right := d.len() - hi; right > 0 {
		d.drop(false, right)
		c.popped(en, false, right)
	}
	if lo > 0 {
		d.drop(true, lo)
		c.popped(en, true, lo)
	}
}

func lrem(c *call) {
	count, ok := c.integer(c.argv[2])
	if !ok {
		return
	}
	en := c.existing(c.argv[1], kindList)
	if en == nil {
		return
	}
	limit := count
	switch {
	case count == 0, count == math.MinInt64:
		limit = math.MaxInt64
	case count < 0:
		limit = -count
	}
	removed := en.obj.(*deque).remove(count >= 0, int(limit), c.argv[3])
	if removed > 0 {
		c.e.fx.begin(opLRem, en.key)
		c.e.fx.byte(byte(b2i(count >= 0)))
		c.e.fx.num(uint64(removed))
		c.e.fx.bytes(c.argv[3])
		c.e.fx.end()
		c.e.changed(en)
	}
	c.int(removed)
}
