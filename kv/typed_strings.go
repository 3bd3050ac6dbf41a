package kv

import (
	"context"
	"time"
)

// Get returns the value of a key.
func (c *commands) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	return c.text(ctx, "GET", key)
}

// Set gives a key a value, whatever it held, and no expiry.
func (c *commands) Set(ctx context.Context, key, value string) error {
	return c.status(ctx, "SET", key, value)
}

// SetEx is [commands.Set] and [commands.Expire] in one step; ttl is positive.
func (c *commands) SetEx(ctx context.Context, key, value string, ttl time.Duration) error {
	ms, err := lifetime("psetex", ttl)
	if err != nil {
		return err
	}
	return c.status(ctx, "PSETEX", key, ms, value)
}

// SetNX gives a key a value if there is none.
func (c *commands) SetNX(ctx context.Context, key, value string) (set bool, err error) {
	return c.yes(ctx, "SETNX", key, value)
}

// GetDel returns the value of a key, which is gone then.
func (c *commands) GetDel(ctx context.Context, key string) (value string, ok bool, err error) {
	return c.text(ctx, "GETDEL", key)
}

// Incr adds 1 to the number that a value is; no value counts as 0.
func (c *commands) Incr(ctx context.Context, key string) (int64, error) {
	return c.number(ctx, "INCR", key)
}

// Decr subtracts 1.
func (c *commands) Decr(ctx context.Context, key string) (int64, error) {
	return c.number(ctx, "DECR", key)
}

// IncrBy adds n.
func (c *commands) IncrBy(ctx context.Context, key string, n int64) (int64, error) {
	return c.number(ctx, "INCRBY", key, decimal(n))
}

// Exists returns how many of the keys there are; one named twice counts twice.
func (c *commands) Exists(ctx context.Context, keys ...string) (count int, err error) {
	return c.countOf(ctx, keys, "EXISTS")
}

// Del removes keys and returns how many there were.
func (c *commands) Del(ctx context.Context, keys ...string) (count int, err error) {
	return c.countOf(ctx, keys, "DEL")
}

// Expire has the key vanish after ttl.
func (c *commands) Expire(ctx context.Context, key string, ttl time.Duration) (found bool, err error) {
	return c.yes(ctx, "PEXPIRE", key, milliseconds(ttl))
}

// Persist takes a key's expiry away.
func (c *commands) Persist(ctx context.Context, key string) (had bool, err error) {
	return c.yes(ctx, "PERSIST", key)
}

// TTL returns how long a key has left, [NoTTL] or [NoKey].
func (c *commands) TTL(ctx context.Context, key string) (time.Duration, error) {
	ms, err := c.number(ctx, "PTTL", key)
	switch {
	case err != nil:
		return 0, err
	case ms == -1:
		return NoTTL, nil
	case ms < 0:
		return NoKey, nil
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// Keys returns the keys that match a glob pattern.
func (c *commands) Keys(ctx context.Context, pattern string) ([]string, error) {
	return c.texts(ctx, "KEYS", pattern)
}
