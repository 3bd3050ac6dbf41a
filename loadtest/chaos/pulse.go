package chaos

import (
	"context"
	"sync"
	"time"
)

// A Delay is a time in which our own process did not run although it was to: all
// that it noted then, it noted late.
type Delay struct {
	At     time.Duration // when it was to run
	Length time.Duration // how much later it did
}

const (
	pulseEvery = 10 * time.Millisecond
	pulseLate  = 20 * time.Millisecond // what is less late is no delay: sleeping isn't exact
)

// A Pulse measures how late our own process runs: a machine that is too slow must
// not look like a fault of the system, nor excuse one. Methods may be called by any
// goroutine.
type Pulse struct {
	now    func() time.Duration
	cancel context.CancelFunc
	beats  sync.WaitGroup

	mu     sync.Mutex // guards delays
	delays []Delay    // in order; one in 30 ms at most
}

// StartPulse measures by the given clock until Stop.
func StartPulse(now func() time.Duration) *Pulse {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pulse{now: now, cancel: cancel}
	p.beats.Go(func() { p.beat(ctx) })
	return p
}

// Stop ends the measuring.
func (p *Pulse) Stop() {
	p.cancel()
	p.beats.Wait()
}

func (p *Pulse) beat(ctx context.Context) {
	for {
		due := p.now() + pulseEvery
		if !sleep(ctx, pulseEvery) {
			return
		}
		p.note(Delay{due, p.now() - due})
	}
}

func (p *Pulse) note(d Delay) {
	if d.Length < pulseLate {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delays = append(p.delays, d)
}

// Delays lists what was measured, by a clock that began at the given time.
func (p *Pulse) Delays(from time.Duration) []Delay {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Delay
	for _, d := range p.delays {
		if d.At >= from {
			list = append(list, Delay{d.At - from, d.Length})
		}
	}
	return list
}

// Within returns a context that ends when that much time has gone by in which our
// own process ran.
func (p *Pulse) Within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	begin := p.now()
	var mu sync.Mutex // guards timer, which is set after it may have rung
	mu.Lock()
	defer mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		if left := begin + limit + delayed(p.Delays(begin), 0, forever) - p.now(); left > 0 {
			timer.Reset(left)
			return
		}
		cancel(context.DeadlineExceeded)
	})
	return ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		timer.Stop()
		cancel(context.Canceled)
	}
}

// delayed is how much of a time our own process did not run.
func delayed(delays []Delay, from, to time.Duration) (sum time.Duration) {
	for _, d := range delays {
		sum += max(min(to, d.At+d.Length)-max(from, d.At), 0)
	}
	return sum
}

// longestDelay is the longest that overlaps with a time.
func longestDelay(delays []Delay, from, to time.Duration) (longest time.Duration) {
	for _, d := range delays {
		if d.At < to && d.At+d.Length > from {
			longest = max(longest, d.Length)
		}
	}
	return longest
}

// ownDelaysOff takes from each outage the time in which our own process did not run:
// an answer may have been there.
func ownDelaysOff(list []Outage, delays []Delay) []Outage {
	for i := range list {
		o := &list[i]
		o.Length = max(o.Length-delayed(delays, o.From, o.From+o.Length), 0)
	}
	return list
}
