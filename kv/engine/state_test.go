package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"roomd/kv/resp"
)

// Commands that change something; K is a key, F a field or member, V a value, N
// a number, T a time from now in ms.
var writes = []string{
	"SET K V", "SET K V PX T", "SET K V KEEPTTL", "SET K V NX GET", "GETDEL K", "GETEX K PX T", "GETSET K V", "MSET K V K V", "MSETNX K V K V", "APPEND K V", "INCR K", "DECRBY K N",
	"INCRBYFLOAT K V", "SETEX K N V", "DEL K K", "PEXPIRE K T", "PEXPIRE K T NX", "PERSIST K", "RENAME K K", "RENAMENX K K",
	"HSET K F V", "HSET K F V F V F V", "HSETNX K F V", "HDEL K F F", "HINCRBY K F N", "HINCRBYFLOAT K F V", "HINCRBYEX K F N T",
	"SADD K F", "SADD K F F F F", "SREM K F F", "SPOP K", "SPOP K 3", "SMOVE K K F", "SINTERSTORE K K K", "SUNIONSTORE K K K", "SDIFFSTORE K K K",
	"RPUSH K V V", "LPUSH K V", "LPOP K", "LREM K N V", "LMOVE K K LEFT RIGHT", "LTRIM K 0 N", "ZADD K N F", "ZADD K N F N F", "ZINCRBY K N F", "ZREM K F F", "ZPOPMIN K 2",
	"HOLD L t1 T", "HOLD L t2 T", "RENEW L t1 T", "UNHOLD L t2", "DEL L", "SET L V", "EXEC 0 3 SET K V 3 SADD K F 2 DEL K",
	"GET K", "HGETALL K", "SMEMBERS K", "KEYS *",
}

func randomWrite(t *rapid.T) (argv [][]byte) {
	for _, word := range strings.Fields(rapid.SampledFrom(writes).Draw(t, "command")) {
		switch word {
		case "K":
			word = fmt.Sprint("k", rapid.IntRange(0, 12).Draw(t, "key"))
		case "L":
			word = fmt.Sprint("lock", rapid.IntRange(0, 1).Draw(t, "lock"))
		case "F":
			word = fmt.Sprint("f", rapid.IntRange(0, 40).Draw(t, "field"))
		case "V":
			word = rapid.SampledFrom([]string{"1", "-7", "2.5", "text", "", strings.Repeat("long", 40)}).Draw(t, "value")
		case "N":
			word = fmt.Sprint(rapid.IntRange(-3, 9).Draw(t, "number"))
		case "T":
			word = fmt.Sprint(rapid.IntRange(1, 200).Draw(t, "time"))
		}
		argv = append(argv, []byte(word))
	}
	return argv
}

// Effects of the whole life; pages as they were at different moments, with only
// the effects of each page's later ones; both give the engine that lived.
func TestEffectsAndPagesGiveTheSameEngine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := New(0, nil)
		now := int64(testNow)
		var log [][]byte
		saved := dump(e)        // a snapshot of each page
		savedAt := [Pages]int{} // after so many effects
		for range rapid.IntRange(1, 120).Draw(rt, "commands") {
			now += int64(rapid.IntRange(0, 30).Draw(rt, "ms"))
			before := dump(e)
			if rapid.IntRange(0, 9).Draw(rt, "sweep") == 0 {
				e.Sweep(now, rapid.IntRange(0, 3).Draw(rt, "limit"))
			} else {
				e.Do(now, randomWrite(rt), nil)
			}
			after := dump(e)
			for p := range Pages {
				if string(before[p]) != string(after[p]) && e.Touched()&(1<<p) == 0 {
					rt.Fatalf("page %d was changed but not touched", p)
				}
			}
			log = append(log, slices.Clone(e.Effects()))
			e.ResetEffects()
			if rapid.IntRange(0, 5).Draw(rt, "save") == 0 {
				p := PageOf(fmt.Appendf(nil, "k%d", rapid.IntRange(0, 12).Draw(rt, "page of")))
				saved[p], savedAt[p] = e.AppendPage(nil, p), len(log)
			}
		}

		replayed, loaded := New(0, nil), New(0, nil)
		for p := range Pages {
			if err := loaded.LoadPage(p, saved[p]); err != nil {
				rt.Fatal(err)
			}
		}
		for i, effects := range log {
			if err := replayed.Apply(effects, nil); err != nil {
				rt.Fatal(err)
			}
			if err := loaded.Apply(effects, func(p int) bool { return i < savedAt[p] }); err != nil {
				rt.Fatal(err)
			}
		}
		equal(rt, replayed, e)
		equal(rt, loaded, e)
	})
}

func TestFlushIsAnEffectThatLeavesHolds(t *testing.T) {
	dialog{"MSET a 1 b 2", "OK", "HOLD k t 1000", "1", "FLUSHALL", "OK", "KEYS *", "[k]", "RENEW k t 1000", "1", "SADD a x", "1"}.run(t)
}

func TestEveryKeyThatStaysIsScanned(t *testing.T) {
	e := New(0, nil)
	stay := map[string]bool{}
	for i := range 3000 {
		key := fmt.Sprint("key", i)
		if i%3 == 0 {
			key = fmt.Sprint("{tag}", i) // many in one slot
		}
		do(t, e, testNow, "SET "+key+" v")
		if i%2 == 0 {
			stay[key] = true
		}
		do(t, e, testNow, fmt.Sprintf("HSET h %s v", key))
		do(t, e, testNow, fmt.Sprintf("SADD s %s", key))
		do(t, e, testNow, fmt.Sprintf("ZADD z 1 %s", key))
	}
	for _, scan := range []string{"SCAN %s COUNT 7", "HSCAN h %s COUNT 7", "SSCAN s %s COUNT 7", "ZSCAN z %s COUNT 7"} {
		seen, rounds := map[string]bool{}, 0
		for cursor := "0"; rounds == 0 || cursor != "0"; rounds++ {
			reply, _ := e.Do(testNow, split(fmt.Sprintf(scan, cursor)), nil)
			v, _, err := resp.Parse(reply)
			if err != nil {
				t.Fatal(err)
			}
			cursor = string(v.Elems[0].Text)
			if n := len(v.Elems[1].Elems); n > 14 {
				t.Fatalf("%s returned %d", scan, n)
			}
			for _, el := range v.Elems[1].Elems {
				seen[string(el.Text)] = true
			}
			// Others come and go.
			i := rand.IntN(3000)
			for _, key := range []string{fmt.Sprint("key", i), fmt.Sprint("{tag}", i)} {
				if !stay[key] {
					for _, c := range []string{"DEL %s", "HDEL h %s", "SREM s %s", "ZREM z %s", "SET new%s v", "HSET h new%s v", "SADD s new%s", "ZADD z 5 new%s"} {
						do(t, e, testNow, fmt.Sprintf(c, key))
					}
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(stay)) {
			if !seen[key] {
				t.Errorf("%s left out %s", scan, key)
			}
		}
		if rounds < 100 {
			t.Errorf("%s took %d rounds", scan, rounds)
		}
	}
}

func TestScanFindsByPatternAndType(t *testing.T) {
	dialog{"MSET a 1 b 2", "OK", "SADD as 1", "1", "SCAN 0 COUNT 100 MATCH a* TYPE string", "[0 [a]]", "SCAN 0 COUNT 100 TYPE set", "[0 [as]]", "SCAN 0 COUNT 100 TYPE x", "[0 []]"}.run(t)
}

func TestKeyWhoseTimeIsOverIsNotThere(t *testing.T) {
	e := New(0, nil)
	for _, c := range []string{"SET a 1 PX 10", "SADD s x", "PEXPIRE s 10", "HINCRBYEX h f 1 10", "SET b 1"} {
		do(t, e, testNow, c)
	}
	if got := do(t, e, testNow+10, "EXISTS a s h"); got != "3" {
		t.Errorf("at its last ms EXISTS = %s, want 3", got)
	}
	e.ResetEffects()
	now := int64(testNow + 11)
	for command, want := range map[string]string{
		"GET a": "nil", "EXISTS a s h b": "1", "SMEMBERS s": "~[]", "HGETALL h": "{}", "KEYS *": "[b]", "SCAN 0 COUNT 1000": "[0 [b]]", "TTL a": "-2", "TYPE s": "none", "RANDOMKEY": "b", "SUNION s s": "~[]",
	} {
		if got := do(t, e, now, command); got != want {
			t.Errorf("%s = %s, want %s", command, got, want)
		}
	}
	if len(e.Effects()) > 0 {
		t.Error("reading has an effect")
	}
	if got := do(t, e, now, "SADD a x"); got != "1" {
		t.Errorf("SADD on what was a string = %s", got)
	}
	if e.NextEvent() != now {
		t.Errorf("NextEvent = %d, want %d", e.NextEvent(), now)
	}
	if !e.Sweep(now, 1) || e.Sweep(now, 1) || e.Len() != 2 {
		t.Errorf("after removing two of two there are %d keys, want 2", e.Len())
	}
	if e.NextEvent() != 0 {
		t.Errorf("NextEvent = %d, want never", e.NextEvent())
	}
	addsUp(t, e)
}

func TestTimeNeverGoesBack(t *testing.T) {
	e := New(0, nil)
	do(t, e, testNow, "SET a 1 PX 10")
	do(t, e, testNow+11, "PING")
	if got := do(t, e, testNow, "GET a"); got != "nil" {
		t.Errorf("GET = %s, want nil", got)
	}
}

func TestBytesComeAndGo(t *testing.T) {
	e := New(0, nil)
	big := strings.Repeat("x", 1000)
	for i := range 100 {
		for _, c := range []string{"SET a%d ", "HSET h f%d ", "SADD s %d", "RPUSH l ", "ZADD z 1 %d"} {
			do(t, e, testNow, strings.ReplaceAll(c, "%d", fmt.Sprint(i))+big)
		}
	}
	if n := e.Bytes(); n < 500_000 || n > 1_500_000 {
		t.Errorf("500 kB take %d", n)
	}
	do(t, e, testNow, "FLUSHALL")
	if n := e.Bytes(); n != 0 {
		t.Errorf("nothing takes %d", n)
	}
}
