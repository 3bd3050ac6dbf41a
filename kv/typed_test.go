package kv

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/kv/resp"
)

// A doerFunc is a store's way to run commands.
type doerFunc func(ctx context.Context, argv [][]byte) ([]byte, error)

func (f doerFunc) do(ctx context.Context, argv [][]byte) ([]byte, error) { return f(ctx, argv) }

func newMemory(t *testing.T) *Memory {
	t.Helper()
	m := NewMemory()
	t.Cleanup(m.Close)
	return m
}

func TestBadArgumentsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	c := newCommands(doerFunc(func(_ context.Context, argv [][]byte) ([]byte, error) {
		t.Errorf("%q was sent", argv)
		return resp.AppendInt(nil, 1), nil
	}), Config{MaxValue: 100})
	ctx := t.Context()
	long := strings.Repeat("x", 101)
	for name, try := range map[string]func() error{
		"Del of nothing":          func() error { _, err := c.Del(ctx); return err },
		"Exists of nothing":       func() error { _, err := c.Exists(ctx); return err },
		"SAdd of nothing":         func() error { _, err := c.SAdd(ctx, "k"); return err },
		"SInter of nothing":       func() error { _, err := c.SInter(ctx); return err },
		"HSet of nothing":         func() error { _, err := c.HSet(ctx, "k"); return err },
		"HMGet of nothing":        func() error { _, err := c.HMGet(ctx, "k"); return err },
		"RPush of nothing":        func() error { _, err := c.RPush(ctx, "k"); return err },
		"ZAdd of nothing":         func() error { _, err := c.ZAdd(ctx, "k"); return err },
		"BLPop of nothing":        func() error { _, _, _, err := c.BLPop(ctx, 0); return err },
		"BRPop, negative timeout": func() error { _, _, _, err := c.BRPop(ctx, -1, "k"); return err },
		"SetEx, no time":          func() error { return c.SetEx(ctx, "k", "v", 0) },
		"ZAdd of NaN":             func() error { _, err := c.ZAdd(ctx, "k", Scored{"m", math.NaN()}); return err },
		"ZIncrBy NaN":             func() error { _, err := c.ZIncrBy(ctx, "k", math.NaN(), "m"); return err },
		"ZRangeByScore of NaN":    func() error { _, err := c.ZRangeByScore(ctx, "k", 0, math.NaN()); return err },
		"Hold for too short": func() error {
			return c.Hold(ctx, "k", time.Millisecond, func(context.Context, uint64) error { return nil })
		},
		"value too large":   func() error { return c.Set(ctx, "k", long) },
		"member too large":  func() error { _, err := c.SAdd(ctx, "k", "m", long); return err },
		"key too large":     func() error { _, _, err := c.Get(ctx, long); return err },
		"message too large": func() error { _, err := c.Publish(ctx, "c", long); return err },
	} {
		err := try()
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if got, want := errors.Is(err, ErrTooLarge), strings.HasSuffix(name, "large"); got != want {
			t.Errorf("%s: %v: is ErrTooLarge = %v, want %v", name, err, got, want)
		}
	}
}

func TestLimitIsOfOneArgumentNotOfTheCommand(t *testing.T) {
	m := newMemory(t)
	most := strings.Repeat("x", defaultMaxValue)
	if err := m.Set(t.Context(), "k", most); err != nil {
		t.Errorf("Set of the largest value = %v", err)
	}
	if _, err := m.RPush(t.Context(), "l", most, most); err != nil {
		t.Errorf("RPush of two of the largest = %v", err)
	}
	if _, err := m.Do(t.Context(), bytesOf([]string{"SET", "k", most + "x"})); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Do with a larger value = %v, want ErrTooLarge", err)
	}
}

func TestErrorsAreKnownByTheirCode(t *testing.T) {
	for _, test := range []struct {
		reply string
		want  Error
		is    error
	}{
		{"-WRONGTYPE Operation against\r\n", Error{"WRONGTYPE", "Operation against"}, ErrWrongType},
		{"-CROSSSLOT Keys\r\n", Error{"CROSSSLOT", "Keys"}, ErrCrossSlot},
		{"-ERR no\r\n", Error{"ERR", "no"}, nil},
		{"-BUSY\r\n", Error{"BUSY", ""}, nil},
	} {
		c := newCommands(doerFunc(func(context.Context, [][]byte) ([]byte, error) { return []byte(test.reply), nil }), Config{})
		_, err := c.SCard(t.Context(), "k")
		got, ok := errors.AsType[*Error](err)
		if !ok || *got != test.want {
			t.Errorf("%q gave %v, want %v", test.reply, err, &test.want)
		}
		for _, kind := range []error{ErrWrongType, ErrCrossSlot} {
			if errors.Is(err, kind) != (kind == test.is) {
				t.Errorf("%q: is %v = %v", test.reply, kind, errors.Is(err, kind))
			}
		}
	}
}

func TestRepliesOfAnotherFormAreErrors(t *testing.T) {
	for _, reply := range []string{"", "+OK", "*1\r\n+x\r\n", ">1\r\n+x\r\n", "=5\r\n"} {
		c := newCommands(doerFunc(func(context.Context, [][]byte) ([]byte, error) { return []byte(reply), nil }), Config{})
		for name, call := range map[string]func(ctx context.Context) error{
			"SCard":   func(ctx context.Context) error { _, err := c.SCard(ctx, "k"); return err },
			"ZPopMin": func(ctx context.Context) error { _, err := c.ZPopMin(ctx, "k", 1); return err },
			"ZRank":   func(ctx context.Context) error { _, _, err := c.ZRank(ctx, "k", "m"); return err },
			"ZScore":  func(ctx context.Context) error { _, _, err := c.ZScore(ctx, "k", "m"); return err },
			"BLPop":   func(ctx context.Context) error { _, _, _, err := c.BLPop(ctx, 0, "k"); return err },
			"HGetAll": func(ctx context.Context) error { _, err := c.HGetAll(ctx, "k"); return err },
			"HMGet":   func(ctx context.Context) error { _, err := c.HMGet(ctx, "k", "f", "g"); return err },
			"Atomically": func(ctx context.Context) error {
				return c.Atomically(ctx, []string{"a", "b"}, func(Tx) error { return nil })
			},
		} {
			if err := call(t.Context()); err == nil {
				t.Errorf("%s for %q: no error", name, reply)
			}
		}
		if got, err := c.SMembers(t.Context(), "k"); err == nil && reply[0] != '*' {
			t.Errorf("SMembers for %q = %q, want an error", reply, got)
		}
	}
}

// want fails the test unless call returned what is wanted and no error.
func want[T any](t *testing.T, call string, wanted T) func(T, error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s = %v, %v, want %v", call, got, err, wanted)
		}
	}
}

// maybe turns an answer that may be missing into one value.
func maybe[T any](v T, ok bool, err error) (*T, error) {
	if !ok {
		return nil, err
	}
	return &v, err
}

func sorted(s []string, err error) ([]string, error) {
	slices.Sort(s)
	return s, err
}

func TestStringsAnswerAsRedisDoes(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	want(t, "Get of nothing", (*string)(nil))(maybe(m.Get(ctx, "k")))
	want(t, "SetNX", true)(m.SetNX(ctx, "k", ""))
	want(t, "second SetNX", false)(m.SetNX(ctx, "k", "x"))
	want(t, "Get", new(""))(maybe(m.Get(ctx, "k")))
	want(t, "TTL without one", NoTTL)(m.TTL(ctx, "k"))
	want(t, "TTL of nothing", NoKey)(m.TTL(ctx, "none"))
	if err := m.SetEx(ctx, "k", "7", time.Hour+time.Microsecond); err != nil {
		t.Error(err)
	}
	if ttl, err := m.TTL(ctx, "k"); err != nil || ttl <= 59*time.Minute || ttl > time.Hour+time.Millisecond {
		t.Errorf("TTL = %v, %v, want an hour", ttl, err)
	}
	want(t, "Persist", true)(m.Persist(ctx, "k"))
	want(t, "Incr", int64(8))(m.Incr(ctx, "k"))
	want(t, "Decr", int64(7))(m.Decr(ctx, "k"))
	want(t, "IncrBy", int64(-3))(m.IncrBy(ctx, "k", -10))
	want(t, "Exists", 2)(m.Exists(ctx, "k", "k", "none"))
	want(t, "Keys", []string{"k"})(m.Keys(ctx, "*"))
	want(t, "GetDel", new("-3"))(maybe(m.GetDel(ctx, "k")))
	want(t, "Del", 0)(m.Del(ctx, "k"))
	want(t, "Expire of nothing", false)(m.Expire(ctx, "k", time.Hour))
	want(t, "Incr", int64(1))(m.Incr(ctx, "k"))
	want(t, "Expire at once", true)(m.Expire(ctx, "k", -time.Hour))
	want(t, "Exists", 0)(m.Exists(ctx, "k"))
}

func TestSetsAndHashesAnswerAsRedisDoes(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	want(t, "SAdd", 2)(m.SAdd(ctx, "s", "a", "", "a"))
	want(t, "SAdd", 2)(m.SAdd(ctx, "r", "a", "b\x00*"))
	want(t, "SMembers", []string{"", "a"})(sorted(m.SMembers(ctx, "s")))
	want(t, "SMembers of nothing", []string{})(m.SMembers(ctx, "none"))
	want(t, "SIsMember", true)(m.SIsMember(ctx, "s", ""))
	want(t, "SCard", 2)(m.SCard(ctx, "s"))
	want(t, "SInter", []string{"a"})(m.SInter(ctx, "s", "r"))
	want(t, "SUnion", []string{"", "a", "b\x00*"})(sorted(m.SUnion(ctx, "s", "r")))
	want(t, "SDiff", []string{""})(m.SDiff(ctx, "s", "r"))
	want(t, "SRem", 1)(m.SRem(ctx, "s", "a", "none"))

	want(t, "HSet", 2)(m.HSet(ctx, "h", Field{"f", "1"}, Field{"", "x"}))
	want(t, "HGet", new("1"))(maybe(m.HGet(ctx, "h", "f")))
	want(t, "HGet of nothing", (*string)(nil))(maybe(m.HGet(ctx, "h", "g")))
	want(t, "HMGet", []*string{new("x"), nil})(m.HMGet(ctx, "h", "", "g"))
	want(t, "HGetAll", map[string]string{"f": "1", "": "x"})(m.HGetAll(ctx, "h"))
	want(t, "HIncrBy", int64(3))(m.HIncrBy(ctx, "h", "f", 2))
	want(t, "HIncrByEx", int64(4))(m.HIncrByEx(ctx, "h", "f", 1, time.Hour))
	if ttl, err := m.TTL(ctx, "h"); err != nil || ttl <= 59*time.Minute {
		t.Errorf("TTL after HIncrByEx = %v, %v, want an hour", ttl, err)
	}
	want(t, "HExists", true)(m.HExists(ctx, "h", ""))
	want(t, "HLen", 2)(m.HLen(ctx, "h"))
	want(t, "HDel", 1)(m.HDel(ctx, "h", "f", "g"))
	if _, err := m.SAdd(ctx, "h", "x"); !errors.Is(err, ErrWrongType) {
		t.Errorf("SAdd to a hash = %v, want ErrWrongType", err)
	}
}

func TestListsAndSortedSetsAnswerAsRedisDoes(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	want(t, "RPush", 2)(m.RPush(ctx, "l", "b", "c"))
	want(t, "LPush", 4)(m.LPush(ctx, "l", "a", "c"))
	want(t, "LRange", []string{"c", "a", "b", "c"})(m.LRange(ctx, "l", 0, -1))
	want(t, "LIndex", new("b"))(maybe(m.LIndex(ctx, "l", -2)))
	want(t, "LIndex outside", (*string)(nil))(maybe(m.LIndex(ctx, "l", 4)))
	want(t, "LRem", 1)(m.LRem(ctx, "l", -1, "c"))
	want(t, "LLen", 3)(m.LLen(ctx, "l"))
	if err := m.LTrim(ctx, "l", 1, 2); err != nil {
		t.Error(err)
	}
	want(t, "LPop", new("a"))(maybe(m.LPop(ctx, "l")))
	want(t, "RPop", new("b"))(maybe(m.RPop(ctx, "l")))
	want(t, "RPop of nothing", (*string)(nil))(maybe(m.RPop(ctx, "l")))

	want(t, "ZAdd", 3)(m.ZAdd(ctx, "z", Scored{"b", 0.1}, Scored{"a", math.Inf(-1)}, Scored{"c", 1e300}))
	want(t, "ZIncrBy", 1.1)(m.ZIncrBy(ctx, "z", 1, "b"))
	want(t, "ZScore", new(1e300))(maybe(m.ZScore(ctx, "z", "c")))
	want(t, "ZScore of nothing", (*float64)(nil))(maybe(m.ZScore(ctx, "z", "x")))
	want(t, "ZRank", new(2))(maybe(m.ZRank(ctx, "z", "c")))
	want(t, "ZRank of nothing", (*int)(nil))(maybe(m.ZRank(ctx, "z", "x")))
	want(t, "ZRange", []Scored{{"a", math.Inf(-1)}, {"b", 1.1}})(m.ZRange(ctx, "z", 0, 1))
	want(t, "ZRevRange", []Scored{{"c", 1e300}})(m.ZRevRange(ctx, "z", 0, 0))
	want(t, "ZRangeByScore", []Scored{{"b", 1.1}, {"c", 1e300}})(m.ZRangeByScore(ctx, "z", 1.1, math.Inf(1)))
	want(t, "ZPopMin", []Scored{{"a", math.Inf(-1)}})(m.ZPopMin(ctx, "z", 1))
	want(t, "ZRem", 1)(m.ZRem(ctx, "z", "b", "x"))
	want(t, "ZCard", 1)(m.ZCard(ctx, "z"))
	want(t, "ZPopMin of all", []Scored{{"c", 1e300}})(m.ZPopMin(ctx, "z", 9))
	want(t, "ZPopMin of nothing", []Scored{})(m.ZPopMin(ctx, "z", 9))
}

func TestPublishedMessagesReachSubscribersAndAreCounted(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	got := make(chan Message, 2)
	s := m.NewSubscriber()
	defer s.Close()
	for _, subscribe := range []func() (func(), error){
		func() (func(), error) { return s.Subscribe(ctx, "news", func(m Message) { got <- m }) },
		func() (func(), error) { return s.PSubscribe(ctx, "n*", func(m Message) { got <- m }) },
	} {
		if _, err := subscribe(); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "Publish", 2)(m.Publish(ctx, "news", "hi"))
	for range 2 {
		if m := <-got; m.Channel != "news" || m.Text != "hi" {
			t.Errorf("got %+v", m)
		}
	}
	want(t, "Channels", []string{"news"})(m.Channels(ctx, ""))
	want(t, "Channels", []string{})(m.Channels(ctx, "x*"))
	want(t, "NumSub", []int{0, 1})(m.NumSub(ctx, "x", "news"))
	want(t, "NumSub of nothing", []int{})(m.NumSub(ctx))
	want(t, "NumPat", 1)(m.NumPat(ctx))
}
