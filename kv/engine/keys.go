package engine

import "math/rand/v2"

var keySpecs = []Spec{
	{Name: "del", Arity: -2, Write: true, First: 1, Last: -1, Step: 1, run: del},
	{Name: "unlink", Arity: -2, Write: true, First: 1, Last: -1, Step: 1, run: del},
	{Name: "exists", Arity: -2, First: 1, Last: -1, Step: 1, run: exists},
	{Name: "touch", Arity: -2, First: 1, Last: -1, Step: 1, run: exists},
	{Name: "type", Arity: 2, First: 1, Last: 1, Step: 1, run: typeOf},
	{Name: "keys", Arity: 2, run: keys},
	{Name: "scan", Arity: -2, run: scan},
	{Name: "randomkey", Arity: 1, run: randomKey},
	{Name: "rename", Arity: 3, Write: true, First: 1, Last: 2, Step: 1, run: func(c *call) { rename(c, false) }},
	{Name: "renamenx", Arity: 3, Write: true, First: 1, Last: 2, Step: 1, run: func(c *call) { rename(c, true) }},
	{Name: "dbsize", Arity: 1, run: func(c *call) { c.int(c.e.Len()) }},
	{Name: "flushall", Arity: -1, Write: true, run: flush},
	{Name: "flushdb", Arity: -1, Write: true, run: flush},
}

// del removes a key.
func (e *Engine) del(en *entry) {
	e.logDel(en.key)
	e.remove(en)
}

func del(c *call) {
	for _, key := range c.argv[1:] {
		if _, ok := c.any(key); !ok {
			return
		}
	}
	n := 0
	for _, key := range c.argv[1:] {
		if en := c.e.keys[string(key)]; en != nil {
			c.e.del(en)
			n++
		}
	}
	c.int(n)
}

func exists(c *call) {
	n := 0
	for _, key := range c.argv[1:] {
		n += b2i(c.e.find(key) != nil)
	}
	c.int(n)
}

func typeOf(c *call) {
	if en := c.e.find(c.argv[1]); en != nil {
		c.status(codecs[en.kind].name)
		return
	}
	c.status("none")
}

func keys(c *call) {
	var found []*entry
	for p := range c.e.pages {
		for _, en := range c.e.pages[p].entries {
			if !c.e.isOver(en) && Match(c.argv[1], []byte(en.key)) {
				found = append(found, en)
			}
		}
	}
	c.array(len(found))
	for _, en := range found {
		c.text(en.key)
	}
}

// randomTries is how many keys RANDOMKEY looks at for one whose time is not over
// before it looks through all.
const randomTries = 100

func randomKey(c *call) {
	for range min(randomTries, c.e.Len()) {
		if en := c.e.nth(rand.IntN(c.e.Len())); !c.e.isOver(en) {
			c.text(en.key)
			return
		}
	}
	for i := range c.e.Len() {
		if en := c.e.nth(i); !c.e.isOver(en) {
			c.text(en.key)
			return
		}
	}
	c.null()
}

// nth returns the key with a number below Len.
func (e *Engine) nth(i int) *entry {
	for p := range e.pages {
		if entries := e.pages[p].entries; i < len(entries) {
			return entries[i]
		} else {
			i -= len(entries)
		}
	}
	panic("engine: pages have fewer keys than the map")
}

func rename(c *call, ifNone bool) {
	src, ok := c.any(c.argv[1])
	if !ok {
		return
	}
	if src == nil {
		c.fail("ERR no such key")
		return
	}
	key := c.argv[2]
	dst, ok := c.any(key)
	switch {
	case !ok:
		return
	case ifNone && dst != nil:
		c.int(0)
		return
	case dst != src:
		c.e.move(src, key, dst)
	}
	if ifNone {
		c.int(1)
	} else {
		c.ok()
	}
}

// move gives a key, which has the entry dst or none, what another has.
func (e *Engine) move(src *entry, key []byte, dst *entry) {
	expires := src.expires
	e.del(src)
	if dst == nil {
		dst = e.add(key, src.kind, nil)
	}
	dst.kind, dst.str, dst.obj = src.kind, src.str, src.obj
	e.setExpires(dst, expires)
	e.logPut(dst)
	e.changed(dst)
}

func flush(c *call) {
	if len(c.argv) > 2 || len(c.argv) == 2 && !is(c.argv[1], "ASYNC") && !is(c.argv[1], "SYNC") {
		c.syntaxError()
		return
	}
	for p := range c.e.pages {
		if len(c.e.pages[p].entries) > 0 {
			c.e.fx.begin(opFlush, string([]byte{byte(p)}))
			c.e.fx.end()
			c.e.clear(p, false)
		}
	}
	c.ok()
}
