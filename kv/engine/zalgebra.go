package engine

import (
	"iter"
	"math"
	"slices"
)

// What combines sorted sets. Sets count as sorted sets whose scores are 1.

var sortedAlgebraSpecs = []Spec{
	{Name: "zunion", Arity: -3, keys: numKeys, run: func(c *call) { zcombine(c, zunion, true) }},
	{Name: "zinter", Arity: -3, keys: numKeys, run: func(c *call) { zcombine(c, zinter, true) }},
	{Name: "zdiff", Arity: -3, keys: numKeys, run: func(c *call) { zcombine(c, zdiff, false) }},
	{Name: "zintercard", Arity: -3, keys: numKeys, run: zintercard},
	{Name: "zunionstore", Arity: -4, Write: true, keys: storeKeys, run: func(c *call) { zcombineStore(c, zunion, true) }},
	{Name: "zinterstore", Arity: -4, Write: true, keys: storeKeys, run: func(c *call) { zcombineStore(c, zinter, true) }},
	{Name: "zdiffstore", Arity: -4, Write: true, keys: storeKeys, run: func(c *call) { zcombineStore(c, zdiff, false) }},
}

// storeKeys returns the keys of a command that names where the result goes, and
// then says how many others there are.
func storeKeys(argv [][]byte) (keys [][]byte, ok bool) {
	keys, ok = numKeys(argv[1:])
	return append([][]byte{argv[1]}, keys...), ok
}

// A zsource is one of the sets that are combined.
type zsource struct {
	sorted *ranking
	plain  *set // if it is not sorted
	weight float64
}

func (z *zsource) len() int {
	if z.plain != nil {
		return z.plain.len()
	}
	return z.sorted.len()
}

// all returns the members with their weighed scores.
func (z *zsource) all() iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		if z.plain != nil {
			for i := range z.plain.items {
				if !yield(z.plain.items[i].name, zeroIfNone(z.weight)) {
					return
				}
			}
			return
		}
		for s := range z.sorted.all(0, z.sorted.len(), false) {
			if !yield(s.member, zeroIfNone(z.weight*s.score)) {
				return
			}
		}
	}
}

// score returns the weighed score of a member, which may be NaN: as in Redis, that
// is for the aggregate to see.
func (z *zsource) score(member string) (score float64, ok bool) {
	if z.plain != nil {
		return z.weight, z.plain.findText(member) >= 0
	}
	i := z.sorted.members.findText(member)
	if i < 0 {
		return 0, false
	}
	return z.weight * z.sorted.entry(i).score, true
}

// zeroIfNone turns what is no number into zero, as infinities weighed with zero
// and sums of opposite ones are.
func zeroIfNone(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return f + 0
}

// An aggregate says which score a member gets that is in two sets. The second may
// be NaN, the result is not.
type aggregate func(a, b float64) float64

func sum(a, b float64) float64 { return zeroIfNone(a + b) }

func lesser(a, b float64) float64 {
	if b < a {
		return b
	}
	return a
}

func greater(a, b float64) float64 {
	if b > a {
		return b
	}
	return a
}

// A zcombination is what ZUNION and its kin ask for.
type zcombination struct {
	sources    []zsource
	aggregate  aggregate
	withScores bool
	limit      int64 // of ZINTERCARD
}

// parseSources reads how many keys there are and finds these. If something is
// wrong, the error is the reply.
func (c *call) parseSources(args [][]byte) (q zcombination, rest [][]byte, ok bool) {
	n, ok := c.integer(args[0])
	switch {
	case !ok:
		return q, nil, false
	case n < 1:
		c.fail("ERR at least 1 input key is needed for '" + c.spec.Name + "' command")
		return q, nil, false
	case n > int64(len(args)-1):
		c.syntaxError()
		return q, nil, false
	}
	q.aggregate = sum
	for _, key := range args[1 : 1+n] {
		z := zsource{weight: 1, sorted: &ranking{}}
		switch en := c.e.find(key); {
		case en == nil:
		case en.kind == kindSorted:
			z.sorted = en.obj.(*ranking)
		case en.kind == kindSet:
			z.plain = en.obj.(*set)
		default:
			c.wrongType()
			return q, nil, false
		}
		q.sources = append(q.sources, z)
	}
	return q, args[1+n:], true
}

// parse reads the options that follow the keys: those for weighing scores if
// scores matter, and whether to tell them unless the result is stored.
func (q *zcombination) parse(c *call, args [][]byte, scores, store bool) (ok bool) {
	for ; len(args) > 0; args = args[1:] {
		switch arg := args[0]; {
		case scores && is(arg, "WEIGHTS") && len(args) > len(q.sources):
			for i := range q.sources {
				weight, ok := parseFloat(args[1+i])
				if !ok {
					c.fail("ERR weight value is not a float")
					return false
				}
				q.sources[i].weight = weight
			}
			args = args[len(q.sources):]
		case scores && is(arg, "AGGREGATE") && len(args) > 1:
			if args = args[1:]; !q.parseAggregate(args[0]) {
				c.syntaxError()
				return false
			}
		case !store && is(arg, "WITHSCORES"):
			q.withScores = true
		default:
			c.syntaxError()
			return false
		}
	}
	return true
}

func (q *zcombination) parseAggregate(arg []byte) (ok bool) {
	switch {
	case is(arg, "SUM"):
		q.aggregate = sum
	case is(arg, "MIN"):
		q.aggregate = lesser
	case is(arg, "MAX"):
		q.aggregate = greater
	default:
		return false
	}
	return true
}

func zcombine(c *call, with func(*zcombination) *ranking, scores bool) {
	q, rest, ok := c.parseSources(c.argv[1:])
	if !ok || !q.parse(c, rest, scores, false) {
		return
	}
	r := with(&q)
	c.ranked(r, 0, r.len(), false, q.withScores)
}

func zcombineStore(c *call, with func(*zcombination) *ranking, scores bool) {
	q, rest, ok := c.parseSources(c.argv[2:])
	if ok && q.parse(c, rest, scores, true) {
		c.storeResult(c.argv[1], kindSorted, with(&q))
	}
}

func zunion(q *zcombination) *ranking {
	q.smallestFirst()
	scores := &dict[float64]{}
	for i := range q.sources {
		for member, score := range q.sources[i].all() {
			if at := scores.findText(member); at >= 0 {
				scores.items[at].val = q.aggregate(scores.items[at].val, score)
			} else {
				scores.add(member, score)
			}
		}
	}
	r := &ranking{}
	for _, item := range scores.items {
		r.add(item.name, item.val)
	}
	return r
}

// smallestFirst is the order in which Redis adds scores up, which can be seen in
// the sum.
func (q *zcombination) smallestFirst() {
	slices.SortStableFunc(q.sources, func(a, b zsource) int { return a.len() - b.len() })
}

func zinter(q *zcombination) *ranking {
	r := &ranking{}
	q.interEach(func(member string, score float64) bool {
		r.add(member, score)
		return true
	})
	return r
}

// interEach calls f for the members that are in all sets, until it returns false.
func (q *zcombination) interEach(f func(member string, score float64) bool) {
	q.smallestFirst()
members:
	for member, score := range q.sources[0].all() {
		for i := range q.sources[1:] {
			other, ok := q.sources[1+i].score(member)
			if !ok {
				continue members
			}
			score = q.aggregate(score, other)
		}
		if !f(member, score) {
			return
		}
	}
}

func zdiff(q *zcombination) *ranking {
	r := &ranking{}
members:
	for member, score := range q.sources[0].all() {
		for i := range q.sources[1:] {
			if _, ok := q.sources[1+i].score(member); ok {
				continue members
			}
		}
		r.add(member, score)
	}
	return r
}

func zintercard(c *call) {
	q, rest, ok := c.parseSources(c.argv[1:])
	if !ok {
		return
	}
	for ; len(rest) > 0; rest = rest[2:] {
		if len(rest) < 2 || !is(rest[0], "LIMIT") {
			c.syntaxError()
			return
		}
		if q.limit, ok = parseInt(rest[1]); !ok || q.limit < 0 {
			c.fail("ERR LIMIT can't be negative")
			return
		}
	}
	n := int64(0)
	q.interEach(func(string, float64) bool {
		n++
		return n != q.limit
	})
	c.int64(n)
}
