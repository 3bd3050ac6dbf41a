package kv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roomd/kv/engine"
	"roomd/kv/resp"
)

// do runs a command of words.
func do(t *testing.T, m *Memory, words ...string) string {
	t.Helper()
	reply, err := m.Do(t.Context(), bytesOf(words))
	if err != nil {
		t.Errorf("%q = %v", words, err)
	}
	return string(reply)
}

func TestWaitersAreServedInTheOrderTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		var all sync.WaitGroup
		got := make([]string, 5)
		for i := range got {
			all.Go(func() { _, got[i], _, _ = m.BLPop(t.Context(), 0, "a", "b") })
			synctest.Wait() // it waits
		}
		want(t, "RPush", 2)(m.RPush(t.Context(), "b", "0", "1"))
		want(t, "RPush", 3)(m.RPush(t.Context(), "a", "2", "3", "4"))
		all.Wait()
		if !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
			t.Errorf("waiters got %q, want the elements in order", got)
		}
	})
}

func TestWaitEndsWithNothingAtItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		begun := time.Now()
		_, _, ok, err := m.BRPop(t.Context(), 1500*time.Millisecond, "a")
		if ok || err != nil || time.Since(begun) != 1500*time.Millisecond {
			t.Errorf("BRPop = %v, %v after %v, want nothing after 1.5s", ok, err, time.Since(begun))
		}
		want(t, "RPush after that", 1)(m.RPush(t.Context(), "a", "x"))
		want(t, "LLen", 1)(m.LLen(t.Context(), "a"))
	})
}

func TestWaitEndsWithItsContextAndTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, _, err := m.BLPop(ctx, 0, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("BLPop = %v, want DeadlineExceeded", err)
		}
		want(t, "RPush", 1)(m.RPush(t.Context(), "a", "x"))
		want(t, "LLen", 1)(m.LLen(t.Context(), "a"))
		if err := m.Set(ctx, "k", "v"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Set with an ended context = %v, want DeadlineExceeded", err)
		}
		want(t, "Exists", 0)(m.Exists(t.Context(), "k"))
	})
}

// TestWhatWasServedToSomebodyGoneGoesBack ends a waiter's context after it was
// served and before it has looked.
func TestWhatWasServedToSomebodyGoneGoesBack(t *testing.T) {
	for _, test := range []struct {
		wait, serve []string
		look, want  []string
	}{
		{[]string{"BLPOP", "k", "0"}, []string{"RPUSH", "k", "a", "b"}, []string{"LRANGE", "k", "0", "-1"}, []string{"a", "b"}},
		{[]string{"BRPOP", "k", "0"}, []string{"RPUSH", "k", "a", "b"}, []string{"LRANGE", "k", "0", "-1"}, []string{"a", "b"}},
		{[]string{"BZPOPMIN", "k", "0"}, []string{"ZADD", "k", "1.5", "a", "2", "b"}, []string{"ZRANGE", "k", "0", "-1"}, []string{"a", "b"}},
	} {
		m := newMemory(t)
		ctx, cancel := context.WithCancel(t.Context())
		_, w, err := m.begin(ctx, bytesOf(test.wait), false)
		if w == nil {
			t.Fatalf("%q did not wait: %v", test.wait, err)
		}
		do(t, m, test.serve...)
		<-w.served
		cancel()
		if reply, err := m.await(ctx, w); !errors.Is(err, context.Canceled) {
			t.Errorf("%q = %q, %v, want Canceled", test.wait, reply, err)
		}
		want(t, test.wait[0]+": left", test.want)(m.texts(t.Context(), test.look...))
	}
}

func TestHoldServedToSomebodyGoneIsFree(t *testing.T) {
	m := newMemory(t)
	do(t, m, "HOLD", "k", "first", "60000")
	ctx, cancel := context.WithCancel(t.Context())
	_, w, err := m.begin(ctx, bytesOf([]string{"HOLD", "k", "second", "60000"}), false)
	if w == nil {
		t.Fatalf("HOLD did not wait: %v", err)
	}
	do(t, m, "UNHOLD", "k", "first")
	<-w.served
	cancel()
	if reply, err := m.await(ctx, w); !errors.Is(err, context.Canceled) {
		t.Errorf("HOLD = %q, %v, want Canceled", reply, err)
	}
	if _, w, _ := m.begin(t.Context(), bytesOf([]string{"HOLD", "k", "third", "60000"}), false); w != nil {
		t.Error("the key is still held by who has gone")
	}
}

func TestWhatCannotGoBackIsNotLost(t *testing.T) {
	m := newMemory(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, w, err := m.begin(ctx, bytesOf([]string{"BLPOP", "k", "0"}), false)
	if w == nil {
		t.Fatalf("BLPOP did not wait: %v", err)
	}
	do(t, m, "RPUSH", "k", "a")
	do(t, m, "SET", "k", "another kind")
	cancel()
	reply, err := m.await(ctx, w)
	if v, _, perr := resp.Parse(reply); err != nil || perr != nil || len(v.Elems) != 2 {
		t.Errorf("BLPOP = %q, %v, want the element", reply, err)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		ended := make(chan error, 2)
		go func() {
			_, _, _, err := m.BLPop(t.Context(), 0, "a")
			ended <- err
		}()
		m.Start(t.Context(), bytesOf([]string{"BLPOP", "b", "0"}), func(_ []byte, err error) { ended <- err })
		synctest.Wait()
		m.Close()
		for range 2 {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Errorf("BLPop = %v, want ErrClosed", err)
			}
		}
		if _, err := m.Incr(t.Context(), "k"); !errors.Is(err, ErrClosed) {
			t.Errorf("Incr after Close = %v, want ErrClosed", err)
		}
	})
}

func TestStartAnswersAtOnceUnlessTheCommandWaits(t *testing.T) {
	m := newMemory(t)
	answers := make(chan string, 2)
	done := func(reply []byte, err error) { answers <- fmt.Sprintf("%q %v", reply, err) }
	m.Start(t.Context(), bytesOf([]string{"INCR", "n"}), done)
	select {
	case got := <-answers:
		if got != `":1\r\n" <nil>` {
			t.Errorf("INCR = %s", got)
		}
	default:
		t.Error("Start returned before INCR was done")
	}
	argv := bytesOf([]string{"BLPOP", "a", "0"})
	m.Start(t.Context(), argv, done)
	for _, arg := range argv {
		clear(arg) // it is the caller's again
	}
	do(t, m, "RPUSH", "a", "x")
	if got := <-answers; got != `"*2\r\n$1\r\na\r\n$1\r\nx\r\n" <nil>` {
		t.Errorf("BLPOP = %s", got)
	}
}

func TestExpiredKeysGoAwayThoughNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		size := func() int {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.engine.Len()
		}
		for i := range 3 * sweepKeys {
			ttl := time.Second
			if i%3 == 0 {
				ttl = time.Minute
			}
			if err := m.SetEx(t.Context(), fmt.Sprint(i), "v", ttl); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second) // of synctest's time
		synctest.Wait()
		if got := size(); got != sweepKeys {
			t.Errorf("%d keys are kept after 2s, want %d", got, sweepKeys)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := size(); got != 0 {
			t.Errorf("%d keys are kept after a minute, want none", got)
		}
	})
}

// fill gives a store something of every kind.
func fill(t *testing.T, m *Memory) {
	t.Helper()
	for _, command := range [][]string{
		{"SET", "string\x00\r\n", "v"},
		{"SET", "empty", ""},
		{"PSETEX", "brief", "1000", "v"},
		{"SADD", "set", "a", "", "*"},
		{"HSET", "hash", "f", "1", "", ""},
		{"PEXPIRE", "hash", "3600000"},
		{"RPUSH", "list", "a", "b", "a"},
		{"ZADD", "sorted", "1.5", "a", "-inf", "b"},
		{"HOLD", "lock", "token", "60000"},
	} {
		if reply := do(t, m, command...); reply[0] == '-' {
			t.Fatalf("%q = %q", command, reply)
		}
	}
}

// dump is all that a store keeps.
func dump(m *Memory) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b []byte
	for i := range engine.Pages {
		b = m.engine.AppendPage(b, i)
	}
	return b
}

func TestLoadHasWhatSaveWroteLessWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "kv")
		m := newMemory(t)
		fill(t, m)
		if err := m.Save(file); err != nil {
			t.Fatal(err)
		}
		same := newMemory(t)
		do(t, same, "SET", "before", "is gone")
		if err := same.Load(file); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(dump(m), dump(same)) {
			t.Error("Load does not give what was saved")
		}

		time.Sleep(2 * time.Second) // of synctest's time
		later, ctx := newMemory(t), t.Context()
		if err := later.Load(file); err != nil {
			t.Fatal(err)
		}
		want(t, "Exists", 0)(later.Exists(ctx, "brief", "before"))
		want(t, "LRange", []string{"a", "b", "a"})(later.LRange(ctx, "list", 0, -1))
		want(t, "ZRange", []string{"b", "a"})(later.texts(ctx, "ZRANGE", "sorted", "0", "-1"))
		want(t, "TTL", time.Hour-2*time.Second)(later.TTL(ctx, "hash"))
		if got := do(t, later, "RENEW", "lock", "token", "60000"); got != ":1\r\n" {
			t.Errorf("RENEW of a hold from before = %q, want its epoch", got)
		}
		synctest.Wait()
	})
}

func TestWatchFromBeforeLoadIsOver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kv")
	m := newMemory(t)
	fill(t, m)
	if err := m.Save(file); err != nil {
		t.Fatal(err)
	}
	runs := 0
	err := m.Atomically(t.Context(), []string{"list"}, func(tx Tx) error {
		if runs++; runs == 1 {
			if err := m.Load(file); err != nil {
				t.Fatal(err)
			}
		}
		tx.RPush("list", "x")
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("Atomically = %v after %d runs, want 2", err, runs)
	}
}

func TestDamagedFileIsAnErrorAndChangesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kv")
	m := newMemory(t)
	fill(t, m)
	if err := m.Save(file); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := newMemory(t)
	do(t, other, "SET", "k", "v")
	before := dump(other)
	load := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if other.Load(file) == nil {
			t.Errorf("Load of a file with %s: no error", what)
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		load(fmt.Sprintf("another byte %d", i), bad)
		load(fmt.Sprintf("%d bytes", i), good[:i])
	}
	load("something behind it", append(slices.Clone(good), 0))
	if !slices.Equal(dump(other), before) {
		t.Error("a Load that failed has changed the store")
	}
	if err := other.Load(file + "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v, want ErrNotExist", err)
	}
}

func TestSaveThatFailsLeavesTheOldFileAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	m := newMemory(t)
	fill(t, m)
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "in it"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(taken); err == nil {
		t.Error("Save to the name of a directory: no error")
	}
	if err := m.Save(filepath.Join(dir, "none", "kv")); err == nil {
		t.Error("Save to a directory that is not there: no error")
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	hidden, err2 := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || err2 != nil || len(names) != 1 || len(hidden) != 0 {
		t.Errorf("there is %q %q, want only what was there before", names, hidden)
	}
}

func TestLoadIsRefusedWhileSomebodyWaits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kv")
	m := newMemory(t)
	if err := m.Save(file); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	m.Start(t.Context(), bytesOf([]string{"BLPOP", "a", "0"}), func(_ []byte, err error) { answered <- err })
	if m.Load(file) == nil {
		t.Error("Load while a command waits: no error")
	}
	do(t, m, "RPUSH", "a", "x")
	if err := <-answered; err != nil {
		t.Errorf("BLPOP = %v", err)
	}
	if err := m.Load(file); err != nil {
		t.Errorf("Load = %v", err)
	}
}
