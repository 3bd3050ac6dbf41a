package engine

import (
	"strconv"
)

// Scans keep nothing at the engine. A cursor is where to go on, downwards, in an
// order in which new elements come last and the last takes the place of a removed
// one: all that is there during the whole scan is met, some of it more than once.
// Cursors are below 2^48, and stay good for an engine that was made by LoadPage
// and Apply.

// scanOptions are what SCAN, HSCAN, SSCAN and ZSCAN are given.
type scanOptions struct {
	cursor uint64
	some   bool   // only what match matches
	match  []byte // may be empty, and nil then: nothing but an empty name matches
	count  int    // elements to look at
	typed  bool   // only keys of a kind
	kind   []byte // as match
}

// scanCursor reads a cursor; if it is none, the error is the reply.
func (c *call) scanCursor(o *scanOptions, arg []byte) (ok bool) {
	cursor, err := uint64(0), error(nil)
	if len(arg) > 0 { // nothing is the beginning, too
		cursor, err = strconv.ParseUint(string(arg), 10, 64)
	}
	if err != nil {
		c.fail("ERR invalid cursor")
		return false
	}
	*o = scanOptions{cursor: cursor, count: 10}
	return true
}

// scanOptions reads what follows a cursor; if it is wrong, the error is the reply.
func (c *call) scanOptions(o *scanOptions, args [][]byte) (ok bool) {
	for ; len(args) > 0; args = args[2:] {
		switch {
		case len(args) > 1 && is(args[0], "COUNT"):
			n, ok := c.integer(args[1])
			if !ok {
				return false
			}
			if n < 1 {
				c.syntaxError()
				return false
			}
			o.count = int(n)
		case len(args) > 1 && is(args[0], "MATCH"):
			o.some, o.match = true, args[1]
		case len(args) > 1 && is(args[0], "TYPE") && c.spec.Name == "scan":
			o.typed, o.kind = true, args[1]
		default:
			c.syntaxError()
			return false
		}
	}
	return true
}

// scanOf begins HSCAN, SSCAN and ZSCAN. ok is false if the reply has been given:
// as in Redis, options are not looked at if the key is not there.
func (c *call) scanOf(k kind) (obj collection, o scanOptions, ok bool) {
	if !c.scanCursor(&o, c.argv[2]) {
		return nil, o, false
	}
	en, ok := c.read(c.argv[1], k)
	if !ok {
		return nil, o, false
	}
	if en == nil {
		c.scanned(0, nil)
		return nil, o, false
	}
	return en.obj, o, c.scanOptions(&o, c.argv[3:])
}

func (o *scanOptions) wants(name string) bool {
	return !o.some || Match(o.match, []byte(name))
}

// downFrom returns which of n elements are to be looked at: from one below first
// down to last. The next cursor is last; zero is the end.
func (o *scanOptions) downFrom(n int) (first, last int) {
	first = n
	if o.cursor != 0 && o.cursor < uint64(n) {
		first = int(o.cursor)
	}
	return first, max(0, first-o.count)
}

// scanned replies with a cursor and what was found.
func (c *call) scanned(cursor uint64, found []string) {
	c.array(2)
	c.text(strconv.FormatUint(cursor, 10))
	c.array(len(found))
	for _, s := range found {
		c.text(s)
	}
}

// pageBits is how many bits of a cursor of SCAN say which page: the low ones. The
// others are how many keys of the page are left, zero for all.
const pageBits = 6

func scan(c *call) {
	var o scanOptions
	if !c.scanCursor(&o, c.argv[1]) || !c.scanOptions(&o, c.argv[2:]) {
		return
	}
	p := int(o.cursor % Pages)
	o.cursor >>= pageBits
	var found []string
	for o.count > 0 && p < Pages {
		entries := c.e.pages[p].entries
		first, last := o.downFrom(len(entries))
		for i := first - 1; i >= last; i-- {
			if en := entries[i]; !c.e.isOver(en) && o.wants(en.key) && o.wantsKind(en.kind) {
				found = append(found, en.key)
			}
		}
		o.count -= first - last
		if o.cursor = uint64(last); last == 0 {
			p++
		}
	}
	if p == Pages {
		c.scanned(0, found)
		return
	}
	c.scanned(o.cursor<<pageBits|uint64(p), found)
}

func (o *scanOptions) wantsKind(k kind) bool {
	return !o.typed || is(o.kind, upperNames[k])
}

var upperNames = [kinds]string{
	kindString: "STRING",
	kindHash:   "HASH",
	kindSet:    "SET",
	kindList:   "LIST",
	kindSorted: "ZSET",
	kindLock:   "LOCK",
}
