package engine

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Commands that change lists and sorted sets; each K is one of a few keys, V an
// element, N a number, S a score, E an end and X the end of a range of scores.
// Keys of lists are often of lists, and so on, but not always.
var changes = []string{
	"RPUSH L V", "LPUSH L V V V", "RPUSH L V V V V V V", "LPUSHX L V", "LPOP L", "RPOP L N", "LPOP L N",
	"LMOVE L L E E", "RPOPLPUSH L L", "LSET L N V", "LINSERT L BEFORE V V", "LINSERT L AFTER V V", "LREM L N V",
	"LTRIM L N N", "LMPOP 2 L L E COUNT N", "BLPOP L L 0", "BRPOP L 0", "LPOS L V COUNT 0 RANK N", "LRANGE L N N",
	"ZADD Z S V", "ZADD Z S V S V S V", "ZADD Z NX S V S V", "ZADD Z XX CH S V S V", "ZADD Z GT CH S V S V", "ZADD Z LT S V",
	"ZADD Z INCR S V", "ZINCRBY Z S V", "ZREM Z V V", "ZPOPMIN Z", "ZPOPMAX Z N", "ZMPOP 2 Z Z MIN COUNT N", "BZPOPMIN Z Z 0",
	"ZREMRANGEBYRANK Z N N", "ZREMRANGEBYSCORE Z X X", "ZRANGESTORE Z Z N N", "ZRANGESTORE Z Z X X BYSCORE LIMIT 0 N",
	"ZUNIONSTORE Z 2 Z Z", "ZINTERSTORE Z 2 Z Z WEIGHTS 1 S", "ZDIFFSTORE Z 2 Z Z",
	"ZRANGE Z N N WITHSCORES", "ZRANGEBYSCORE Z X X WITHSCORES", "ZREVRANGEBYSCORE Z X X", "ZRANK Z V", "ZREVRANK Z V", "ZCOUNT Z X X",
	"DEL L", "DEL Z", "EXPIRE L 1000",
}

func randomChange(t *rapid.T) (argv [][]byte) {
	for _, word := range strings.Fields(rapid.SampledFrom(changes).Draw(t, "command")) {
		switch word {
		case "L":
			word = rapid.SampledFrom([]string{"l1", "l1", "l2", "{l1}3", "z1"}).Draw(t, "key")
		case "Z":
			word = rapid.SampledFrom([]string{"z1", "z1", "z2", "{z1}3", "l1"}).Draw(t, "key")
		case "V":
			word = fmt.Sprint("v", rapid.IntRange(0, 12).Draw(t, "value"))
		case "N":
			word = fmt.Sprint(rapid.IntRange(-4, 7).Draw(t, "n"))
		case "S":
			word = rapid.SampledFrom([]string{"-inf", "-1", "-0", "0", "0.5", "1", "1", "2", "inf"}).Draw(t, "score")
		case "X":
			word = rapid.SampledFrom([]string{"-inf", "-1", "(0", "0", "(1", "1", "2", "+inf"}).Draw(t, "bound")
		case "E":
			word = rapid.SampledFrom([]string{"LEFT", "RIGHT"}).Draw(t, "end")
		}
		argv = append(argv, []byte(word))
	}
	return argv
}

func TestEffectsOnListsAndSortedSetsGiveTheSamePages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := New(0, nil)
		for range rapid.IntRange(1, 80).Draw(t, "commands") {
			before := len(e.Effects())
			argv := randomChange(t)
			reply, blocked := e.Do(1000, argv, nil)
			if (blocked || reply[0] == '-') && len(e.Effects()) != before {
				t.Fatalf("%q: blocked = %v, reply %q, but it has an effect", argv, blocked, reply)
			}
		}
		checkReplay(t, e)
	})
}

// damage changes a byte, cuts off the end or leaves b as it is.
func damage(b []byte, at uint16, to byte, cut bool) []byte {
	b = append([]byte{}, b...)
	if len(b) == 0 {
		return b
	}
	i := int(at) % len(b)
	if b[i] = to; cut {
		b = b[:i]
	}
	return b
}

func FuzzDamagedListsAndSortedSetsAreErrors(f *testing.F) {
	e := New(0, nil)
	for _, line := range []string{
		"RPUSH l a b c d e a", "LPUSH l x y", "LPOP l 2", "RPOP l", "LSET l 1 z", "LINSERT l AFTER z y", "LREM l 0 a", "LMOVE l l LEFT RIGHT", "LMOVE l m LEFT RIGHT",
		"ZADD z 1 a 2 b 3 c", "ZINCRBY z 1 a", "ZREM z b", "ZRANGESTORE y z 0 -1", "ZPOPMIN z",
	} {
		e.Do(1000, words(line), nil)
	}
	effects := append([]byte{}, e.Effects()...)
	for i := range len(effects) {
		f.Add(uint16(i), byte(0xff), false)
		f.Add(uint16(i), byte(0), false)
		f.Add(uint16(i), byte(0), true)
	}
	f.Fuzz(func(t *testing.T, at uint16, to byte, cut bool) {
		replica := New(0, nil)
		if err := replica.Apply(damage(effects, at, to, cut), nil); err == nil {
			replica.ResetEffects()
		}
		for _, key := range []string{"l", "m", "z", "y"} {
			p := PageOf([]byte(key))
			page := e.AppendPage(nil, p)
			again := New(0, nil)
			if err := again.LoadPage(p, damage(page, at, to, cut)); err == nil {
				checkReplayOfPage(t, again, p)
			}
			checkReplayOfPage(t, replica, p)
		}
	})
}

// checkReplayOfPage checks that what has been loaded can be written and loaded again.
func checkReplayOfPage(t *testing.T, e *Engine, p int) {
	t.Helper()
	page := e.AppendPage(nil, p)
	again := New(0, nil)
	if err := again.LoadPage(p, page); err != nil {
		t.Fatalf("LoadPage of %q: %v", page, err)
	}
	if got := again.AppendPage(nil, p); string(got) != string(page) {
		t.Fatalf("page is %q, loaded again %q", page, got)
	}
}

func TestEffectsThatCannotHaveHappenedAreErrors(t *testing.T) {
	for line, there := range map[string]string{
		"LPOP l 2":            "RPUSH l a",
		"RPOP l 3":            "RPUSH l a b",
		"LSET l 2 x":          "RPUSH l a b",
		"LINSERT l AFTER c x": "RPUSH l a b",
		"LREM l 0 c":          "RPUSH l a b",
		"LMOVE l l LEFT LEFT": "SET l x",
		"RPUSH l x":           "SET l x",
		"ZADD z 1 x":          "SET z x",
		"ZREM z b":            "ZADD z 1 a",
	} {
		e, other := New(0, nil), New(0, nil)
		e.Do(1, words("RPUSH l a b c"), nil)
		e.Do(1, words("ZADD z 1 a 2 b"), nil)
		e.ResetEffects()
		e.Do(1, words(line), nil)
		if len(e.Effects()) == 0 {
			t.Errorf("%s has no effect", line)
		}
		other.Do(1, words(there), nil)
		if err := other.Apply(e.Effects(), nil); err == nil {
			t.Errorf("effects of %s after %s: no error", line, there)
		}
	}
}

func TestDamagedPageOfASortedSetIsAnError(t *testing.T) {
	e := New(0, nil)
	e.Do(1, words("ZADD z 1 mema 2 memb"), nil)
	p := PageOf([]byte("z"))
	page := string(e.AppendPage(nil, p))
	for name, damaged := range map[string]string{
		"a member twice":   strings.Replace(page, "memb", "mema", 1),
		"a score of NaN":   strings.Replace(page, "\x00\x00\xf0\x3f", "\x01\x00\xf8\x7f", 1),
		"nothing after it": page[:len(page)-1],
	} {
		if damaged == page {
			t.Fatalf("%s: not damaged", name)
		}
		if err := New(0, nil).LoadPage(p, []byte(damaged)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestScanOfASortedSetMeetsAllThatStays(t *testing.T) {
	e := New(0, nil)
	for i := range 500 {
		e.Do(1, words(fmt.Sprintf("ZADD z %d stays%d %d goes%d", i, i, i, i)), nil)
	}
	met, cursor := map[string]bool{}, "0"
	for step := 0; ; step++ {
		reply, _ := e.Do(1, words("ZSCAN z "+cursor+" COUNT 7"), nil)
		found := strings.Fields(strings.NewReplacer("[", " ", "]", " ", `"`, " ").Replace(rendered(t, reply)))
		for i := 1; i < len(found); i += 2 {
			met[found[i]] = true
		}
		if cursor = found[0]; cursor == "0" {
			break
		}
		e.Do(1, words(fmt.Sprintf("ZREM z goes%d goes%d", step*2, 499-step)), nil)
		e.Do(1, words(fmt.Sprintf("ZADD z 1 new%d", step)), nil)
	}
	for i := range 500 {
		if name := fmt.Sprint("stays", i); !met[name] {
			t.Errorf("%s was there all the time, and not met", name)
		}
	}
}

func BenchmarkDoOnListsAndSortedSets(b *testing.B) {
	for _, n := range []int{10, 100000} {
		e := New(0, nil)
		for i := range n {
			e.Do(1, words(fmt.Sprintf("RPUSH l element%d", i)), nil)
			e.Do(1, words(fmt.Sprintf("ZADD z %d member%d", i, i)), nil)
		}
		e.ResetEffects()
		for _, line := range []string{"LPUSH l 0123456789", "RPOP l", "LRANGE l 0 9", "LMOVE l l LEFT RIGHT", "ZADD z 5000000 member5", "ZADD z 1 member7", "ZSCORE z member5", "ZRANK z member5", "ZRANGE z 0 9 WITHSCORES"} {
			argv := words(line)
			b.Run(fmt.Sprintf("%s/%d", argv[0], n), func(b *testing.B) {
				var reply []byte
				b.ReportAllocs()
				for b.Loop() {
					reply, _ = e.Do(1, argv, reply[:0])
					e.ResetEffects()
				}
			})
		}
	}
}
