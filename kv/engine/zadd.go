package engine

// zaddFlags are the options of ZADD.
type zaddFlags struct {
	ifNew, ifThere, ifGreater, ifLess bool
	countChanged, increment           bool
}

// parseZadd reads ZADD's options and returns the scores and members that follow.
// If something is wrong, the error is the reply.
func (c *call) parseZadd() (f zaddFlags, pairs [][]byte, ok bool) {
	pairs = c.argv[2:]
options:
	for ; len(pairs) > 0; pairs = pairs[1:] {
		switch arg := pairs[0]; {
		case is(arg, "NX"):
			f.ifNew = true
		case is(arg, "XX"):
			f.ifThere = true
		case is(arg, "GT"):
			f.ifGreater = true
		case is(arg, "LT"):
			f.ifLess = true
		case is(arg, "CH"):
			f.countChanged = true
		case is(arg, "INCR"):
			f.increment = true
		default:
			break options
		}
	}
	switch {
	case len(pairs) == 0, len(pairs)%2 != 0:
		c.syntaxError()
	case f.ifNew && f.ifThere:
		c.fail("ERR XX and NX options at the same time are not compatible")
	case f.ifNew && (f.ifGreater || f.ifLess), f.ifGreater && f.ifLess:
		c.fail("ERR GT, LT, and/or NX options at the same time are not compatible")
	case f.increment && len(pairs) > 2:
		c.fail("ERR INCR option supports a single increment-element pair")
	default:
		return f, pairs, true
	}
	return f, nil, false
}

func zadd(c *call) {
	if f, pairs, ok := c.parseZadd(); ok {
		c.zadd(f, pairs)
	}
}

// zincrby is ZADD with INCR, in which a score that is the name of an option is
// one, as in Redis.
func zincrby(c *call) {
	if f, pairs, ok := c.parseZadd(); ok {
		f.increment = true
		c.zadd(f, pairs)
	}
}

// zadd gives members scores, which stand before them in pairs.
func (c *call) zadd(f zaddFlags, pairs [][]byte) {
	var few [8]float64
	scores := few[:0]
	for i := 0; i < len(pairs); i += 2 {
		score, ok := c.float(pairs[i])
		if !ok {
			return
		}
		scores = append(scores, score)
	}
	en, ok := c.write(c.argv[1], kindSorted)
	if !ok {
		return
	}
	if en == nil {
		if f.ifThere {
			c.zaddReply(f, zaddResult{})
			return
		}
		en = c.e.add(c.argv[1], kindSorted, &ranking{})
	}
	var sum zaddResult
	log := change{e: c.e, en: en, o: opZAdd}
	for i, score := range scores {
		member := pairs[2*i+1]
		one, isNumber := zaddOne(en.obj.(*ranking), f, member, score)
		if !isNumber { // there is only one pair then
			c.fail("ERR resulting score is not a number (NaN)")
			return
		}
		if one.added+one.updated > 0 {
			log.set(member, one.score)
		}
		sum.added += one.added
		sum.updated += one.updated
		sum.score, sum.done = one.score, one.done
	}
	log.end()
	c.zaddReply(f, sum)
}

// A zaddResult is what became of members.
type zaddResult struct {
	added, updated int
	score          float64 // of the last
	done           bool    // the options let the last have its score
}

// zaddOne gives a member a score, if the options let it. isNumber is false if the
// score would be none.
func zaddOne(r *ranking, f zaddFlags, member []byte, score float64) (res zaddResult, isNumber bool) {
	i := r.find(member)
	if i < 0 {
		if f.ifThere {
			return res, true
		}
		score, _ = newScore(score)
		r.add(string(member), score)
		return zaddResult{added: 1, score: score, done: true}, true
	}
	old := r.entry(i).score
	if f.ifNew {
		return res, true
	}
	if f.increment {
		score += old
	}
	if score, isNumber = newScore(score); !isNumber {
		return res, false
	}
	if f.ifGreater && score <= old || f.ifLess && score >= old {
		return res, true
	}
	res = zaddResult{score: score, done: true}
	if score != old {
		r.update(i, score)
		res.updated = 1
	}
	return res, true
}

func (c *call) zaddReply(f zaddFlags, res zaddResult) {
	switch {
	case f.increment && res.done:
		c.double(res.score)
	case f.increment:
		c.null()
	case f.countChanged:
		c.int(res.added + res.updated)
	default:
		c.int(res.added)
	}
}
