package engine

import "container/list"

// A Waiter is a command that waits. Served is called once, from inside Do or
// Sweep, when it could run: with its reply, and what it took. It must not call
// the engine.
type Waiter struct {
	Argv   [][]byte // not to be changed while it waits
	Served func(reply []byte, took Taken)

	places []place // in the queues of its keys; nil if it does not wait
}

type place struct {
	q  *queue
	el *list.Element
}

// Taken is what a command that had waited took away, so that it can be put back
// if nobody is there to have it. It is not of use after HOLD.
type Taken struct {
	Any        bool // it took something
	Key, Value []byte
	Left       bool // from the left end of a list
	Sorted     bool // from a sorted set, where it had this score
	Score      float64
}

// A queue is who waits for a kind of value under a key, or for a lock there to be
// let go: first come, first served.
type queue struct {
	awaited
	waiters list.List // of *Waiter
	ready   bool      // is in Engine.ready
}

type awaited struct {
	key  string
	kind kind
}

// Wait has a command wait for which Do has just said that it is blocked.
func (e *Engine) Wait(w *Waiter) {
	keys, _ := KeysOf(w.Argv)
	for _, key := range keys {
		what := awaited{string(key), Lookup(w.Argv[0]).waits}
		q := e.waits[what]
		if q == nil {
			q = &queue{awaited: what}
			e.waits[what] = q
		}
		w.places = append(w.places, place{q, q.waiters.PushBack(w)})
	}
}

// Cancel ends the wait: Served will not be called. It does nothing if it was.
func (e *Engine) Cancel(w *Waiter) {
	for _, p := range w.places {
		p.q.waiters.Remove(p.el)
		if p.q.waiters.Len() == 0 && e.waits[p.q.awaited] == p.q {
			delete(e.waits, p.q.awaited)
		}
	}
	w.places = nil
}

// signal says that a key was changed and now holds a kind of value, or that it is
// gone, which is for those who wait for a lock.
func (e *Engine) signal(key string, k kind) {
	if q := e.waits[awaited{key, k}]; q != nil && !q.ready {
		q.ready = true
		e.ready = append(e.ready, q)
	}
}

// serve lets those try again that wait for keys that were changed.
func (e *Engine) serve() {
	for i := 0; i < len(e.ready); i++ { // serving may append
		q := e.ready[i]
		q.ready = false
		e.serveQueue(q)
	}
	clear(e.ready)
	e.ready = e.ready[:0]
}

// serveQueue serves those who wait for a key, until one has to wait on: then
// there is nothing left. Who waits for a lock that somebody holds is passed over,
// since who holds it may wait behind.
func (e *Engine) serveQueue(q *queue) {
	for el := q.waiters.Front(); el != nil; {
		w := el.Value.(*Waiter)
		el = el.Next()
		for el != nil && el.Value == w { // it waits for the key twice
			el = el.Next()
		}
		c := &e.c
		*c = call{e: e, argv: argvFor(w.Argv, q.key), serving: true}
		c.run()
		reply, took, blocked := c.reply, c.took, c.blocked
		hold := c.spec != nil && c.spec.Name == "hold"
		*c = call{e: e}
		switch {
		case blocked && !hold:
			return
		case blocked || len(reply) > 0 && reply[0] == '-':
			continue
		}
		e.Cancel(w)
		w.Served(reply, took)
	}
}

// argvFor returns the command that waits, for one of its keys only.
func argvFor(argv [][]byte, key string) [][]byte {
	s := Lookup(argv[0])
	if s == nil || s.Last >= 0 {
		return argv
	}
	one := append([][]byte{}, argv[:s.First]...)
	one = append(one, []byte(key))
	return append(one, argv[len(argv)+s.Last+1:]...)
}
