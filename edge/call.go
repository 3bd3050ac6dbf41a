package edge

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"roomd/bus"
)

// Requests to workers, and how their answers get to the loop.

// An answer to a request comes on another goroutine, and perhaps before the
// request has returned. Whoever is second hands it to the loop.
type answer struct {
	state atomic.Int32 // 0 at first, 1 when either has been here
	body  []byte
	err   error
	done  func(body []byte, err error) // the loop's; nil when it has run
}

// call sends a request to workers; done runs on the loop, never during call.
// At most Config.MaxOpens are out at once, the others wait their turn; rooms
// and sessions have at most one each, which bounds those. A request to open is
// given up when a worker is lost, as that one may have had it, and made again;
// it does no harm twice.
func (lp *sessions) call(subject string, body []byte, open bool, done func(body []byte, err error)) {
	if lp.opens >= lp.cfg.MaxOpens {
		lp.waiting = append(lp.waiting, func() { lp.call(subject, body, open, done) })
		return
	}
	lp.opens++
	a := &answer{done: done}
	if open {
		lp.asked[a] = struct{}{}
	}
	answered := func() { lp.answer(a, a.body, a.err) }
	lp.conn.Call(subject, body, callTimeout, func(body []byte, err error) {
		a.body, a.err = body, err
		if !a.state.CompareAndSwap(0, 1) {
			lp.l.do(answered)
		}
	})
	if !a.state.CompareAndSwap(0, 1) {
		lp.early = append(lp.early, answered)
	}
}

// answer ends a request, once.
func (lp *sessions) answer(a *answer, body []byte, err error) {
	done := a.done
	if done == nil {
		return
	}
	a.done = nil
	delete(lp.asked, a)
	lp.opens--
	done(body, err)
	if len(lp.waiting) > 0 && lp.opens < lp.cfg.MaxOpens {
		next := lp.waiting[0]
		lp.waiting = slices.Delete(lp.waiting, 0, 1)
		next()
	}
}

// giveUpOpens takes requests to open rooms for lost.
func (lp *sessions) giveUpOpens() {
	for _, a := range slices.Collect(maps.Keys(lp.asked)) { // those that follow are not
		lp.answer(a, nil, &bus.Error{Code: bus.Unavailable})
	}
}

const callTimeout = 5 * time.Second
