package edge

import (
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// Bounds of one turn. They keep a turn near a millisecond when sockets are
// busy, so that nobody waits long for others.
const (
	eventsPerTurn    = 256
	acceptsPerTurn   = 64
	envelopesPerTurn = 1024
	envelopesAtOnce  = 64
	refsPerTurn      = 64 << 10 // frames queued; then no more envelopes are taken
	flushesPerTurn   = 1024
	readBytes        = 64 << 10 // most that one event reads from a socket
)

// A loop owns a share of the conns: one goroutine that reads, parses, queues
// and writes for them. See the top of hooks.go.
type loop struct {
	index int
	cfg   *Config
	t     *transport
	log   *slog.Logger
	poll  *poller
	hooks hooks
	bus   <-chan *busMsg // set by the session half before the loop runs, never closed; nil is fine

	now   time.Time // of this turn
	ms    uint32    // the same in milliseconds since the loop began; wraps, so compare differences only
	began time.Time

	times struct{ handshake, ping, idle, slow, closing uint32 } // Config's timeouts in milliseconds

	slab     slab
	dirty    []*conn // have something to flush; no conn is in it twice
	gone     []*conn // to be closed at the end of the turn
	refs     int     // frames queued in this turn
	pool     bufferPool
	outboxes []*outbox // free
	inboxes  []*inbox  // free
	inbuf    []byte    // what the current event has read
	scratch  []byte    // what the current flush writes
	in       []*busMsg // the current batch of envelopes

	upgrader ws.Upgrader
	request  requestIO
	picked   uint8 // index of the subprotocol the upgrader has chosen
	halfOpen ring  // conns in stateHead that had to wait, oldest first

	sweepAt    int // next slot the sweep looks at
	reliefAt   int // page of the slab where somebody greedy was last looked for
	nextSecond time.Time

	alarm   *time.Timer // for wakeAt
	alarmAt uint32      // valid with alarmed
	alarmed bool

	control  chan func()
	stop     chan struct{} // closed by the transport: drain and end
	done     chan struct{} // closed by the loop: it has ended
	drainEnd time.Time     // when the last conns are cut; zero while serving
	pace     pace

	stats     stats
	mu        sync.Mutex // guards published
	published stats
}

// closedChan is always ready.
var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func newLoop(t *transport, index int, poll *poller) *loop {
	l := &loop{
		index:   index,
		cfg:     &t.cfg,
		t:       t,
		log:     t.cfg.Log.With("loop", index),
		poll:    poll,
		pool:    bufferPool{limit: max(1, t.cfg.BufferBytes/t.cfg.Loops)},
		inbuf:   make([]byte, readBytes),
		scratch: make([]byte, 0, scratchBytes),
		in:      make([]*busMsg, 0, envelopesAtOnce),
		control: make(chan func(), 256),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	l.alarm = time.NewTimer(time.Hour)
	l.alarm.Stop()
	l.setTimes()
	l.halfOpen.init(t.cfg.MaxHalfOpen)
	l.initUpgrader()
	l.tellTime(time.Now())
	return l
}

// do runs fn on the loop's goroutine, soon and in order. It waits while too
// many are queued, so the loop itself must not call it. It says false if the
// loop has ended. Who waits for fn must wait for done too: a loop that ends
// leaves what is queued.
func (l *loop) do(fn func()) bool {
	select {
	case l.control <- fn:
		return true
	case <-l.done:
		return false
	}
}

// run serves until stop is closed and the conns are gone.
func (l *loop) run() {
	defer close(l.done)
	defer l.poll.close()
	defer l.publish()
	defer l.alarm.Stop()
	ticks := time.NewTicker(l.cfg.sweepEvery() / sweepParts)
	defer ticks.Stop()
	stop, closing := l.stop, false
	for !closing {
		select {
		case <-l.poll.ready():
			l.begin()
			l.serveEvents()
		case m := <-l.bus:
			l.begin()
			l.takeEnvelopes(m)
		case fn := <-l.control:
			l.begin()
			fn()
		case <-l.more():
			l.begin()
		case <-l.alarm.C:
			l.begin()
			l.alarmed = false
		case <-ticks.C:
			l.begin()
			l.sweep()
			l.publish()
			closing = l.drained()
		case <-stop:
			l.begin()
			stop = nil
			l.drain()
			closing = l.drained()
		}
		l.takeMore()
		l.end()
		closing = closing || l.drained()
		l.stats.paused += l.pace.rest(stop)
	}
}

// wakeAt makes sure that there is a turn soon after the loop's clock shows ms.
func (l *loop) wakeAt(ms uint32) {
	if l.alarmed && int32(ms-l.alarmAt) >= 0 {
		return
	}
	l.alarmed, l.alarmAt = true, ms
	l.alarm.Reset(time.Duration(max(int32(ms-l.ms), 0)+1) * time.Millisecond)
}

func (l *loop) setTimes() {
	l.times.handshake = milliseconds(l.cfg.HandshakeTimeout)
	l.times.ping = milliseconds(l.cfg.PingInterval)
	l.times.idle = milliseconds(l.cfg.IdleTimeout)
	l.times.slow = milliseconds(l.cfg.SlowTimeout)
	l.times.closing = milliseconds(l.cfg.CloseTimeout)
}

// milliseconds is d as the loop counts time; a week is as good as never.
func milliseconds(d time.Duration) uint32 {
	return uint32(min(d, 7*24*time.Hour) / time.Millisecond)
}

// begin starts a turn.
func (l *loop) begin() {
	l.tellTime(time.Now())
	l.pace.look(l.now)
}

func (l *loop) tellTime(now time.Time) {
	if l.began.IsZero() {
		l.began = now
	}
	l.now = now
	l.ms = uint32(now.Sub(l.began) / time.Millisecond)
}

// takeMore takes what else has queued up, so that one flush serves it all.
func (l *loop) takeMore() {
	select {
	case <-l.poll.ready():
		l.serveEvents()
	default:
	}
	for range cap(l.control) {
		select {
		case fn := <-l.control:
			fn()
			continue
		default:
		}
		break
	}
	l.takeEnvelopes(l.nextEnvelope())
}

// takeEnvelopes hands on first and what else the bus has, in batches.
func (l *loop) takeEnvelopes(first *busMsg) {
	for taken := 0; first != nil; first = l.nextEnvelope() {
		in := append(l.in[:0], first)
		for len(in) < envelopesAtOnce {
			m := l.nextEnvelope()
			if m == nil {
				break
			}
			in = append(in, m)
		}
		l.hooks.envelopes(in)
		clear(in)
		if taken += len(in); taken >= envelopesPerTurn || l.refs >= refsPerTurn {
			return
		}
	}
}

// nextEnvelope is what waits on the bus, or nil.
func (l *loop) nextEnvelope() *busMsg {
	select {
	case m := <-l.bus:
		return m
	default:
		return nil
	}
}

// serveEvents handles one batch of readiness.
func (l *loop) serveEvents() {
	for _, e := range l.poll.take() {
		if e.what&eventAccept != 0 {
			l.accept()
			continue
		}
		c := l.slab.find(e.slot, e.gen)
		if c == nil {
			continue
		}
		if e.what&eventWrite != 0 && c.state != stateGone {
			l.writable(c)
		}
		if e.what&eventRead != 0 && c.state != stateGone {
			l.readable(c)
		}
	}
	l.poll.rest()
}

// accept takes the sockets that wait at the listener and reads from each at
// once: mostly the request is there already.
func (l *loop) accept() {
	for range acceptsPerTurn {
		c := l.slab.take(l)
		err := l.poll.accept(c)
		if err == nil {
			if l.t.sockets.Add(1); l.t.taken() <= l.cfg.maxSockets {
				l.admit(c)
			} else if l.squeezeIn(c) {
				return // one in a turn: the other socket is closed at its end
			}
			continue
		}
		l.slab.give(c)
		if err == errNothing {
			return
		}
		l.stats.acceptErrors++
		l.t.warnSocket("accept", err)
	}
}

// squeezeIn admits c in the place of the request that has been under way for
// longest, or turns it away if there is none. So who keeps all sockets busy with
// requests that never end keeps nobody out.
func (l *loop) squeezeIn(c *conn) bool {
	if old := l.oldestHalfOpen(); old != nil {
		l.dropHalfOpen(old)
		l.admit(c)
		return true
	}
	l.stats.accepts++
	l.stats.refused[refusedSockets]++
	l.poll.shut(c, true)
	l.t.sockets.Add(-1)
	l.slab.give(c)
	return false
}

func (l *loop) admit(c *conn) {
	l.stats.accepts++
	l.stats.halfOpen++
	c.lastRead = l.ms
	c.enter(stateHead)
	l.readable(c)
	if c.state == stateGone {
		return
	}
	if c.state == stateHead {
		l.remember(c)
	}
	if err := l.poll.add(c); err != nil {
		l.stats.acceptErrors++
		l.t.warnSocket("poll", err)
		l.lose(c, closeAbnormal)
	}
}

// lose gives c up: its socket is closed at the end of the turn. code says why
// if nothing was said before.
func (l *loop) lose(c *conn, code uint16) {
	if c.state == stateGone || c.state == stateFree {
		return
	}
	c.setCloseReason(code, "")
	c.enter(stateGone)
	l.gone = append(l.gone, c)
}

// end closes who is gone, lets the session half publish, and flushes. What is
// lost in flushing is closed at once too.
func (l *loop) end() {
	for {
		l.reap()
		l.hooks.turn(l.now)
		l.flushDirty()
		if len(l.gone) == 0 {
			break
		}
	}
	if len(l.dirty)+len(l.bus)+len(l.control) > 0 {
		runtime.Gosched() // raw system calls keep the processor: let others have it before the next turn
	}
}

// more is ready at once if a turn left conns to flush.
func (l *loop) more() <-chan struct{} {
	if len(l.dirty) > 0 {
		return closedChan
	}
	return nil
}

// reap closes the sockets of those that are gone and frees what they held.
func (l *loop) reap() {
	for i := 0; i < len(l.gone); i++ { // closed may add to it
		c := l.gone[i]
		if c.flags&flagDetached == 0 {
			l.poll.shut(c, c.flags&flagReset != 0)
		}
		if c.flags&flagOpened != 0 {
			l.stats.open--
			l.t.release(c)
			l.hooks.closed(c)
		} else {
			l.stats.halfOpen--
		}
		if o := c.out; o != nil {
			l.giveOutbox(o)
		}
		l.giveInbox(c)
		l.t.sockets.Add(-1)
		l.slab.give(c)
	}
	clear(l.gone)
	l.gone = l.gone[:0]
}

// drain stops accepting and says goodbye to everyone.
func (l *loop) drain() {
	l.drainEnd = l.now.Add(l.cfg.DrainTimeout)
	l.poll.stopAccepting()
	l.hooks.draining(l.now)
	l.eachConn(func(c *conn) {
		if c.state == stateHead {
			l.lose(c, closeShutdown)
		}
		c.close(closeShutdown, "the server is leaving, come back")
	})
}

// drained says whether a loop that drains has nothing left; after the
// deadline it cuts what is left.
func (l *loop) drained() bool {
	if l.drainEnd.IsZero() {
		return false
	}
	if l.now.After(l.drainEnd) {
		l.eachConn((*conn).abort)
		l.end()
	}
	return l.stats.open == 0 && l.stats.halfOpen == 0
}

// eachConn calls fn with every conn that isn't gone.
func (l *loop) eachConn(fn func(c *conn)) {
	for _, page := range l.slab.pages {
		for i := range page {
			if c := &page[i]; c.state != stateFree && c.state != stateGone {
				fn(c)
			}
		}
	}
}

// publish lets others see what the loop has counted.
func (l *loop) publish() {
	l.stats.bufferBytes = int64(l.pool.lent)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published = l.stats
}

func (l *loop) snapshot() stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published
}
