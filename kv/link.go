package kv

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"roomd/bus"
)

// A link is a store's way to one shard: a session there, and what was asked of
// it and has no answer. Its goroutine, run, numbers what is asked, sends all that
// has gathered in one request, and asks again when the shard's owner has died,
// has changed or was not heard. So everything is run once, in the order in which
// it was asked, or ends with its caller told that nobody knows.
//
// What waits for an element, for as long as that takes, has a link of its own:
// elsewhere a shard may forget all replies up to the oldest command without one.
type link struct {
	conn    *bus.Conn
	name    string // of the shard
	subject string // where it listens
	blocks  bool   // for blocking commands
	in      chan *bus.Msg
	wake    chan struct{}      // something is in queue or given up, or the link closes
	opened  chan error         // from ensureOpen
	found   chan bus.Listening // who listens where the shard should
	back    chan struct{}      // the connection was lost and is back

	mu      sync.Mutex // guards what follows
	queue   []*call    // asked, not yet numbered; bounded by maxCalls
	ending  []ending   // what is not to wait any longer
	asked   int        // calls without an answer
	closing bool

	// What follows belongs to run.
	inbox     string
	sub       *bus.Subscription
	session   uint64
	greeted   bool             // the shard has the session
	last      uint64           // number given
	calls     map[uint64]*call // numbered, without an answer
	fresh     []*call          // of them, those to be sent for the first time
	floor     uint64           // numbers up to this have their answer
	done      []uint64         // those above that have too, and the shard was not told
	listens   map[listened]*call
	tenure    uint64
	heard     time.Time // last answer; or when the wait for one began
	unheard   time.Time // the first request since the last answer; zero: there was none
	looks     int       // times that NATS was asked who listens, since the last answer
	looking   bool
	looked    time.Time // when the shard was last looked for
	sent      time.Time // last request
	opening   bool
	forgotten bool    // the shard has just said so
	withheld  []*call // not asked again before it is known who the owner is
	body      []byte
}

// A call is something asked of a shard.
type call struct {
	op     byte
	body   []byte // of the op, without its number
	number uint64
	until  time.Time // zero: for ever
	first  time.Time // sent in this session
	asked  time.Time // last
	state  callState
	sent   bool
	once   bool     // it must not be asked of two owners: it has published
	what   listened // of an opListen
	ends   bool     // it says that there are no subscriptions any more
	parts  []byte   // of a large reply, without a gap from the first on
	size   uint64   // of that
	reply  []byte   // handed over, not yet confirmed
	vain   bool     // nobody wants it any more
	done   func([]byte, error)
}

// An ending says of a call that it is not to wait any longer: its own timeout is
// over, or, in vain, its caller has gone.
type ending struct {
	c    *call
	vain bool
}

type callState byte

const (
	asking     callState = iota
	confirming           // it was handed over
	cancelling           // its time is over, and the shard is being told
	over
)

// Limits and times of a link.
const (
	maxCalls    = 1 << 14                // without an answer, of one link
	maxRequest  = 128 << 10              // bytes of ops after which a request goes out
	lookAfter   = 50 * time.Millisecond  // deadlines are looked at, and silence noticed
	lateAfter   = 100 * time.Millisecond // NATS is asked who listens to the shard; again after four times as long
	maxLooks    = 3
	aliveEvery  = 500 * time.Millisecond // while something waits, the shard hears of us
	silentFor   = time.Second            // the shard is looked for
	openFor     = 3 * time.Second
	cancelFor   = 2 * time.Second // that the end of a wait may take
	reopenEvery = 50 * time.Millisecond
	askEvery    = 5 * time.Second // what waits for an element, in case its request or an answer was lost
	requestLife = 5 * time.Second // after that nobody runs it
	forgetAfter = time.Minute     // less than it takes a shard to forget a session that is silent
)

func newLink(conn *bus.Conn, shard int, blocks bool) *link {
	return &link{
		conn: conn, name: strconv.Itoa(shard), subject: conn.Subjects().In(ShardKey(shard)), blocks: blocks,
		in: make(chan *bus.Msg, 1<<14), wake: make(chan struct{}, 1), opened: make(chan error, 1), found: make(chan bus.Listening, 1), back: make(chan struct{}, 1),
		calls: make(map[uint64]*call), listens: make(map[listened]*call),
	}
}

// start asks for something; done is called once, from run, and must not block.
func (l *link) start(c *call) {
	l.mu.Lock()
	if l.closing || l.asked >= maxCalls {
		closing := l.closing
		l.mu.Unlock()
		if closing {
			c.done(nil, bus.Errorf(bus.Unavailable, "store is closed"))
		} else {
			c.done(nil, bus.Errorf(bus.Overloaded, "too many commands wait for their answer"))
		}
		return
	}
	l.asked++
	l.queue = append(l.queue, c)
	l.mu.Unlock()
	l.signal()
}

// stop ends the wait of a call: done follows, with null unless it has got
// something just now. In vain means that its caller has gone.
func (l *link) stop(c *call, vain bool) {
	l.mu.Lock()
	l.ending = append(l.ending, ending{c, vain})
	l.mu.Unlock()
	l.signal()
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.signal()
}

// run serves the link until close.
func (l *link) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var opening sync.WaitGroup
	defer opening.Wait()
	defer cancel()
	defer l.conn.OnChange(func(connected bool) {
		if connected {
			select {
			case l.back <- struct{}{}:
			default:
			}
		}
	})()
	l.begin()
	tick := time.NewTicker(lookAfter)
	defer tick.Stop()
	ticking := true
	for {
		select {
		case m := <-l.in:
			l.receive(m)
			for range min(len(l.in), 256) {
				l.receive(<-l.in)
			}
		case <-l.wake:
		case err := <-l.opened:
			l.opening = false
			if err == nil {
				l.again()
			}
		case found := <-l.found:
			l.foundOut(found)
		case <-l.back:
			l.again()
		case <-tick.C:
			l.look(time.Now())
		}
		if closing := l.takeQueue(); closing {
			l.finish()
			return
		}
		l.send()
		if l.wantsOpen() {
			l.opening, l.looked = true, time.Now()
			opening.Go(func() { l.opened <- l.ensureOpen(ctx) })
		}
		if busy := len(l.calls)+len(l.listens) > 0; busy != ticking { // an idle link costs nothing
			if ticking = busy; busy {
				tick.Reset(lookAfter)
			} else {
				tick.Stop()
			}
		}
	}
}

// begin begins a session.
func (l *link) begin() {
	var random [8]byte
	rand.Read(random[:]) // never fails since Go 1.24
	l.session = binary.LittleEndian.Uint64(random[:]) | 1
	l.inbox = l.conn.Subjects().StoreInbox(strconv.FormatUint(l.session, 36))
	l.greeted, l.tenure = false, 0
	if l.sub != nil {
		_ = l.sub.Unsubscribe() // fails only if the connection is closed
	}
	var err error
	if l.sub, err = l.conn.Subscribe(l.inbox, "", l.in); err != nil {
		l.sub = nil // the connection is closed: nothing will be answered
	}
}

func (l *link) takeQueue() (closing bool) {
	l.mu.Lock()
	queue, endings := l.queue, l.ending
	l.queue, l.ending = nil, nil
	closing = l.closing
	l.mu.Unlock()
	for _, c := range queue {
		if c.op == opListen {
			l.listens[c.what] = c
		}
		l.last++
		c.number = l.last
		l.calls[c.number] = c
		l.fresh = append(l.fresh, c)
	}
	for _, e := range endings {
		l.cancel(e.c, e.vain)
	}
	return closing
}

// cancel ends the wait of a call. One that has an element takes it, if the shard
// confirms that soon: it is on its way to the caller.
func (l *link) cancel(c *call, vain bool) {
	switch {
	case c.state == over:
	case c.state == confirming:
		if c.until.IsZero() {
			c.until = time.Now().Add(requestLife)
		}
	case !l.blocks || !c.sent:
		l.end(c, nullReply, nil)
	default:
		c.vain = c.vain || vain
		c.until = time.Now().Add(cancelFor)
		if c.state == asking {
			c.state = cancelling
			l.fresh = append(l.fresh, c)
		}
	}
}

func appendNumber(b []byte, op byte, number uint64) []byte {
	return bus.AppendUint(append(b, op), number)
}

// end answers a call.
func (l *link) end(c *call, reply []byte, err error) {
	if c.state == over {
		return
	}
	c.state = over
	delete(l.calls, c.number)
	if l.blocks {
		l.done = append(l.done, c.number)
	}
	if c.op == opListen && l.listens[c.what] == c && (err != nil || c.ends) {
		delete(l.listens, c.what)
	}
	l.mu.Lock()
	l.asked--
	l.mu.Unlock()
	c.done(reply, err)
}

// send sends what has not been sent.
func (l *link) send() {
	for len(l.fresh) > 0 || len(l.body) > 0 {
		n := 0
		for ; n < len(l.fresh) && len(l.body) < maxRequest; n++ {
			c := l.fresh[n]
			if n > 0 && len(l.body)+len(c.body) > maxRequest {
				break
			}
			l.body = l.appendCall(l.body, c)
		}
		l.fresh = slices.Delete(l.fresh, 0, n)
		if !l.request() {
			return
		}
	}
}

// appendCall appends what is to be asked about a call now.
func (l *link) appendCall(b []byte, c *call) []byte {
	c.asked = time.Now()
	switch c.state {
	case confirming:
		return appendNumber(b, opConfirm, c.number)
	case cancelling:
		return appendNumber(b, opCancel, c.number)
	case over:
		return b
	}
	if !c.sent {
		c.sent, c.first = true, c.asked
	}
	return append(appendNumber(b, c.op, c.number), c.body...)
}

// request sends the ops that were gathered. It reports false if there is no
// connection; when it is back all is asked again.
func (l *link) request() bool {
	now := time.Now()
	if l.calm() {
		l.heard = now
	}
	l.sent = now
	head := appendRequest(nil, request{
		session: l.session, hello: !l.greeted, deadline: l.conn.Deadline(now, requestLife).UnixMilli(), clock: l.conn.Clock(), over: l.settled(), done: l.done,
	})
	b := append(head, l.body...)
	l.body = l.body[:0]
	sent := l.conn.PublishReply(l.subject, l.inbox, b) == nil
	if sent && l.unheard.IsZero() {
		l.unheard = now
	}
	if sent || len(l.done) > maxCalls {
		l.done = l.done[:0]
	}
	return sent
}

// calm reports whether nothing was asked for so long that silence means nothing.
func (l *link) calm() bool { return time.Since(l.sent) > 2*aliveEvery }

// settled returns the number up to which everything has its answer.
func (l *link) settled() uint64 {
	for l.floor < l.last && l.calls[l.floor+1] == nil {
		l.floor++
	}
	return l.floor
}

// again asks everything again that has no answer, in order: the owner has
// changed, or may not have heard it.
func (l *link) again() {
	l.fresh, l.withheld = l.fresh[:0], nil
	l.heard = time.Now()
	for _, n := range slices.Sorted(maps.Keys(l.calls)) {
		c := l.calls[n]
		if c.once && c.sent {
			l.withheld = append(l.withheld, c)
		} else {
			l.fresh = append(l.fresh, c)
		}
	}
	for _, c := range l.listens {
		if c.state == over {
			l.body = append(appendNumber(l.body, opListen, 0), c.body...)
			if len(l.body) >= maxRequest && !l.request() {
				return
			}
		}
	}
	if len(l.fresh)+len(l.body) == 0 && len(l.listens)+len(l.withheld) > 0 {
		l.request()
	}
}

// look sees to deadlines and silence.
func (l *link) look(now time.Time) {
	for _, c := range l.calls {
		if !c.until.IsZero() && now.After(c.until) {
			switch {
			case c.state == cancelling: // what it is handed from now on is declined
				l.end(c, nullReply, nil)
			case c.sent:
				l.end(c, nil, bus.Errorf(bus.Timeout, "no answer in time"))
			default:
				l.end(c, nil, bus.Errorf(bus.Unavailable, "kv cannot be reached"))
			}
		} else if l.blocks && c.sent && now.Sub(c.asked) >= askEvery {
			c.asked = now
			l.fresh = append(l.fresh, c)
		}
	}
	if !l.looking && !l.unheard.IsZero() && now.Sub(l.unheard) >= lateAfter<<(2*l.looks) && l.looks < maxLooks {
		l.looking = true
		l.looks++
		l.conn.Listens(l.subject, func(found bus.Listening) { l.found <- found }) // one at a time: there is room
	}
	if len(l.calls)+len(l.listens) > 0 && now.Sub(l.sent) >= aliveEvery {
		l.request() // without a connection: when it is back all is asked again
	}
}

// foundOut takes what NATS says of who listens where the shard should. It says by
// itself that nobody does, unless something else listens to everything.
func (l *link) foundOut(found bus.Listening) {
	l.looking = false
	switch {
	case l.unheard.IsZero() || !found.Known:
	case !found.There:
		l.noOwner()
	case found.Other && l.looks == 1: // it may be there only since we asked
		l.again()
	}
}

// noOwner has the shard opened now.
func (l *link) noOwner() { l.heard = time.Now().Add(-2 * silentFor) }

// wantsOpen reports whether somebody is to be asked to own the shard.
func (l *link) wantsOpen() bool {
	return !l.opening && len(l.calls)+len(l.listens) > 0 && !l.heard.IsZero() && time.Since(l.heard) > silentFor &&
		time.Since(l.looked) > reopenEvery // it may be said to be open already when it is about to be
}

// ensureOpen has a worker own the shard, or finds that one does.
func (l *link) ensureOpen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	body := bus.AppendString(bus.AppendString(nil, ShardKind), l.name)
	_, err := l.conn.Request(ctx, l.conn.Subjects().Open(ShardKind), body)
	if err != nil {
		select { // nobody there, or not now
		case <-ctx.Done():
		case <-time.After(reopenEvery):
		}
	}
	return err
}

// finish ends everything when the link closes.
func (l *link) finish() {
	for _, c := range l.calls {
		if c.sent {
			l.end(c, nil, bus.Errorf(bus.Timeout, "store is closed, and nobody knows whether it happened"))
		} else {
			l.end(c, nil, bus.Errorf(bus.Unavailable, "store is closed"))
		}
	}
	if l.sub != nil {
		_ = l.sub.Unsubscribe() // fails only if the connection is closed
	}
}
