package kv_test

import (
	"fmt"
	"testing"
)

// endingRounds is how often a case ends a subscription and begins it again: an
// end that is told too late shows in some of the rounds only.
const endingRounds = 30

var endingCases = []conformanceCase{
	{"pubsub/a subscription that has ended is counted nowhere", func(t *testing.T, s site) {
		ctx := t.Context()
		for range endingRounds {
			r := record(t, s)
			stop := r.to(t, "a")
			stopPattern := r.matching(t, "*")
			want(t, 2)(s.Publish(ctx, "a", "x"))
			stop()
			want(t, 1)(s.Publish(ctx, "a", "x"))
			want(t, []int{0})(s.NumSub(ctx, "a"))
			stopPattern()
			want(t, 0)(s.Publish(ctx, "a", "x"))
			want(t, 0)(s.NumPat(ctx))
		}
	}},
	{"pubsub/a subscription gets nothing that was published before it", func(t *testing.T, s site) {
		againAndAgain(t, s)
	}},
	{"pubsub/nor if another subscriber had the channel all the time", func(t *testing.T, s site) {
		record(t, s).to(t, "a")
		againAndAgain(t, s)
	}},
	{"pubsub/nor if another subscriber had a pattern all the time", func(t *testing.T, s site) {
		record(t, s).matching(t, "*")
		againAndAgain(t, s)
	}},
	{"pubsub/subscribing while messages come begins somewhere and skips none", func(t *testing.T, s site) {
		over, published := make(chan struct{}), make(chan error, 1)
		go func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					published <- nil
					return
				default:
				}
				if _, err := s.Publish(t.Context(), "a", fmt.Sprint(i)); err != nil {
					published <- err
					return
				}
			}
		}()
		r := record(t, s)
		for range endingRounds / 3 {
			stop := r.to(t, "a")
			first := 0
			for i := range 10 {
				m := receive(t, r.got, "message")
				var n int
				if _, err := fmt.Sscan(m.Text, &n); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					first = n
				} else if n != first+i {
					t.Fatalf("got %d after %d", n, first+i-1)
				}
			}
			stop()
			for len(r.got) > 0 {
				<-r.got
			}
		}
		close(over)
		done(t, receive(t, published, "end of the publisher"))
	}},
}

// againAndAgain has a subscription end and begin with a message between, which
// it must not get.
func againAndAgain(t *testing.T, s site) {
	t.Helper()
	r := record(t, s)
	for i := range endingRounds {
		subscribe, name := r.Subscribe, "a"
		if i%2 == 1 {
			subscribe, name = r.PSubscribe, "a*"
		}
		stop := r.all(t, subscribe, []string{name})
		publish(t, s, "a", "heard")
		if got := r.texts(t, "heard"); len(got) != 1 {
			t.Fatalf("round %d: got %q, want only what was published after it", i, got)
		}
		stop()
		publish(t, s, "a", "unheard")
	}
	stop := r.to(t, "a")
	defer stop()
	publish(t, s, "a", "last")
	if got := r.texts(t, "last"); len(got) != 1 {
		t.Errorf("got %q, want only what was published after it", got)
	}
}
