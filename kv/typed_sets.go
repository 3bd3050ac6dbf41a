package kv

import "context"

// SAdd adds members to a set and returns how many were new to it.
func (c *commands) SAdd(ctx context.Context, key string, members ...string) (added int, err error) {
	return c.countOf(ctx, members, "SADD", key)
}

// SRem removes members from a set and returns how many it had of them.
func (c *commands) SRem(ctx context.Context, key string, members ...string) (removed int, err error) {
	return c.countOf(ctx, members, "SREM", key)
}

// SMembers returns a set's members, in no particular order.
func (c *commands) SMembers(ctx context.Context, key string) ([]string, error) {
	return c.texts(ctx, "SMEMBERS", key)
}

// SIsMember reports whether a set has the member.
func (c *commands) SIsMember(ctx context.Context, key, member string) (bool, error) {
	return c.yes(ctx, "SISMEMBER", key, member)
}

// SCard returns how many members a set has.
func (c *commands) SCard(ctx context.Context, key string) (int, error) {
	return c.count(ctx, "SCARD", key)
}

// SInter returns what is in all of the sets.
func (c *commands) SInter(ctx context.Context, keys ...string) ([]string, error) {
	return c.textsFor(ctx, keys, "SINTER")
}

// SUnion returns what is in any of the sets.
func (c *commands) SUnion(ctx context.Context, keys ...string) ([]string, error) {
	return c.textsFor(ctx, keys, "SUNION")
}

// SDiff returns what is in the first of the sets and in none of the others.
func (c *commands) SDiff(ctx context.Context, keys ...string) ([]string, error) {
	return c.textsFor(ctx, keys, "SDIFF")
}
