package kv_test

import (
	"fmt"
	"slices"
	"testing"

	"roomd/kv"
)

// A recorder is a subscriber and what it was called with, in that order.
type recorder struct {
	kv.Subscriber
	got chan kv.Message
}

func record(t *testing.T, s site) recorder {
	r := recorder{s.NewSubscriber(), make(chan kv.Message, 10_000)}
	t.Cleanup(r.Close)
	return r
}

func (r recorder) to(t *testing.T, channels ...string) (stop func()) {
	t.Helper()
	return r.all(t, r.Subscribe, channels)
}

func (r recorder) matching(t *testing.T, patterns ...string) (stop func()) {
	t.Helper()
	return r.all(t, r.PSubscribe, patterns)
}

func (r recorder) all(t *testing.T, subscribe subscribing, names []string) func() {
	t.Helper()
	var stops []func()
	for _, name := range names {
		stop, err := subscribe(t.Context(), name, func(m kv.Message) { r.got <- m })
		done(t, err)
		stops = append(stops, stop)
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// texts returns what has come until a text that is the last.
func (r recorder) texts(t *testing.T, last string) (texts []string) {
	t.Helper()
	for {
		m := receive(t, r.got, "message "+last)
		texts = append(texts, m.Text)
		if m.Text == last {
			return texts
		}
	}
}

func publish(t *testing.T, s site, channel string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_, err := s.Publish(t.Context(), channel, text)
		done(t, err)
	}
}

var pubsubCases = []conformanceCase{
	{"pubsub/a channel's subscribers get its messages", func(t *testing.T, s site) {
		a, b := record(t, s), record(t, s)
		a.to(t, "news")
		b.to(t, "news", "other")
		want(t, 2)(s.Publish(t.Context(), "news", "1"))
		want(t, 1)(s.Publish(t.Context(), "other", "2"))
		want(t, 0)(s.Publish(t.Context(), "none", "3"))
		want(t, 2)(s.Publish(t.Context(), "news", "4"))
		if got := a.texts(t, "4"); !slices.Equal(got, []string{"1", "4"}) {
			t.Errorf("got %q", got)
		}
		if got := b.texts(t, "4"); !slices.Equal(got, []string{"1", "2", "4"}) {
			t.Errorf("got %q", got)
		}
	}},
	{"pubsub/a message says where it comes from", func(t *testing.T, s site) {
		r := record(t, s)
		r.to(t, "a.b")
		publish(t, s, "a.b", "x")
		if got := receive(t, r.got, "message"); got != (kv.Message{Channel: "a.b", Text: "x"}) {
			t.Errorf("got %+v", got)
		}
		p := record(t, s)
		p.matching(t, "a.?")
		publish(t, s, "a.b", "y")
		if got := receive(t, p.got, "message"); got != (kv.Message{Pattern: "a.?", Channel: "a.b", Text: "y"}) {
			t.Errorf("got %+v", got)
		}
	}},
	{"pubsub/patterns match as globs", func(t *testing.T, s site) {
		r := record(t, s)
		r.matching(t, "room.*.in", "[ab]", `\*`)
		for channel, receivers := range map[string]int{
			"room.1.in": 1, "room..in": 1, "room.1.out": 0, "Room.1.in": 0, "a": 1, "c": 0, "*": 1, "x": 0, "room.1.in.in": 1,
		} {
			t.Logf("channel %q", channel)
			want(t, receivers)(s.Publish(t.Context(), channel, channel))
			if receivers > 0 {
				if got := receive(t, r.got, "message"); got.Channel != channel || got.Text != channel {
					t.Errorf("got %+v", got)
				}
			}
		}
	}},
	{"pubsub/a channel and patterns that match each get a message", func(t *testing.T, s site) {
		r := record(t, s)
		r.to(t, "a.b")
		r.matching(t, "a.*", "*.b", "c.*")
		want(t, 3)(s.Publish(t.Context(), "a.b", "x"))
		patterns := []string{}
		for range 3 {
			m := receive(t, r.got, "message")
			patterns = append(patterns, m.Pattern)
		}
		if slices.Sort(patterns); !slices.Equal(patterns, []string{"", "*.b", "a.*"}) {
			t.Errorf("got it for %q", patterns)
		}
	}},
	{"pubsub/one subscriber gets all in the order of publishing", func(t *testing.T, s site) {
		r := record(t, s)
		r.to(t, "a", "b", "c")
		r.matching(t, "p.*")
		var sent []string
		for i := range 600 {
			sent = append(sent, fmt.Sprint(i))
			publish(t, s, []string{"a", "p.1", "b", "c", "p.2"}[i%5], sent[i])
		}
		if got := r.texts(t, "599"); !slices.Equal(got, sent) {
			t.Errorf("got %d messages in another order: %q", len(got), got)
		}
	}},
	{"pubsub/odd channels, patterns and messages", func(t *testing.T, s site) {
		r := record(t, s)
		r.to(t, odd...)
		for i, channel := range odd {
			want(t, 1)(s.Publish(t.Context(), channel, odd[len(odd)-1-i]))
			if got := receive(t, r.got, "message"); got != (kv.Message{Channel: channel, Text: odd[len(odd)-1-i]}) {
				t.Errorf("got %+v, want %q on %q", got, odd[len(odd)-1-i], channel)
			}
		}
		wantAll(t, odd...)(s.Channels(t.Context(), "*"))
		p := record(t, s)
		p.matching(t, "\xff*\r\n")
		publish(t, s, "\xff\x00\r\n", "x")
		if got := receive(t, p.got, "message"); got != (kv.Message{Pattern: "\xff*\r\n", Channel: "\xff\x00\r\n", Text: "x"}) {
			t.Errorf("got %+v", got)
		}
	}},
	{"pubsub/counts", counts},
	{"pubsub/keys and channels have nothing to do with each other", func(t *testing.T, s site) {
		r := record(t, s)
		r.to(t, "a")
		want(t, 0)(s.Exists(t.Context(), "a"))
		done(t, s.Set(t.Context(), "a", "1"))
		empty(t, s)
		want(t, 1)(s.Publish(t.Context(), "a", "x"))
	}},
	{"pubsub/a transaction publishes when it is written", func(t *testing.T, s site) {
		r := record(t, s)
		r.to(t, "a")
		err := s.Atomically(t.Context(), nil, func(tx txn) error {
			tx.Write("PUBLISH", "a", "never")
			return errRefused
		})
		wantError(t, err, errRefused)
		done(t, s.Atomically(t.Context(), nil, func(tx txn) error {
			tx.Set("k", "1")
			tx.Write("PUBLISH", "a", "yes")
			return nil
		}))
		if got := r.texts(t, "yes"); len(got) != 1 {
			t.Errorf("got %q", got)
		}
	}},
}

func counts(t *testing.T, s site) {
	ctx := t.Context()
	wantAll(t)(s.Channels(ctx, ""))
	want(t, []int{0, 0})(s.NumSub(ctx, "a", "b"))
	want(t, 0)(s.NumPat(ctx))
	first, second := record(t, s), record(t, s)
	first.to(t, "a.1")
	stop := second.to(t, "a.1", "a.2", "b.1")
	stopPattern := second.matching(t, "a.*")
	wantAll(t, "a.1", "a.2", "b.1")(s.Channels(ctx, ""))
	wantAll(t, "a.1", "a.2")(s.Channels(ctx, "a.*"))
	wantAll(t, "b.1")(s.Channels(ctx, "[b]*"))
	want(t, []int{1, 2, 0, 1, 2})(s.NumSub(ctx, "a.2", "a.1", "none", "b.1", "a.1"))
	want(t, 1)(s.NumPat(ctx))
	want(t, 3)(s.Publish(ctx, "a.1", "x"))
	stop()
	stopPattern()
	until(t, "a count of one subscription to a.1", func() bool {
		n, err := s.NumSub(ctx, "a.1")
		done(t, err)
		return n[0] == 1
	})
	until(t, "only a.1 has subscriptions", func() bool {
		left, err := s.Channels(ctx, "*")
		done(t, err)
		return slices.Equal(left, []string{"a.1"})
	})
	until(t, "no pattern has subscriptions", func() bool {
		n, err := s.NumPat(ctx)
		done(t, err)
		return n == 0
	})
	first.Close()
	until(t, "no channel has subscriptions", func() bool {
		left, err := s.Channels(ctx, "*")
		done(t, err)
		return len(left) == 0
	})
	want(t, 0)(s.Publish(ctx, "a.1", "x"))
}
