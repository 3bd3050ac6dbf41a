package kv_test

import (
	"math"
	"testing"

	"roomd/kv"
)

func fields(namesAndValues ...string) (f []kv.Field) {
	for i := 0; i < len(namesAndValues); i += 2 {
		f = append(f, kv.Field{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return f
}

// wantValues wants what HMGet returns: nil, or a text.
func wantValues(t *testing.T, want ...any) func(got []*string, err error) {
	t.Helper()
	return func(got []*string, err error) {
		t.Helper()
		if err != nil || len(got) != len(want) {
			t.Errorf("got %d values, %v, want %d", len(got), err, len(want))
			return
		}
		for i, w := range want {
			if (got[i] == nil) != (w == nil) || w != nil && *got[i] != w {
				t.Errorf("value %d is not %q", i, w)
			}
		}
	}
}

var hashCases = []conformanceCase{
	{"hashes/fields are set and replaced", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 2)(s.HSet(ctx, "h", fields("a", "1", "b", "2")...))
		want(t, 1)(s.HSet(ctx, "h", fields("b", "3", "c", "4")...))
		want(t, 0)(s.HSet(ctx, "h", fields("a", "5")...))
		want(t, 1)(s.HSet(ctx, "h", fields("d", "1", "d", "2")...))
		wantHas(t, "3", true)(s.HGet(ctx, "h", "b"))
		wantHas(t, "", false)(s.HGet(ctx, "h", "B"))
		want(t, map[string]string{"a": "5", "b": "3", "c": "4", "d": "2"})(s.HGetAll(ctx, "h"))
		want(t, 4)(s.HLen(ctx, "h"))
		want(t, true)(s.HExists(ctx, "h", "d"))
		want(t, false)(s.HExists(ctx, "h", "e"))
		wantValues(t, "5", nil, "4", "5")(s.HMGet(ctx, "h", "a", "none", "c", "a"))
		want(t, 2)(s.HDel(ctx, "h", "a", "none", "b", "a"))
		want(t, map[string]string{"c": "4", "d": "2"})(s.HGetAll(ctx, "h"))
	}},
	{"hashes/one that is not there is empty", func(t *testing.T, s site) {
		ctx := t.Context()
		wantHas(t, "", false)(s.HGet(ctx, "h", "a"))
		wantValues(t, nil, nil)(s.HMGet(ctx, "h", "a", "b"))
		want(t, map[string]string{})(s.HGetAll(ctx, "h"))
		want(t, 0)(s.HDel(ctx, "h", "a"))
		want(t, false)(s.HExists(ctx, "h", "a"))
		want(t, 0)(s.HLen(ctx, "h"))
		want(t, 0)(s.Exists(ctx, "h"))
	}},
	{"hashes/odd fields and values", func(t *testing.T, s site) {
		ctx := t.Context()
		all := map[string]string{}
		for i, name := range odd {
			all[name] = odd[len(odd)-1-i]
			want(t, 1)(s.HSet(ctx, "h", kv.Field{Name: name, Value: all[name]}))
		}
		want(t, all)(s.HGetAll(ctx, "h"))
		for name, value := range all {
			wantHas(t, value, true)(s.HGet(ctx, "h", name))
			wantValues(t, value)(s.HMGet(ctx, "h", name))
			want(t, true)(s.HExists(ctx, "h", name))
		}
		for _, name := range odd {
			want(t, 1)(s.HDel(ctx, "h", name))
			want(t, false)(s.HExists(ctx, "h", name))
		}
		want(t, 0)(s.Exists(ctx, "h"))
	}},
	{"hashes/HIncrBy counts from nothing", func(t *testing.T, s site) {
		ctx := t.Context()
		wantSum(t, 5)(s.HIncrBy(ctx, "h", "", 5))
		wantSum(t, 3)(s.HIncrBy(ctx, "h", "", -2))
		wantSum(t, 0)(s.HIncrBy(ctx, "h", "z", 0))
		want(t, 1)(s.HSet(ctx, "h", fields("n", "40")...))
		wantSum(t, 42)(s.HIncrBy(ctx, "h", "n", 2))
		want(t, map[string]string{"": "3", "z": "0", "n": "42"})(s.HGetAll(ctx, "h"))
	}},
	{"hashes/what is no number stays as it is", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, text := range []string{"x", "", " 1", "1.5", "9223372036854775808"} {
			_, err := s.HSet(ctx, "h", fields("f", text)...)
			done(t, err)
			failed[int64](t, "hash value is not an integer")(s.HIncrBy(ctx, "h", "f", 1))
			wantHas(t, text, true)(s.HGet(ctx, "h", "f"))
		}
		wantSum(t, math.MaxInt64)(s.HIncrBy(ctx, "h", "max", math.MaxInt64))
		failed[int64](t, "overflow")(s.HIncrBy(ctx, "h", "max", 1))
		wantHas(t, "9223372036854775807", true)(s.HGet(ctx, "h", "max"))
	}},
}
