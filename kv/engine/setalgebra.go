package engine

import "slices"

// What combines sets.

// readSets returns sets; empty ones for those that are not there.
func (c *call) readSets(keys [][]byte) (sets []*set, ok bool) {
	sets = make([]*set, len(keys))
	for i, key := range keys {
		if sets[i], ok = c.readSet(key); !ok {
			return nil, false
		}
	}
	return sets, true
}

func combine(c *call, with func([]*set) *set) {
	if sets, ok := c.readSets(c.argv[1:]); ok {
		c.members(with(sets))
	}
}

func combineStore(c *call, with func([]*set) *set) {
	sets, ok := c.readSets(c.argv[2:])
	if !ok {
		return
	}
	result := with(sets)
	c.storeResult(c.argv[1], kindSet, result)
}

// storeResult has a key hold what was computed, whatever it holds, and replies
// with how many elements that has.
func (c *call) storeResult(key []byte, k kind, result collection) {
	en, ok := c.any(key)
	if !ok {
		return
	}
	n := result.len()
	switch {
	case n > 0:
		c.e.putObject(key, en, k, result)
	case en != nil:
		c.e.del(en)
	}
	c.int(n)
}

// putObject sets a key, which has the entry en or none, to a value that is no
// string, and has it never expire.
func (e *Engine) putObject(key []byte, en *entry, k kind, obj collection) {
	if en == nil {
		en = e.add(key, k, nil)
	}
	en.kind, en.str, en.obj = k, nil, obj
	e.setExpires(en, 0)
	e.logPut(en)
	e.changed(en)
}

func inter(sets []*set) *set {
	result := &set{}
	interEach(sets, func(member string) bool {
		result.add(member, struct{}{})
		return true
	})
	return result
}

// interEach calls f for the members that are in all sets, until it returns false.
func interEach(sets []*set, f func(member string) bool) {
	smallest := slices.MinFunc(sets, func(a, b *set) int { return a.len() - b.len() })
members:
	for i := range smallest.items {
		member := smallest.items[i].name
		for _, s := range sets {
			if s != smallest && s.findText(member) < 0 {
				continue members
			}
		}
		if !f(member) {
			return
		}
	}
}

func union(sets []*set) *set {
	result := &set{}
	for _, s := range sets {
		for i := range s.items {
			if member := s.items[i].name; result.findText(member) < 0 {
				result.add(member, struct{}{})
			}
		}
	}
	return result
}

func diff(sets []*set) *set {
	result := &set{}
members:
	for i := range sets[0].items {
		member := sets[0].items[i].name
		for _, s := range sets[1:] {
			if s.findText(member) >= 0 {
				continue members
			}
		}
		result.add(member, struct{}{})
	}
	return result
}

// numKeys returns the keys of a command that says how many there are.
func numKeys(argv [][]byte) (keys [][]byte, ok bool) {
	n, ok := parseInt(argv[1])
	if !ok || n < 1 || n > int64(len(argv)-2) {
		return nil, true // it only gets an error
	}
	return argv[2 : 2+n], true
}

func sintercard(c *call) {
	n, ok := parseInt(c.argv[1])
	switch {
	case !ok || n < 1:
		c.fail("ERR numkeys should be greater than 0")
		return
	case n > int64(len(c.argv)-2):
		c.fail("ERR Number of keys can't be greater than number of args")
		return
	}
	limit := int64(0)
	for rest := c.argv[2+n:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) < 2 || !is(rest[0], "LIMIT") {
			c.syntaxError()
			return
		}
		if limit, ok = parseInt(rest[1]); !ok || limit < 0 {
			c.fail("ERR LIMIT can't be negative")
			return
		}
	}
	sets, ok := c.readSets(c.argv[2 : 2+n])
	if !ok {
		return
	}
	count := int64(0)
	interEach(sets, func(string) bool {
		count++
		return count != limit
	})
	c.int64(count)
}
