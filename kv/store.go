package kv

import (
	"context"
	"errors"
	"time"
)

// A Store is shared data in Redis's shapes. [Open] returns the one that all
// nodes of a system share, [NewMemory] one for a process by itself.
//
// Method names, arguments and results follow Redis. Where Redis answers nil, a
// bool says so; where it answers a count, so does the method. Keys, fields,
// members and values are any bytes; a structure that has nothing in it is not
// there. A command that does not fit what is kept under a key changes nothing
// and fails with [ErrWrongType]. Methods may be called from any goroutine, and
// give up when their context ends, or after [Config].Timeout: what they were to
// change may have happened then.
type Store interface {
	Strings
	Sets
	Hashes
	Lists
	SortedSets
	PubSub

	// Atomically runs f, which reads and decides, and then applies all writes f
	// asked for or none: none if f fails, or if one of the keys was changed by
	// anybody since f was called; then it runs f again. f must use no other way
	// to the store than tx, and may read only the given keys. As in Redis a write
	// that meets a value of another kind is left out alone; the error says so.
	Atomically(ctx context.Context, keys []string, f func(tx Tx) error) error

	// Hold waits until nobody else holds the key, holds it and calls f. epoch is
	// larger than that of everybody who held the key before. f's context ends
	// when the hold does, which is before anybody else gets it: at the latest ttl
	// after the store was last heard of. The key is let go when f has returned;
	// the result is f's, or [ErrHoldLost] if f returned nil after the hold had ended.
	Hold(ctx context.Context, key string, ttl time.Duration, f func(ctx context.Context, epoch uint64) error) error

	// Do runs any of the commands in Redis's own form and returns the reply as
	// RESP3 has it: an error of Redis's is a reply too. It is for front ends.
	Do(ctx context.Context, argv [][]byte) (reply []byte, err error)

	// Close ends subscriptions and whatever still waits.
	Close()
}

// Strings are values, and what is common to all keys.
type Strings interface {
	Get(ctx context.Context, key string) (value string, ok bool, err error)
	Set(ctx context.Context, key, value string) error
	SetEx(ctx context.Context, key, value string, ttl time.Duration) error
	SetNX(ctx context.Context, key, value string) (set bool, err error)
	GetDel(ctx context.Context, key string) (value string, ok bool, err error)
	Incr(ctx context.Context, key string) (int64, error)
	Decr(ctx context.Context, key string) (int64, error)
	IncrBy(ctx context.Context, key string, n int64) (int64, error)

	Exists(ctx context.Context, keys ...string) (count int, err error)
	Del(ctx context.Context, keys ...string) (count int, err error)
	// Expire has the key vanish after ttl, at once if that is not positive. TTLs
	// count milliseconds.
	Expire(ctx context.Context, key string, ttl time.Duration) (found bool, err error)
	Persist(ctx context.Context, key string) (had bool, err error)
	// TTL returns how long a key has left, [NoTTL] if it does not expire and
	// [NoKey] if there is none.
	TTL(ctx context.Context, key string) (time.Duration, error)
	// Keys returns the keys that match a glob pattern, in no particular order. It
	// looks at all keys there are.
	Keys(ctx context.Context, pattern string) ([]string, error)
}

// Sets hold members once each.
type Sets interface {
	SAdd(ctx context.Context, key string, members ...string) (added int, err error)
	SRem(ctx context.Context, key string, members ...string) (removed int, err error)
	SMembers(ctx context.Context, key string) ([]string, error)
	SIsMember(ctx context.Context, key, member string) (bool, error)
	SCard(ctx context.Context, key string) (int, error)
	SInter(ctx context.Context, keys ...string) ([]string, error)
	SUnion(ctx context.Context, keys ...string) ([]string, error)
	SDiff(ctx context.Context, keys ...string) ([]string, error)
}

// Hashes hold fields with a value each.
type Hashes interface {
	HSet(ctx context.Context, key string, fields ...Field) (added int, err error)
	HGet(ctx context.Context, key, field string) (value string, ok bool, err error)
	// HMGet returns a value for each of the fields, nil where there is none.
	HMGet(ctx context.Context, key string, fields ...string) ([]*string, error)
	HGetAll(ctx context.Context, key string) (map[string]string, error)
	HDel(ctx context.Context, key string, fields ...string) (removed int, err error)
	HExists(ctx context.Context, key, field string) (bool, error)
	HLen(ctx context.Context, key string) (int, error)
	HIncrBy(ctx context.Context, key, field string, n int64) (int64, error)
	// HIncrByEx is HIncrBy and Expire in one step.
	HIncrByEx(ctx context.Context, key, field string, n int64, ttl time.Duration) (int64, error)
}

// A Field is a field of a hash and its value.
type Field struct{ Name, Value string }

// Lists are ordered, the left end first.
type Lists interface {
	LPush(ctx context.Context, key string, values ...string) (length int, err error)
	RPush(ctx context.Context, key string, values ...string) (length int, err error)
	LPop(ctx context.Context, key string) (value string, ok bool, err error)
	RPop(ctx context.Context, key string) (value string, ok bool, err error)
	// BLPop waits until one of the lists has an element, and takes it: from the
	// first of them if several have. Whoever has waited longest is served first.
	// ok is false after timeout; zero waits for ever.
	BLPop(ctx context.Context, timeout time.Duration, keys ...string) (key, value string, ok bool, err error)
	BRPop(ctx context.Context, timeout time.Duration, keys ...string) (key, value string, ok bool, err error)
	LLen(ctx context.Context, key string) (int, error)
	// LRange returns the elements from start to stop, that one included. Negative
	// numbers count from the end: -1 is the last.
	LRange(ctx context.Context, key string, start, stop int) ([]string, error)
	LRem(ctx context.Context, key string, count int, value string) (removed int, err error)
	LIndex(ctx context.Context, key string, i int) (value string, ok bool, err error)
	LTrim(ctx context.Context, key string, start, stop int) error
}

// SortedSets hold members in the order of their scores.
type SortedSets interface {
	ZAdd(ctx context.Context, key string, members ...Scored) (added int, err error)
	ZIncrBy(ctx context.Context, key string, by float64, member string) (score float64, err error)
	ZRem(ctx context.Context, key string, members ...string) (removed int, err error)
	ZScore(ctx context.Context, key, member string) (score float64, ok bool, err error)
	ZRank(ctx context.Context, key, member string) (rank int, ok bool, err error)
	ZCard(ctx context.Context, key string) (int, error)
	ZRange(ctx context.Context, key string, start, stop int) ([]Scored, error)
	ZRevRange(ctx context.Context, key string, start, stop int) ([]Scored, error)
	// ZRangeByScore returns the members with scores from lowest to highest, both
	// included; math.Inf is for no limit.
	ZRangeByScore(ctx context.Context, key string, lowest, highest float64) ([]Scored, error)
	ZPopMin(ctx context.Context, key string, count int) ([]Scored, error)
}

// A Scored is a member of a sorted set and its score, which is never NaN.
type Scored struct {
	Member string
	Score  float64
}

// PubSub carries messages to whoever listens at the moment. Channel names and
// messages are any bytes.
type PubSub interface {
	// Publish returns how many subscriptions there are that get the message.
	Publish(ctx context.Context, channel, message string) (receivers int, err error)
	// NewSubscriber returns a subscriber without subscriptions.
	NewSubscriber() Subscriber
	// Channels returns the channels with subscriptions, not counting patterns,
	// that match a glob pattern; empty matches all. Here and in other counts the
	// subscriptions of a Subscriber that was closed are seen a moment longer.
	Channels(ctx context.Context, pattern string) ([]string, error)
	// NumSub returns how many subscriptions each of the channels has, patterns
	// not counted.
	NumSub(ctx context.Context, channels ...string) ([]int, error)
	// NumPat returns how many patterns have subscriptions.
	NumPat(ctx context.Context) (int, error)
}

// A Subscriber is called for what is published on the channels it has subscribed
// to: one handler at a time, in the order of publishing, across all its channels
// and patterns as far as one publisher is concerned.
//
// Handlers may subscribe and unsubscribe. When stop has returned, its handler is
// not called again, except for the call that called stop, and Publish does not
// count it. Without an answer of the shard's stop returns when Config.Timeout is
// over, and it is counted until the shard has heard of it. A message that has
// begun to be handed out goes to the handlers that there were when it began, less
// those that have been stopped since. A subscriber whose handlers are too slow
// loses messages, and its Lost says how many.
type Subscriber interface {
	// Subscribe has f called for the channel's messages. When it returns, all
	// that is published from now on arrives. What Publish had returned for before
	// Subscribe was called does not.
	Subscribe(ctx context.Context, channel string, f func(Message)) (stop func(), err error)
	// PSubscribe is Subscribe for all channels that match a glob pattern.
	PSubscribe(ctx context.Context, pattern string, f func(Message)) (stop func(), err error)
	// Lost returns how many messages were dropped because too many waited.
	Lost() uint64
	// Close stops all its subscriptions, and waits for a handler that runs unless
	// it is called from there.
	Close()
}

// A Message is what was published.
type Message struct {
	Pattern string // that it matched; empty for a subscription to a channel
	Channel string
	Text    string
}

// A Tx is what a function that runs under [Store].Atomically works with. Reads
// are of the keys as they were when it was called; what it writes is seen by
// nobody, itself included, before it has returned.
type Tx interface {
	Get(ctx context.Context, key string) (value string, ok bool, err error)
	HGet(ctx context.Context, key, field string) (value string, ok bool, err error)
	HGetAll(ctx context.Context, key string) (map[string]string, error)
	LRange(ctx context.Context, key string, start, stop int) ([]string, error)
	SMembers(ctx context.Context, key string) ([]string, error)
	SIsMember(ctx context.Context, key, member string) (bool, error)
	ZScore(ctx context.Context, key, member string) (score float64, ok bool, err error)
	// Read runs any other command that only reads, in Redis's form.
	Read(ctx context.Context, argv ...string) (reply []byte, err error)

	Set(key, value string)
	Del(keys ...string)
	Expire(key string, ttl time.Duration)
	IncrBy(key string, n int64)
	HSet(key string, fields ...Field)
	HDel(key string, fields ...string)
	SAdd(key string, members ...string)
	SRem(key string, members ...string)
	LPush(key string, values ...string)
	RPush(key string, values ...string)
	ZAdd(key string, members ...Scored)
	// Write adds any other command, in Redis's form.
	Write(argv ...string)
}

// What TTL returns for keys that have none.
const (
	NoTTL time.Duration = -1
	NoKey time.Duration = -2
)

var (
	// ErrWrongType: the key holds something else than the command is for.
	ErrWrongType = errors.New("WRONGTYPE Operation against a key holding the wrong kind of value")
	// ErrCrossSlot: the command needs keys that are on different shards. Keys with
	// the same {tag} are on the same.
	ErrCrossSlot = errors.New("CROSSSLOT Keys in request don't hash to the same slot")
	// ErrHoldLost: the hold ended before the function did.
	ErrHoldLost = errors.New("hold was lost")
)

// Config says how a store is reached. The zero Config is usable.
type Config struct {
	Timeout  time.Duration // of a command whose context has no earlier deadline, its own waiting not counted; zero means 5 s
	MaxValue int           // bytes of one argument of a command; zero means 1 MiB, the most is 4 MiB
}
