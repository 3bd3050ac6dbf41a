package engine

import "strconv"

var hashSpecs = []Spec{
	{Name: "hset", Arity: -4, Write: true, First: 1, Last: 1, Step: 1, run: hset},
	{Name: "hmset", Arity: -4, Write: true, First: 1, Last: 1, Step: 1, run: hset},
	{Name: "hsetnx", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: hsetNX},
	{Name: "hget", Arity: 3, First: 1, Last: 1, Step: 1, run: hget},
	{Name: "hmget", Arity: -3, First: 1, Last: 1, Step: 1, run: hmget},
	{Name: "hgetall", Arity: 2, First: 1, Last: 1, Step: 1, run: hgetAll},
	{Name: "hdel", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: hdel},
	{Name: "hexists", Arity: 3, First: 1, Last: 1, Step: 1, run: hexists},
	{Name: "hlen", Arity: 2, First: 1, Last: 1, Step: 1, run: func(c *call) { length(c, kindHash) }},
	{Name: "hkeys", Arity: 2, First: 1, Last: 1, Step: 1, run: hkeys},
	{Name: "hvals", Arity: 2, First: 1, Last: 1, Step: 1, run: hvals},
	{Name: "hstrlen", Arity: 3, First: 1, Last: 1, Step: 1, run: hstrlen},
	{Name: "hincrby", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: hincrBy},
	{Name: "hincrbyfloat", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: hincrByFloat},
	{Name: "hincrbyex", Arity: 5, Write: true, First: 1, Last: 1, Step: 1, run: hincrByEx},
	{Name: "hscan", Arity: -3, First: 1, Last: 1, Step: 1, run: hscan},
}

var hashOps = map[op]applier{
	opHSet: func(e *Engine, key []byte, r *reader) error {
		en, err := e.forApply(key, kindHash, r, func() collection { return &hash{} })
		if err != nil {
			return err
		}
		for r.more() {
			field, val := r.bytes(), r.bytes()
			if r.err == nil {
				en.obj.(*hash).set(field, val)
			}
		}
		e.changed(en)
		return nil
	},
	opHDel: func(e *Engine, key []byte, r *reader) error {
		en := e.keys[string(key)]
		if en == nil || en.kind != kindHash {
			return errNoKey
		}
		for r.more() {
			en.obj.(*hash).remove(r.bytes())
		}
		e.changed(en)
		return nil
	},
}

var hashCodec = codec{
	name: "hash",
	append: func(b []byte, en *entry) []byte {
		f, h := effects{b: b}, en.obj.(*hash)
		f.num(uint64(h.len()))
		for i := range h.items {
			f.str(h.items[i].name)
			f.bytes(h.items[i].val)
		}
		return f.b
	},
	read: func(en *entry, r *reader) error {
		h := &hash{}
		h.reserve(r.count(2))
		for r.more() {
			field, val := r.bytes(), r.bytes()
			if r.err != nil || h.has(field) {
				return errDamaged
			}
			h.set(field, val)
		}
		en.obj = h
		return nil
	},
}

// A hash is fields with a value each, which are overwritten in place: nobody
// keeps one.
type hash struct {
	dict[[]byte]
	vals int // bytes
}

func (h *hash) bytes() int { return h.names + h.vals + h.len()*itemBytes }

func (h *hash) set(field, val []byte) (added bool) {
	if i := h.find(field); i >= 0 {
		it := &h.items[i]
		h.vals -= cap(it.val)
		it.val = overwrite(it.val, val)
		h.vals += cap(it.val)
		return false
	}
	val = overwrite(nil, val)
	h.add(string(field), val)
	h.vals += cap(val)
	return true
}

func (h *hash) get(field []byte) (val []byte, ok bool) {
	if i := h.find(field); i >= 0 {
		return h.items[i].val, true
	}
	return nil, false
}

func (h *hash) remove(field []byte) bool {
	i := h.find(field)
	if i < 0 {
		return false
	}
	h.vals -= cap(h.items[i].val)
	h.dict.remove(i)
	return true
}

// readHash returns the hash of a command that reads; an empty one if it is not
// there.
func (c *call) readHash() (h *hash, ok bool) {
	en, ok := c.read(c.argv[1], kindHash)
	if en == nil {
		return &hash{}, ok
	}
	return en.obj.(*hash), true
}

// hashSet sets fields, given with their values in turn, of a hash that has the
// entry en or none.
func (c *call) hashSet(en *entry, pairs [][]byte) (_ *entry, added int) {
	if en == nil {
		en = c.e.add(c.argv[1], kindHash, &hash{})
	}
	h := en.obj.(*hash)
	for i := 0; i < len(pairs); i += 2 {
		added += b2i(h.set(pairs[i], pairs[i+1]))
	}
	c.e.logArgs(opHSet, en.key, pairs)
	c.e.changed(en)
	return en, added
}

func hset(c *call) {
	if len(c.argv)%2 != 0 {
		c.wrongArity()
		return
	}
	en, ok := c.write(c.argv[1], kindHash)
	if !ok {
		return
	}
	_, added := c.hashSet(en, c.argv[2:])
	if c.spec.Name == "hmset" {
		c.ok()
	} else {
		c.int(added)
	}
}

func hsetNX(c *call) {
	en, ok := c.write(c.argv[1], kindHash)
	if !ok {
		return
	}
	if en != nil && en.obj.(*hash).has(c.argv[2]) {
		c.int(0)
		return
	}
	c.hashSet(en, c.argv[2:])
	c.int(1)
}

func hget(c *call) {
	h, ok := c.readHash()
	if !ok {
		return
	}
	c.field(h, c.argv[2])
}

func (c *call) field(h *hash, field []byte) {
	if val, ok := h.get(field); ok {
		c.bulk(val)
	} else {
		c.null()
	}
}

func hmget(c *call) {
	h, ok := c.readHash()
	if !ok {
		return
	}
	c.array(len(c.argv) - 2)
	for _, field := range c.argv[2:] {
		c.field(h, field)
	}
}

func hgetAll(c *call) {
	h, ok := c.readHash()
	if !ok {
		return
	}
	c.pairs(h.len())
	for i := range h.items {
		c.text(h.items[i].name)
		c.bulk(h.items[i].val)
	}
}

func hdel(c *call) {
	en := c.existing(c.argv[1], kindHash)
	if en == nil {
		return
	}
	h, before := en.obj.(*hash), en.obj.len()
	for _, field := range c.argv[2:] {
		h.remove(field)
	}
	n := before - h.len()
	if n > 0 {
		c.e.logArgs(opHDel, en.key, c.argv[2:])
		c.e.changed(en)
	}
	c.int(n)
}

func hexists(c *call) {
	if h, ok := c.readHash(); ok {
		_, has := h.get(c.argv[2])
		c.one(has)
	}
}

func hkeys(c *call) {
	h, ok := c.readHash()
	if !ok {
		return
	}
	c.array(h.len())
	for i := range h.items {
		c.text(h.items[i].name)
	}
}

func hvals(c *call) {
	h, ok := c.readHash()
	if !ok {
		return
	}
	c.array(h.len())
	for i := range h.items {
		c.bulk(h.items[i].val)
	}
}

func hstrlen(c *call) {
	if h, ok := c.readHash(); ok {
		val, _ := h.get(c.argv[2])
		c.int(len(val))
	}
}

func hincrBy(c *call) {
	by, ok := c.integer(c.argv[3])
	if !ok {
		return
	}
	c.hashIncr(by)
}

// hashIncr adds to a field and replies with the sum; nil if it replied with an
// error.
func (c *call) hashIncr(by int64) *entry {
	en, ok := c.write(c.argv[1], kindHash)
	if !ok {
		return nil
	}
	n := int64(0)
	if en != nil {
		if val, has := en.obj.(*hash).get(c.argv[2]); has {
			if n, ok = parseInt(val); !ok {
				c.fail("ERR hash value is not an integer")
				return nil
			}
		}
	}
	if n, ok = c.plus(n, by); !ok {
		return nil
	}
	en = c.hashSetOne(en, strconv.AppendInt(c.e.digits[:0], n, 10))
	c.int64(n)
	return en
}

// hashSetOne sets the field that the command names.
func (c *call) hashSetOne(en *entry, val []byte) *entry {
	c.e.pair = [2][]byte{c.argv[2], val}
	en, _ = c.hashSet(en, c.e.pair[:])
	c.e.pair = [2][]byte{}
	return en
}

func hincrByFloat(c *call) {
	by, ok := longDouble(c.argv[3])
	switch {
	case !ok:
		c.notFloat()
		return
	case by.IsInf():
		c.fail("ERR value is NaN or Infinity")
		return
	}
	en, ok := c.write(c.argv[1], kindHash)
	if !ok {
		return
	}
	old := []byte("0")
	if en != nil {
		if val, has := en.obj.(*hash).get(c.argv[2]); has {
			old = val
		}
	}
	sum, ok := c.plusFloat(old, by, "ERR hash value is not a float")
	if !ok {
		return
	}
	c.hashSetOne(en, sum)
	c.bulk(sum)
}

// hincrByEx is HINCRBYEX key field n ttl: HINCRBY, and PEXPIRE of the hash.
func hincrByEx(c *call) {
	by, ok := c.integer(c.argv[3])
	if !ok {
		return
	}
	ms, ok := c.integer(c.argv[4])
	if !ok {
		return
	}
	at, ok := c.time(ms, timeUnit{ms: 1})
	if !ok {
		return
	}
	en := c.hashIncr(by)
	switch {
	case en == nil:
	case at <= c.e.now:
		c.e.del(en)
	default:
		c.e.expireAt(en, at)
	}
}

func hscan(c *call) {
	obj, o, ok := c.scanOf(kindHash)
	if !ok {
		return
	}
	h := obj.(*hash)
	var found []string
	first, last := o.downFrom(h.len())
	for i := first - 1; i >= last; i-- {
		if it := &h.items[i]; o.wants(it.name) {
			found = append(found, it.name, string(it.val))
		}
	}
	c.scanned(uint64(last), found)
}
