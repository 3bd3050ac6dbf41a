package kv_test

import (
	"context"
	"errors"
	"math"
	"net"
	"strconv"
	"time"

	"roomd/kv"

	"github.com/redis/go-redis/v9"
)

func (s *redisStore) LPush(ctx context.Context, key string, values ...string) (int, error) {
	return count(s.client.LPush(ctx, key, anys(values)...).Result())
}

func (s *redisStore) RPush(ctx context.Context, key string, values ...string) (int, error) {
	return count(s.client.RPush(ctx, key, anys(values)...).Result())
}

func (s *redisStore) LPop(ctx context.Context, key string) (string, bool, error) {
	return has(s.client.LPop(ctx, key).Result())
}

func (s *redisStore) RPop(ctx context.Context, key string) (string, bool, error) {
	return has(s.client.RPop(ctx, key).Result())
}

func (s *redisStore) LLen(ctx context.Context, key string) (int, error) {
	return count(s.client.LLen(ctx, key).Result())
}

func (s *redisStore) LRange(ctx context.Context, key string, start, stop int) ([]string, error) {
	return result(s.client.LRange(ctx, key, int64(start), int64(stop)).Result())
}

func (s *redisStore) LRem(ctx context.Context, key string, n int, value string) (int, error) {
	return count(s.client.LRem(ctx, key, int64(n), value).Result())
}

func (s *redisStore) LIndex(ctx context.Context, key string, i int) (string, bool, error) {
	return has(s.client.LIndex(ctx, key, int64(i)).Result())
}

func (s *redisStore) LTrim(ctx context.Context, key string, start, stop int) error {
	return asOurs(s.client.LTrim(ctx, key, int64(start), int64(stop)).Err())
}

func (s *redisStore) BLPop(ctx context.Context, timeout time.Duration, keys ...string) (key, value string, ok bool, err error) {
	return s.waitPop(ctx, "BLPOP", timeout, keys)
}

func (s *redisStore) BRPop(ctx context.Context, timeout time.Duration, keys ...string) (key, value string, ok bool, err error) {
	return s.waitPop(ctx, "BRPOP", timeout, keys)
}

// waitPop has a connection of its own, because go-redis can't give up a wait.
// It hangs up when ctx ends, and waits for the server to do the same: what was
// popped until then comes through, and nothing is popped afterwards.
func (s *redisStore) waitPop(ctx context.Context, pop string, timeout time.Duration, keys []string) (key, value string, ok bool, err error) {
	options := s.at.options()
	options.ReadTimeout, options.ContextTimeoutEnabled = -1, false
	options.Dialer = func(dial context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(dial, network, addr)
		if err == nil {
			context.AfterFunc(ctx, func() { hangUp(conn) })
		}
		return conn, err
	}
	client := redis.NewClient(options)
	defer client.Close()
	args := appendAnys([]any{pop}, keys)
	args = append(args, strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	popped, err := client.Do(context.WithoutCancel(ctx), args...).StringSlice()
	switch {
	case errors.Is(err, redis.Nil):
		return "", "", false, nil
	case err != nil && ctx.Err() != nil:
		return "", "", false, ctx.Err()
	case err != nil:
		return "", "", false, asOurs(err)
	}
	return popped[0], popped[1], true, nil
}

// hangUp says that no more commands come. The server hangs up then, unless it
// has an answer on its way.
func hangUp(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return
	}
	conn.Close()
}

func zs(members []kv.Scored) (z []redis.Z) {
	for _, m := range members {
		z = append(z, redis.Z{Member: m.Member, Score: m.Score})
	}
	return z
}

func scored(z []redis.Z, err error) ([]kv.Scored, error) {
	members := make([]kv.Scored, len(z))
	for i, m := range z {
		members[i] = kv.Scored{Member: m.Member.(string), Score: m.Score}
	}
	return members, asOurs(err)
}

func (s *redisStore) ZAdd(ctx context.Context, key string, members ...kv.Scored) (int, error) {
	return count(s.client.ZAdd(ctx, key, zs(members)...).Result())
}

func (s *redisStore) ZIncrBy(ctx context.Context, key string, by float64, member string) (float64, error) {
	return result(s.client.ZIncrBy(ctx, key, by, member).Result())
}

func (s *redisStore) ZRem(ctx context.Context, key string, members ...string) (int, error) {
	return count(s.client.ZRem(ctx, key, anys(members)...).Result())
}

func (s *redisStore) ZScore(ctx context.Context, key, member string) (float64, bool, error) {
	return has(s.client.ZScore(ctx, key, member).Result())
}

func (s *redisStore) ZRank(ctx context.Context, key, member string) (int, bool, error) {
	rank, ok, err := has(s.client.ZRank(ctx, key, member).Result())
	return int(rank), ok, err
}

func (s *redisStore) ZCard(ctx context.Context, key string) (int, error) {
	return count(s.client.ZCard(ctx, key).Result())
}

func (s *redisStore) ZRange(ctx context.Context, key string, start, stop int) ([]kv.Scored, error) {
	return scored(s.client.ZRangeWithScores(ctx, key, int64(start), int64(stop)).Result())
}

func (s *redisStore) ZRevRange(ctx context.Context, key string, start, stop int) ([]kv.Scored, error) {
	return scored(s.client.ZRevRangeWithScores(ctx, key, int64(start), int64(stop)).Result())
}

func (s *redisStore) ZRangeByScore(ctx context.Context, key string, lowest, highest float64) ([]kv.Scored, error) {
	limits := &redis.ZRangeBy{Min: limit(lowest), Max: limit(highest)}
	return scored(s.client.ZRangeByScoreWithScores(ctx, key, limits).Result())
}

func limit(score float64) string {
	switch {
	case math.IsInf(score, 1):
		return "+inf"
	case math.IsInf(score, -1):
		return "-inf"
	}
	return strconv.FormatFloat(score, 'g', -1, 64)
}

func (s *redisStore) ZPopMin(ctx context.Context, key string, n int) ([]kv.Scored, error) {
	return scored(s.client.ZPopMin(ctx, key, int64(n)).Result())
}
