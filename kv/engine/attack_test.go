package engine

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"roomd/kv/resp"
)

// hostile are arguments that somebody would send who means harm.
var hostile = []string{
	"0", "-0", "1", "-1", "2", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "4294967296", "-4294967297", "18446744073709551615",
	"1e308", "-1e308", "1e-320", "inf", "-inf", "nan", "(1", "(", "[", "[a", "(a", "-", "+", "", "*", "?", "[^", "\\", "\r\n", "\x00\xff", "+5", " 5", "05",
	"LIMIT", "COUNT", "WITHSCORES", "BYSCORE", "BYLEX", "REV", "NX", "XX", "GT", "LT", "CH", "INCR", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "GET", "PERSIST",
	"MATCH", "TYPE", "LEFT", "RIGHT", "BEFORE", "AFTER", "MIN", "MAX", "RANK", "MAXLEN", "AGGREGATE", "SUM", "WEIGHTS", "CHANNELS", "NUMSUB", "SET", "EXEC", "HOLD",
	"s", "h", "t", "l", "z", "k", "f", "a", "b", "1.5", "999999999999",
}

// hostileCommand returns a command with the number of arguments it takes, or
// some more.
func hostileCommand(t *rapid.T) (argv [][]byte) {
	s := rapid.SampledFrom(sortedSpecsOf()).Draw(t, "command")
	argc := s.Arity
	if argc < 0 {
		argc = -argc + rapid.SampledFrom([]int{0, 0, 1, 2, 3, 5}).Draw(t, "more")
	}
	argv = append(argv, []byte(s.Name))
	for len(argv) < argc {
		arg := rapid.SampledFrom(hostile).Draw(t, "arg")
		if s.First == len(argv) && rapid.Bool().Draw(t, "known key") {
			arg = rapid.SampledFrom([]string{"s", "h", "t", "l", "z", "k"}).Draw(t, "key")
		}
		argv = append(argv, []byte(arg))
	}
	return argv
}

func sortedSpecsOf() []*Spec {
	return slices.SortedFunc(Specs(), func(a, b *Spec) int { return strings.Compare(a.Name, b.Name) })
}

// values returns what is under each key, as a page has it, and its version.
func values(e *Engine) (vals map[string]string, versions map[string]uint64) {
	vals, versions = map[string]string{}, map[string]uint64{}
	for key, en := range e.keys {
		vals[key] = string(codecs[en.kind].append(nil, en))
		if en.kind != kindLock {
			vals[key] += fmt.Sprint(" expires ", en.expires)
		}
		versions[key] = e.versionOf([]byte(key))
	}
	return vals, versions
}

// Whatever is sent, by whoever waits meanwhile: each command replies with one
// value, what is said not to write does not, a key that has changed is one of
// KeysOf, has another version, is on a touched page and in the effects, and time
// passed or not, replaying gives the same engine.
func TestHostileCommandsDoWhatTheirSpecsSay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e, copied := furnished(t), New(0, nil)
		now := int64(testNow)
		if err := copied.Apply(e.Effects(), nil); err != nil {
			rt.Fatal(err)
		}
		var waiting []*Waiter
		served := map[*Waiter]int{}
		for range rapid.IntRange(1, 60).Draw(rt, "commands") {
			e.ResetEffects()
			now += int64(rapid.SampledFrom([]int{0, 0, 1, 500, 6000}).Draw(rt, "ms"))
			argv := hostileCommand(rt)
			spec := Lookup(argv[0])
			keys, _ := KeysOf(argv)
			mayChange := map[string]bool{}
			for _, key := range keys {
				mayChange[string(key)] = true
			}
			for what := range e.waits { // served in its wake
				mayChange[what.key] = true
			}
			before, versions := values(e)
			reply, blocked := e.Do(now, argv, nil)
			if blocked {
				if len(reply) > 0 || len(e.Effects()) > 0 || !spec.Blocking {
					rt.Fatalf("%q blocked with reply %q and effects %q", argv, reply, e.Effects())
				}
				w := &Waiter{Argv: argv}
				w.Served = func(reply []byte, _ Taken) {
					checkOneValue(rt, argv, reply)
					served[w]++
				}
				e.Wait(w)
				waiting = append(waiting, w)
			} else {
				checkOneValue(rt, argv, reply)
			}
			if !spec.Write && len(e.Effects()) > 0 {
				rt.Fatalf("%q has effects %q", argv, e.Effects())
			}
			after, _ := values(e)
			for key := range changedKeys(before, after) {
				if !mayChange[key] && !strings.HasPrefix(spec.Name, "flush") {
					rt.Fatalf("%q changed %q, which KeysOf does not tell", argv, key)
				}
				was, there := versions[key]
				checkNoted(rt, e, argv, key, there && before[key] != "" && !e.isOverAt(key, now), was)
			}
			if len(waiting) > 0 && rapid.IntRange(0, 3).Draw(rt, "cancel") == 0 {
				i := rapid.IntRange(0, len(waiting)-1).Draw(rt, "which")
				e.Cancel(waiting[i])
			}
			if err := copied.Apply(e.Effects(), nil); err != nil {
				rt.Fatalf("%q: %v", argv, err)
			}
			equal(rt, copied, e)
		}
		for _, w := range waiting {
			e.Cancel(w)
			if served[w] > 1 {
				rt.Fatalf("%q was served %d times", w.Argv, served[w])
			}
		}
		if e.Waiting() > 0 {
			rt.Fatalf("%d keys are waited for by nobody", e.Waiting())
		}
	})
}

func checkOneValue(t *rapid.T, argv [][]byte, reply []byte) {
	if _, rest, err := resp.Parse(reply); err != nil || len(rest) > 0 {
		t.Fatalf("%q was answered %q: %v, %d bytes behind", argv, reply, err, len(rest))
	}
}

// checkNoted fails if a command changed a key that has the same version as before,
// if it had one, or whose page is not touched.
func checkNoted(t *rapid.T, e *Engine, argv [][]byte, key string, had bool, version uint64) {
	if had && version == e.versionOf([]byte(key)) {
		t.Fatalf("%q changed %q, which has the same version", argv, key)
	}
	if e.Touched()&(1<<PageOf([]byte(key))) == 0 {
		t.Fatalf("%q changed %q, whose page is not touched", argv, key)
	}
}

// isOverAt reports whether a key had gone by itself before the command saw it.
func (e *Engine) isOverAt(key string, now int64) bool {
	_, there := e.keys[key]
	return !there && e.versionOf([]byte(key))&1 == 1 && now >= testNow
}

func changedKeys(before, after map[string]string) map[string]bool {
	changed := map[string]bool{}
	for _, all := range []map[string]string{before, after} {
		for key := range all {
			if before[key] != after[key] {
				changed[key] = true
			}
		}
	}
	return changed
}

// LREM in a list of many chunks removes the very elements that are asked for,
// also where what is left of chunks is joined.
func TestRemovingFromManyChunksTakesWhatWasAsked(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d, model := &deque{}, [][]byte{}
		one := []byte(strings.Repeat("x", rapid.IntRange(1, 300).Draw(rt, "size")))
		for range rapid.IntRange(1, 12).Draw(rt, "runs") {
			v := one
			if rapid.Bool().Draw(rt, "other") {
				v = []byte(strings.Repeat("y", rapid.IntRange(1, 900).Draw(rt, "size of other")))
			}
			for range rapid.IntRange(1, 60).Draw(rt, "times") {
				d.push(false, v)
				model = append(model, v)
			}
		}
		left, limit := rapid.Bool().Draw(rt, "left"), rapid.IntRange(1, 400).Draw(rt, "limit")
		removed := d.remove(left, limit, one)
		want, gone := removeFrom(model, left, limit, one)
		if removed != gone || d.len() != len(want) {
			rt.Fatalf("removed %d and left %d, want %d and %d", removed, d.len(), gone, len(want))
		}
		got := slices.Collect(d.from(0))
		if !slices.EqualFunc(got, want, slices.Equal) {
			rt.Fatalf("%d elements are left, not the right ones", len(got))
		}
	})
}

func removeFrom(list [][]byte, left bool, limit int, v []byte) (rest [][]byte, removed int) {
	list = slices.Clone(list)
	if !left {
		slices.Reverse(list)
	}
	for _, e := range list {
		if removed < limit && slices.Equal(e, v) {
			removed++
		} else {
			rest = append(rest, e)
		}
	}
	if !left {
		slices.Reverse(rest)
	}
	return rest, removed
}

// Nobody gets the engine to make more than what it holds, over and over.
func TestPickingWithRepetitionIsBounded(t *testing.T) {
	for _, c := range []string{"SRANDMEMBER t ", "ZRANDMEMBER z "} {
		if Lookup([]byte(strings.Fields(c)[0])) == nil {
			continue
		}
		for _, n := range []int64{-1 << 24} {
			e := furnished(t)
			if reply, _ := e.Do(testNow, split(c+fmt.Sprint(n)), nil); reply[0] != '-' {
				t.Fatalf("%s%d replies with %d bytes, want an error", c, n, len(reply))
			}
		}
	}
}

// Keys that are gone do not go on taking their memory.
func TestLargeKeysThatAreGoneTakeNoMemory(t *testing.T) {
	e := New(0, nil)
	before := heap()
	key := make([]byte, 1<<20)
	for i := range 100 {
		key = fmt.Appendf(key[:0], "%d %s", i, strings.Repeat("k", 1<<20))
		e.Do(testNow, [][]byte{[]byte("SET"), key, []byte("v")}, nil)
		e.Do(testNow, [][]byte{[]byte("DEL"), key}, nil)
		e.ResetEffects()
	}
	if grown := int64(heap()) - int64(before); grown > 10<<20 {
		t.Errorf("%d bytes are kept for 100 keys that were deleted", grown)
	}
	runtime.KeepAlive(e)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Those who wait for a list cost nothing to a command that makes the key
// something else.
func TestThoseWhoWaitForAnotherKindAreNotAsked(t *testing.T) {
	e := New(0, nil)
	for range 5000 {
		w := &Waiter{Argv: split("BLPOP k 0"), Served: func([]byte, Taken) { t.Error("served") }}
		if _, blocked := e.Do(testNow, w.Argv, nil); !blocked {
			t.Fatal("it does not wait")
		}
		e.Wait(w)
	}
	if per := testing.AllocsPerRun(20, func() { e.Do(testNow, split("SET k v"), nil) }); per > 50 {
		t.Errorf("SET allocates %.0f times while 5000 wait for a list", per)
	}
}

// A key may be waited for as a list and as a lock; whoever waits for the lock gets
// it when it is let go.
func TestHoldBehindAPopIsServed(t *testing.T) {
	e := New(0, nil)
	var got []string
	wait(t, e, testNow, "BLPOP k 0", &got)
	do(t, e, testNow, "HOLD k a 100")
	wait(t, e, testNow, "HOLD k b 100", &got)
	do(t, e, testNow, "UNHOLD k a")
	if want := []string{"HOLD k b 100: 2"}; !slices.Equal(got, want) {
		t.Errorf("served %q, want %q", got, want)
	}
	do(t, e, testNow, "UNHOLD k b")
	do(t, e, testNow, "RPUSH k x")
	if want := []string{"HOLD k b 100: 2", "BLPOP k 0: [k x]"}; !slices.Equal(got, want) {
		t.Errorf("served %q, want %q", got, want)
	}
}
