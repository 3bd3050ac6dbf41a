package kv

import (
	"context"
	"time"
)

// HSet sets fields of a hash and returns how many were new to it.
func (c *commands) HSet(ctx context.Context, key string, fields ...Field) (added int, err error) {
	return c.countOf(ctx, flatFields(fields), "HSET", key)
}

func flatFields(fields []Field) []string {
	flat := make([]string, 0, 2*len(fields))
	for _, f := range fields {
		flat = append(flat, f.Name, f.Value)
	}
	return flat
}

// HGet returns the value of a field.
func (c *commands) HGet(ctx context.Context, key, field string) (value string, ok bool, err error) {
	return c.text(ctx, "HGET", key, field)
}

// HMGet returns a value for each of the fields, nil where there is none.
func (c *commands) HMGet(ctx context.Context, key string, fields ...string) ([]*string, error) {
	if len(fields) == 0 {
		return nil, errArity("HMGET")
	}
	v, err := c.call(ctx, fields, "HMGET", key)
	if err != nil {
		return nil, err
	}
	if len(v.Elems) != len(fields) {
		return nil, badReply("HMGET", v)
	}
	values := make([]*string, len(v.Elems))
	for i, e := range v.Elems {
		if !e.Null() {
			values[i] = new(string(e.Text))
		}
	}
	return values, nil
}

// HGetAll returns all fields of a hash and their values.
func (c *commands) HGetAll(ctx context.Context, key string) (map[string]string, error) {
	v, err := c.call(ctx, nil, "HGETALL", key)
	if err != nil {
		return nil, err
	}
	if v.Kind != '%' {
		return nil, badReply("HGETALL", v)
	}
	fields := make(map[string]string, len(v.Elems)/2)
	for i := 0; i+1 < len(v.Elems); i += 2 {
		fields[string(v.Elems[i].Text)] = string(v.Elems[i+1].Text)
	}
	return fields, nil
}

// HDel removes fields from a hash and returns how many it had of them.
func (c *commands) HDel(ctx context.Context, key string, fields ...string) (removed int, err error) {
	return c.countOf(ctx, fields, "HDEL", key)
}

// HExists reports whether a hash has the field.
func (c *commands) HExists(ctx context.Context, key, field string) (bool, error) {
	return c.yes(ctx, "HEXISTS", key, field)
}

// HLen returns how many fields a hash has.
func (c *commands) HLen(ctx context.Context, key string) (int, error) {
	return c.count(ctx, "HLEN", key)
}

// HIncrBy adds n to the number that a field's value is; no field counts as 0.
func (c *commands) HIncrBy(ctx context.Context, key, field string, n int64) (int64, error) {
	return c.number(ctx, "HINCRBY", key, field, decimal(n))
}

// HIncrByEx is [commands.HIncrBy] and [commands.Expire] of the whole hash in one
// step: with a ttl that is not positive, the hash is gone afterwards.
func (c *commands) HIncrByEx(ctx context.Context, key, field string, n int64, ttl time.Duration) (int64, error) {
	return c.number(ctx, "HINCRBYEX", key, field, decimal(n), milliseconds(ttl))
}
