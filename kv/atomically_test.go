package kv

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// numberIn reads a key that holds one.
func numberIn(ctx context.Context, tx Tx, key string) (int, error) {
	s, _, err := tx.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(s)
}

func TestTransfersKeepTheSum(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	keys := []string{"a", "b", "c"}
	for _, key := range keys {
		if err := m.Set(ctx, key, "100"); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	var runs atomic.Int64
	for i := range 8 {
		from, to := keys[i%3], keys[(i+1+i/3%2)%3]
		all.Go(func() {
			for range 50 {
				err := m.Atomically(ctx, keys, func(tx Tx) error {
					runs.Add(1)
					sum := 0
					for _, key := range keys {
						n, err := numberIn(ctx, tx, key)
						if err != nil {
							return err
						}
						sum += n
					}
					if sum != 300 {
						t.Errorf("a transaction sees a sum of %d, want 300", sum)
					}
					n, err := numberIn(ctx, tx, from)
					if err != nil {
						return err
					}
					tx.Set(from, strconv.Itoa(n-1))
					tx.IncrBy(to, 1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	sum := 0
	for _, key := range keys {
		s, _, _ := m.Get(ctx, key)
		n, _ := strconv.Atoi(s)
		sum += n
	}
	if sum != 300 {
		t.Errorf("the sum is %d, want 300", sum)
	}
	if runs.Load() < 400 {
		t.Errorf("%d runs for 400 transfers", runs.Load())
	}
}

func TestFunctionRunsAgainIfAKeyChangesMeanwhile(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	for name, change := range map[string]func() error{
		"written":              func() error { return m.Set(ctx, "k", "other") },
		"created and removed":  func() error { m.Set(ctx, "none", "x"); _, err := m.Del(ctx, "none"); return err },
		"removed and the same": func() error { m.Del(ctx, "k"); return m.Set(ctx, "k", "v") },
	} {
		if err := m.Set(ctx, "k", "v"); err != nil {
			t.Fatal(err)
		}
		runs := 0
		err := m.Atomically(ctx, []string{"k", "none"}, func(tx Tx) error {
			if runs++; runs == 1 {
				if err := change(); err != nil {
					t.Error(err)
				}
			}
			tx.RPush("log "+name, "x")
			return nil
		})
		if err != nil || runs != 2 {
			t.Errorf("%s: Atomically = %v after %d runs, want 2", name, err, runs)
		}
		want(t, name+": LLen", 1)(m.LLen(ctx, "log "+name))
	}
}

func TestReadsOfARunFitTogether(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	runs := 0
	err := m.Atomically(ctx, []string{"a", "b"}, func(tx Tx) error {
		runs++
		if _, _, err := tx.Get(ctx, "a"); err != nil {
			t.Errorf("first read = %v", err)
		}
		if runs == 1 {
			want(t, "Incr", int64(1))(m.Incr(ctx, "a"))
			if s, _, err := tx.Get(ctx, "b"); err == nil {
				t.Errorf("read after a change = %q, want an error", s)
			}
			if _, err := tx.SMembers(ctx, "b"); err == nil {
				t.Error("second read after a change: no error")
			}
			return errors.New("of no interest, it runs again")
		}
		_, _, err := tx.Get(ctx, "b")
		return err
	})
	if err != nil || runs != 2 {
		t.Errorf("Atomically = %v after %d runs, want 2", err, runs)
	}
}

func TestNothingIsAppliedIfTheFunctionFails(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	no := errors.New("no")
	err := m.Atomically(ctx, []string{"k"}, func(tx Tx) error {
		tx.Set("k", "v")
		return no
	})
	if err != no {
		t.Errorf("Atomically = %v, want what f returned", err)
	}
	func() {
		defer func() { recover() }()
		m.Atomically(ctx, nil, func(tx Tx) error {
			tx.Set("k", "v")
			panic("oh")
		})
	}()
	want(t, "Exists", 0)(m.Exists(ctx, "k"))
}

func TestBadWriteFailsTheWholeBeforeAnythingIsApplied(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	for name, write := range map[string]func(tx Tx){
		"no members":      func(tx Tx) { tx.SAdd("s") },
		"not a number":    func(tx Tx) { tx.ZAdd("z", Scored{"m", math.NaN()}) },
		"no such command": func(tx Tx) { tx.Write("NOSUCH", "k") },
		"arity":           func(tx Tx) { tx.Write("SET", "k") },
		"internal":        func(tx Tx) { tx.Write("WATCH", "k") },
		"nested":          func(tx Tx) { tx.Write("EXEC", "0") },
		"empty":           func(tx Tx) { tx.Write() },
		"too large":       func(tx Tx) { tx.Set("k", strings.Repeat("x", defaultMaxValue+1)) },
	} {
		err := m.Atomically(ctx, []string{"k"}, func(tx Tx) error {
			tx.Set("k", "v")
			write(tx)
			tx.Set("k", "w")
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "nothing was applied") {
			t.Errorf("%s: Atomically = %v, want an error that says so", name, err)
		}
		if got := errors.Is(err, ErrTooLarge); got != (name == "too large") {
			t.Errorf("%s: %v: is ErrTooLarge = %v", name, err, got)
		}
	}
	want(t, "Exists", 0)(m.Exists(ctx, "k"))
}

func TestWriteThatDoesNotFitFailsAlone(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	want(t, "SAdd", 1)(m.SAdd(ctx, "set", "a"))
	err := m.Atomically(ctx, []string{"set"}, func(tx Tx) error {
		tx.Set("k", "v")
		tx.RPush("set", "x")
		tx.SAdd("set", "b")
		return nil
	})
	if !errors.Is(err, ErrWrongType) || !strings.Contains(err.Error(), "1 of 3 writes failed, the others were applied") {
		t.Errorf("Atomically = %v, want ErrWrongType and what was applied", err)
	}
	want(t, "Exists", 1)(m.Exists(ctx, "k"))
	want(t, "SCard", 2)(m.SCard(ctx, "set"))
}

func TestAllReadsAndWritesOfATx(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	keys := []string{"string", "hash", "set", "left", "right", "sorted", "n", "gone", "brief"}
	if err := m.Set(ctx, "gone", "x"); err != nil {
		t.Fatal(err)
	}
	err := m.Atomically(ctx, keys, func(tx Tx) error {
		tx.Set("string", "v")
		tx.Del("gone")
		tx.Set("brief", "v")
		tx.Expire("brief", 0)
		tx.IncrBy("n", 5)
		tx.HSet("hash", Field{"f", "1"}, Field{"g", "2"})
		tx.HDel("hash", "g")
		tx.SAdd("set", "a", "b")
		tx.SRem("set", "b")
		tx.LPush("left", "a", "b")
		tx.RPush("right", "a", "b")
		tx.ZAdd("sorted", Scored{"m", 1.5})
		tx.Write("HINCRBY", "hash", "f", "1")
		want(t, "Read of what this writes", (*string)(nil))(maybe(tx.Get(ctx, "string")))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = m.Atomically(ctx, keys, func(tx Tx) error {
		want(t, "Get", new("v"))(maybe(tx.Get(ctx, "string")))
		want(t, "Get", new("5"))(maybe(tx.Get(ctx, "n")))
		want(t, "Get", (*string)(nil))(maybe(tx.Get(ctx, "gone")))
		want(t, "Get", (*string)(nil))(maybe(tx.Get(ctx, "brief")))
		want(t, "HGet", new("2"))(maybe(tx.HGet(ctx, "hash", "f")))
		want(t, "HGetAll", map[string]string{"f": "2"})(tx.HGetAll(ctx, "hash"))
		want(t, "LRange", []string{"b", "a"})(tx.LRange(ctx, "left", 0, -1))
		want(t, "LRange", []string{"a", "b"})(tx.LRange(ctx, "right", 0, -1))
		want(t, "SMembers", []string{"a"})(tx.SMembers(ctx, "set"))
		want(t, "SIsMember", true)(tx.SIsMember(ctx, "set", "a"))
		want(t, "ZScore", new(1.5))(maybe(tx.ZScore(ctx, "sorted", "m")))
		want(t, "Read", []byte(":1\r\n"))(tx.Read(ctx, "HLEN", "hash"))
		_, err := tx.Read(ctx, "HLEN", "set")
		if !errors.Is(err, ErrWrongType) {
			t.Errorf("Read of another kind = %v, want ErrWrongType", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReadsAreOfTheKeysGivenAndOnlyRead(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	err := m.Atomically(ctx, []string{"k"}, func(tx Tx) error {
		if _, _, err := tx.Get(ctx, "other"); err == nil {
			t.Error("Get of another key: no error")
		}
		for _, argv := range [][]string{{"SET", "k", "v"}, {"KEYS", "*"}, {"HOLD", "k", "t", "1"}, {"NOSUCH"}, {"GET"}, {}, {"MGET", "k", "other"}} {
			if reply, err := tx.Read(ctx, argv...); err == nil {
				t.Errorf("Read(%q) = %q, want an error", argv, reply)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	want(t, "Exists", 0)(m.Exists(ctx, "k"))
}

func TestTxIsOfNoUseAfterItsFunction(t *testing.T) {
	m, ctx := newMemory(t), t.Context()
	var kept Tx
	if err := m.Atomically(ctx, []string{"k"}, func(tx Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := kept.Get(ctx, "k"); err == nil {
		t.Error("Get after the function: no error")
	}
	kept.Set("k", "v")
	kept.ZAdd("k", Scored{"m", math.NaN()})
	want(t, "Exists", 0)(m.Exists(ctx, "k"))
}

func TestAtomicallyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		runs := 0
		err := m.Atomically(ctx, []string{"k"}, func(tx Tx) error {
			runs++
			if _, err := m.Incr(t.Context(), "k"); err != nil {
				t.Error(err)
			}
			tx.Set("k", "0")
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Atomically = %v, want DeadlineExceeded", err)
		}
		// The pause is half of lastBackoff on average.
		if runs < 500 || runs > 10000 {
			t.Errorf("%d runs in a minute", runs)
		}
	})
}

func TestUnknownOutcomeIsNotTriedAgain(t *testing.T) {
	m := newMemory(t)
	lost := errors.New("lost")
	c := newCommands(doerFunc(func(ctx context.Context, argv [][]byte) ([]byte, error) {
		reply, err := m.do(ctx, argv)
		if string(argv[0]) == "EXEC" {
			err = lost
		}
		return reply, err
	}), Config{})
	runs := 0
	err := c.Atomically(t.Context(), []string{"k"}, func(tx Tx) error {
		runs++
		tx.IncrBy("k", 1)
		return nil
	})
	if !errors.Is(err, lost) || runs != 1 {
		t.Errorf("Atomically = %v after %d runs, want the way's error after 1", err, runs)
	}
	want(t, "Get", new("1"))(maybe(m.Get(t.Context(), "k")))
}
