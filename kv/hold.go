package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// minHold is the shortest time to hold a key for: a shorter one would be over
	// before it could be renewed.
	minHold = 10 * time.Millisecond

	// maxFarewell is how long letting go may take. Nothing is wrong if it fails:
	// the key is free when its time is over.
	maxFarewell = time.Second
)

// Hold implements [Store].
//
// The hold is renewed each third of ttl. Its end is reckoned here, from before
// the last request that was answered was sent, and comes a tenth of ttl before
// the store's, so that clocks that run a little apart and late timers do no
// harm. A process that was stopped notices late that it has lost its hold: what
// it writes meanwhile has to carry the epoch, to be refused where that matters.
//
// When ctx ends, f's context does; the key is held until f has returned. Holding
// a key twice from one place waits for itself. ttl is 10 ms or more.
func (c *commands) Hold(ctx context.Context, key string, ttl time.Duration, f func(ctx context.Context, epoch uint64) error) error {
	if ttl < minHold {
		return fmt.Errorf("hold %.80q: %v is too short a time, %v is the least", key, ttl, minHold)
	}
	h := &hold{c: c, key: key, ttl: ttl, token: rand.Text()}
	until, err := h.take(ctx)
	if err != nil {
		if _, answered := errors.AsType[*Error](err); !answered {
			h.letGo(ctx) // what failed may have happened
		}
		return fmt.Errorf("hold: %w", err)
	}
	return h.run(ctx, until, f)
}

// A hold is one call of Hold.
type hold struct {
	c     *commands
	key   string
	ttl   time.Duration
	token string // who holds the key
	epoch uint64
}

// take gets hold of the key and returns until when it has it.
func (h *hold) take(ctx context.Context) (until time.Time, err error) {
	for {
		sent := time.Now()
		n, err := h.c.number(ctx, "HOLD", h.key, h.token, milliseconds(h.ttl))
		if err != nil {
			return until, err
		}
		h.epoch = uint64(n)
		if time.Since(sent) < h.ttl/4 {
			return h.end(sent), nil
		}
		// It has waited. What is sure to be left is too little: ask for more.
		until, ok, err := h.renew(ctx)
		if err != nil || ok {
			return until, err
		}
	}
}

// end returns when a hold is over that was asked for at a time.
func (h *hold) end(sent time.Time) time.Time { return sent.Add(h.ttl - h.ttl/10) }

// renew returns until when the hold lasts now, and whether it is still there.
func (h *hold) renew(ctx context.Context) (until time.Time, ok bool, err error) {
	sent := time.Now()
	v, err := h.c.call(ctx, nil, "RENEW", h.key, h.token, milliseconds(h.ttl))
	if err != nil {
		return until, false, err
	}
	if v.Null() || uint64(v.Int) != h.epoch {
		return until, false, nil
	}
	return h.end(sent), true, nil
}

// run calls f while the hold lasts, and ends it.
func (h *hold) run(ctx context.Context, until time.Time, f func(ctx context.Context, epoch uint64) error) (err error) {
	scope, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	over := time.AfterFunc(time.Until(until), func() { lose(ErrHoldLost) })
	// Renewing goes on when ctx has ended: f has not.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewer sync.WaitGroup
	renewer.Go(func() { h.keep(renewing, until, over, lose) })

	defer func() { // also if f panics
		lost := errors.Is(context.Cause(scope), ErrHoldLost)
		over.Stop()
		stop()
		renewer.Wait()
		if held, known := h.letGo(ctx); known && !held {
			lost = true // the store has ended it, and nobody has noticed
		}
		if err == nil && lost {
			err = fmt.Errorf("hold %.80q: %w", h.key, ErrHoldLost)
		}
	}()
	return f(scope, h.epoch)
}

// keep renews the hold until ctx ends or it is lost. Over is the timer that ends
// it if nothing is heard.
func (h *hold) keep(ctx context.Context, until time.Time, over *time.Timer, lose context.CancelCauseFunc) {
	wait := h.ttl / 3
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		// An answer that does not come should leave time for another try.
		try, cancel := context.WithTimeout(ctx, h.ttl/6)
		next, ok, err := h.renew(try)
		cancel()
		switch {
		case err == nil && !ok:
			lose(ErrHoldLost)
			return
		case err != nil && !time.Now().Before(until):
			return // over has ended it
		case err != nil:
			wait = h.ttl / 20
		case !over.Reset(time.Until(next)):
			over.Stop()
			return // over has ended it before the answer came
		default:
			until, wait = next, h.ttl/3
		}
	}
}

// letGo ends the hold at the store, and reports whether it was there until now.
// It is given a moment even if ctx has ended. An error is nobody's concern: the
// store ends the hold by itself.
func (h *hold) letGo(ctx context.Context) (held, known bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(h.ttl, maxFarewell))
	defer cancel()
	held, err := h.c.yes(ctx, "UNHOLD", h.key, h.token)
	return held, err == nil
}
