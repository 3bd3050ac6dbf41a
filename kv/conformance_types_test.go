package kv_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/kv"
)

// calls are the methods that are for one type, each as a call that would change
// or read a key, with the error it returns.
var calls = map[string]map[string]func(t *testing.T, s site, key string) error{
	"string": {
		"Get":    func(t *testing.T, s site, key string) error { _, _, err := s.Get(t.Context(), key); return err },
		"GetDel": func(t *testing.T, s site, key string) error { _, _, err := s.GetDel(t.Context(), key); return err },
		"Incr":   func(t *testing.T, s site, key string) error { return second(s.Incr(t.Context(), key)) },
		"Decr":   func(t *testing.T, s site, key string) error { return second(s.Decr(t.Context(), key)) },
		"IncrBy": func(t *testing.T, s site, key string) error { return second(s.IncrBy(t.Context(), key, 2)) },
	},
	"set": {
		"SAdd":      func(t *testing.T, s site, key string) error { return second(s.SAdd(t.Context(), key, "v", "w")) },
		"SRem":      func(t *testing.T, s site, key string) error { return second(s.SRem(t.Context(), key, "m")) },
		"SMembers":  func(t *testing.T, s site, key string) error { return second(s.SMembers(t.Context(), key)) },
		"SIsMember": func(t *testing.T, s site, key string) error { return second(s.SIsMember(t.Context(), key, "m")) },
		"SCard":     func(t *testing.T, s site, key string) error { return second(s.SCard(t.Context(), key)) },
		"SInter":    func(t *testing.T, s site, key string) error { return second(s.SInter(t.Context(), "set", key)) },
		"SUnion":    func(t *testing.T, s site, key string) error { return second(s.SUnion(t.Context(), "set", key)) },
		"SDiff":     func(t *testing.T, s site, key string) error { return second(s.SDiff(t.Context(), "set", key)) },
	},
	"hash": {
		"HSet": func(t *testing.T, s site, key string) error {
			return second(s.HSet(t.Context(), key, fields("f", "2")...))
		},
		"HGet":      func(t *testing.T, s site, key string) error { _, _, err := s.HGet(t.Context(), key, "f"); return err },
		"HMGet":     func(t *testing.T, s site, key string) error { return second(s.HMGet(t.Context(), key, "f", "g")) },
		"HGetAll":   func(t *testing.T, s site, key string) error { return second(s.HGetAll(t.Context(), key)) },
		"HDel":      func(t *testing.T, s site, key string) error { return second(s.HDel(t.Context(), key, "f")) },
		"HExists":   func(t *testing.T, s site, key string) error { return second(s.HExists(t.Context(), key, "f")) },
		"HLen":      func(t *testing.T, s site, key string) error { return second(s.HLen(t.Context(), key)) },
		"HIncrBy":   func(t *testing.T, s site, key string) error { return second(s.HIncrBy(t.Context(), key, "f", 2)) },
		"HIncrByEx": hIncrByEx,
	},
	"list": {
		"LPush": func(t *testing.T, s site, key string) error { return second(s.LPush(t.Context(), key, "v", "w")) },
		"RPush": func(t *testing.T, s site, key string) error { return second(s.RPush(t.Context(), key, "v", "w")) },
		"LPop":  func(t *testing.T, s site, key string) error { _, _, err := s.LPop(t.Context(), key); return err },
		"RPop":  func(t *testing.T, s site, key string) error { _, _, err := s.RPop(t.Context(), key); return err },
		"BLPop": func(t *testing.T, s site, key string) error {
			_, _, _, err := s.BLPop(t.Context(), time.Second, key)
			return err
		},
		"BRPop": func(t *testing.T, s site, key string) error {
			_, _, _, err := s.BRPop(t.Context(), 0, key, "list")
			return err
		},
		"LLen":   func(t *testing.T, s site, key string) error { return second(s.LLen(t.Context(), key)) },
		"LRange": func(t *testing.T, s site, key string) error { return second(s.LRange(t.Context(), key, 0, -1)) },
		"LRem":   func(t *testing.T, s site, key string) error { return second(s.LRem(t.Context(), key, 0, "v")) },
		"LIndex": func(t *testing.T, s site, key string) error { _, _, err := s.LIndex(t.Context(), key, 0); return err },
		"LTrim":  func(t *testing.T, s site, key string) error { return s.LTrim(t.Context(), key, 1, 0) },
	},
	"zset": {
		"ZAdd": func(t *testing.T, s site, key string) error {
			return second(s.ZAdd(t.Context(), key, ranking("m", 2)...))
		},
		"ZIncrBy":   func(t *testing.T, s site, key string) error { return second(s.ZIncrBy(t.Context(), key, 2, "m")) },
		"ZRem":      func(t *testing.T, s site, key string) error { return second(s.ZRem(t.Context(), key, "m")) },
		"ZScore":    func(t *testing.T, s site, key string) error { _, _, err := s.ZScore(t.Context(), key, "m"); return err },
		"ZRank":     func(t *testing.T, s site, key string) error { _, _, err := s.ZRank(t.Context(), key, "m"); return err },
		"ZCard":     func(t *testing.T, s site, key string) error { return second(s.ZCard(t.Context(), key)) },
		"ZRange":    func(t *testing.T, s site, key string) error { return second(s.ZRange(t.Context(), key, 0, -1)) },
		"ZRevRange": func(t *testing.T, s site, key string) error { return second(s.ZRevRange(t.Context(), key, 0, -1)) },
		"ZRangeByScore": func(t *testing.T, s site, key string) error {
			return second(s.ZRangeByScore(t.Context(), key, 0, math.Inf(1)))
		},
		"ZPopMin": func(t *testing.T, s site, key string) error { return second(s.ZPopMin(t.Context(), key, 1)) },
	},
}

func second[T any](_ T, err error) error { return err }

// hIncrByEx is a transaction in Redis, of which only the half fails; so it is
// not asked to change the ttl.
func hIncrByEx(t *testing.T, s site, key string) error {
	if s.wire != nil {
		return second(s.HIncrBy(t.Context(), key, "f", 2))
	}
	return second(s.HIncrByEx(t.Context(), key, "f", 2, time.Minute))
}

var wrongTypeCases = []conformanceCase{
	{"types/what is for another type fails and changes nothing", func(t *testing.T, s site) {
		keys := oneOfEach(t, s)
		for _, key := range keys {
			want(t, true)(s.Expire(t.Context(), key, time.Hour))
		}
		for family, methods := range calls {
			for _, key := range keys {
				if key == family {
					continue
				}
				for name, call := range methods {
					if err := call(t, s, key); !errors.Is(err, kv.ErrWrongType) {
						t.Errorf("%s of a %s = %v, want ErrWrongType", name, key, err)
					} else if !strings.Contains(err.Error(), "WRONGTYPE Operation against a key holding the wrong kind of value") {
						t.Errorf("%s of a %s = %v, want what Redis says", name, key, err)
					}
				}
			}
		}
		untouched(t, s)
		for _, key := range keys {
			wantLeft(t, s, key, time.Hour)
		}
		wantAll(t, keys...)(s.Keys(t.Context(), "*"))
	}},
	{"types/what is for the type works", func(t *testing.T, s site) {
		for family, methods := range calls {
			for name, call := range methods {
				empty(t, s)
				oneOfEach(t, s)
				if err := call(t, s, family); err != nil {
					t.Errorf("%s of a %s = %v", name, family, err)
				}
			}
		}
	}},
	{"types/TYPE says which", func(t *testing.T, s site) {
		for _, key := range oneOfEach(t, s) {
			if v := do(t, s, "TYPE", key); string(v.Text) != key {
				t.Errorf("TYPE of a %s = %s", key, v.Text)
			}
		}
		if v := do(t, s, "TYPE", "nothing"); string(v.Text) != "none" {
			t.Errorf("TYPE of nothing = %s", v.Text)
		}
	}},
	{"types/a command for several keys that fits one of them only changes none", func(t *testing.T, s site) {
		oneOfEach(t, s)
		failed[[]string](t, kv.ErrWrongType)(s.SInter(t.Context(), "set", "string"))
		failed[[]string](t, kv.ErrWrongType)(s.SDiff(t.Context(), "hash", "set"))
		if v := do(t, s, "SUNIONSTORE", "list", "set", "zset"); !slices.Equal([]byte("WRONGTYPE"), v.Text[:9]) {
			t.Errorf("SUNIONSTORE = %s", v.Text)
		}
		if v := do(t, s, "LMOVE", "list", "string", "LEFT", "RIGHT"); !slices.Equal([]byte("WRONGTYPE"), v.Text[:9]) {
			t.Errorf("LMOVE = %s", v.Text)
		}
		if v := do(t, s, "SMOVE", "set", "hash", "m"); !slices.Equal([]byte("WRONGTYPE"), v.Text[:9]) {
			t.Errorf("SMOVE = %s", v.Text)
		}
		untouched(t, s)
	}},
}

// untouched wants what oneOfEach made.
func untouched(t *testing.T, s site) {
	t.Helper()
	ctx := t.Context()
	wantHas(t, "1", true)(s.Get(ctx, "string"))
	wantAll(t, "m")(s.SMembers(ctx, "set"))
	want(t, map[string]string{"f": "1"})(s.HGetAll(ctx, "hash"))
	want(t, []string{"v"})(s.LRange(ctx, "list", 0, -1))
	want(t, ranking("m", 1))(s.ZRange(ctx, "zset", 0, -1))
}
