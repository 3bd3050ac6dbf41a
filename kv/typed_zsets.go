package kv

import (
	"context"
	"math"

	"roomd/kv/resp"
)

// ZAdd gives members their scores and returns how many were new to the set.
func (c *commands) ZAdd(ctx context.Context, key string, members ...Scored) (added int, err error) {
	flat, err := flatScored(members)
	if err != nil {
		return 0, err
	}
	return c.countOf(ctx, flat, "ZADD", key)
}

func flatScored(members []Scored) ([]string, error) {
	flat := make([]string, 0, 2*len(members))
	for _, m := range members {
		if math.IsNaN(m.Score) {
			return nil, refused("value is not a valid float")
		}
		flat = append(flat, number(m.Score), m.Member)
	}
	return flat, nil
}

func number(f float64) string { return string(resp.AppendFloat(nil, f)) }

// ZIncrBy adds to the score of a member; no member counts as 0. It returns the
// new score.
func (c *commands) ZIncrBy(ctx context.Context, key string, by float64, member string) (score float64, err error) {
	if math.IsNaN(by) {
		return 0, refused("value is not a valid float")
	}
	score, _, err = c.float(ctx, "ZINCRBY", key, number(by), member)
	return score, err
}

// ZRem removes members and returns how many the set had of them.
func (c *commands) ZRem(ctx context.Context, key string, members ...string) (removed int, err error) {
	return c.countOf(ctx, members, "ZREM", key)
}

// ZScore returns the score of a member.
func (c *commands) ZScore(ctx context.Context, key, member string) (score float64, ok bool, err error) {
	return c.float(ctx, "ZSCORE", key, member)
}

// ZRank returns how many members come before this one.
func (c *commands) ZRank(ctx context.Context, key, member string) (rank int, ok bool, err error) {
	v, err := c.call(ctx, nil, "ZRANK", key, member)
	if err != nil || v.Null() {
		return 0, false, err
	}
	if v.Kind != ':' {
		return 0, false, badReply("ZRANK", v)
	}
	return int(v.Int), true, nil
}

// ZCard returns how many members there are.
func (c *commands) ZCard(ctx context.Context, key string) (int, error) {
	return c.count(ctx, "ZCARD", key)
}

// ZRange returns the members from rank start to stop, that one included, lowest
// score first; those with equal scores are in the order of their bytes. Negative
// numbers count from the end.
func (c *commands) ZRange(ctx context.Context, key string, start, stop int) ([]Scored, error) {
	return c.scored(ctx, "ZRANGE", key, decimal(start), decimal(stop), "WITHSCORES")
}

// ZRevRange is [commands.ZRange] counting from the highest score.
func (c *commands) ZRevRange(ctx context.Context, key string, start, stop int) ([]Scored, error) {
	return c.scored(ctx, "ZREVRANGE", key, decimal(start), decimal(stop), "WITHSCORES")
}

// ZRangeByScore returns the members with scores from lowest to highest.
func (c *commands) ZRangeByScore(ctx context.Context, key string, lowest, highest float64) ([]Scored, error) {
	if math.IsNaN(lowest) || math.IsNaN(highest) {
		return nil, refused("min or max is not a float")
	}
	return c.scored(ctx, "ZRANGEBYSCORE", key, number(lowest), number(highest), "WITHSCORES")
}

// ZPopMin takes the count members with the lowest scores.
func (c *commands) ZPopMin(ctx context.Context, key string, count int) ([]Scored, error) {
	return c.scored(ctx, "ZPOPMIN", key, decimal(count))
}

func (c *commands) scored(ctx context.Context, words ...string) ([]Scored, error) {
	v, err := c.call(ctx, nil, words...)
	if err != nil {
		return nil, err
	}
	if v.Kind != '*' {
		return nil, badReply(words[0], v)
	}
	members := make([]Scored, len(v.Elems))
	for i, e := range v.Elems {
		if len(e.Elems) != 2 || e.Elems[1].Kind != ',' {
			return nil, badReply(words[0], e)
		}
		members[i] = Scored{string(e.Elems[0].Text), e.Elems[1].Float}
	}
	return members, nil
}
