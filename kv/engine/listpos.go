package engine

import (
	"bytes"
	"math"
	"slices"
)

// A search is what LPOS is to look for.
type search struct {
	rank   int64 // the first match to tell, counted from the end if negative
	count  int64 // matches to tell, 0 for all; -1: one, and not as an array
	maxLen int64 // elements to look at, 0 for all
}

// parseSearch reads LPOS's options; if they are wrong, the error is the reply.
func (c *call) parseSearch(args [][]byte) (s search, ok bool) {
	s = search{rank: 1, count: -1}
	for ; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			c.syntaxError()
			return s, false
		}
		switch n, ok := parseInt(args[1]); {
		case is(args[0], "RANK"):
			if !ok {
				c.notInteger()
				return s, false
			}
			if s.rank = n; n == 0 {
				c.fail("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list")
				return s, false
			}
		case is(args[0], "COUNT"):
			if s.count = n; !ok || n < 0 {
				c.fail("ERR COUNT can't be negative")
				return s, false
			}
		case is(args[0], "MAXLEN"):
			if s.maxLen = n; !ok || n < 0 {
				c.fail("ERR MAXLEN can't be negative")
				return s, false
			}
		default:
			c.syntaxError()
			return s, false
		}
	}
	return s, true
}

func lpos(c *call) {
	s, ok := c.parseSearch(c.argv[3:])
	if !ok {
		return
	}
	en, ok := c.read(c.argv[1], kindList)
	if !ok {
		return
	}
	var found []int
	if en != nil {
		found = s.positions(en.obj.(*deque), c.argv[2])
	}
	switch {
	case s.count >= 0:
		c.array(len(found))
		for _, i := range found {
			c.int(i)
		}
	case len(found) > 0:
		c.int(found[0])
	default:
		c.null()
	}
}

// positions returns the numbers of the elements that are v.
func (s search) positions(d *deque, v []byte) (found []int) {
	backward := s.rank < 0
	lo, hi := 0, d.len()
	if s.maxLen > 0 && s.maxLen < int64(hi) {
		if hi = int(s.maxLen); backward {
			lo, hi = d.len()-hi, d.len()
		}
	}
	skip, want := s.rank-1, s.count
	if backward {
		skip = -(s.rank + 1)
	}
	switch want {
	case -1:
		want = 1
	case 0:
		want = math.MaxInt64
	}
	enough := int64(math.MaxInt64) // matches, if they come in the order they are told in
	if !backward && skip < enough-want {
		enough = skip + want
	}
	i := lo
	for e := range d.from(lo) {
		if i == hi || int64(len(found)) == enough {
			break
		}
		if bytes.Equal(e, v) {
			found = append(found, i)
		}
		i++
	}
	if backward {
		slices.Reverse(found)
	}
	found = found[min(skip, int64(len(found))):]
	return found[:min(want, int64(len(found)))]
}
