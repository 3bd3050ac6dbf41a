package kv_test

import (
	"fmt"
	"strings"
	"testing"

	"roomd/kv"
)

// maxValue is Config.MaxValue's default.
const maxValue = 1 << 20

var limitCases = []conformanceCase{
	{"limits/values up to MaxValue are kept", func(t *testing.T, s site) {
		ctx := t.Context()
		value := strings.Repeat("\x00\r\nx", maxValue/4)
		done(t, s.Set(ctx, "a", value))
		wantHas(t, value, true)(s.Get(ctx, "a"))
		want(t, 1)(s.HSet(ctx, "h", kv.Field{Name: "f", Value: value}))
		wantHas(t, value, true)(s.HGet(ctx, "h", "f"))
		want(t, 1)(s.RPush(ctx, "l", value))
		wantHas(t, value, true)(s.LPop(ctx, "l"))
		want(t, 1)(s.SAdd(ctx, "s", value))
		want(t, true)(s.SIsMember(ctx, "s", value))
		r := record(t, s)
		r.to(t, "channel")
		want(t, 1)(s.Publish(ctx, "channel", value))
		if got := receive(t, r.got, "message").Text; got != value {
			t.Errorf("got a message of %d bytes that is not the one of %d", len(got), len(value))
		}
	}},
	{"limits/what is longer is refused and changes nothing", func(t *testing.T, s site) {
		lacksOurs(t, s, "limit that small")
		ctx := t.Context()
		long := strings.Repeat("x", maxValue+1)
		done(t, s.Set(ctx, "a", "1"))
		for what, err := range map[string]error{
			"Set":        s.Set(ctx, "a", long),
			"Set of key": s.Set(ctx, long, "1"),
			"HSet":       second(s.HSet(ctx, "h", kv.Field{Name: "short", Value: "x"}, kv.Field{Name: "f", Value: long})),
			"RPush":      second(s.RPush(ctx, "l", "short", long)),
			"SAdd":       second(s.SAdd(ctx, "s", long)),
			"ZAdd":       second(s.ZAdd(ctx, "z", kv.Scored{Member: long})),
			"Publish":    second(s.Publish(ctx, "channel", long)),
			"Atomically": s.Atomically(ctx, nil, func(tx txn) error {
				tx.Set("b", "1")
				tx.Set("c", long)
				return nil
			}),
		} {
			if err == nil {
				t.Errorf("%s of %d bytes = nil, want an error", what, len(long))
			}
		}
		wantHas(t, "1", true)(s.Get(ctx, "a"))
		wantAll(t, "a")(s.Keys(ctx, "*"))
	}},
	{"limits/structures may be large", large},
}

// large makes structures that no reply of a page or frame holds easily.
func large(t *testing.T, s site) {
	ctx := t.Context()
	const n, at = 20_000, 500
	name := func(i int) string { return fmt.Sprintf("element number %06d", i) }
	for i := 0; i < n; i += at {
		var f []kv.Field
		var m []string
		var z []kv.Scored
		for j := i; j < i+at; j++ {
			f = append(f, kv.Field{Name: name(j), Value: name(-j)})
			m = append(m, name(j))
			z = append(z, kv.Scored{Member: name(j), Score: float64(n - j)})
		}
		want(t, at)(s.HSet(ctx, "h", f...))
		want(t, at)(s.SAdd(ctx, "s", m...))
		want(t, i+at)(s.RPush(ctx, "l", m...))
		want(t, at)(s.ZAdd(ctx, "z", z...))
	}
	all, err := s.HGetAll(ctx, "h")
	if err != nil || len(all) != n || all[name(777)] != name(-777) {
		t.Errorf("HGetAll = %d fields, %v, want %d", len(all), err, n)
	}
	members, err := s.SMembers(ctx, "s")
	if err != nil || len(members) != n {
		t.Errorf("SMembers = %d members, %v, want %d", len(members), err, n)
	}
	want(t, n)(s.SCard(ctx, "s"))
	values, err := s.LRange(ctx, "l", 0, -1)
	if err != nil || len(values) != n || values[777] != name(777) {
		t.Errorf("LRange = %d values, %v, want %d", len(values), err, n)
	}
	wantHas(t, name(n/2), true)(s.LIndex(ctx, "l", n/2))
	ranks, err := s.ZRange(ctx, "z", 0, -1)
	if err != nil || len(ranks) != n || ranks[0] != (kv.Scored{Member: name(n - 1), Score: 1}) {
		t.Errorf("ZRange = %d members, %v, want %d", len(ranks), err, n)
	}
	wantHas(t, n-1-777, true)(s.ZRank(ctx, "z", name(777)))
	want(t, []kv.Scored{{Member: name(n - 43), Score: 43}})(s.ZRange(ctx, "z", 42, 42))
	scanned(t, s, "h", "HSCAN", n)
	scanned(t, s, "s", "SSCAN", n)
	want(t, 4)(s.Del(ctx, "h", "s", "l", "z"))
	wantAll(t)(s.Keys(ctx, "*"))
}

// scanned wants a scan to come by each of n elements.
func scanned(t *testing.T, s site, key, scan string, n int) {
	t.Helper()
	seen := map[string]bool{}
	step := 1
	if scan == "HSCAN" {
		step = 2
	}
	for cursor, calls := "0", 0; calls == 0 || cursor != "0"; calls++ {
		v := do(t, s, scan, key, cursor, "COUNT", "100")
		if len(v.Elems) != 2 || calls > n {
			t.Fatalf("%s %s = %c of %d elements in call %d", scan, key, v.Kind, len(v.Elems), calls)
		}
		for i := 0; i < len(v.Elems[1].Elems); i += step {
			seen[string(v.Elems[1].Elems[i].Text)] = true
		}
		cursor = string(v.Elems[0].Text)
	}
	if len(seen) != n {
		t.Errorf("%s %s came by %d elements, want %d", scan, key, len(seen), n)
	}
}

// formCases are of Do, whose replies are those of Redis byte for byte; the
// differential test has more of them.
var formCases = []conformanceCase{
	{"form/replies are as RESP3 has them", func(t *testing.T, s site) {
		for _, c := range []struct {
			argv  []string
			reply string
		}{
			{[]string{"SET", "a", "1"}, "+OK\r\n"},
			{[]string{"GET", "a"}, "$1\r\n1\r\n"},
			{[]string{"GET", "none"}, "_\r\n"},
			{[]string{"incr", "a"}, ":2\r\n"},
			{[]string{"HSET", "h", "f", "1.5"}, ":1\r\n"},
			{[]string{"HGETALL", "h"}, "%1\r\n$1\r\nf\r\n$3\r\n1.5\r\n"},
			{[]string{"HGETALL", "none"}, "%0\r\n"},
			{[]string{"HMGET", "h", "f", "g"}, "*2\r\n$3\r\n1.5\r\n_\r\n"},
			{[]string{"SADD", "s", "m"}, ":1\r\n"},
			{[]string{"SMEMBERS", "s"}, "~1\r\n$1\r\nm\r\n"},
			{[]string{"ZADD", "z", "1.5", "m"}, ":1\r\n"},
			{[]string{"ZSCORE", "z", "m"}, ",1.5\r\n"},
			{[]string{"ZRANGE", "z", "0", "-1", "WITHSCORES"}, "*1\r\n*2\r\n$1\r\nm\r\n,1.5\r\n"},
			{[]string{"LPOP", "none"}, "_\r\n"},
			{[]string{"LPOP", "a"}, "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"},
			{[]string{"GET"}, "-ERR wrong number of arguments for 'get' command\r\n"},
			{[]string{"NONE", "a b", "c"}, "-ERR unknown command 'NONE', with args beginning with: 'a b' 'c' \r\n"},
			{[]string{"PING"}, "+PONG\r\n"},
			{[]string{"PING", "x"}, "$1\r\nx\r\n"},
			{[]string{"ECHO", "\x00"}, "$1\r\n\x00\r\n"},
			{[]string{"DBSIZE"}, ":4\r\n"},
			{[]string{"SCAN", "0", "MATCH", ""}, "*2\r\n$1\r\n0\r\n*0\r\n"},
			{[]string{"HSCAN", "h", ""}, "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nf\r\n$3\r\n1.5\r\n"},
			{[]string{"LMPOP", "1", "l", "LEFT", "COUNT", "0", "x"}, "-ERR count should be greater than 0\r\n"},
			{[]string{"LMPOP", "1", "l", "LEFT", "COUNT", "1", "x"}, "-ERR syntax error\r\n"},
			{[]string{"ZINCRBY", "z", "NX", "m"}, "-ERR syntax error\r\n"},
			{[]string{"ZADD", "z", "0x10", "m"}, ":0\r\n"},
			{[]string{"ZADD", "z", "1e400", "m"}, "-ERR value is not a valid float\r\n"},
			{[]string{"ZCOUNT", "z", " 16", "("}, ":0\r\n"},
			{[]string{"ZADD", "up", "inf", "m", "1", "n"}, ":2\r\n"},
			{[]string{"ZADD", "down", "-inf", "m"}, ":1\r\n"},
			{[]string{"ZUNION", "3", "up", "down", "down", "WITHSCORES"}, "*2\r\n*2\r\n$1\r\nm\r\n,0\r\n*2\r\n$1\r\nn\r\n,1\r\n"},
			{[]string{"a\x00b", "c\x00d"}, "-ERR unknown command 'a', with args beginning with: 'c' \r\n"},
		} {
			reply, err := s.Do(t.Context(), bytesOf(c.argv...))
			if err != nil || string(reply) != c.reply {
				t.Errorf("%q = %q, %v, want %q", c.argv, reply, err, c.reply)
			}
		}
	}},
	{"form/nothing to add or take is an error", func(t *testing.T, s site) {
		ctx := t.Context()
		for what, err := range map[string]error{
			"Del":    second(s.Del(ctx)),
			"Exists": second(s.Exists(ctx)),
			"SAdd":   second(s.SAdd(ctx, "k")),
			"SRem":   second(s.SRem(ctx, "k")),
			"SInter": second(s.SInter(ctx)),
			"HSet":   second(s.HSet(ctx, "k")),
			"HDel":   second(s.HDel(ctx, "k")),
			"HMGet":  second(s.HMGet(ctx, "k")),
			"LPush":  second(s.LPush(ctx, "k")),
			"ZAdd":   second(s.ZAdd(ctx, "k")),
			"ZRem":   second(s.ZRem(ctx, "k")),
		} {
			if err == nil || !strings.Contains(err.Error(), "wrong number of arguments") {
				t.Errorf("%s of nothing = %v, want an error about the number of arguments", what, err)
			}
		}
	}},
	{"form/internal commands are no business of clients", func(t *testing.T, s site) {
		if s.wire == nil {
			t.Skip("Do is what front ends use for them")
		}
		for _, argv := range [][]string{{"HOLD", "k", "me", "1000"}, {"RENEW", "k", "me", "1000"}, {"UNHOLD", "k", "me"}} {
			if v := do(t, s, argv...); v.Kind != '-' || !strings.HasPrefix(string(v.Text), "ERR unknown command") {
				t.Errorf("%q = %c%s, want an unknown command", argv, v.Kind, v.Text)
			}
		}
	}},
	{"form/calls fail when their context has ended", func(t *testing.T, s site) {
		if err := s.Set(ended(t), "a", "1"); err == nil {
			t.Error("Set = nil, want an error")
		}
		want(t, 0)(s.Exists(t.Context(), "a"))
	}},
}
