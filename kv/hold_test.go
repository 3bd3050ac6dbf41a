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

	"roomd/kv/resp"
)

// A cable is the way to a store, which may be cut: requests are lost then, or
// their answers, and nothing is heard.
type cable struct {
	to      doer
	cut     atomic.Bool
	answers atomic.Bool // only the answers are lost
}

func (c *cable) do(ctx context.Context, argv [][]byte) ([]byte, error) {
	if c.cut.Load() && !c.answers.Load() {
		return nil, nothing(ctx)
	}
	reply, err := c.to.do(ctx, argv)
	if c.cut.Load() {
		return nil, nothing(ctx)
	}
	return reply, err
}

// nothing waits for an answer that does not come.
func nothing(ctx context.Context) error {
	select {
	case <-time.After(2 * ttl):
		return errors.New("no answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func wire(m *Memory) (*cable, *commands) {
	w := &cable{to: m}
	return w, new(newCommands(w, Config{}))
}

const ttl = 3 * time.Second // of synctest's time

// A witness sees who believes to hold a key.
type witness struct {
	mu     sync.Mutex
	t      *testing.T
	epoch  uint64
	holder context.Context // of the last epoch; nil if it has returned
}

func (w *witness) enter(ctx context.Context, epoch uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch <= w.epoch {
		w.t.Errorf("epoch %d after %d", epoch, w.epoch)
	}
	if w.holder != nil && w.holder.Err() == nil {
		w.t.Errorf("epoch %d began while %d was held", epoch, w.epoch)
	}
	w.epoch, w.holder = epoch, ctx
}

func (w *witness) leave(epoch uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.epoch == epoch {
		w.holder = nil
	}
}

// TestTwoHoldersNeverOverlap has holders whose ways to the store fail at random,
// who work for random times, ignore for a while that they have lost their hold,
// or give up waiting.
func TestTwoHoldersNeverOverlap(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			w := &witness{t: t}
			var all sync.WaitGroup
			var held, lost atomic.Int64
			for i := range uint64(6) {
				all.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, i))
					for range 20 {
						switch err := holdAtRandom(t, m, w, rnd); {
						case errors.Is(err, ErrHoldLost):
							lost.Add(1)
						case err == nil:
							held.Add(1)
						}
					}
				})
			}
			all.Wait()
			if held.Load() == 0 || lost.Load() == 0 {
				t.Errorf("seed %d: %d holds went well and %d were lost: the test shows nothing", seed, held.Load(), lost.Load())
			}
		})
	}
}

func holdAtRandom(t *testing.T, m *Memory, w *witness, rnd *rand.Rand) error {
	way, c := wire(m)
	way.answers.Store(rnd.IntN(2) == 0)
	part := func() time.Duration { return time.Duration(rnd.Int64N(int64(2 * ttl))) }
	ctx := t.Context()
	if rnd.IntN(4) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, part())
		defer cancel()
	}
	cutFor := func(after, d time.Duration) (stop func()) {
		cut := time.AfterFunc(after, func() { way.cut.Store(true) })
		mend := time.AfterFunc(after+d, func() { way.cut.Store(false) })
		return func() { cut.Stop(); mend.Stop() }
	}
	if rnd.IntN(4) == 0 {
		defer cutFor(part(), part())()
	}
	work, deaf, cut := part(), rnd.IntN(5) == 0, rnd.IntN(3) == 0
	return c.Hold(ctx, "k", ttl, func(ctx context.Context, epoch uint64) error {
		w.enter(ctx, epoch)
		defer w.leave(epoch)
		if cut {
			defer cutFor(work/4, part())()
		}
		done := ctx.Done()
		if deaf {
			done = nil
		}
		select {
		case <-time.After(work):
		case <-done:
		}
		return nil
	})
}

func TestHoldLastsAsLongAsItsFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		err := m.Hold(t.Context(), "k", ttl, func(ctx context.Context, epoch uint64) error {
			select {
			case <-time.After(20 * ttl):
			case <-ctx.Done():
				t.Errorf("the hold ended: %v", context.Cause(ctx))
			}
			return nil
		})
		if err != nil {
			t.Errorf("Hold = %v", err)
		}
		want(t, "Exists after Hold", 0)(m.Exists(t.Context(), "k"))
	})
}

func TestHoldThatIsNotHeardOfEndsBeforeItsTime(t *testing.T) {
	for _, answers := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			way, c := wire(m)
			way.answers.Store(answers)
			var cut time.Time
			err := c.Hold(t.Context(), "k", ttl, func(ctx context.Context, epoch uint64) error {
				time.Sleep(2 * ttl) // of synctest's time
				cut = time.Now()
				way.cut.Store(true)
				<-ctx.Done()
				if took := time.Since(cut); took >= ttl {
					t.Errorf("the hold ended %v after the store was last heard of, want less than %v", took, ttl)
				}
				if cause := context.Cause(ctx); !errors.Is(cause, ErrHoldLost) {
					t.Errorf("f's context ended for %v, want ErrHoldLost", cause)
				}
				return nil
			})
			if !errors.Is(err, ErrHoldLost) {
				t.Errorf("Hold = %v, want ErrHoldLost", err)
			}
		})
	}
}

func TestHoldSurvivesAnOutageShorterThanItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		way, c := wire(m)
		err := c.Hold(t.Context(), "k", ttl, func(ctx context.Context, epoch uint64) error {
			for range 5 {
				way.cut.Store(true)
				time.Sleep(ttl / 3) // of synctest's time
				way.cut.Store(false)
				time.Sleep(ttl)
			}
			return ctx.Err()
		})
		if err != nil {
			t.Errorf("Hold = %v", err)
		}
	})
}

// TestHoldThatTheStoreHasForgottenIsLost ends holds behind their holders' backs.
func TestHoldThatTheStoreHasForgottenIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		var token []byte
		c := newCommands(doerFunc(func(ctx context.Context, argv [][]byte) ([]byte, error) {
			if string(argv[0]) == "HOLD" {
				token = argv[2]
			}
			return m.do(ctx, argv)
		}), Config{})
		forget := func() { do(t, m, "UNHOLD", "k", string(token)) }
		other := errors.New("other")
		for name, test := range map[string]struct {
			f    func(ctx context.Context) error
			want error
		}{
			"and f waits":            {func(ctx context.Context) error { <-ctx.Done(); return nil }, ErrHoldLost},
			"before it is noticed":   {func(ctx context.Context) error { return nil }, ErrHoldLost},
			"and f fails on its own": {func(ctx context.Context) error { return other }, other},
		} {
			err := c.Hold(t.Context(), "k", ttl, func(ctx context.Context, _ uint64) error {
				forget()
				return test.f(ctx)
			})
			if !errors.Is(err, test.want) {
				t.Errorf("%s: Hold = %v, want %v", name, err, test.want)
			}
		}
	})
}

func TestKeyIsLetGoAlsoWhenTheFunctionPanics(t *testing.T) {
	m := newMemory(t)
	func() {
		defer func() {
			if got := recover(); got != "oh" {
				t.Errorf("recovered %v, want the panic", got)
			}
		}()
		err := m.Hold(t.Context(), "k", time.Hour, func(context.Context, uint64) error { panic("oh") })
		t.Errorf("Hold = %v, want a panic", err)
	}()
	want(t, "Exists", 0)(m.Exists(t.Context(), "k"))
}

func TestKeyIsHeldUntilTheFunctionHasReturnedThoughItsCallerGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		ctx, cancel := context.WithCancel(t.Context())
		err := m.Hold(ctx, "k", ttl, func(ctx context.Context, _ uint64) error {
			cancel()
			<-ctx.Done()
			if cause := context.Cause(ctx); errors.Is(cause, ErrHoldLost) {
				t.Errorf("f's context ended for %v, want its caller's", cause)
			}
			time.Sleep(5 * ttl) // of synctest's time
			want(t, "Exists during f", 1)(m.Exists(t.Context(), "k"))
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Hold = %v, want Canceled", err)
		}
		want(t, "Exists after f", 0)(m.Exists(t.Context(), "k"))
	})
}

// TestGivingUpLeavesNothingHeld loses the answer to HOLD: the key is held then,
// by nobody who knows.
func TestGivingUpLeavesNothingHeld(t *testing.T) {
	m := newMemory(t)
	c := newCommands(doerFunc(func(ctx context.Context, argv [][]byte) ([]byte, error) {
		reply, err := m.do(ctx, argv)
		if string(argv[0]) == "HOLD" {
			return nil, errors.New("answer was lost")
		}
		return reply, err
	}), Config{})
	err := c.Hold(t.Context(), "k", time.Hour, func(context.Context, uint64) error {
		t.Error("f was called")
		return nil
	})
	if err == nil {
		t.Error("Hold without an answer: no error")
	}
	want(t, "Exists", 0)(m.Exists(t.Context(), "k"))
}

func TestHoldThatWaitedLongBeginsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		var renewed atomic.Int64
		c := newCommands(doerFunc(func(ctx context.Context, argv [][]byte) ([]byte, error) {
			reply, err := m.do(ctx, argv)
			if string(argv[0]) == "RENEW" && renewed.Add(1) == 1 {
				// It was lost between the answer to HOLD and this.
				_, err := m.do(ctx, bytesOf([]string{"UNHOLD", "k", string(argv[2])}))
				return resp.AppendNull(nil), err
			}
			return reply, err
		}), Config{})
		do(t, m, "HOLD", "k", "somebody", decimal(10*ttl.Milliseconds()))
		called := time.Time{}
		begun := time.Now()
		err := c.Hold(t.Context(), "k", ttl, func(ctx context.Context, epoch uint64) error {
			called = time.Now()
			if epoch != 3 || ctx.Err() != nil {
				t.Errorf("f was called with epoch %d and %v, want 3, which is held", epoch, ctx.Err())
			}
			return nil
		})
		if err != nil || called.Sub(begun) < 10*ttl {
			t.Errorf("Hold = %v, f called after %v, want 10 ttl", err, called.Sub(begun))
		}
	})
}

func TestHoldOfAnotherKindOfValueIsRefused(t *testing.T) {
	m := newMemory(t)
	if err := m.Set(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	err := m.Hold(t.Context(), "k", ttl, func(context.Context, uint64) error { return fmt.Errorf("was called") })
	if !errors.Is(err, ErrWrongType) {
		t.Errorf("Hold = %v, want ErrWrongType", err)
	}
}
