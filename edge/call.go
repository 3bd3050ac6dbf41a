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

// A request is what a loop asks workers. Rooms and sessions have one at most.
type request struct {
	subject string
	body    []byte
	open    bool                         // a room; such a request does no harm twice
	wanted  func() bool                  // asked when its turn comes; nil: always
	queued  *bool                        // tells whether it waits for its turn; may be nil
	done    func(body []byte, err error) // runs on the loop, never during call; not at all if it was wanted no more
}

// call sends a request to workers. At most Config.MaxOpens are out at once, the
// others wait their turn, those to open a room only while crowded does not hold. A
// request to open is given up when a worker is lost, as that one may have had it,
// and made again.
func (lp *sessions) call(q request) {
	if lp.opens >= lp.cfg.MaxOpens {
		if q.queued != nil {
			*q.queued = true
		}
		lp.waiting.push(q)
		return
	}
	lp.opens++
	a := &answer{done: q.done}
	if q.open {
		lp.asked[a] = struct{}{}
	}
	answered := func() { lp.answer(a, a.body, a.err) }
	lp.conn.Call(q.subject, q.body, callTimeout, func(body []byte, err error) {
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
	lp.notePace()
	done(body, err)
	for lp.opens < lp.cfg.MaxOpens {
		q, ok := lp.waiting.next()
		if !ok {
			return
		}
		if q.queued != nil {
			*q.queued = false
		}
		if q.wanted == nil || q.wanted() {
			lp.call(q)
		}
	}
}

// notePace keeps the time from one answer to the next while requests wait, on
// average.
func (lp *sessions) notePace() {
	if lp.waiting.len() > 0 {
		took := min(lp.l.ms-lp.answeredAt, maxRetry)
		lp.openEvery += (float32(took) - lp.openEvery) / paceOver
	}
	lp.answeredAt = lp.l.ms
}

const paceOver = 64 // answers; one turn of a loop has several

// crowded reports whether a request that is made now would wait for its turn
// longer than half of what a client waits for its join, or whether more wait than
// may. A client that hears it soon can come again when it is of use.
func (lp *sessions) crowded() bool {
	n := lp.waiting.len()
	return n >= lp.cfg.MaxOpenQueue || float32(n)*lp.openEvery > float32(millis(lp.cfg.CommandTimeout)/2)
}

// shed refuses the requests that came last, until the others will have their turn
// in time: how long answers take shows only after many have come at once.
func (lp *sessions) shed() {
	for lp.waiting.len() > 0 && lp.crowded() {
		q := lp.waiting.last()
		if q.queued != nil {
			*q.queued = false
		}
		if q.wanted == nil || q.wanted() {
			q.done(nil, errCrowded)
		}
	}
}

var errCrowded = &bus.Error{Code: bus.Overloaded, Message: "too many rooms are being opened"}

// A requestQueue holds requests that wait for their turn, oldest first.
type requestQueue struct {
	list []request
	head int // of list: the oldest
}

func (q *requestQueue) len() int { return len(q.list) - q.head }

func (q *requestQueue) push(r request) { q.list = append(q.list, r) }

// last takes the newest out; there is one.
func (q *requestQueue) last() request {
	at := len(q.list) - 1
	r := q.list[at]
	q.list[at] = request{}
	q.list = q.list[:at]
	return r
}

func (q *requestQueue) next() (r request, ok bool) {
	if q.len() == 0 {
		return request{}, false
	}
	r = q.list[q.head]
	q.list[q.head] = request{}
	if q.head++; q.head == len(q.list) {
		*q = requestQueue{} // it grew with a storm
	}
	return r, true
}

// giveUpOpens takes requests to open rooms for lost.
func (lp *sessions) giveUpOpens() {
	for _, a := range slices.Collect(maps.Keys(lp.asked)) { // those that follow are not
		lp.answer(a, nil, &bus.Error{Code: bus.Unavailable})
	}
}

const callTimeout = 5 * time.Second
