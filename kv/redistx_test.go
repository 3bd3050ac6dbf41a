package kv_test

import (
	"context"
	"errors"
	"time"

	"roomd/kv"

	"github.com/redis/go-redis/v9"
)

// Do uses one connection for all, without go-redis, which would parse the reply.
func (s *redisStore) Do(ctx context.Context, argv [][]byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire == nil {
		w, err := s.at.open(ctx, "3")
		if err != nil {
			return nil, err
		}
		s.wire = w
	}
	return s.wire.do(argv)
}

// Hold is not possible with what Redis has: a key with a ttl does not keep its
// holder from going on when the ttl is over.
func (s *redisStore) Hold(context.Context, string, time.Duration, func(context.Context, uint64) error) error {
	return errors.ErrUnsupported
}

// Atomically is WATCH, and then MULTI and EXEC, again and again until nobody
// else has changed a key.
func (s *redisStore) Atomically(ctx context.Context, keys []string, f func(kv.Tx) error) error {
	for {
		err := s.client.Watch(ctx, func(watching *redis.Tx) error {
			tx := &redisTx{s: s, watching: watching}
			if err := f(tx); err != nil {
				return err
			}
			if len(tx.writes) == 0 {
				return nil
			}
			_, err := watching.TxPipelined(ctx, func(p redis.Pipeliner) error {
				for _, args := range tx.writes {
					p.Do(ctx, args...)
				}
				return nil
			})
			return err
		}, keys...)
		if !errors.Is(err, redis.TxFailedErr) {
			return asOurs(err)
		}
	}
}

type redisTx struct {
	s        *redisStore
	watching *redis.Tx
	writes   [][]any
}

func (tx *redisTx) Get(ctx context.Context, key string) (string, bool, error) {
	return has(tx.watching.Get(ctx, key).Result())
}

func (tx *redisTx) HGet(ctx context.Context, key, field string) (string, bool, error) {
	return has(tx.watching.HGet(ctx, key, field).Result())
}

func (tx *redisTx) HGetAll(ctx context.Context, key string) (map[string]string, error) {
	return result(tx.watching.HGetAll(ctx, key).Result())
}

func (tx *redisTx) LRange(ctx context.Context, key string, start, stop int) ([]string, error) {
	return result(tx.watching.LRange(ctx, key, int64(start), int64(stop)).Result())
}

func (tx *redisTx) SMembers(ctx context.Context, key string) ([]string, error) {
	return result(tx.watching.SMembers(ctx, key).Result())
}

func (tx *redisTx) SIsMember(ctx context.Context, key, member string) (bool, error) {
	return result(tx.watching.SIsMember(ctx, key, member).Result())
}

func (tx *redisTx) ZScore(ctx context.Context, key, member string) (float64, bool, error) {
	return has(tx.watching.ZScore(ctx, key, member).Result())
}

func (tx *redisTx) Read(ctx context.Context, argv ...string) ([]byte, error) {
	return tx.s.Do(ctx, bytesOf(argv...))
}

func (tx *redisTx) write(args ...any) { tx.writes = append(tx.writes, args) }

func (tx *redisTx) Set(key, value string) { tx.write("SET", key, value) }
func (tx *redisTx) Del(keys ...string)    { tx.write(appendAnys([]any{"DEL"}, keys)...) }
func (tx *redisTx) Expire(key string, ttl time.Duration) {
	tx.write("PEXPIRE", key, ttl.Milliseconds())
}
func (tx *redisTx) IncrBy(key string, n int64) { tx.write("INCRBY", key, n) }
func (tx *redisTx) HSet(key string, fields ...kv.Field) {
	tx.write(append([]any{"HSET", key}, fieldArgs(fields)...)...)
}
func (tx *redisTx) HDel(key string, fields ...string) {
	tx.write(appendAnys([]any{"HDEL", key}, fields)...)
}
func (tx *redisTx) SAdd(key string, members ...string) {
	tx.write(appendAnys([]any{"SADD", key}, members)...)
}
func (tx *redisTx) SRem(key string, members ...string) {
	tx.write(appendAnys([]any{"SREM", key}, members)...)
}
func (tx *redisTx) LPush(key string, values ...string) {
	tx.write(appendAnys([]any{"LPUSH", key}, values)...)
}
func (tx *redisTx) RPush(key string, values ...string) {
	tx.write(appendAnys([]any{"RPUSH", key}, values)...)
}
func (tx *redisTx) ZAdd(key string, members ...kv.Scored) {
	args := []any{"ZADD", key}
	for _, m := range members {
		args = append(args, m.Score, m.Member)
	}
	tx.write(args...)
}
func (tx *redisTx) Write(argv ...string) { tx.write(anys(argv)...) }
