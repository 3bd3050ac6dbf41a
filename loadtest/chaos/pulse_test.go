package chaos

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A process that runs when it is to is not late, and one that doesn't is late by
// what it missed.
func TestPulseTellsHowLateWeAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, skew := time.Now(), new(atomic.Int64)
		p := &Pulse{now: func() time.Duration { return time.Since(base) + time.Duration(skew.Load()) }}
		ctx, cancel := context.WithCancel(t.Context())
		p.cancel = cancel
		p.beats.Go(func() { p.beat(ctx) })
		time.Sleep(at(1005))
		synctest.Wait()
		if got := p.Delays(0); len(got) > 0 {
			t.Errorf("delays %v of a process that runs", got)
		}
		skew.Store(int64(at(300))) // the clock goes on while we are not let run
		time.Sleep(at(1000))
		p.Stop()
		want := []Delay{{At: at(1010), Length: at(300)}}
		if got := p.Delays(0); !slices.Equal(got, want) {
			t.Errorf("delays %v, want %v", got, want)
		}
		want[0].At = at(10)
		if got := p.Delays(at(1000)); !slices.Equal(got, want) {
			t.Errorf("delays since 1 s %v, want %v", got, want)
		}
	})
}

// A wait is longer by what we ourselves were late, and not without end.
func TestPatienceDoesNotCountOurDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := time.Now()
		p := &Pulse{now: func() time.Duration { return time.Since(base) }}
		ctx, cancel := p.Within(t.Context(), at(1000))
		defer cancel()
		p.note(Delay{At: at(400), Length: at(500)})
		time.Sleep(at(1499))
		synctest.Wait()
		if ctx.Err() != nil {
			t.Errorf("after 999 ms in which we ran: %v", ctx.Err())
		}
		time.Sleep(at(2))
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("it waits on after 1 s in which we ran")
		}
		early, stop := p.Within(t.Context(), at(1000))
		stop()
		if early.Err() == nil {
			t.Error("it goes on after it was ended")
		}
	})
}

func TestOutagesAreWithoutOurOwnDelays(t *testing.T) {
	delays := []Delay{{At: at(900), Length: at(200)}, {At: at(1400), Length: at(50)}, {At: at(5000), Length: at(900)}}
	got := ownDelaysOff([]Outage{{From: at(1000), Length: at(500)}, {From: at(5000), Length: at(100)}, {From: at(8000), Length: at(70)}}, delays)
	want := []Outage{{From: at(1000), Length: at(350)}, {From: at(5000), Length: 0}, {From: at(8000), Length: at(70)}}
	if !slices.Equal(got, want) {
		t.Errorf("outages %v, want %v", got, want)
	}
	if got := longestDelay(delays, at(1000), at(2000)); got != at(200) {
		t.Errorf("longest delay %v", got)
	}
}
