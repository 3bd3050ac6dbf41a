package bus

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// beats has a clock hear n heartbeats that took delay, and whose sender is behind
// by offset.
func beats(c *clock, now time.Time, n int, every, delay, offset time.Duration) (then time.Time) {
	for range n {
		now = now.Add(every)
		c.sample(now.Add(-offset-delay).Round(0), now, every)
	}
	return now
}

func TestClocksOffsetIsTheLeastThatHeartbeatsSay(t *testing.T) {
	const every = 400 * time.Millisecond
	for _, offset := range []time.Duration{5 * time.Second, -5 * time.Second, time.Hour} {
		var c clock
		near := func(when string, want time.Duration) {
			t.Helper()
			if got := time.Duration(c.offset.Load()); (got - want).Abs() > 20*time.Millisecond {
				t.Errorf("%s the offset is %v, want %v", when, got, want)
			}
		}
		now := beats(&c, time.Now(), 1, every, 0, offset)
		near("after one heartbeat", 0)
		now = beats(&c, now, 1, every, 10*time.Millisecond, offset)
		near("after two", offset)
		now = beats(&c, now, 4, every, time.Second, offset)
		near("after slow ones", offset)
		now = beats(&c, now, 6, every, 0, offset)
		// This process is stopped for a minute, and finds the other's heartbeats.
		now = now.Add(time.Minute)
		for old := time.Minute; old > 0; old -= every {
			c.sample(now.Add(-offset-old).Round(0), now, every)
			if got := time.Duration(c.offset.Load()); got > offset+20*time.Millisecond {
				t.Fatalf("old heartbeats made the offset %v, want %v", got, offset)
			}
		}
		now = beats(&c, now, 20, every, 0, offset)
		near("after a stop", offset)
		now = beats(&c, now, 1, every, 0, offset-2*time.Second)
		near("at once when the other's clock is put forward", offset-2*time.Second)
		beats(&c, now, 3*clockBeats, every, 0, offset+3*time.Second)
		near("soon when it is put back", offset+3*time.Second)
	}
}

func TestRequestsAreAnsweredThoughClocksDiffer(t *testing.T) {
	var text bytes.Buffer
	var mu sync.Mutex // guards text
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(b)
	}), nil))
	addr := freePort(t)
	open(t, Config{Name: "server", Server: ServerConfig{Addr: addr}})
	for _, skew := range []time.Duration{time.Minute, -time.Minute} {
		a := open(t, Config{URL: "nats://" + addr, Name: "a", Skew: skew, Log: log})
		b := open(t, Config{URL: "nats://" + addr, Name: "b", Log: log})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, c := range []*Conn{a, b} {
			running.Go(func() {
				if err := NewNodes(c, "worker", nil, nil).Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		stop, err := a.Handle("r.open.chat", "", func(ctx context.Context, _ []byte) ([]byte, error) {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 10*time.Second {
				t.Errorf("the handler has until %v", deadline)
			}
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return strings.Contains(b.ClocksDiffer(), "a is 60.0 s") && a.ClocksDiffer() != "" })
		if _, err := b.Request(t.Context(), "r.open.chat", nil); err != nil {
			t.Errorf("a's clock is off by %v: %v", skew, err)
		}
		now := time.Now()
		if !a.Late(b.Clock(), now.Add(-time.Second), now) || a.Late(b.Clock(), now.Add(time.Second), now) {
			t.Error("a deadline that has passed by the sender's clock is not late, or another is")
		}
		cancel()
		running.Wait()
		stop()
		a.Close()
		b.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(text.String(), "clocks differ"); n != 4 { // each of the other, each time
		t.Errorf("it was logged %d times, want 4:\n%s", n, &text)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
