package kv_test

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A taken is what a blocking pop returned.
type taken struct {
	key, value string
	ok         bool
	err        error
}

func takenBy(key, value string, ok bool, err error) taken { return taken{key, value, ok, err} }

// waiter starts a blocking pop that is the nth to wait, and returns when it does.
func waiter(t *testing.T, s site, ctx context.Context, nth int, left bool, timeout time.Duration, keys ...string) <-chan taken {
	t.Helper()
	until(t, "those before wait, and nobody else", func() bool { return s.waiting(t) == nth-1 })
	pop := s.BRPop
	if left {
		pop = s.BLPop
	}
	result := within(func() taken { return takenBy(pop(ctx, timeout, keys...)) })
	until(t, "a pop waits", func() bool { return s.waiting(t) == nth })
	return result
}

func wantTaken(t *testing.T, from <-chan taken, key, value string) {
	t.Helper()
	if got := receive(t, from, "result of a pop"); got != (taken{key, value, true, nil}) {
		t.Errorf("popped %+v (%v), want %q from %q", got, got.err, value, key)
	}
}

var blockingCases = []conformanceCase{
	{"blocking/what is there is taken at once, from the end that was asked for", func(t *testing.T, s site) {
		ctx := t.Context()
		letters(t, s, "l", "abc")
		wantTaken(t, within(func() taken { return takenBy(s.BLPop(ctx, 0, "none", "l")) }), "l", "a")
		wantTaken(t, within(func() taken { return takenBy(s.BLPop(ctx, time.Hour, "none", "l")) }), "l", "b")
		wantTaken(t, within(func() taken { return takenBy(s.BRPop(ctx, 0, "l")) }), "l", "c")
		want(t, 0)(s.Exists(ctx, "l"))
	}},
	{"blocking/of several lists the first that has something gives", func(t *testing.T, s site) {
		ctx := t.Context()
		letters(t, s, "b", "xy")
		letters(t, s, "c", "z")
		for _, value := range []string{"bx", "by", "cz"} {
			wantTaken(t, within(func() taken { return takenBy(s.BLPop(ctx, time.Second, "a", "b", "c")) }), value[:1], value[1:])
		}
	}},
	{"blocking/a waiter gets what is pushed, and nobody else sees it", func(t *testing.T, s site) {
		ctx := t.Context()
		left := waiter(t, s, ctx, 1, true, 0, "l")
		want(t, 2)(s.RPush(ctx, "l", "a", "b"))
		wantTaken(t, left, "l", "a")
		wantLetters(t, s, "l", "b")
		wantHas(t, "b", true)(s.LPop(ctx, "l"))
		right := waiter(t, s, ctx, 1, false, time.Hour, "l")
		want(t, 2)(s.RPush(ctx, "l", "a", "b"))
		wantTaken(t, right, "l", "b")
		wantLetters(t, s, "l", "a")
	}},
	{"blocking/who waits longest is served first", func(t *testing.T, s site) {
		ctx := t.Context()
		var waiters []<-chan taken
		for i := range 5 {
			waiters = append(waiters, waiter(t, s, ctx, i+1, i%2 == 0, 0, "l"))
		}
		for _, w := range waiters[:3] {
			want(t, 1)(s.LPush(ctx, "l", "x"))
			wantTaken(t, w, "l", "x")
		}
		want(t, 3)(s.RPush(ctx, "l", "a", "b", "c"))
		wantTaken(t, waiters[3], "l", "c")
		wantTaken(t, waiters[4], "l", "a")
		wantLetters(t, s, "l", "b")
	}},
	{"blocking/a waiter for several lists is served by any, once", func(t *testing.T, s site) {
		ctx := t.Context()
		first := waiter(t, s, ctx, 1, true, 0, "a", "b", "c")
		second := waiter(t, s, ctx, 2, true, 0, "c", "a")
		want(t, 1)(s.LPush(ctx, "c", "1"))
		wantTaken(t, first, "c", "1")
		want(t, 1)(s.LPush(ctx, "b", "2"))
		wantLetters(t, s, "b", "2")
		want(t, 1)(s.LPush(ctx, "a", "3"))
		wantTaken(t, second, "a", "3")
		want(t, 0)(s.Exists(ctx, "a", "c"))
	}},
	{"blocking/timeouts may be fractions of a second", func(t *testing.T, s site) {
		for _, timeout := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 1100 * time.Millisecond} {
			began := time.Now()
			if got := takenBy(s.BLPop(t.Context(), timeout, "l", "m")); got != (taken{}) {
				t.Errorf("BLPop = %+v, want nothing and no error", got)
			}
			if waited := time.Since(began); waited < timeout-time.Millisecond {
				t.Errorf("BLPop returned after %v, before its timeout of %v", waited, timeout)
			}
		}
		want(t, 1)(s.LPush(t.Context(), "l", "x"))
		wantLetters(t, s, "l", "x")
	}},
	{"blocking/a negative timeout is an error", func(t *testing.T, s site) {
		_, _, _, err := s.BLPop(t.Context(), -time.Second, "l")
		wantError(t, err, "timeout is negative")
		_, _, _, err = s.BRPop(t.Context(), -1500*time.Millisecond, "l")
		wantError(t, err, "timeout is negative")
	}},
	{"blocking/a waiter that has timed out takes nothing, and the next is served", func(t *testing.T, s site) {
		ctx := t.Context()
		first := waiter(t, s, ctx, 1, true, 100*time.Millisecond, "l")
		second := waiter(t, s, ctx, 2, true, 0, "l")
		if got := receive(t, first, "end of a wait"); got != (taken{}) {
			t.Errorf("BLPop = %+v, want nothing and no error", got)
		}
		want(t, 2)(s.RPush(ctx, "l", "a", "b"))
		wantTaken(t, second, "l", "a")
		wantLetters(t, s, "l", "b")
	}},
	{"blocking/a cancelled waiter takes nothing, and the next is served", func(t *testing.T, s site) {
		ctx, cancel := context.WithCancel(t.Context())
		first := waiter(t, s, ctx, 1, true, 0, "l", "m")
		second := waiter(t, s, t.Context(), 2, true, 0, "l")
		cancel()
		if got := receive(t, first, "end of a wait"); !errors.Is(got.err, context.Canceled) || got.ok {
			t.Errorf("BLPop = %+v, want context.Canceled", got)
		}
		want(t, 2)(s.RPush(t.Context(), "l", "a", "b"))
		wantTaken(t, second, "l", "a")
		wantLetters(t, s, "l", "b")
		letters(t, s, "m", "c")
		wantLetters(t, s, "m", "c")
	}},
	{"blocking/pushes race with cancelling, and nothing is lost or given twice", cancelledInARace},
	{"blocking/another type is no reason to wake up", func(t *testing.T, s site) {
		ctx := t.Context()
		w := waiter(t, s, ctx, 1, true, 0, "l")
		want(t, 1)(s.SAdd(ctx, "l", "m"))
		wantAll(t, "m")(s.SMembers(ctx, "l"))
		want(t, 1)(s.Del(ctx, "l"))
		want(t, 1)(s.LPush(ctx, "l", "x"))
		wantTaken(t, w, "l", "x")
	}},
	{"blocking/odd keys and values", func(t *testing.T, s site) {
		ctx := t.Context()
		w := waiter(t, s, ctx, 1, true, 0, odd...)
		key, value := "a\r\nb", "\x00\xff"
		want(t, 1)(s.LPush(ctx, key, value))
		wantTaken(t, w, key, value)
		for i, key := range odd {
			want(t, 1)(s.LPush(ctx, key, odd[len(odd)-1-i]))
			wantTaken(t, within(func() taken { return takenBy(s.BRPop(ctx, time.Second, key)) }), key, odd[len(odd)-1-i])
		}
	}},
	{"blocking/a transaction's pushes wake who waits when all is written", func(t *testing.T, s site) {
		w := waiter(t, s, t.Context(), 1, true, 0, "l")
		done(t, s.Atomically(t.Context(), nil, func(tx txn) error {
			tx.RPush("l", "a")
			tx.LPush("l", "b")
			return nil
		}))
		wantTaken(t, w, "l", "b")
		wantLetters(t, s, "l", "a")
	}},
}

// cancelledInARace cancels pops while elements are pushed. Each element is then
// with a pop or, when it was put back, in the list.
func cancelledInARace(t *testing.T, s site) {
	const rounds = 40
	found := map[string]int{}
	for i := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		popped := within(func() taken { return takenBy(s.BLPop(ctx, 0, "l")) })
		pushed := within(func() error { return second(s.RPush(t.Context(), "l", string(rune('A'+i)))) })
		if i%2 == 0 {
			done(t, receive(t, pushed, "result of a push"))
		}
		cancel()
		if got := receive(t, popped, "end of a wait"); got.ok {
			found[got.value]++
		} else if !errors.Is(got.err, context.Canceled) {
			t.Errorf("BLPop = %+v, want context.Canceled", got)
		}
		if i%2 == 1 {
			done(t, receive(t, pushed, "result of a push"))
		}
	}
	until(t, "all elements are found", func() bool {
		value, ok, err := s.LPop(t.Context(), "l")
		done(t, err)
		if ok {
			found[value]++
		}
		return len(found) == rounds
	})
	want(t, 0)(s.LLen(t.Context(), "l"))
	for value, n := range found {
		if n != 1 {
			t.Errorf("element %q was found %d times, want once", value, n)
		}
	}
}
