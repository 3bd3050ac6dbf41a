package engine

import (
	"bytes"
	"testing"

	"roomd/kv/resp"
)

// furnished returns an engine that has something of everything.
func furnished(t testing.TB) *Engine {
	e := New(0, nil)
	for _, c := range []string{"SET s 1 PX 5000", "HSET h f 1 g 2", "SADD t a b c", "RPUSH l 1 2 3", "ZADD z 1 a 2 b", "HOLD k t 1000", "APPEND s 2", "DEL h", "HSET h f 2", "HDEL h x", "SREM t a", "PERSIST s"} {
		if reply, _ := e.Do(testNow, split(c), nil); reply[0] == '-' {
			t.Fatalf("%s = %s", c, reply)
		}
	}
	return e
}

// Whatever arguments a command gets, it replies with one value, and what it
// changed can be applied.
func FuzzDo(f *testing.F) {
	for s := range Specs() {
		f.Add([]byte(s.Name + " s 1 2 3"))
		f.Add([]byte(s.Name + " h f 0 -1"))
		f.Add([]byte(s.Name + " t 2 s t COUNT 1"))
	}
	for _, c := range append(writes, changes...) {
		f.Add([]byte(c))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := furnished(t)
		copied := New(0, nil)
		argv := bytes.Split(data, []byte(" "))
		reply, blocked := e.Do(testNow, argv, nil)
		if blocked {
			if len(reply) > 0 {
				t.Fatalf("blocked with reply %q", reply)
			}
			e.Wait(&Waiter{Argv: argv, Served: func([]byte, Taken) {}})
		} else if _, rest, err := resp.Parse(reply); err != nil || len(rest) > 0 {
			t.Fatalf("reply %q: %v", reply, err)
		}
		KeysOf(argv)
		e.Do(testNow+10, split("RPUSH l 1"), nil)
		e.Sweep(testNow+100_000, 100)
		if err := copied.Apply(e.Effects(), nil); err != nil {
			t.Fatal(err)
		}
		equal(t, copied, e)
	})
}

// Damaged effects are an error, and leave an engine that works.
func FuzzApply(f *testing.F) {
	e := furnished(f)
	f.Add(e.Effects())
	e.ResetEffects()
	for _, c := range append(writes, changes...) {
		e.Do(testNow, split(c), nil)
	}
	e.Do(testNow, split("FLUSHALL"), nil)
	f.Add(e.Effects())
	f.Fuzz(func(t *testing.T, effects []byte) {
		e := furnished(t)
		if err := e.Apply(effects, nil); err != nil {
			return // between before and after
		}
		addsUp(t, e)
		copied := New(0, nil)
		for p, b := range dump(e) {
			if err := copied.LoadPage(p, b); err != nil {
				t.Fatal(err)
			}
		}
		equal(t, copied, e)
	})
}

// What LoadPage accepts, AppendPage writes back so that it is accepted again as
// the same.
func FuzzLoadPage(f *testing.F) {
	for p, b := range dump(furnished(f)) {
		f.Add(p, b)
	}
	f.Fuzz(func(t *testing.T, p int, b []byte) {
		p &= Pages - 1
		e, copied := New(0, nil), New(0, nil)
		if e.LoadPage(p, b) != nil {
			return
		}
		addsUp(t, e)
		if err := copied.LoadPage(p, e.AppendPage(nil, p)); err != nil {
			t.Fatal(err)
		}
		equal(t, copied, e)
	})
}
