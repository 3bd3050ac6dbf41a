package engine

import (
	"bytes"
	"slices"

	"roomd/kv/resp"
)

var sortedSpecs = append(sortedAlgebraSpecs, []Spec{
	{Name: "zadd", Arity: -4, Write: true, First: 1, Last: 1, Step: 1, run: zadd},
	{Name: "zincrby", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: zincrby},
	{Name: "zrem", Arity: -3, Write: true, First: 1, Last: 1, Step: 1, run: zrem},
	{Name: "zscore", Arity: 3, First: 1, Last: 1, Step: 1, run: zscore},
	{Name: "zmscore", Arity: -3, First: 1, Last: 1, Step: 1, run: zmscore},
	{Name: "zrank", Arity: 3, First: 1, Last: 1, Step: 1, run: func(c *call) { zrank(c, false) }},
	{Name: "zrevrank", Arity: 3, First: 1, Last: 1, Step: 1, run: func(c *call) { zrank(c, true) }},
	{Name: "zrandmember", Arity: -2, First: 1, Last: 1, Step: 1, run: zrandmember},
	{Name: "zscan", Arity: -3, First: 1, Last: 1, Step: 1, run: zscan},
	{Name: "zcard", Arity: 2, First: 1, Last: 1, Step: 1, run: func(c *call) { length(c, kindSorted) }},
	{Name: "zcount", Arity: 4, First: 1, Last: 1, Step: 1, run: func(c *call) { zcount(c, byScore) }},
	{Name: "zlexcount", Arity: 4, First: 1, Last: 1, Step: 1, run: func(c *call) { zcount(c, byLex) }},
	{Name: "zrange", Arity: -4, First: 1, Last: 1, Step: 1, run: func(c *call) { zrange(c, zquery{open: true}) }},
	{Name: "zrevrange", Arity: -4, First: 1, Last: 1, Step: 1, run: func(c *call) { zrange(c, zquery{reverse: true}) }},
	{Name: "zrangebyscore", Arity: -4, First: 1, Last: 1, Step: 1, run: func(c *call) { zrange(c, zquery{by: byScore}) }},
	{Name: "zrevrangebyscore", Arity: -4, First: 1, Last: 1, Step: 1, run: func(c *call) { zrange(c, zquery{by: byScore, reverse: true}) }},
	{Name: "zrangebylex", Arity: -4, First: 1, Last: 1, Step: 1, run: func(c *call) { zrange(c, zquery{by: byLex}) }},
	{Name: "zrevrangebylex", Arity: -4, First: 1, Last: 1, Step: 1, run: func(c *call) { zrange(c, zquery{by: byLex, reverse: true}) }},
	{Name: "zrangestore", Arity: -5, Write: true, First: 1, Last: 2, Step: 1, run: zrangestore},
	{Name: "zremrangebyrank", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { zremrange(c, byRank) }},
	{Name: "zremrangebyscore", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { zremrange(c, byScore) }},
	{Name: "zremrangebylex", Arity: 4, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { zremrange(c, byLex) }},
	{Name: "zpopmin", Arity: -2, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { zpop(c, false) }},
	{Name: "zpopmax", Arity: -2, Write: true, First: 1, Last: 1, Step: 1, run: func(c *call) { zpop(c, true) }},
	{Name: "zmpop", Arity: -4, Write: true, keys: numKeys, run: zmpop},
	{Name: "bzpopmin", Arity: -3, Write: true, Blocking: true, waits: kindSorted, First: 1, Last: -2, Step: 1, run: func(c *call) { blockingZPop(c, false) }},
	{Name: "bzpopmax", Arity: -3, Write: true, Blocking: true, waits: kindSorted, First: 1, Last: -2, Step: 1, run: func(c *call) { blockingZPop(c, true) }},
}...)

// A change logs what becomes of a sorted set's members, in one effect that begins
// with the first of them.
type change struct {
	e  *Engine
	en *entry
	o  op
	n  int // members
}

func (l *change) begin() *effects {
	if l.n == 0 {
		l.e.fx.begin(l.o, l.en.key)
	}
	l.n++
	return &l.e.fx
}

func (l *change) set(member []byte, score float64) {
	f := l.begin()
	f.score(score)
	f.bytes(member)
}

func (l *change) remove(member string) { l.begin().str(member) }

// end ends the effect, if there is one.
func (l *change) end() {
	if l.n > 0 {
		l.e.fx.end()
		l.e.changed(l.en)
	}
}

func zrem(c *call) {
	en := c.existing(c.argv[1], kindSorted)
	if en == nil {
		return
	}
	r := en.obj.(*ranking)
	log := change{e: c.e, en: en, o: opZRem}
	for _, member := range c.argv[2:] {
		if i := r.find(member); i >= 0 {
			log.remove(r.entry(i).member)
			r.remove(i)
		}
	}
	log.end()
	c.int(log.n)
}

// sorted finds the sorted set that a command reads, an empty one if it is not there.
func (c *call) sorted(key []byte) (r *ranking, ok bool) {
	en, ok := c.read(key, kindSorted)
	if !ok {
		return nil, false
	}
	if en == nil {
		return &ranking{}, true
	}
	return en.obj.(*ranking), true
}

func zscore(c *call) {
	r, ok := c.sorted(c.argv[1])
	if ok {
		c.score(r, c.argv[2])
	}
}

// score replies with the score of a member or null.
func (c *call) score(r *ranking, member []byte) {
	if i := r.find(member); i >= 0 {
		c.double(r.entry(i).score)
	} else {
		c.null()
	}
}

func zmscore(c *call) {
	r, ok := c.sorted(c.argv[1])
	if !ok {
		return
	}
	c.array(len(c.argv) - 2)
	for _, member := range c.argv[2:] {
		c.score(r, member)
	}
}

func zrank(c *call, reverse bool) {
	r, ok := c.sorted(c.argv[1])
	if !ok {
		return
	}
	i := r.find(c.argv[2])
	if i < 0 {
		c.null()
		return
	}
	rank := r.rank(r.entry(i))
	if reverse {
		rank = r.len() - 1 - rank
	}
	c.int(rank)
}

func zscan(c *call) {
	obj, o, ok := c.scanOf(kindSorted)
	if !ok {
		return
	}
	r := obj.(*ranking)
	first, last := o.downFrom(r.len())
	var found []string
	for i := first - 1; i >= last; i-- {
		if s := r.entry(i); o.wants(s.member) {
			found = append(found, s.member, string(resp.AppendFloat(nil, s.score)))
		}
	}
	c.scanned(uint64(last), found)
}

// zpop is ZPOPMIN and ZPOPMAX.
func zpop(c *call, most bool) {
	count, ok := c.popCount()
	if !ok {
		return
	}
	en, ok := c.write(c.argv[1], kindSorted)
	if !ok {
		return
	}
	if en == nil {
		c.array(0)
		return
	}
	popped := c.e.zpop(en, most, count)
	if len(c.argv) == 2 {
		c.member(popped[0], true)
		return
	}
	c.scoredArray(popped)
}

// zpop takes up to count members from one of the ends.
func (e *Engine) zpop(en *entry, most bool, count int64) []scored {
	r := en.obj.(*ranking)
	n := int(min(count, int64(r.len())))
	lo, hi := 0, n
	if most {
		lo, hi = r.len()-n, r.len()
	}
	return e.zremove(en, lo, hi, most)
}

// zremove removes the members of the ranks from lo to before hi and returns them.
func (e *Engine) zremove(en *entry, lo, hi int, reverse bool) []scored {
	r := en.obj.(*ranking)
	entries := slices.AppendSeq(make([]scored, 0, hi-lo), r.all(lo, hi, reverse))
	log := change{e: e, en: en, o: opZRem}
	for _, s := range entries {
		r.remove(r.members.findText(s.member))
		log.remove(s.member)
	}
	log.end()
	return entries
}

// scoredArray replies with an array of arrays of a member and its score.
func (c *call) scoredArray(entries []scored) {
	c.array(len(entries))
	for _, s := range entries {
		c.member(s, true)
	}
}

func zmpop(c *call) {
	c.manyPop(kindSorted, "MIN", "MAX", func(en *entry, least bool, count int64) {
		c.scoredArray(c.e.zpop(en, !least, count))
	})
}

// blockingZPop is BZPOPMIN and BZPOPMAX.
func blockingZPop(c *call, most bool) {
	key, en := c.firstThere(kindSorted)
	if en == nil {
		return
	}
	s := c.e.zpop(en, most, 1)[0]
	c.array(3)
	c.bulk(key)
	c.text(s.member)
	c.double(s.score)
	if c.serving {
		c.took = Taken{Any: true, Key: bytes.Clone(key), Value: []byte(s.member), Sorted: true, Score: s.score}
	}
}
