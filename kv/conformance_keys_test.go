package kv_test

import (
	"testing"
	"time"

	"roomd/kv"
)

var keyCases = []conformanceCase{
	{"keys/Exists counts each time a key is named", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 0)(s.Exists(ctx, "a"))
		oneOfEach(t, s)
		want(t, 5)(s.Exists(ctx, "string", "set", "hash", "list", "zset"))
		want(t, 3)(s.Exists(ctx, "set", "none", "set", "list"))
	}},
	{"keys/Del counts what was there", func(t *testing.T, s site) {
		ctx := t.Context()
		keys := oneOfEach(t, s)
		want(t, 0)(s.Del(ctx, "none"))
		want(t, 2)(s.Del(ctx, "set", "none", "set", "list"))
		wantAll(t, "string", "hash", "zset")(s.Keys(ctx, "*"))
		want(t, 3)(s.Del(ctx, keys...))
		wantAll(t)(s.Keys(ctx, "*"))
		want(t, 0)(s.SCard(ctx, "set"))
		want(t, 0)(s.LLen(ctx, "list"))
	}},
	{"keys/a deleted key can become another type", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, key := range oneOfEach(t, s) {
			want(t, 1)(s.Del(ctx, key))
			want(t, 2)(s.RPush(ctx, key, "1", "2"))
			want(t, 1)(s.Del(ctx, key))
			want(t, 1)(s.SAdd(ctx, key, "1"))
		}
	}},
	{"keys/an empty structure is not there", func(t *testing.T, s site) {
		ctx := t.Context()
		oneOfEach(t, s)
		want(t, 1)(s.SRem(ctx, "set", "m"))
		want(t, 1)(s.HDel(ctx, "hash", "f"))
		wantHas(t, "v", true)(s.LPop(ctx, "list"))
		want(t, 1)(s.ZRem(ctx, "zset", "m"))
		wantAll(t, "string")(s.Keys(ctx, "*"))
		want(t, 0)(s.Exists(ctx, "set", "hash", "list", "zset"))
		want(t, kv.NoKey)(s.TTL(ctx, "set"))
		want(t, false)(s.Expire(ctx, "hash", time.Hour))
	}},
	{"keys/Keys matches globs", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, key := range []string{"room", "rooms", "room.1", "room.2", "room.12", "r*m", "Room", "[x]", "grüße", "a\x00b", "a\nb", "^", ""} {
			done(t, s.Set(ctx, key, "x"))
		}
		for pattern, found := range map[string][]string{
			"room":           {"room"},
			"room*":          {"room", "rooms", "room.1", "room.2", "room.12"},
			"room.?":         {"room.1", "room.2"},
			"room.[13-9]*":   {"room.1", "room.12"},
			"room.[^1]":      {"room.2"},
			"[rR]oom":        {"room", "Room"},
			`r\*m`:           {"r*m"},
			"r*m":            {"room", "r*m"},
			`\[x\]`:          {"[x]"},
			"[[]x]":          {"[x]"},
			"gr*e":           {"grüße"},
			"gr??*e":         {"grüße"},
			"a?b":            {"a\x00b", "a\nb"},
			"a[\n]b":         {"a\nb"},
			"*.*":            {"room.1", "room.2", "room.12"},
			"***1***":        {"room.1", "room.12"},
			"[":              nil,
			"[^]":            {"^"},
			"none":           nil,
			"":               {""},
			"?":              {"^"},
			"*o*m*.*":        {"room.1", "room.2", "room.12"},
			"room.[1-2]":     {"room.1", "room.2"},
			"room.[2-1]":     {"room.1", "room.2"},
			"room.1*2*":      {"room.12"},
			"*room.12*":      {"room.12"},
			"room.12?":       nil,
			`\r\o\o\m`:       {"room"},
			"ro[o]m.[12][2]": {"room.12"},
		} {
			t.Logf("pattern %q", pattern)
			wantAll(t, found...)(s.Keys(ctx, pattern))
		}
	}},
}

// wantLeft wants the ttl of a key to be what it was given a moment ago.
func wantLeft(t *testing.T, s site, key string, ttl time.Duration) {
	t.Helper()
	left, err := s.TTL(t.Context(), key)
	if err != nil || left > ttl || left < ttl-time.Minute {
		t.Errorf("TTL of %q = %v, %v, want a little less than %v", key, left, err, ttl)
	}
}

var expiryCases = []conformanceCase{
	{"expiry/a ttl is of the whole key, whatever its type", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, key := range oneOfEach(t, s) {
			want(t, kv.NoTTL)(s.TTL(ctx, key))
			want(t, true)(s.Expire(ctx, key, time.Hour))
			wantLeft(t, s, key, time.Hour)
			want(t, true)(s.Expire(ctx, key, 2*time.Hour))
			wantLeft(t, s, key, 2*time.Hour)
			want(t, true)(s.Persist(ctx, key))
			want(t, kv.NoTTL)(s.TTL(ctx, key))
			want(t, false)(s.Persist(ctx, key))
		}
		want(t, kv.NoKey)(s.TTL(ctx, "none"))
		want(t, false)(s.Expire(ctx, "none", time.Hour))
		want(t, false)(s.Persist(ctx, "none"))
		want(t, 0)(s.Exists(ctx, "none"))
	}},
	{"expiry/is seen by every read at once", func(t *testing.T, s site) {
		ctx := t.Context()
		keys := oneOfEach(t, s)
		for _, key := range keys {
			want(t, true)(s.Expire(ctx, key, 20*time.Millisecond))
		}
		pass(20 * time.Millisecond)
		wantHas(t, "", false)(s.Get(ctx, "string"))
		want(t, 0)(s.SCard(ctx, "set"))
		want(t, false)(s.SIsMember(ctx, "set", "m"))
		wantHas(t, "", false)(s.HGet(ctx, "hash", "f"))
		want(t, 0)(s.LLen(ctx, "list"))
		wantHas(t, 0.0, false)(s.ZScore(ctx, "zset", "m"))
		want(t, 0)(s.Exists(ctx, keys...))
		wantAll(t)(s.Keys(ctx, "*"))
		want(t, kv.NoKey)(s.TTL(ctx, "hash"))
	}},
	{"expiry/is seen by every write at once", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, key := range oneOfEach(t, s) {
			want(t, true)(s.Expire(ctx, key, 20*time.Millisecond))
		}
		pass(20 * time.Millisecond)
		wantSum(t, 1)(s.Incr(ctx, "string"))
		want(t, 1)(s.SAdd(ctx, "set", "m"))
		wantSum(t, 5)(s.HIncrBy(ctx, "hash", "f", 5))
		want(t, 2)(s.RPush(ctx, "list", "new", "newer"))
		want(t, 1)(s.ZAdd(ctx, "zset", kv.Scored{Member: "m", Score: 2}))
		for _, key := range []string{"string", "set", "hash", "list", "zset"} {
			want(t, kv.NoTTL)(s.TTL(ctx, key))
		}
		want(t, []string{"new", "newer"})(s.LRange(ctx, "list", 0, -1))
	}},
	{"expiry/what has expired can't be deleted, kept or taken", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, key := range []string{"a", "b", "c", "d"} {
			done(t, s.SetEx(ctx, key, "x", 20*time.Millisecond))
		}
		pass(20 * time.Millisecond)
		want(t, 0)(s.Del(ctx, "a"))
		want(t, false)(s.Persist(ctx, "b"))
		wantHas(t, "", false)(s.GetDel(ctx, "c"))
		want(t, true)(s.SetNX(ctx, "d", "y"))
		want(t, kv.NoTTL)(s.TTL(ctx, "d"))
	}},
	{"expiry/a ttl that is not positive deletes at once", func(t *testing.T, s site) {
		ctx := t.Context()
		for i, key := range oneOfEach(t, s) {
			want(t, true)(s.Expire(ctx, key, []time.Duration{0, -time.Second, -time.Hour, -time.Millisecond, 0}[i]))
			want(t, 0)(s.Exists(ctx, key))
			want(t, kv.NoKey)(s.TTL(ctx, key))
		}
	}},
	{"expiry/replacing a string clears it, changing something keeps it", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, key := range oneOfEach(t, s) {
			want(t, true)(s.Expire(ctx, key, time.Hour))
		}
		wantSum(t, 2)(s.Incr(ctx, "string"))
		want(t, 1)(s.SAdd(ctx, "set", "n"))
		want(t, 1)(s.SRem(ctx, "set", "m"))
		want(t, 1)(s.HSet(ctx, "hash", kv.Field{Name: "g", Value: "2"}))
		wantSum(t, 2)(s.HIncrBy(ctx, "hash", "f", 1))
		want(t, 2)(s.RPush(ctx, "list", "w"))
		wantHas(t, "v", true)(s.LPop(ctx, "list"))
		want(t, 0)(s.ZAdd(ctx, "zset", kv.Scored{Member: "m", Score: 3}))
		want(t, false)(s.SetNX(ctx, "string", "no"))
		for _, key := range []string{"string", "set", "hash", "list", "zset"} {
			wantLeft(t, s, key, time.Hour)
		}
		for _, key := range []string{"string", "set", "hash", "list", "zset"} {
			done(t, s.Set(ctx, key, "x"))
			want(t, kv.NoTTL)(s.TTL(ctx, key))
		}
	}},
	{"expiry/does not come back with the key", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, key := range oneOfEach(t, s) {
			want(t, true)(s.Expire(ctx, key, time.Hour))
			want(t, 1)(s.Del(ctx, key))
			want(t, 1)(s.SAdd(ctx, key, "m"))
			want(t, kv.NoTTL)(s.TTL(ctx, key))
			want(t, true)(s.Expire(ctx, key, time.Hour))
			want(t, 1)(s.SRem(ctx, key, "m"))
			wantSum(t, 1)(s.Incr(ctx, key))
			want(t, kv.NoTTL)(s.TTL(ctx, key))
		}
	}},
	{"expiry/HIncrByEx sets it with the increment", func(t *testing.T, s site) {
		ctx := t.Context()
		wantSum(t, 2)(s.HIncrByEx(ctx, "h", "f", 2, time.Hour))
		wantLeft(t, s, "h", time.Hour)
		want(t, 1)(s.HSet(ctx, "h", kv.Field{Name: "other", Value: "x"}))
		wantSum(t, 5)(s.HIncrByEx(ctx, "h", "f", 3, 2*time.Hour))
		wantLeft(t, s, "h", 2*time.Hour)
		wantSum(t, 4)(s.HIncrByEx(ctx, "h", "f", -1, 20*time.Millisecond))
		pass(20 * time.Millisecond)
		want(t, 0)(s.HLen(ctx, "h"))
		wantSum(t, 1)(s.HIncrByEx(ctx, "h", "f", 1, time.Hour))
		want(t, map[string]string{"f": "1"})(s.HGetAll(ctx, "h"))
	}},
	{"expiry/HIncrByEx with a ttl that is not positive leaves nothing", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 1)(s.HSet(ctx, "h", kv.Field{Name: "f", Value: "5"}))
		wantSum(t, 7)(s.HIncrByEx(ctx, "h", "f", 2, -time.Second))
		want(t, 0)(s.Exists(ctx, "h"))
	}},
}
