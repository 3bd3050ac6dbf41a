package kv_test

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/kv"
)

// odd are texts that something between here and there may take for something
// else: they are good as keys, fields, members, values, channels and messages.
var odd = []string{
	"a b", " lead", "trail ", "a.b.c", ".", "..", "a*b", "*", ">", "a.>", "$", "$KV", "?", "[x]", `\`, `"`, "{tag}x", "{}",
	"a\r\nb", "\r\n", "\n", "+OK\r\n", "a\x00b", "\x00", "\xff\xfe", "\xc3\x28", "grüße", "日本語", "🎲", "/", "a/b", ":1", "-1", "0", "nil", "",
	strings.Repeat("k", 300), strings.Repeat("\x00\xff", 150),
}

var stringCases = []conformanceCase{
	{"strings/get and set", func(t *testing.T, s site) {
		ctx := t.Context()
		wantHas(t, "", false)(s.Get(ctx, "a"))
		done(t, s.Set(ctx, "a", "1"))
		wantHas(t, "1", true)(s.Get(ctx, "a"))
		done(t, s.Set(ctx, "a", "2"))
		wantHas(t, "2", true)(s.Get(ctx, "a"))
		wantHas(t, "", false)(s.Get(ctx, "A"))
	}},
	{"strings/a value may be empty", func(t *testing.T, s site) {
		done(t, s.Set(t.Context(), "a", ""))
		wantHas(t, "", true)(s.Get(t.Context(), "a"))
		want(t, 1)(s.Exists(t.Context(), "a"))
	}},
	{"strings/odd keys and values are kept apart and as they are", func(t *testing.T, s site) {
		ctx := t.Context()
		for i, key := range odd {
			done(t, s.Set(ctx, key, odd[len(odd)-1-i]))
		}
		for i, key := range odd {
			wantHas(t, odd[len(odd)-1-i], true)(s.Get(ctx, key))
		}
		wantAll(t, odd...)(s.Keys(ctx, "*"))
		want(t, len(odd))(s.Exists(ctx, odd...))
		for _, key := range odd {
			want(t, 1)(s.Del(ctx, key))
			wantHas(t, "", false)(s.Get(ctx, key))
		}
		wantAll(t)(s.Keys(ctx, "*"))
	}},
	{"strings/SetNX sets only what is not there", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, true)(s.SetNX(ctx, "a", "1"))
		want(t, false)(s.SetNX(ctx, "a", "2"))
		wantHas(t, "1", true)(s.Get(ctx, "a"))
		want(t, 1)(s.LPush(ctx, "list", "x"))
		want(t, false)(s.SetNX(ctx, "list", "2"))
		want(t, 1)(s.LLen(ctx, "list"))
	}},
	{"strings/of many SetNX one sets", func(t *testing.T, s site) {
		var mu sync.Mutex
		var won int
		inParallel(t, 16, func(int) error {
			set, err := s.SetNX(t.Context(), "a", "x")
			mu.Lock()
			defer mu.Unlock()
			if set {
				won++
			}
			return err
		})
		if won != 1 {
			t.Errorf("%d have set it, want 1", won)
		}
	}},
	{"strings/GetDel takes once", func(t *testing.T, s site) {
		ctx := t.Context()
		wantHas(t, "", false)(s.GetDel(ctx, "a"))
		done(t, s.Set(ctx, "a", "1"))
		wantHas(t, "1", true)(s.GetDel(ctx, "a"))
		wantHas(t, "", false)(s.GetDel(ctx, "a"))
		want(t, 0)(s.Exists(ctx, "a"))
	}},
	{"strings/Set replaces every type", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, key := range oneOfEach(t, s) {
			done(t, s.Set(ctx, key, "now"))
			wantHas(t, "now", true)(s.Get(ctx, key))
		}
	}},
	{"strings/SetEx", func(t *testing.T, s site) {
		ctx := t.Context()
		done(t, s.Set(ctx, "a", "0"))
		done(t, s.SetEx(ctx, "a", "1", time.Hour))
		wantHas(t, "1", true)(s.Get(ctx, "a"))
		wantLeft(t, s, "a", time.Hour)
		wantError(t, s.SetEx(ctx, "a", "2", 0), "invalid expire time")
		wantError(t, s.SetEx(ctx, "a", "2", -time.Second), "invalid expire time")
		wantHas(t, "1", true)(s.Get(ctx, "a"))
		want(t, 1)(s.LPush(ctx, "list", "x"))
		done(t, s.SetEx(ctx, "list", "1", time.Hour))
		wantHas(t, "1", true)(s.Get(ctx, "list"))
	}},
}

var numberCases = []conformanceCase{
	{"numbers/count up and down from nothing", func(t *testing.T, s site) {
		ctx := t.Context()
		wantSum(t, 1)(s.Incr(ctx, "a"))
		wantSum(t, 2)(s.Incr(ctx, "a"))
		wantSum(t, -1)(s.Decr(ctx, "b"))
		wantSum(t, 44)(s.IncrBy(ctx, "a", 42))
		wantSum(t, -56)(s.IncrBy(ctx, "a", -100))
		wantSum(t, -56)(s.IncrBy(ctx, "a", 0))
		wantHas(t, "-56", true)(s.Get(ctx, "a"))
		wantSum(t, 0)(s.IncrBy(ctx, "zero", 0))
		wantHas(t, "0", true)(s.Get(ctx, "zero"))
	}},
	{"numbers/a text that is one can be counted", func(t *testing.T, s site) {
		done(t, s.Set(t.Context(), "a", "-7"))
		wantSum(t, -6)(s.Incr(t.Context(), "a"))
	}},
	{"numbers/what is no number stays as it is", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, text := range []string{"x", "", " 1", "1 ", "1.0", "0x1", "01", "+1", "-0", "1e3", "9223372036854775808", "grüße"} {
			done(t, s.Set(ctx, "a", text))
			failed[int64](t, "not an integer")(s.Incr(ctx, "a"))
			failed[int64](t, "not an integer")(s.IncrBy(ctx, "a", 5))
			wantHas(t, text, true)(s.Get(ctx, "a"))
		}
	}},
	{"numbers/none overflows", func(t *testing.T, s site) {
		ctx := t.Context()
		wantSum(t, math.MaxInt64)(s.IncrBy(ctx, "a", math.MaxInt64))
		failed[int64](t, "overflow")(s.Incr(ctx, "a"))
		wantHas(t, "9223372036854775807", true)(s.Get(ctx, "a"))
		wantSum(t, math.MinInt64)(s.IncrBy(ctx, "b", math.MinInt64))
		failed[int64](t, "overflow")(s.Decr(ctx, "b"))
		wantSum(t, -1)(s.IncrBy(ctx, "b", math.MaxInt64))
	}},
	{"numbers/no increment is lost", func(t *testing.T, s site) {
		ctx := t.Context()
		inParallel(t, 16, func(int) error {
			for range 25 {
				if _, err := s.Incr(ctx, "a"); err != nil {
					return err
				}
				if _, err := s.IncrBy(ctx, "a", 10); err != nil {
					return err
				}
				if _, err := s.HIncrBy(ctx, "h", "f", 3); err != nil {
					return err
				}
			}
			return nil
		})
		wantHas(t, "4400", true)(s.Get(ctx, "a"))
		wantHas(t, "1200", true)(s.HGet(ctx, "h", "f"))
	}},
}

// oneOfEach makes a key of each type, which is its name.
func oneOfEach(t *testing.T, s site) []string {
	t.Helper()
	ctx := t.Context()
	done(t, s.Set(ctx, "string", "1"))
	want(t, 1)(s.SAdd(ctx, "set", "m"))
	want(t, 1)(s.HSet(ctx, "hash", kv.Field{Name: "f", Value: "1"}))
	want(t, 1)(s.LPush(ctx, "list", "v"))
	want(t, 1)(s.ZAdd(ctx, "zset", kv.Scored{Member: "m", Score: 1}))
	return []string{"string", "set", "hash", "list", "zset"}
}

// inParallel runs f n times at once, and wants no error.
func inParallel(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := f(i); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
