package kv

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// on subscribes, and fails the test if that fails.
func on(t testing.TB, s Subscriber, channel string, f func(Message)) (stop func()) {
	t.Helper()
	stop, err := s.Subscribe(t.Context(), channel, f)
	if err != nil {
		t.Fatalf("Subscribe(%q): %v", channel, err)
	}
	return stop
}

// onAll is on for a pattern.
func onAll(t testing.TB, s Subscriber, pattern string, f func(Message)) (stop func()) {
	t.Helper()
	stop, err := s.PSubscribe(t.Context(), pattern, f)
	if err != nil {
		t.Fatalf("PSubscribe(%q): %v", pattern, err)
	}
	return stop
}

func publish(d *dispatcher, channel, text string) int {
	return d.deliver(moment{}, []byte(channel), []byte(text))
}

func TestMessagesOfOneSubscriberComeInOrderAcrossChannelsAndPatterns(t *testing.T) {
	d := newDispatcher(nil)
	var got, want []string
	done := make(chan struct{})
	s := d.NewSubscriber()
	note := func(m Message) { got = append(got, m.Pattern+"|"+m.Channel+"|"+m.Text) }
	for i := range 10 {
		on(t, s, fmt.Sprint("c", i), note)
	}
	onAll(t, s, "c[0-4]", note)
	on(t, s, "end", func(Message) { close(done) })
	for n := range 5000 {
		channel, text := fmt.Sprint("c", n*7%10), fmt.Sprint(n)
		receivers := publish(d, channel, text)
		want = append(want, "|"+channel+"|"+text)
		if channel < "c5" {
			want = append(want, "c[0-4]|"+channel+"|"+text)
			receivers--
		}
		if receivers != 1 {
			t.Fatalf("deliver(%q) reported %d receivers too many or too few", channel, receivers-1)
		}
	}
	publish(d, "end", "")
	<-done
	d.close()
	if !slices.Equal(got, want) {
		t.Errorf("%d messages came, want %d; the first difference is at %d", len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestHandlersOfOneSubscriberNeverOverlap(t *testing.T) {
	d := newDispatcher(nil)
	s := d.NewSubscriber()
	var running, calls atomic.Int32
	handler := func(Message) {
		if running.Add(1) != 1 {
			t.Error("two handlers run at the same time")
		}
		calls.Add(1)
		running.Add(-1)
	}
	on(t, s, "a", handler)
	onAll(t, s, "*", handler)
	var publishers sync.WaitGroup
	for range 4 {
		publishers.Go(func() {
			for range 500 {
				publish(d, "a", "")
			}
		})
	}
	publishers.Wait()
	done := make(chan struct{})
	on(t, s, "end", func(Message) { close(done) })
	publish(d, "end", "") // one call more, of the pattern, may or may not be seen
	<-done
	d.close()
	if n := calls.Load(); n < 4000 || n > 4001 {
		t.Errorf("%d calls, want 4000 or 4001", n)
	}
}

func TestStopFromInsideAHandlerIsEffectiveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(nil)
		defer d.close()
		s := d.NewSubscriber()
		gate := make(chan struct{})
		on(t, s, "gate", func(Message) { <-gate })
		var calls []string
		var stop [3]func()
		stop[0] = on(t, s, "a", func(m Message) {
			calls = append(calls, "first "+m.Text)
			if m.Text == "2" {
				stop[0]() // itself
				stop[2]() // one that this message has yet to reach
			}
		})
		stop[1] = on(t, s, "a", func(m Message) { calls = append(calls, "second "+m.Text) })
		stop[2] = on(t, s, "a", func(m Message) { calls = append(calls, "third "+m.Text) })
		publish(d, "gate", "") // so that all three wait when the first is handled
		for _, text := range []string{"1", "2", "3"} {
			publish(d, "a", text)
		}
		close(gate)
		synctest.Wait()
		want := []string{"first 1", "second 1", "third 1", "first 2", "second 2", "second 3"}
		if !slices.Equal(calls, want) {
			t.Errorf("calls = %q, want %q", calls, want)
		}
	})
}

func TestStopWaitsForTheHandlerThatRunsOnAnotherGoroutine(t *testing.T) {
	for name, end := range map[string]func(d *dispatcher, s Subscriber, stop func()){
		"stop":             func(_ *dispatcher, _ Subscriber, stop func()) { stop() },
		"Subscriber.Close": func(_ *dispatcher, s Subscriber, _ func()) { s.Close() },
		"Store.Close":      func(d *dispatcher, _ Subscriber, _ func()) { d.close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDispatcher(nil)
				s := d.NewSubscriber()
				gate := make(chan struct{})
				calls := 0
				stop := on(t, s, "a", func(Message) { <-gate; calls++ })
				publish(d, "a", "1")
				publish(d, "a", "2")
				synctest.Wait() // the handler is at its gate
				var ended atomic.Bool
				for range 2 { // twice is no harm
					go func() {
						end(d, s, stop)
						ended.Store(true)
					}()
				}
				synctest.Wait()
				if ended.Load() {
					t.Error("returned while the handler was running")
				}
				close(gate)
				synctest.Wait()
				if !ended.Load() || calls != 1 {
					t.Errorf("returned = %t after %d calls, want true after 1", ended.Load(), calls)
				}
				d.close()
			})
		})
	}
}

// Two handlers that stop each other's subscription at the same time must not
// wait for each other.
func TestHandlersThatStopEachOtherDoNotWaitForEachOther(t *testing.T) {
	d := newDispatcher(nil)
	var both sync.WaitGroup
	both.Add(2)
	var stops [2]func()
	calls := make(chan int, 8)
	for i := range stops {
		stops[i] = on(t, d.NewSubscriber(), "a", func(Message) {
			both.Done()
			both.Wait() // now both run
			stops[1-i]()
			calls <- i
		})
	}
	if n := publish(d, "a", ""); n != 2 {
		t.Fatalf("%d receivers, want 2", n)
	}
	<-calls
	<-calls
	if n := publish(d, "a", ""); n != 0 {
		t.Errorf("%d receivers after both were stopped, want 0", n)
	}
	d.close()
}

func TestStopFromDeepInsideAHandlerDoesNotWaitForIt(t *testing.T) {
	d := newDispatcher(nil)
	done := make(chan struct{})
	var stop func()
	var deeper func(n int)
	deeper = func(n int) {
		if n > 0 {
			deeper(n - 1)
			return
		}
		stop()
	}
	stop = on(t, d.NewSubscriber(), "a", func(Message) { deeper(1000); close(done) })
	publish(d, "a", "")
	<-done
	d.close()
}

func TestAMessageGoesToTheHandlersThatThereWereWhenItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(nil)
		defer d.close()
		s := d.NewSubscriber()
		var calls []string
		on(t, s, "a", func(m Message) {
			calls = append(calls, "old "+m.Text)
			if m.Text == "1" {
				on(t, s, "a", func(m Message) { calls = append(calls, "new "+m.Text) })
			}
		})
		publish(d, "a", "1")
		synctest.Wait()
		publish(d, "a", "2")
		synctest.Wait()
		if want := []string{"old 1", "old 2", "new 2"}; !slices.Equal(calls, want) {
			t.Errorf("calls = %q, want %q", calls, want)
		}
	})
}

func TestASlowSubscriberLosesMessagesAndNobodyWaitsForIt(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		kept int // of those delivered while the handler was busy with the first
	}{
		"many":  {"x", maxWaitingMessages - 1},
		"large": {strings.Repeat("x", 1<<20), 62},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDispatcher(nil)
				defer d.close()
				slow, other := d.NewSubscriber(), d.NewSubscriber()
				gate := make(chan struct{})
				var slowGot, otherGot int
				on(t, slow, "a", func(Message) { <-gate; slowGot++ })
				on(t, other, "a", func(Message) { otherGot++ })
				const more = 100
				for i := range 1 + c.kept + more {
					if n := publish(d, "a", c.text); n != 2 {
						t.Fatalf("deliver = %d, want 2", n)
					}
					if i%32 == 0 {
						synctest.Wait() // the other one is not slow
					}
				}
				synctest.Wait()
				if otherGot != 1+c.kept+more || other.Lost() != 0 {
					t.Errorf("the other one got %d and lost %d, want all %d", otherGot, other.Lost(), 1+c.kept+more)
				}
				close(gate)
				synctest.Wait()
				if slowGot != 1+c.kept || slow.Lost() != more {
					t.Errorf("the slow one got %d and lost %d, want %d and %d", slowGot, slow.Lost(), 1+c.kept, more)
				}
				publish(d, "a", c.text)
				synctest.Wait()
				if slowGot != 2+c.kept {
					t.Errorf("the slow one got nothing after it had caught up")
				}
			})
		})
	}
}

func TestCountsAreOfWhatIsSubscribed(t *testing.T) {
	d := newDispatcher(nil)
	defer d.close()
	one, two := d.NewSubscriber(), d.NewSubscriber()
	none := func(Message) {}
	stop := on(t, one, "a", none)
	on(t, one, "a", none)
	on(t, two, "b", none)
	on(t, two, "", none)
	onAll(t, one, "[ab]", none)
	stopPattern := onAll(t, two, "[ab]", none)
	onAll(t, two, "", none)

	check := func(numSub, numPat int, wantChannels, wantPatterns map[string]int) {
		t.Helper()
		channels, patterns := d.counts()
		if !maps.Equal(channels, wantChannels) || !maps.Equal(patterns, wantPatterns) {
			t.Errorf("counts = %v, %v, want %v, %v", channels, patterns, wantChannels, wantPatterns)
		}
		names, want := d.Channels(), slices.Sorted(maps.Keys(wantChannels))
		slices.Sort(names)
		if !slices.Equal(names, want) {
			t.Errorf("Channels = %q, want %q", names, want)
		}
		if n := d.NumSub([]byte("a")); n != numSub {
			t.Errorf("NumSub(a) = %d, want %d", n, numSub)
		}
		if n := d.NumPat(); n != numPat {
			t.Errorf("NumPat = %d, want %d", n, numPat)
		}
	}
	check(2, 2, map[string]int{"a": 2, "b": 1, "": 1}, map[string]int{"[ab]": 2, "": 1})
	if n := publish(d, "", ""); n != 2 {
		t.Errorf("deliver to the empty channel = %d, want 2", n)
	}
	stop()
	stop()
	stopPattern()
	check(1, 2, map[string]int{"a": 1, "b": 1, "": 1}, map[string]int{"[ab]": 1, "": 1})
	two.Close()
	check(1, 1, map[string]int{"a": 1}, map[string]int{"[ab]": 1})
	one.Close()
	check(0, 0, map[string]int{}, map[string]int{})
}

func TestNothingCanBeSubscribedAfterClose(t *testing.T) {
	d := newDispatcher(nil)
	closed, open := d.NewSubscriber(), d.NewSubscriber()
	closed.Close()
	if _, err := closed.Subscribe(t.Context(), "a", nil); !errors.Is(err, errSubscriberClosed) {
		t.Errorf("Subscribe of a closed subscriber = %v", err)
	}
	on(t, open, "a", func(Message) {})
	d.close()
	if _, err := open.PSubscribe(t.Context(), "*", nil); !errors.Is(err, errStoreClosed) || !errors.Is(err, ErrClosed) {
		t.Errorf("PSubscribe at a closed store = %v", err)
	}
	if n := publish(d, "a", ""); n != 0 {
		t.Errorf("deliver at a closed store = %d, want 0", n)
	}
}

func TestCloseFromInsideAHandlerDoesNotWaitForIt(t *testing.T) {
	d := newDispatcher(nil)
	s := d.NewSubscriber()
	done := make(chan struct{})
	on(t, s, "a", func(Message) {
		s.Close()
		d.close()
		close(done)
	})
	publish(d, "a", "1")
	publish(d, "a", "2") // a second call would panic
	<-done
	d.close()
}

// A stopped handler that runs again, or a message out of order, would be seen
// here, whatever comes between: publishers and subscribers do what they like.
func TestNoHandlerRunsAfterItsStopHasReturned(t *testing.T) {
	d := newDispatcher(nil)
	var publishing, subscribing sync.WaitGroup
	quit := make(chan struct{})
	for p := range 2 {
		publishing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-quit:
					return
				default:
					publish(d, fmt.Sprint("c", n%3), fmt.Sprintf("%d %d", p, n))
				}
			}
		})
	}
	for range 4 {
		s := d.NewSubscriber()
		for range 2 { // goroutines that share a subscriber
			subscribing.Go(func() {
				for i := range 100 {
					var stopped atomic.Bool
					last := [2]int{-1, -1}
					got := make(chan struct{}, 1)
					stop := onAll(t, s, fmt.Sprint("c", i%3), func(m Message) {
						if stopped.Load() {
							t.Error("called after stop had returned")
						}
						var p, n int
						if _, err := fmt.Sscan(m.Text, &p, &n); err != nil || n <= last[p] {
							t.Errorf("message %q of publisher %d after %d (%v)", m.Text, p, last[p], err)
						}
						last[p] = n
						select {
						case got <- struct{}{}:
						default:
						}
					})
					<-got
					stop()
					stopped.Store(true)
				}
			})
		}
	}
	subscribing.Wait()
	close(quit)
	publishing.Wait()
	d.close()
}

func TestAnIdleSubscriberKeepsNoGoroutineAndNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		s := newDispatcher(nil).NewSubscriber()
		on(t, s, "a", func(Message) {})
		for range 1000 {
			publish(s.(*subscriber).d, "a", "x")
		}
		synctest.Wait()
		inner := s.(*subscriber)
		inner.mu.Lock()
		defer inner.mu.Unlock()
		if inner.queue != nil || inner.running || inner.waiting != 0 || inner.bytes != 0 {
			t.Errorf("after the last message: queue of %d, running %t, %d messages, %d bytes", cap(inner.queue), inner.running, inner.waiting, inner.bytes)
		}
	})
}

func BenchmarkDeliver(b *testing.B) {
	for _, subscribers := range []int{1, 10_000} {
		b.Run(fmt.Sprint(subscribers), func(b *testing.B) {
			d := newDispatcher(nil)
			defer d.close()
			var got sync.WaitGroup
			for range subscribers {
				on(b, d.NewSubscriber(), "a", func(Message) { got.Done() })
			}
			channel, text := []byte("a"), []byte("hello")
			b.ReportAllocs()
			for b.Loop() {
				got.Add(subscribers)
				d.deliver(moment{}, channel, text)
				got.Wait()
			}
		})
	}
}
