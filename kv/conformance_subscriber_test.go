package kv_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"roomd/kv"
)

type subscribing = func(ctx context.Context, name string, f func(kv.Message)) (stop func(), err error)

var subscriberCases = []conformanceCase{
	{"subscriber/stop is effective at once", func(t *testing.T, s site) {
		r := record(t, s)
		r.to(t, "end")
		var stopped atomic.Bool
		for range 20 {
			stopped.Store(false)
			stop, err := r.Subscribe(t.Context(), "a", func(m kv.Message) {
				if stopped.Load() {
					t.Errorf("called with %q after stop", m.Text)
				}
			})
			done(t, err)
			publish(t, s, "a", "1", "2", "3")
			stop()
			stopped.Store(true)
			publish(t, s, "a", "4")
			publish(t, s, "end", "end")
			r.texts(t, "end")
		}
	}},
	{"subscriber/what was published between stop and the next Subscribe has no receiver and does not arrive", func(t *testing.T, s site) {
		r := record(t, s)
		for range 200 {
			r.to(t, "a")()
			want(t, 0)(s.Publish(t.Context(), "a", "between"))
			stop := r.to(t, "a")
			want(t, 1)(s.Publish(t.Context(), "a", "after"))
			if got := r.texts(t, "after"); len(got) != 1 {
				t.Fatalf("got %q", got)
			}
			stop()
		}
	}},
	{"subscriber/what was published before Subscribe does not arrive though others hear it", func(t *testing.T, s site) {
		others, r := record(t, s), record(t, s)
		others.to(t, "a")
		others.matching(t, "*")
		for range 200 {
			publish(t, s, "a", "before")
			stop := r.to(t, "a")
			publish(t, s, "a", "after")
			if got := r.texts(t, "after"); len(got) != 1 {
				t.Fatalf("got %q", got)
			}
			stop()
		}
	}},
	{"subscriber/stop may be called twice, and leaves others", func(t *testing.T, s site) {
		r := record(t, s)
		stop := r.to(t, "a")
		r.to(t, "a", "b")
		stop()
		stop()
		publish(t, s, "a", "1")
		publish(t, s, "b", "2")
		if got := r.texts(t, "2"); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("got %q", got)
		}
	}},
	{"subscriber/a handler may stop itself", func(t *testing.T, s site) {
		r := record(t, s)
		calls := make(chan string, 10)
		stops := make(chan func(), 1)
		stop, err := r.Subscribe(t.Context(), "a", func(m kv.Message) {
			calls <- m.Text
			if stop := <-stops; stop != nil {
				stop()
			}
		})
		done(t, err)
		stops <- stop
		close(stops)
		r.to(t, "end")
		publish(t, s, "a", "1", "2", "3")
		publish(t, s, "end", "end")
		r.texts(t, "end")
		if n := len(calls); n != 1 {
			t.Errorf("called %d times, want once", n)
		}
	}},
	{"subscriber/a handler may stop others, which are not called for the same message any more", func(t *testing.T, s site) {
		r := record(t, s)
		var stopOther func()
		var others atomic.Int32
		_, err := r.Subscribe(t.Context(), "a", func(kv.Message) { stopOther() })
		done(t, err)
		stopOther, err = r.Subscribe(t.Context(), "a", func(kv.Message) { others.Add(1) })
		done(t, err)
		r.to(t, "end")
		publish(t, s, "a", "1", "2")
		publish(t, s, "end", "end")
		r.texts(t, "end")
		if n := others.Load(); n != 0 {
			t.Errorf("the other was called %d times, want never", n)
		}
	}},
	{"subscriber/a handler may subscribe, from the next message on", func(t *testing.T, s site) {
		r := record(t, s)
		added := false
		_, err := r.Subscribe(t.Context(), "a", func(kv.Message) {
			if !added {
				added = true
				r.to(t, "a", "b")
				if _, err := s.Publish(t.Context(), "b", "published inside"); err != nil {
					t.Error(err)
				}
			}
		})
		done(t, err)
		publish(t, s, "a", "1")
		if got := r.texts(t, "published inside"); len(got) != 1 {
			t.Errorf("got %q: a message went to a handler that was added for it", got)
		}
		publish(t, s, "a", "2")
		if got := r.texts(t, "2"); len(got) != 1 {
			t.Errorf("got %q", got)
		}
	}},
	{"subscriber/handlers of one subscriber run one at a time", func(t *testing.T, s site) {
		r := record(t, s)
		running := 0 // without a lock: the race detector looks
		for _, channel := range []string{"a", "b"} {
			_, err := r.Subscribe(t.Context(), channel, func(kv.Message) {
				if running++; running != 1 {
					t.Errorf("%d run at once", running)
				}
				running--
			})
			done(t, err)
		}
		r.to(t, "end")
		inParallel(t, 4, func(i int) error {
			for range 25 {
				if _, err := s.Publish(t.Context(), []string{"a", "b"}[i%2], "x"); err != nil {
					return err
				}
			}
			return nil
		})
		publish(t, s, "end", "end")
		r.texts(t, "end")
	}},
	{"subscriber/a slow one does not keep others waiting", func(t *testing.T, s site) {
		slow, quick := record(t, s), record(t, s)
		free := make(chan struct{})
		_, err := slow.Subscribe(t.Context(), "a", func(m kv.Message) {
			<-free
			slow.got <- m
		})
		done(t, err)
		quick.to(t, "a")
		publish(t, s, "a", "1", "2", "3")
		if got := quick.texts(t, "3"); len(got) != 3 {
			t.Errorf("got %q", got)
		}
		close(free)
		if got := slow.texts(t, "3"); len(got) != 3 || slow.Lost() != 0 {
			t.Errorf("the slow one got %q and has lost %d", got, slow.Lost())
		}
	}},
	{"subscriber/gets nothing after Close, and can be closed twice", func(t *testing.T, s site) {
		r, other := record(t, s), record(t, s)
		r.to(t, "a")
		r.matching(t, "*")
		other.to(t, "a")
		r.Close()
		r.Close()
		publish(t, s, "a", "1")
		other.texts(t, "1")
		if n := len(r.got); n != 0 {
			t.Errorf("got %d messages after Close", n)
		}
		if _, err := r.Subscribe(t.Context(), "a", func(kv.Message) {}); err == nil {
			t.Error("Subscribe after Close = nil, want an error")
		}
	}},
	{"subscriber/a handler may close its subscriber", func(t *testing.T, s site) {
		r, other := record(t, s), record(t, s)
		var calls atomic.Int32
		closed := make(chan struct{})
		_, err := r.Subscribe(t.Context(), "a", func(kv.Message) {
			if calls.Add(1) == 1 {
				r.Close()
				close(closed)
			}
		})
		done(t, err)
		other.to(t, "a")
		publish(t, s, "a", "1", "2", "3")
		receive(t, closed, "return of Close")
		other.texts(t, "3")
		until(t, "no subscriber but one", func() bool {
			n, err := s.NumSub(t.Context(), "a")
			done(t, err)
			return n[0] == 1
		})
		if n := calls.Load(); n != 1 {
			t.Errorf("called %d times, want once", n)
		}
	}},
	{"subscriber/can subscribe again to what it has left", func(t *testing.T, s site) {
		r := record(t, s)
		for range 10 {
			stop := r.to(t, "a")
			want(t, 1)(s.Publish(t.Context(), "a", "x"))
			r.texts(t, "x")
			stop()
		}
	}},
}
