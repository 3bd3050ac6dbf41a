package kv

import "context"

// Publish sends a message to whoever listens.
func (c *commands) Publish(ctx context.Context, channel, message string) (receivers int, err error) {
	return c.count(ctx, "PUBLISH", channel, message)
}

// Channels returns the channels with subscriptions that match a glob pattern;
// empty matches all.
func (c *commands) Channels(ctx context.Context, pattern string) ([]string, error) {
	if pattern == "" {
		return c.texts(ctx, "PUBSUB", "CHANNELS")
	}
	return c.texts(ctx, "PUBSUB", "CHANNELS", pattern)
}

// NumSub returns how many subscriptions each of the channels has.
func (c *commands) NumSub(ctx context.Context, channels ...string) ([]int, error) {
	v, err := c.call(ctx, channels, "PUBSUB", "NUMSUB")
	if err != nil {
		return nil, err
	}
	if len(v.Elems) != 2*len(channels) {
		return nil, badReply("PUBSUB NUMSUB", v)
	}
	counts := make([]int, len(channels))
	for i := range counts {
		counts[i] = int(v.Elems[2*i+1].Int)
	}
	return counts, nil
}

// NumPat returns how many subscriptions to patterns there are.
func (c *commands) NumPat(ctx context.Context) (int, error) {
	return c.count(ctx, "PUBSUB", "NUMPAT")
}
