package engine

import "math"

// How a type of value plugs in, in a file of its own (set.go is the shortest):
//
//   - Its structure implements collection and is kept in entry.obj. One that has
//     become empty is not there: changed removes the key.
//   - Its commands are Specs in a table literal, which spec.go names in table. A
//     handler is a func(*call): it checks its arguments, finds the key with
//     c.read or c.write, changes the structure, logs an effect and calls
//     c.e.changed(en), once at the end. What it appends to c.reply is the reply.
//   - Its effects are op codes (effect.go has the ranges) with an applier each in
//     a table literal, which effect.go names in ops. Handler and applier have to
//     leave the same structure, down to the order that scans see, so both change
//     it through the same methods. An applier checks all it reads.
//   - Its codec says how a value is written to a page and read back. page.go
//     names it in codecs.
//   - A blocking command calls c.block() if there is nothing for it. It need not
//     care for who waits: whenever a key is changed, those who wait for it try
//     again, in order, with c.serving set; then it notes in c.took what it took.

// An Engine is a database: keys and what they hold. It does nothing by itself,
// has no clock and no goroutine, and must not be used by two at a time.
type Engine struct {
	now  int64 // ms since 1970, the latest ever given
	ch   Channels
	keys map[string]*entry
	// Keys by their slots, each page in the order that SCAN goes by.
	pages   [Pages]page
	expires timeHeap
	bytes   int

	version uint64 // of the last change; even

	firstHold uint64 // least epoch of a lock
	gone      graves // the versions of keys that were removed

	fx      effects
	touched uint64

	waits  map[awaited]*queue // never an empty one
	ready  []*queue           // changed since it was last tried, in order
	loaded []string           // locks that count as renewed at the next Do

	// Of the command that runs; here so that it need not be allocated.
	c      call
	digits [20]byte
	pair   [2][]byte
}

// Channels is who listens to what is published. Patterns count in Publish and
// NumPat only.
type Channels interface {
	Publish(channel, message []byte) (receivers int)
	Channels() []string // with subscriptions
	NumSub(channel []byte) int
	NumPat() int
}

// New returns an empty engine. Versions start at seed: whoever takes over from
// another engine gives a larger one than any version of the other, so that what
// was watched there counts as changed. ch may be nil if nobody listens.
func New(seed uint64, ch Channels) *Engine {
	e := &Engine{
		ch:      ch,
		keys:    map[string]*entry{},
		waits:   map[awaited]*queue{},
		version: seed &^ 1,
	}
	e.gone.reset(e.version)
	e.c.e = e
	return e
}

// HoldsFrom sets the least epoch that a hold may have. Without it that is 1.
func (e *Engine) HoldsFrom(epoch uint64) { e.firstHold = epoch }

// Do runs a command at a time in ms since 1970 and appends its reply in RESP3.
// Time never goes back: an earlier one than before counts as the same.
//
// blocked says that the command has to wait (BLPOP, BRPOP, BZPOPMIN, HOLD), and
// that nothing was appended and nothing done. See [Engine.Wait].
//
// Do keeps nothing of argv. Those who waited for what the command did are served
// before Do returns.
func (e *Engine) Do(now int64, argv [][]byte, reply []byte) (_ []byte, blocked bool) {
	e.advance(now)
	c := &e.c
	*c = call{e: e, argv: argv, reply: reply}
	c.run()
	reply, blocked = c.reply, c.blocked
	*c = call{e: e}
	if len(e.ready) > 0 {
		e.serve()
	}
	return reply, blocked
}

// Sweep removes up to limit keys whose time is over, at a time in ms since 1970,
// and serves those who waited for that. more says that there are more of them.
func (e *Engine) Sweep(now int64, limit int) (more bool) {
	e.advance(now)
	for ; limit > 0 && e.due(); limit-- {
		e.expire(e.expires[0])
	}
	if len(e.ready) > 0 {
		e.serve()
	}
	return e.due()
}

// NextEvent returns when Sweep has something to do, in ms since 1970; zero is
// never.
func (e *Engine) NextEvent() int64 {
	if len(e.expires) == 0 {
		return 0
	}
	return e.expires[0].expires + 1
}

// Len returns how many keys there are, counting those whose time is over and
// that have not been removed yet.
func (e *Engine) Len() int { return len(e.keys) }

// Bytes returns about how much memory keys and values take.
func (e *Engine) Bytes() int { return e.bytes }

// Waiting returns how many keys somebody waits for.
func (e *Engine) Waiting() int { return len(e.waits) }

func (e *Engine) advance(now int64) {
	e.now = max(e.now, now)
	if e.loaded != nil {
		e.renewLoaded()
	}
}

// due reports whether the key that expires first has.
func (e *Engine) due() bool { return len(e.expires) > 0 && e.expires[0].expires < e.now }

// maxTime is the last time a key may expire at, in ms since 1970: there is one
// more, at which it is gone.
const maxTime = math.MaxInt64 - 1
