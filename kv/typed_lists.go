package kv

import (
	"context"
	"strconv"
	"time"
)

// LPush adds values at the left end, one by one, so that the last is leftmost,
// and returns the length.
func (c *commands) LPush(ctx context.Context, key string, values ...string) (length int, err error) {
	return c.countOf(ctx, values, "LPUSH", key)
}

// RPush adds values at the right end and returns the length.
func (c *commands) RPush(ctx context.Context, key string, values ...string) (length int, err error) {
	return c.countOf(ctx, values, "RPUSH", key)
}

// LPop takes the leftmost element.
func (c *commands) LPop(ctx context.Context, key string) (value string, ok bool, err error) {
	return c.text(ctx, "LPOP", key)
}

// RPop takes the rightmost element.
func (c *commands) RPop(ctx context.Context, key string) (value string, ok bool, err error) {
	return c.text(ctx, "RPOP", key)
}

// BLPop waits for an element and takes it from the left end. When ctx ends
// first, nothing is taken.
func (c *commands) BLPop(ctx context.Context, timeout time.Duration, keys ...string) (key, value string, ok bool, err error) {
	return c.await(ctx, "BLPOP", timeout, keys)
}

// BRPop waits for an element and takes it from the right end. When ctx ends
// first, nothing is taken.
func (c *commands) BRPop(ctx context.Context, timeout time.Duration, keys ...string) (key, value string, ok bool, err error) {
	return c.await(ctx, "BRPOP", timeout, keys)
}

func (c *commands) await(ctx context.Context, command string, timeout time.Duration, keys []string) (key, value string, ok bool, err error) {
	switch {
	case len(keys) == 0:
		return "", "", false, errArity(command)
	case timeout < 0:
		return "", "", false, refused("timeout is negative")
	}
	words := make([]string, 0, len(keys)+2)
	words = append(append(words, command), keys...)
	words = append(words, strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	v, err := c.call(ctx, nil, words...)
	if err != nil || v.Null() {
		return "", "", false, err
	}
	if v.Kind != '*' || len(v.Elems) != 2 {
		return "", "", false, badReply(command, v)
	}
	return string(v.Elems[0].Text), string(v.Elems[1].Text), true, nil
}

// LLen returns the length.
func (c *commands) LLen(ctx context.Context, key string) (int, error) {
	return c.count(ctx, "LLEN", key)
}

// LRange returns the elements from start to stop, that one included.
func (c *commands) LRange(ctx context.Context, key string, start, stop int) ([]string, error) {
	return c.texts(ctx, "LRANGE", key, decimal(start), decimal(stop))
}

// LRem removes elements that equal value: the first count of them, the last
// -count if that is negative, all if it is 0. It returns how many there were.
func (c *commands) LRem(ctx context.Context, key string, count int, value string) (removed int, err error) {
	return c.count(ctx, "LREM", key, decimal(count), value)
}

// LIndex returns the element with number i, from 0; -1 is the last.
func (c *commands) LIndex(ctx context.Context, key string, i int) (value string, ok bool, err error) {
	return c.text(ctx, "LINDEX", key, decimal(i))
}

// LTrim removes all but the elements from start to stop, that one included.
func (c *commands) LTrim(ctx context.Context, key string, start, stop int) error {
	return c.status(ctx, "LTRIM", key, decimal(start), decimal(stop))
}
