package kv_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"roomd/kv"
)

const holdTTL = 5 * time.Second

var holdCases = []conformanceCase{
	{"hold/is a scope with an epoch that grows", func(t *testing.T, s site) {
		lacksHold(t, s)
		var last uint64
		for range 5 {
			err := s.Hold(t.Context(), "lock", holdTTL, func(_ context.Context, epoch uint64) error {
				if epoch <= last {
					t.Errorf("epoch is %d after %d", epoch, last)
				}
				last = epoch
				return nil
			})
			done(t, err)
		}
	}},
	{"hold/one at a time", func(t *testing.T, s site) {
		lacksHold(t, s)
		inside, sum, last := 0, 0, uint64(0) // guarded by the hold: the race detector looks
		inParallel(t, 8, func(int) error {
			for range 5 {
				err := s.Hold(t.Context(), "lock", holdTTL, func(_ context.Context, epoch uint64) error {
					if inside++; inside != 1 {
						t.Errorf("%d hold at once", inside)
					}
					if epoch <= last {
						t.Errorf("epoch is %d after %d", epoch, last)
					}
					last = epoch
					sum++
					inside--
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if sum != 40 {
			t.Errorf("held %d times, want 40", sum)
		}
	}},
	{"hold/returns the function's error, and lets go", func(t *testing.T, s site) {
		lacksHold(t, s)
		err := s.Hold(t.Context(), "lock", holdTTL, func(context.Context, uint64) error { return errRefused })
		wantError(t, err, errRefused)
		done(t, s.Hold(t.Context(), "lock", time.Hour, func(context.Context, uint64) error { return nil }))
		done(t, s.Hold(t.Context(), "lock", holdTTL, func(context.Context, uint64) error { return nil }))
	}},
	{"hold/lasts for longer than its ttl while the store is there", func(t *testing.T, s site) {
		lacksHold(t, s)
		const ttl = 300 * time.Millisecond
		free := make(chan struct{})
		holding := make(chan struct{})
		first := within(func() error {
			return s.Hold(t.Context(), "lock", ttl, func(ctx context.Context, _ uint64) error {
				close(holding)
				select {
				case <-free:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			})
		})
		receive(t, holding, "hold")
		second := make(chan uint64, 1)
		other := within(func() error {
			return s.Hold(t.Context(), "lock", ttl, func(_ context.Context, epoch uint64) error {
				second <- epoch
				return nil
			})
		})
		pass(4 * ttl)
		select {
		case <-second:
			t.Error("two hold at once")
		case err := <-first:
			t.Errorf("the hold ended: %v", err)
		default:
		}
		close(free)
		done(t, receive(t, first, "end of the first hold"))
		done(t, receive(t, other, "end of the second hold"))
	}},
	{"hold/who gives up waiting never holds", func(t *testing.T, s site) {
		lacksHold(t, s)
		done(t, s.Hold(t.Context(), "lock", holdTTL, func(context.Context, uint64) error {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := s.Hold(ctx, "lock", holdTTL, func(context.Context, uint64) error {
				t.Error("two hold at once")
				return nil
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Hold = %v, want context.DeadlineExceeded", err)
			}
			return nil
		}))
		done(t, s.Hold(t.Context(), "lock", holdTTL, func(context.Context, uint64) error { return nil }))
	}},
	{"hold/ends with its caller's context", func(t *testing.T, s site) {
		lacksHold(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Hold(ctx, "lock", holdTTL, func(held context.Context, _ uint64) error {
			cancel()
			<-held.Done()
			return held.Err()
		})
		wantError(t, err, context.Canceled)
		done(t, s.Hold(t.Context(), "lock", holdTTL, func(context.Context, uint64) error { return nil }))
	}},
	{"hold/keys are independent, and any bytes", func(t *testing.T, s site) {
		lacksHold(t, s)
		done(t, holdAll(t, s, odd))
	}},
	{"hold/a key that holds data is of another type, and so is a held one for data", func(t *testing.T, s site) {
		lacksHold(t, s)
		ctx := t.Context()
		for _, key := range oneOfEach(t, s) {
			err := s.Hold(ctx, key, holdTTL, func(context.Context, uint64) error {
				t.Errorf("a %s is held", key)
				return nil
			})
			wantError(t, err, kv.ErrWrongType)
		}
		untouched(t, s)
		done(t, s.Hold(ctx, "lock", holdTTL, func(context.Context, uint64) error {
			_, _, err := s.Get(ctx, "lock")
			wantError(t, err, kv.ErrWrongType)
			failed[int64](t, kv.ErrWrongType)(s.Incr(ctx, "lock"))
			failed[int](t, kv.ErrWrongType)(s.SAdd(ctx, "lock", "x"))
			failed[int](t, kv.ErrWrongType)(s.RPush(ctx, "lock", "x"))
			return nil
		}))
	}},
}

// holdAll holds the keys inside each other.
func holdAll(t *testing.T, s site, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.Hold(t.Context(), keys[0], holdTTL, func(context.Context, uint64) error { return holdAll(t, s, keys[1:]) })
}
