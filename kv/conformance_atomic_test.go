package kv_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"roomd/kv"
	"roomd/kv/resp"
)

type txn = kv.Tx

var errRefused = errors.New("refused")

var atomicCases = []conformanceCase{
	{"atomically/reads, and writes all", func(t *testing.T, s site) {
		ctx := t.Context()
		oneOfEach(t, s)
		keys := []string{"string", "set", "hash", "list", "zset", "none"}
		done(t, s.Atomically(ctx, keys, func(tx txn) error {
			wantHas(t, "1", true)(tx.Get(ctx, "string"))
			wantHas(t, "", false)(tx.Get(ctx, "none"))
			wantHas(t, "1", true)(tx.HGet(ctx, "hash", "f"))
			wantHas(t, "", false)(tx.HGet(ctx, "none", "f"))
			want(t, map[string]string{"f": "1"})(tx.HGetAll(ctx, "hash"))
			want(t, []string{"v"})(tx.LRange(ctx, "list", 0, -1))
			wantAll(t, "m")(tx.SMembers(ctx, "set"))
			want(t, true)(tx.SIsMember(ctx, "set", "m"))
			want(t, false)(tx.SIsMember(ctx, "set", "n"))
			wantHas(t, 1.0, true)(tx.ZScore(ctx, "zset", "m"))
			wantHas(t, 0.0, false)(tx.ZScore(ctx, "none", "m"))
			want(t, []byte(":1\r\n"))(tx.Read(ctx, "LLEN", "list"))
			tx.Set("none", "now")
			tx.IncrBy("string", 41)
			tx.HSet("hash", fields("g", "2", "h", "3")...)
			tx.HDel("hash", "f", "h")
			tx.SAdd("set", "n", "o")
			tx.SRem("set", "m")
			tx.LPush("list", "u", "t")
			tx.RPush("list", "w")
			tx.ZAdd("zset", ranking("n", 0.5)...)
			tx.Expire("zset", time.Hour)
			tx.Write("ZINCRBY", "zset", "2", "m")
			return nil
		}))
		wantHas(t, "now", true)(s.Get(ctx, "none"))
		wantHas(t, "42", true)(s.Get(ctx, "string"))
		want(t, map[string]string{"g": "2"})(s.HGetAll(ctx, "hash"))
		wantAll(t, "n", "o")(s.SMembers(ctx, "set"))
		want(t, []string{"t", "u", "v", "w"})(s.LRange(ctx, "list", 0, -1))
		want(t, ranking("n", 0.5, "m", 3))(s.ZRange(ctx, "zset", 0, -1))
		wantLeft(t, s, "zset", time.Hour)
		done(t, s.Atomically(ctx, keys, func(tx txn) error {
			tx.Del("set", "list", "none")
			return nil
		}))
		wantAll(t, "string", "hash", "zset")(s.Keys(ctx, "*"))
	}},
	{"atomically/of a function that fails, nothing is written", func(t *testing.T, s site) {
		ctx := t.Context()
		done(t, s.Set(ctx, "a", "1"))
		calls := 0
		err := s.Atomically(ctx, []string{"a", "b"}, func(tx txn) error {
			calls++
			tx.Set("a", "2")
			tx.Set("b", "2")
			return fmt.Errorf("not now: %w", errRefused)
		})
		if !errors.Is(err, errRefused) || calls != 1 {
			t.Errorf("Atomically = %v after %d calls, want the function's error after 1", err, calls)
		}
		wantHas(t, "1", true)(s.Get(ctx, "a"))
		want(t, 0)(s.Exists(ctx, "b"))
	}},
	{"atomically/reads of another type fail", func(t *testing.T, s site) {
		ctx := t.Context()
		oneOfEach(t, s)
		err := s.Atomically(ctx, []string{"list"}, func(tx txn) error {
			tx.Set("string", "2")
			_, _, err := tx.Get(ctx, "list")
			return err
		})
		wantError(t, err, kv.ErrWrongType)
		untouched(t, s)
	}},
	{"atomically/a write that fails is an error", func(t *testing.T, s site) {
		oneOfEach(t, s)
		err := s.Atomically(t.Context(), nil, func(tx txn) error {
			tx.LPush("string", "x")
			return nil
		})
		wantError(t, err, kv.ErrWrongType)
		untouched(t, s)
	}},
	{"atomically/without writes it is a read", func(t *testing.T, s site) {
		ctx := t.Context()
		done(t, s.Set(ctx, "a", "1"))
		done(t, s.Atomically(ctx, []string{"a"}, func(tx txn) error {
			wantHas(t, "1", true)(tx.Get(ctx, "a"))
			return nil
		}))
	}},
	{"atomically/a function does not see its own writes", func(t *testing.T, s site) {
		ctx := t.Context()
		done(t, s.Set(ctx, "a", "1"))
		done(t, s.Atomically(ctx, []string{"a"}, func(tx txn) error {
			tx.Set("a", "2")
			wantHas(t, "1", true)(tx.Get(ctx, "a"))
			wantHas(t, "1", true)(s.Get(ctx, "a"))
			return nil
		}))
		wantHas(t, "2", true)(s.Get(ctx, "a"))
	}},
	{"atomically/runs again when a key was changed", conflicts},
	{"atomically/runs again when a key has expired", func(t *testing.T, s site) {
		ctx := t.Context()
		done(t, s.SetEx(ctx, "a", "1", 50*time.Millisecond))
		calls, there := 0, false
		done(t, s.Atomically(ctx, []string{"a"}, func(tx txn) error {
			_, ok, err := tx.Get(ctx, "a")
			if calls++; calls == 1 {
				there = ok
				pass(50 * time.Millisecond)
			}
			tx.Set("saw", fmt.Sprint(ok))
			return err
		}))
		if there && calls != 2 {
			t.Errorf("f was called %d times, want 2", calls)
		}
		wantHas(t, "false", true)(s.Get(ctx, "saw"))
	}},
	{"atomically/other keys are no conflict", func(t *testing.T, s site) {
		ctx := t.Context()
		calls := 0
		done(t, s.Atomically(ctx, []string{"a"}, func(tx txn) error {
			calls++
			tx.IncrBy("b", 1)
			return s.Set(ctx, "b", "5")
		}))
		if calls != 1 {
			t.Errorf("f was called %d times, want once", calls)
		}
		wantHas(t, "6", true)(s.Get(ctx, "b"))
	}},
	{"atomically/many at once keep a sum", func(t *testing.T, s site) {
		ctx := t.Context()
		done(t, s.Set(ctx, "a", "100"))
		done(t, s.Set(ctx, "b", "100"))
		inParallel(t, 8, func(i int) error {
			from, to := "a", "b"
			if i%2 == 0 {
				from, to = to, from
			}
			for range 5 {
				if err := move(t, s, from, to); err != nil {
					return err
				}
			}
			return nil
		})
		wantHas(t, "100", true)(s.Get(ctx, "a"))
		wantHas(t, "100", true)(s.Get(ctx, "b"))
	}},
	{"atomically/odd keys and values", func(t *testing.T, s site) {
		ctx := t.Context()
		done(t, s.Atomically(ctx, odd, func(tx txn) error {
			for i, key := range odd {
				wantHas(t, "", false)(tx.Get(ctx, key))
				tx.Set(key, odd[len(odd)-1-i])
			}
			return nil
		}))
		for i, key := range odd {
			wantHas(t, odd[len(odd)-1-i], true)(s.Get(ctx, key))
		}
	}},
	{"atomically/gives up with its context", func(t *testing.T, s site) {
		err := s.Atomically(ended(t), []string{"a"}, func(tx txn) error {
			tx.Set("a", "1")
			return nil
		})
		if err == nil {
			t.Error("Atomically of a context that has ended = nil, want an error")
		}
		want(t, 0)(s.Exists(t.Context(), "a"))
	}},
}

// move takes one from a number and adds it to another, by reading and setting.
func move(t *testing.T, s site, from, to string) error {
	ctx := t.Context()
	return s.Atomically(ctx, []string{from, to}, func(tx txn) error {
		var have [2]int
		for i, key := range []string{from, to} {
			text, _, err := tx.Get(ctx, key)
			if err != nil {
				return err
			}
			if _, err := fmt.Sscan(text, &have[i]); err != nil {
				return err
			}
		}
		tx.Set(from, fmt.Sprint(have[0]-1))
		tx.Set(to, fmt.Sprint(have[1]+1))
		return nil
	})
}

// conflicts has somebody else change a watched key in each of the ways there are.
func conflicts(t *testing.T, s site) {
	for name, argv := range map[string][]string{
		"set":               {"SET", "string", "5"},
		"set to the same":   {"SET", "string", "1"},
		"deleted":           {"DEL", "string"},
		"set member added":  {"SADD", "set", "x"},
		"field set":         {"HSET", "hash", "f", "1"},
		"pushed":            {"RPUSH", "list", "x"},
		"popped":            {"LPOP", "list"},
		"score":             {"ZADD", "zset", "5", "m"},
		"ttl":               {"EXPIRE", "hash", "100"},
		"created":           {"SET", "none", "1"},
		"list created":      {"LPUSH", "none", "1"},
		"deleted by expire": {"EXPIRE", "zset", "-1"},
		"flushed":           {"FLUSHALL"},
	} {
		t.Run(name, func(t *testing.T) {
			empty(t, s)
			watched := append(oneOfEach(t, s), "none")
			calls := 0
			done(t, s.Atomically(t.Context(), watched, func(tx txn) error {
				if calls++; calls == 1 {
					if v := do(t, s, argv...); v.Kind == '-' {
						t.Errorf("%q = %s", argv, v.Text)
					}
				}
				tx.IncrBy("ran", 1)
				return nil
			}))
			wantHas(t, "1", true)(s.Get(t.Context(), "ran"))
			if calls != 2 {
				t.Errorf("f was called %d times, want 2", calls)
			}
		})
	}
	t.Run("created and deleted", func(t *testing.T) {
		empty(t, s)
		calls := 0
		done(t, s.Atomically(t.Context(), []string{"none"}, func(tx txn) error {
			if calls++; calls == 1 {
				for _, argv := range [][]string{{"SET", "none", "1"}, {"DEL", "none"}} {
					if v := do(t, s, argv...); v.Kind == '-' {
						t.Errorf("%q = %s", argv, v.Text)
					}
				}
			}
			tx.IncrBy("ran", 1)
			return nil
		}))
		if calls != 2 {
			t.Errorf("f was called %d times, want 2", calls)
		}
	})
	t.Run("only tried", func(t *testing.T) {
		empty(t, s)
		oneOfEach(t, s)
		calls := 0
		done(t, s.Atomically(t.Context(), []string{"string", "set", "none"}, func(tx txn) error {
			if calls++; calls == 1 {
				for _, argv := range [][]string{{"SETNX", "string", "2"}, {"SADD", "set", "m"}, {"DEL", "none"}, {"LPUSH", "set", "x"}} {
					if v := do(t, s, argv...); v.Kind != ':' && v.Kind != '-' {
						t.Errorf("%q = %s", argv, resp.AppendBulk(nil, v.Text))
					}
				}
			}
			tx.IncrBy("ran", 1)
			return nil
		}))
		if calls != 1 {
			t.Errorf("f was called %d times, want once: nothing has changed", calls)
		}
	})
}
