package engine

import "math"

// by is what the ends of a range of a sorted set are.
type by byte

const (
	byRank by = iota
	byScore
	byLex
)

// A zquery is what ZRANGE and its kin ask for.
type zquery struct {
	open          bool // its arguments may say by what, and which way
	store         bool // the result is kept: there is nothing to say about scores
	by            by
	reverse       bool
	withScores    bool
	offset, count int64
}

// parse reads the options that follow the ends of the range. If something is
// wrong, the error is the reply.
func (q *zquery) parse(c *call, args [][]byte) (ok bool) {
	q.count = -1
	bySet, reverseSet := !q.open, !q.open
	for ; len(args) > 0; args = args[1:] {
		switch arg := args[0]; {
		case !q.store && is(arg, "WITHSCORES"):
			q.withScores = true
		case is(arg, "LIMIT") && len(args) > 2:
			if q.offset, q.count, ok = c.bounds(args[1], args[2]); !ok {
				return false
			}
			args = args[2:]
		case !reverseSet && is(arg, "REV"):
			q.reverse, reverseSet = true, true
		case !bySet && is(arg, "BYLEX"):
			q.by, bySet = byLex, true
		case !bySet && is(arg, "BYSCORE"):
			q.by, bySet = byScore, true
		default:
			c.syntaxError()
			return false
		}
	}
	switch {
	case q.count != -1 && q.by == byRank:
		c.fail("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
	case q.withScores && q.by == byLex:
		c.fail("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
	default:
		return true
	}
	return false
}

// A zspan finds the ranks from lo to before hi that a range means.
type zspan func(r *ranking) (lo, hi int)

// span reads the ends of a range. If they are wrong, the error is the reply.
func (c *call) span(by by, from, to []byte) (s zspan, ok bool) {
	switch by {
	case byScore:
		low, ok1 := parseScoreBound(from)
		high, ok2 := parseScoreBound(to)
		if !ok1 || !ok2 {
			c.fail("ERR min or max is not a float")
			return nil, false
		}
		return func(r *ranking) (lo, hi int) { return r.byScore(low, high) }, true
	case byLex:
		low, ok1 := parseLexBound(from)
		high, ok2 := parseLexBound(to)
		if !ok1 || !ok2 {
			c.fail("ERR min or max not valid string range item")
			return nil, false
		}
		return func(r *ranking) (lo, hi int) { return r.byLex(low, high) }, true
	}
	start, stop, ok := c.bounds(from, to)
	return func(r *ranking) (lo, hi int) { return byIndex(start, stop, r.len()) }, ok
}

// find finds which ranks of the sorted set under a key are asked for.
func (q *zquery) find(c *call, key, from, to []byte) (r *ranking, lo, hi int, ok bool) {
	if q.reverse && q.by != byRank {
		from, to = to, from
	}
	span, ok := c.span(q.by, from, to)
	if !ok {
		return nil, 0, 0, false
	}
	r, ok = c.sorted(key)
	if !ok {
		return nil, 0, 0, false
	}
	lo, hi = span(r)
	if q.by == byRank {
		if q.reverse {
			lo, hi = r.len()-hi, r.len()-lo
		}
		return r, lo, hi, true
	}
	lo, hi = limited(lo, hi, q.reverse, q.offset, q.count)
	return r, lo, hi, true
}

func zrange(c *call, q zquery) {
	if !q.parse(c, c.argv[4:]) {
		return
	}
	r, lo, hi, ok := q.find(c, c.argv[1], c.argv[2], c.argv[3])
	if !ok {
		return
	}
	c.ranked(r, lo, hi, q.reverse, q.withScores)
}

// ranked replies with the members of the ranks from lo to before hi.
func (c *call) ranked(r *ranking, lo, hi int, reverse, withScores bool) {
	c.array(hi - lo)
	for s := range r.all(lo, hi, reverse) {
		c.member(s, withScores)
	}
}

// member replies with a member, in an array with its score if that is wanted.
func (c *call) member(s scored, withScore bool) {
	if !withScore {
		c.text(s.member)
		return
	}
	c.array(2)
	c.text(s.member)
	c.double(s.score)
}

func zrangestore(c *call) {
	q := zquery{open: true, store: true}
	if !q.parse(c, c.argv[5:]) {
		return
	}
	r, lo, hi, ok := q.find(c, c.argv[2], c.argv[3], c.argv[4])
	if !ok {
		return
	}
	result := &ranking{}
	for s := range r.all(lo, hi, q.reverse) {
		result.add(s.member, s.score)
	}
	c.storeResult(c.argv[1], kindSorted, result)
}

// zcount is ZCOUNT and ZLEXCOUNT.
func zcount(c *call, by by) {
	span, ok := c.span(by, c.argv[2], c.argv[3])
	if !ok {
		return
	}
	if r, ok := c.sorted(c.argv[1]); ok {
		lo, hi := span(r)
		c.int(hi - lo)
	}
}

// zremrange is ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX.
func zremrange(c *call, by by) {
	span, ok := c.span(by, c.argv[2], c.argv[3])
	if !ok {
		return
	}
	en := c.existing(c.argv[1], kindSorted)
	if en == nil {
		return
	}
	lo, hi := span(en.obj.(*ranking))
	c.int(len(c.e.zremove(en, lo, hi, false)))
}

// What happens to a sorted set, as it is logged.
const (
	opZAdd = opSorted + iota // scores and strings: members have these scores
	opZRem                   // strings: members are gone
)

// score appends a score: the eight bytes of its bits, the lowest first.
func (f *effects) score(score float64) {
	bits := math.Float64bits(score)
	for shift := 0; shift < 64; shift += 8 {
		f.byte(byte(bits >> shift))
	}
}

// score reads a score.
func (r *reader) score() float64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	var bits uint64
	for i, c := range r.b[:8] {
		bits |= uint64(c) << (8 * i)
	}
	r.b = r.b[8:]
	score, isNumber := newScore(math.Float64frombits(bits))
	if !isNumber {
		r.fail()
		return 0
	}
	return score
}

var sortedOps = map[op]applier{
	opZAdd: func(e *Engine, key []byte, r *reader) error {
		en, err := e.forApply(key, kindSorted, r, func() collection { return &ranking{} })
		if err != nil {
			return err
		}
		for r.more() {
			score, member := r.score(), r.bytes()
			if r.err == nil {
				en.obj.(*ranking).set(member, score)
			}
		}
		e.changed(en)
		return r.err
	},
	opZRem: func(e *Engine, key []byte, r *reader) error {
		en := e.keys[string(key)]
		if en == nil || en.kind != kindSorted {
			return errNoKey
		}
		defer e.changed(en)
		for z := en.obj.(*ranking); r.more(); {
			member := r.bytes()
			i := z.find(member)
			if r.err != nil || i < 0 {
				return errDamaged
			}
			z.remove(i)
		}
		return nil
	},
}

// The members of a sorted set are written in the order of the dict, each after
// its score.
var sortedCodec = codec{
	name: "zset",
	append: func(b []byte, en *entry) []byte {
		f := effects{b: b}
		for _, item := range en.obj.(*ranking).members.items {
			f.score(item.val)
			f.str(item.name)
		}
		return f.b
	},
	read: func(en *entry, r *reader) error {
		z := &ranking{}
		for r.more() {
			score, member := r.score(), r.bytes()
			if r.err != nil || z.find(member) >= 0 {
				return errDamaged
			}
			z.add(string(member), score)
		}
		en.obj = z
		return nil
	},
}
