package kv_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"roomd/kv"
	"roomd/kv/resp"
)

// suite says what a Store does, case by case. Each begins with an empty store.
var suite = slices.Concat(
	stringCases, numberCases, keyCases, expiryCases, setCases, hashCases, listCases, blockingCases, sortedSetCases,
	wrongTypeCases, pubsubCases, endingCases, subscriberCases, atomicCases, holdCases, limitCases, formCases,
)

type conformanceCase struct {
	name string
	run  func(t *testing.T, s site)
}

func TestStoreIsTheSameInEveryHome(t *testing.T) {
	for _, home := range homes {
		t.Run(home.name, func(t *testing.T) {
			s := home.open(t)
			for _, c := range suite {
				t.Run(c.name, func(t *testing.T) {
					empty(t, s)
					until(t, "the subscriptions of the case before have ended", func() bool {
						return len(do(t, s, "PUBSUB", "CHANNELS").Elems) == 0 && do(t, s, "PUBSUB", "NUMPAT").Int == 0
					})
					c.run(t, s)
				})
			}
		})
	}
}

func TestSuiteNamesEachCaseOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range suite {
		if seen[c.name] {
			t.Errorf("case %q is there twice", c.name)
		}
		seen[c.name] = true
	}
}

func empty(t *testing.T, s site) {
	t.Helper()
	if v := do(t, s, "FLUSHALL"); string(v.Text) != "OK" {
		t.Fatalf("FLUSHALL = %s", v.Text)
	}
}

// do runs a command in Redis's form.
func do(t *testing.T, s site, argv ...string) resp.Value {
	t.Helper()
	reply, err := s.Do(t.Context(), bytesOf(argv...))
	if err != nil {
		t.Fatalf("%q = %v", argv, err)
	}
	v, rest, err := resp.Parse(reply)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%q = %q, which is no reply: %v", argv, reply, err)
	}
	return v
}

// lacksHold skips what go-redis can't do.
func lacksHold(t *testing.T, s site) {
	t.Helper()
	if s.wire != nil {
		t.Skip("Redis's protocol has no Hold")
	}
}

func lacksOurs(t *testing.T, s site, what string) {
	t.Helper()
	if s.real {
		t.Skip("Redis has no ", what)
	}
}

// blockedClients asks a server how many of its clients wait in a blocking pop.
func blockedClients(t *testing.T, w *wire) int {
	t.Helper()
	info, err := w.call("INFO", "clients")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(info.Text), "blocked_clients:")
	text, _, _ = strings.Cut(text, "\r\n")
	n, err := strconv.Atoi(text)
	if !found || err != nil {
		t.Fatalf("INFO clients = %q, without blocked_clients", info.Text)
	}
	return n
}

// until waits for something that nothing announces.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// pass waits until so much time is over that what was given ttl before is gone.
func pass(ttl time.Duration) { <-time.After(ttl + 2*time.Millisecond) }

// receive takes from a channel that something will come from.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// want takes the results of a call that must succeed with one value.
func want[T any](t *testing.T, want T) func(got T, err error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		if err != nil || !same(got, want) {
			t.Errorf("got %s, %v, want %s", show(got), err, show(want))
		}
	}
}

// wantSum is want for what counting returns.
func wantSum(t *testing.T, sum int64) func(got int64, err error) {
	t.Helper()
	return want(t, sum)
}

// wantHas is want for a value that may not be there: none says that it is not.
func wantHas[T any](t *testing.T, want T, has bool) func(got T, ok bool, err error) {
	t.Helper()
	return func(got T, ok bool, err error) {
		t.Helper()
		if err != nil || ok != has || !same(got, want) {
			t.Errorf("got %s, %v, %v, want %s, %v", show(got), ok, err, show(want), has)
		}
	}
}

// wantAll is want for strings in any order.
func wantAll(t *testing.T, want ...string) func(got []string, err error) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	return func(got []string, err error) {
		t.Helper()
		if got = slices.Sorted(slices.Values(got)); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %s, %v, want %s in any order", show(got), err, show(want))
		}
	}
}

// done is for calls without a result.
func done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failed wants the error of a call, whatever else it returned: one that is as,
// or whose text has as, which Redis says too.
func failed[T any](t *testing.T, as any) func(got T, err error) {
	t.Helper()
	return func(_ T, err error) {
		t.Helper()
		wantError(t, err, as)
	}
}

func wantError(t *testing.T, err error, as any) {
	t.Helper()
	if sentinel, ok := as.(error); ok && errors.Is(err, sentinel) {
		return
	}
	if text, ok := as.(string); ok && err != nil && strings.Contains(err.Error(), text) {
		return
	}
	t.Errorf("error is %v, want %v", err, as)
}

// same treats what is empty and what is nil alike.
func same(a, b any) bool {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	if k := va.Kind(); (k == reflect.Slice || k == reflect.Map) && va.Len() == 0 && vb.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a, b)
}

func show(v any) string {
	text := fmt.Sprintf("%q", v)
	switch v := v.(type) {
	case int, int64, bool, float64, time.Duration, []kv.Scored, []int:
		text = fmt.Sprintf("%v", v)
	case map[string]string:
		text = fmt.Sprintf("%d pairs %q", len(v), slices.Sorted(maps.Keys(v)))
	}
	if len(text) > 400 {
		text = text[:400] + "…"
	}
	return text
}

// within runs f in a goroutine and returns what it will return.
func within[T any](f func() T) chan T {
	result := make(chan T, 1)
	go func() { result <- f() }()
	return result
}

// ended returns a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
