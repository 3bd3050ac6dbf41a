package engine

var setSpecs = []Spec{
	{Name: "sadd", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: sadd},
	{Name: "srem", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: srem},
	{Name: "smembers", Arity: 2, First: 1, Last: 1, Step: 1, run: smembers},
	{Name: "sismember", Arity: 3, First: 1, Last: 1, Step: 1, run: sismember},
	{Name: "smismember", Arity: -3, First: 1, Last: 1, Step: 1, run: smismember},
	{Name: "scard", Arity: 2, First: 1, Last: 1, Step: 1, run: func(c *call) { length(c, kindSet) }},
	{Name: "smove", Arity: 4, Write: true, First: 1, Last: 2, Step: 1, run: smove},
	{Name: "spop", Arity: -2, Write: true, First: 1, Last: 1, Step: 1, run: spop},
	{Name: "srandmember", Arity: -2, First: 1, Last: 1, Step: 1, run: srandmember},
	{Name: "sscan", Arity: -3, First: 1, Last: 1, Step: 1, run: sscan},
	{Name: "sinter", Arity: -2, First: 1, Last: -1, Step: 1, run: func(c *call) { combine(c, inter) }},
	{Name: "sunion", Arity: -2, First: 1, Last: -1, Step: 1, run: func(c *call) { combine(c, union) }},
	{Name: "sdiff", Arity: -2, First: 1, Last: -1, Step: 1, run: func(c *call) { combine(c, diff) }},
	{Name: "sinterstore", Arity: -3, Write: true, First: 1, Last: -1, Step: 1, run: func(c *call) { combineStore(c, inter) }},
	{Name: "sunionstore", Arity: -3, Write: true, First: 1, Last: -1, Step: 1, run: func(c *call) { combineStore(c, union) }},
	{Name: "sdiffstore", Arity: -3, Write: true, First: 1, Last: -1, Step: 1, run: func(c *call) { combineStore(c, diff) }},
	{Name: "sintercard", Arity: -3, run: sintercard, keys: numKeys},
}

var setOps = map[op]applier{
	opSAdd: func(e *Engine, key []byte, r *reader) error {
		en, err := e.forApply(key, kindSet, r, func() collection { return &set{} })
		if err != nil {
			return err
		}
		for r.more() {
			if member := r.bytes(); r.err == nil {
				en.obj.(*set).put(member)
			}
		}
		e.changed(en)
		return nil
	},
	opSRem: func(e *Engine, key []byte, r *reader) error {
		en := e.keys[string(key)]
		if en == nil || en.kind != kindSet {
			return errNoKey
		}
		for r.more() {
			en.obj.(*set).take(r.bytes())
		}
		e.changed(en)
		return nil
	},
}

var setCodec = codec{
	name: "set",
	append: func(b []byte, en *entry) []byte {
		f, s := effects{b: b}, en.obj.(*set)
		f.num(uint64(s.len()))
		for i := range s.items {
			f.str(s.items[i].name)
		}
		return f.b
	},
	read: func(en *entry, r *reader) error {
		s := &set{}
		s.reserve(r.count(1))
		for r.more() {
			if member := r.bytes(); r.err != nil || !s.put(member) {
				return errDamaged
			}
		}
		en.obj = s
		return nil
	},
}

// A set is members.
type set struct{ dict[struct{}] }

func (s *set) bytes() int { return s.names + s.len()*itemBytes }

func (s *set) put(member []byte) (added bool) {
	if s.has(member) {
		return false
	}
	s.add(string(member), struct{}{})
	return true
}

func (s *set) take(member []byte) (removed bool) {
	i := s.find(member)
	if i >= 0 {
		s.remove(i)
	}
	return i >= 0
}

// readSet returns a set; an empty one if it is not there.
func (c *call) readSet(key []byte) (s *set, ok bool) {
	en, ok := c.read(key, kindSet)
	if en == nil {
		return &set{}, ok
	}
	return en.obj.(*set), true
}

func sadd(c *call) {
	en, ok := c.write(c.argv[1], kindSet)
	if !ok {
		return
	}
	c.int(c.setAdd(c.argv[1], en, c.argv[2:]))
}

// setAdd adds members to a set that has the entry en or none.
func (c *call) setAdd(key []byte, en *entry, members [][]byte) (added int) {
	if en == nil {
		en = c.e.add(key, kindSet, &set{})
	}
	s := en.obj.(*set)
	for _, m := range members {
		added += b2i(s.put(m))
	}
	if added > 0 {
		c.e.logArgs(opSAdd, en.key, members)
		c.e.changed(en)
	}
	return added
}

func srem(c *call) {
	if en := c.existing(c.argv[1], kindSet); en != nil {
		c.int(c.setRemove(en, c.argv[2:]))
	}
}

func (c *call) setRemove(en *entry, members [][]byte) (removed int) {
	s := en.obj.(*set)
	for _, m := range members {
		removed += b2i(s.take(m))
	}
	if removed > 0 {
		c.e.logArgs(opSRem, en.key, members)
		c.e.changed(en)
	}
	return removed
}

func smembers(c *call) {
	if s, ok := c.readSet(c.argv[1]); ok {
		c.members(s)
	}
}

func (c *call) members(s *set) {
	c.set(s.len())
	for i := range s.items {
		c.text(s.items[i].name)
	}
}

func sismember(c *call) {
	if s, ok := c.readSet(c.argv[1]); ok {
		c.one(s.has(c.argv[2]))
	}
}

func smismember(c *call) {
	s, ok := c.readSet(c.argv[1])
	if !ok {
		return
	}
	c.array(len(c.argv) - 2)
	for _, m := range c.argv[2:] {
		c.one(s.has(m))
	}
}

func smove(c *call) {
	src := c.existing(c.argv[1], kindSet)
	if src == nil { // whatever the other is
		return
	}
	dst, ok := c.write(c.argv[2], kindSet)
	if !ok {
		return
	}
	if src == dst {
		c.one(src.obj.(*set).has(c.argv[3]))
		return
	}
	moved := c.setRemove(src, c.argv[3:])
	if moved > 0 {
		c.setAdd(c.argv[2], dst, c.argv[3:])
	}
	c.int(moved)
}

func sscan(c *call) {
	obj, o, ok := c.scanOf(kindSet)
	if !ok {
		return
	}
	s := obj.(*set)
	var found []string
	first, last := o.downFrom(s.len())
	for i := first - 1; i >= last; i-- {
		if o.wants(s.items[i].name) {
			found = append(found, s.items[i].name)
		}
	}
	c.scanned(uint64(last), found)
}
