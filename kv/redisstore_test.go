package kv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/kv"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A redisStore is a Store on a server that speaks Redis's protocol, through
// go-redis: the real one, so that the suite is right, or ours, so that the wire
// is. It has no Hold, which Redis does not know.
type redisStore struct {
	at     address
	client *redis.Client

	ended  context.Context
	end    context.CancelFunc
	others sync.WaitGroup // goroutines of subscribers

	mu   sync.Mutex // guards wire
	wire *wire      // for Do; nil before its first use
}

var _ kv.Store = (*redisStore)(nil)

func openRedisStore(t *testing.T, at address) *redisStore {
	s := &redisStore{at: at, client: redis.NewClient(at.options())}
	s.ended, s.end = context.WithCancel(context.Background())
	t.Cleanup(s.Close)
	return s
}

func (a address) options() *redis.Options {
	return &redis.Options{
		Network: a.network, Addr: a.addr, Protocol: 3, MaxRetries: -1, ContextTimeoutEnabled: true,
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (s *redisStore) Close() {
	s.end()
	s.client.Close()
	s.others.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire != nil {
		s.wire.conn.Close()
		s.wire = nil
	}
}

// asOurs makes the errors of Redis that have a name with us ours.
func asOurs(err error) error {
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(err.Error(), "WRONGTYPE "):
		return fmt.Errorf("%w (as said by redis: %w)", kv.ErrWrongType, err)
	case strings.HasPrefix(err.Error(), "CROSSSLOT "):
		return fmt.Errorf("%w (as said by redis: %w)", kv.ErrCrossSlot, err)
	}
	return err
}

// has splits a result that may be nil.
func has[T any](v T, err error) (T, bool, error) {
	if errors.Is(err, redis.Nil) {
		var none T
		return none, false, nil
	}
	return v, err == nil, asOurs(err)
}

func count(n int64, err error) (int, error)   { return int(n), asOurs(err) }
func result[T any](v T, err error) (T, error) { return v, asOurs(err) }
func anys[T any](of []T) (a []any)            { return appendAnys(nil, of) }
func appendAnys[T any](to []any, of []T) []any {
	for _, v := range of {
		to = append(to, v)
	}
	return to
}

func (s *redisStore) Get(ctx context.Context, key string) (string, bool, error) {
	return has(s.client.Get(ctx, key).Result())
}

func (s *redisStore) Set(ctx context.Context, key, value string) error {
	return asOurs(s.client.Set(ctx, key, value, 0).Err())
}

// SetEx is no method of go-redis's, which make something else of a ttl that is
// not positive.
func (s *redisStore) SetEx(ctx context.Context, key, value string, ttl time.Duration) error {
	return asOurs(s.client.Do(ctx, "SET", key, value, "PX", ttl.Milliseconds()).Err())
}

func (s *redisStore) SetNX(ctx context.Context, key, value string) (bool, error) {
	return result(s.client.SetNX(ctx, key, value, 0).Result())
}

func (s *redisStore) GetDel(ctx context.Context, key string) (string, bool, error) {
	return has(s.client.GetDel(ctx, key).Result())
}

func (s *redisStore) Incr(ctx context.Context, key string) (int64, error) {
	return result(s.client.Incr(ctx, key).Result())
}

func (s *redisStore) Decr(ctx context.Context, key string) (int64, error) {
	return result(s.client.Decr(ctx, key).Result())
}

func (s *redisStore) IncrBy(ctx context.Context, key string, n int64) (int64, error) {
	return result(s.client.IncrBy(ctx, key, n).Result())
}

func (s *redisStore) Exists(ctx context.Context, keys ...string) (int, error) {
	return count(s.client.Exists(ctx, keys...).Result())
}

func (s *redisStore) Del(ctx context.Context, keys ...string) (int, error) {
	return count(s.client.Del(ctx, keys...).Result())
}

func (s *redisStore) Expire(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	return result(s.client.PExpire(ctx, key, ttl).Result())
}

func (s *redisStore) Persist(ctx context.Context, key string) (bool, error) {
	return result(s.client.Persist(ctx, key).Result())
}

func (s *redisStore) TTL(ctx context.Context, key string) (time.Duration, error) {
	return result(s.client.PTTL(ctx, key).Result())
}

func (s *redisStore) Keys(ctx context.Context, pattern string) ([]string, error) {
	return result(s.client.Keys(ctx, pattern).Result())
}

func (s *redisStore) SAdd(ctx context.Context, key string, members ...string) (int, error) {
	return count(s.client.SAdd(ctx, key, anys(members)...).Result())
}

func (s *redisStore) SRem(ctx context.Context, key string, members ...string) (int, error) {
	return count(s.client.SRem(ctx, key, anys(members)...).Result())
}

func (s *redisStore) SMembers(ctx context.Context, key string) ([]string, error) {
	return result(s.client.SMembers(ctx, key).Result())
}

func (s *redisStore) SIsMember(ctx context.Context, key, member string) (bool, error) {
	return result(s.client.SIsMember(ctx, key, member).Result())
}

func (s *redisStore) SCard(ctx context.Context, key string) (int, error) {
	return count(s.client.SCard(ctx, key).Result())
}

func (s *redisStore) SInter(ctx context.Context, keys ...string) ([]string, error) {
	return result(s.client.SInter(ctx, keys...).Result())
}

func (s *redisStore) SUnion(ctx context.Context, keys ...string) ([]string, error) {
	return result(s.client.SUnion(ctx, keys...).Result())
}

func (s *redisStore) SDiff(ctx context.Context, keys ...string) ([]string, error) {
	return result(s.client.SDiff(ctx, keys...).Result())
}

func fieldArgs(fields []kv.Field) (args []any) {
	for _, f := range fields {
		args = append(args, f.Name, f.Value)
	}
	return args
}

func (s *redisStore) HSet(ctx context.Context, key string, fields ...kv.Field) (int, error) {
	return count(s.client.HSet(ctx, key, fieldArgs(fields)...).Result())
}

func (s *redisStore) HGet(ctx context.Context, key, field string) (string, bool, error) {
	return has(s.client.HGet(ctx, key, field).Result())
}

func (s *redisStore) HMGet(ctx context.Context, key string, fields ...string) ([]*string, error) {
	values, err := s.client.HMGet(ctx, key, fields...).Result()
	if err != nil {
		return nil, asOurs(err)
	}
	found := make([]*string, len(values))
	for i, v := range values {
		if text, ok := v.(string); ok {
			found[i] = &text
		}
	}
	return found, nil
}

func (s *redisStore) HGetAll(ctx context.Context, key string) (map[string]string, error) {
	return result(s.client.HGetAll(ctx, key).Result())
}

func (s *redisStore) HDel(ctx context.Context, key string, fields ...string) (int, error) {
	return count(s.client.HDel(ctx, key, fields...).Result())
}

func (s *redisStore) HExists(ctx context.Context, key, field string) (bool, error) {
	return result(s.client.HExists(ctx, key, field).Result())
}

func (s *redisStore) HLen(ctx context.Context, key string) (int, error) {
	return count(s.client.HLen(ctx, key).Result())
}

func (s *redisStore) HIncrBy(ctx context.Context, key, field string, n int64) (int64, error) {
	return result(s.client.HIncrBy(ctx, key, field, n).Result())
}

// HIncrByEx is a transaction in Redis.
func (s *redisStore) HIncrByEx(ctx context.Context, key, field string, n int64, ttl time.Duration) (int64, error) {
	var sum *redis.IntCmd
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		sum = p.HIncrBy(ctx, key, field, n)
		p.PExpire(ctx, key, ttl)
		return nil
	})
	return sum.Val(), asOurs(err)
}
