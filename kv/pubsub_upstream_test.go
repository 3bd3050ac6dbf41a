package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A side is the other side of a dispatcher: it keeps what it was told.
type side struct {
	t    *testing.T
	fail func(name string, n int) error // nil: never

	mu     sync.Mutex
	counts map[string]int
	inside map[string]bool
	calls  int
}

func newSide(t *testing.T) *side {
	return &side{t: t, counts: map[string]int{}, inside: map[string]bool{}}
}

func (u *side) listen(_ context.Context, name string, _ bool, n int) (moment, error) {
	u.mu.Lock()
	if u.inside[name] {
		u.t.Errorf("two calls at the same time for %q", name)
	}
	u.inside[name] = true
	u.calls++
	u.mu.Unlock()
	var err error
	if u.fail != nil {
		err = u.fail(name, n)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inside[name] = false
	if err == nil {
		u.counts[name] = n
	}
	return moment{}, err
}

func (u *side) count(name string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.counts[name]
}

func TestUpstreamKnowsOfASubscriptionWhenSubscribeReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSide(t)
		d := newDispatcher(u)
		defer d.close()
		s := d.NewSubscriber()
		stop := on(t, s, "a", func(Message) {})
		if n := u.count("a"); n != 1 {
			t.Errorf("upstream counts %d, want 1", n)
		}
		onAll(t, s, "a", func(Message) {}) // not the same name: a pattern
		on(t, s, "a", func(Message) {})
		if n := u.count("a"); n != 2 {
			t.Errorf("upstream counts %d, want 2", n)
		}
		stop()
		s.Close()
		synctest.Wait()
		if n := u.count("a"); n != 0 {
			t.Errorf("upstream counts %d after Close, want 0", n)
		}
		if left := len(d.channels.all) + len(d.patterns.all); left != 0 {
			t.Errorf("%d topics are kept that nobody listens to", left)
		}
	})
}

func TestUpstreamEndsWithTheRightCountWhateverHappensAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSide(t)
		u.fail = func(string, int) error {
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond) // of the bubble
			if rand.IntN(5) == 0 {
				return errors.New("away")
			}
			return nil
		}
		d := newDispatcher(u)
		var kept [4]atomic.Int32
		var all sync.WaitGroup
		for range 40 {
			s := d.NewSubscriber()
			all.Go(func() {
				for range 20 {
					i := rand.IntN(len(kept))
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(20))*time.Millisecond)
					stop, err := s.Subscribe(ctx, fmt.Sprint(i), func(Message) {})
					cancel()
					switch {
					case err != nil:
					case rand.IntN(3) == 0:
						kept[i].Add(1)
					default:
						stop()
					}
				}
			})
		}
		all.Wait()
		time.Sleep(time.Hour) // of the bubble: until nothing is left to be told
		channels, _ := d.counts()
		for i := range kept {
			name, want := fmt.Sprint(i), int(kept[i].Load())
			if got := u.count(name); got != want || channels[name] != want {
				t.Errorf("%q: upstream counts %d, the dispatcher %d, want %d", name, got, channels[name], want)
			}
		}
		d.close()
	})
}

func TestAnErrorOfUpstreamUndoesTheSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		u := newSide(t)
		d := newDispatcher(u)
		defer d.close()
		s := d.NewSubscriber()
		on(t, s, "a", func(Message) {})
		var failing atomic.Bool
		u.fail = func(string, int) error {
			if failing.Load() {
				return away
			}
			return nil
		}
		failing.Store(true)
		if _, err := s.Subscribe(t.Context(), "a", func(Message) { t.Error("called") }); !errors.Is(err, away) {
			t.Fatalf("Subscribe = %v, want upstream's error", err)
		}
		if n := publish(d, "a", ""); n != 1 {
			t.Errorf("deliver = %d, want 1: the subscription that there was", n)
		}
		u.mu.Lock()
		u.counts["a"] = 2 // it may have heard what it could not answer
		u.mu.Unlock()
		time.Sleep(time.Minute)
		failing.Store(false)
		time.Sleep(lastRelisten)
		if n := u.count("a"); n != 1 {
			t.Errorf("upstream counts %d, want 1: it was not told that the second is undone", n)
		}
		if u.calls > 30 {
			t.Errorf("%d calls in a minute of failures, want a few", u.calls)
		}
	})
}

func TestSubscribeGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSide(t)
		gate := make(chan struct{})
		u.fail = func(string, int) error { <-gate; return nil }
		d := newDispatcher(u)
		defer d.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := d.NewSubscriber().Subscribe(ctx, "a", func(Message) {})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Subscribe = %v, want the context's error", err)
		}
		if n := publish(d, "a", ""); n != 0 {
			t.Errorf("deliver = %d, want 0", n)
		}
		close(gate)
		synctest.Wait()
		if n, ok := u.counts["a"]; !ok || n != 0 {
			t.Errorf("upstream counts %d (told: %t), want 0", n, ok)
		}
	})
}

// stuck never answers, but gives up when it is told to.
type stuck struct{}

func (stuck) listen(ctx context.Context, _ string, _ bool, _ int) (moment, error) {
	<-ctx.Done()
	return moment{}, ctx.Err()
}

func TestCloseFailsSubscriptionsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(stuck{})
		s := d.NewSubscriber()
		failed := make(chan error)
		const n = 2 * maxTellings
		for i := range n {
			go func() {
				_, err := s.Subscribe(t.Context(), fmt.Sprint(i), func(Message) {})
				failed <- err
			}()
		}
		synctest.Wait()
		d.close()
		for range n {
			if err := <-failed; !errors.Is(err, errStoreClosed) {
				t.Errorf("Subscribe = %v, want errStoreClosed", err)
			}
		}
	})
}

func TestCloseDoesNotWaitForTheNextAttemptToTellUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSide(t)
		u.fail = func(string, int) error { return errors.New("away") }
		d := newDispatcher(u)
		for range 5 {
			if _, err := d.NewSubscriber().Subscribe(t.Context(), "a", func(Message) {}); err == nil {
				t.Error("Subscribe succeeded without upstream")
			}
		}
		synctest.Wait()
		began := time.Now() // of the bubble, where only waiting takes time
		d.close()
		if took := time.Since(began); took != 0 {
			t.Errorf("close waited for %v", took)
		}
	})
}
