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
	until   uint32                       // loop's milliseconds when nobody waits for it any more; 0: never
	queued  *bool                        // set if it has to wait for its turn; may be nil
	done    func(body []byte, err error) // runs on the loop, never during call; not at all if it was wanted no more
}

// call sends a request to workers. At most Config.MaxOpens are out at once, the
// others wait their turn, those to open a room unless crowded holds. A
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
	lp.pace.answers++
	done(body, err)
	for lp.opens < lp.cfg.MaxOpens {
		q, ok := lp.waiting.next()
		if !ok {
			return
		}
		if q.wanted == nil || q.wanted() {
			lp.call(q)
		}
	}
}

// An opensPace is how fast a loop's requests are answered while some wait for their
// turn: their number and the milliseconds it took, those of the last seconds more
// than those before.
type opensPace struct {
	waited    bool // all of the second before
	answers   int  // in this second
	sum, ms   float32
	perAnswer float32 // milliseconds; 0: not known
}

// second is called once a second, and told whether requests wait.
func (p *opensPace) second(waiting bool) {
	if waiting && p.waited && p.answers > 0 {
		p.sum, p.ms = p.sum/2+float32(p.answers), p.ms/2+1000
		p.perAnswer = p.ms / p.sum
	}
	if !waiting {
		p.sum, p.ms, p.perAnswer = 0, 0, 0
	}
	p.waited, p.answers = waiting, 0
}

// inTime reports whether a request with n others before it may have its turn before
// a client gives up at until. Zero stands for members that were in before, who wait
// however long it takes. In doubt it may: a pace looks slower than it is while
// thousands of joins come in, who is kept is looked at again a second later, and who
// is refused comes again and costs as much once more.
func (lp *sessions) inTime(n int, until uint32) bool {
	wait := float32(n) * lp.pace.perAnswer
	return until == 0 || wait == 0 || wait <= hopeless*float32(int32(until-lp.l.ms))
}

// hopeless is how many times the time that is left a request must be expected to
// wait to be refused before.
const hopeless = 3

// crowded reports whether a request that is made now is better refused: a client
// that hears it soon can come again when it is of use.
func (lp *sessions) crowded(until uint32) bool {
	n := lp.waiting.len()
	return n >= lp.cfg.MaxOpenQueue || !lp.inTime(n, until)
}

// shed refuses requests that will not have their turn in time: how fast answers
// come shows only when many have been asked for. It is called once a second.
func (lp *sessions) shed() {
	lp.pace.second(lp.waiting.len() > 0)
	if lp.pace.perAnswer == 0 {
		return
	}
	var late []request
	kept := 0
	lp.waiting.filter(func(q *request) bool {
		if lp.inTime(kept, q.until) {
			kept++
			return true
		}
		late = append(late, *q)
		return false
	})
	for _, q := range late {
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

// filter keeps those that keep says to.
func (q *requestQueue) filter(keep func(*request) bool) {
	rest := q.list[:0]
	for i := q.head; i < len(q.list); i++ {
		if keep(&q.list[i]) {
			rest = append(rest, q.list[i])
		}
	}
	clear(q.list[len(rest):])
	q.list, q.head = rest, 0
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
