package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"time"
)

// The lean layer: many connections on one goroutine. A Loop knows frames and
// nothing about rooms; whoever uses it keeps the positions and the numbers.

const (
	handshakeTimeout = 10 * time.Second // to connect and upgrade, and to close
	maxUnsent        = 256 << 10        // bytes queued on a connection the server doesn't read
	tickEvery        = 32               // connections served between two looks at the schedule
	slowSlice        = 250 * time.Millisecond
)

// A Handler gets what happens on a connection of a Loop, on the loop's goroutine.
// It must not block.
type Handler interface {
	// Opened is called once the WebSocket is up: the moment to send the hello.
	Opened(c *Conn)
	// Received is called for each frame. f holds until Received returns.
	Received(c *Conn, f *Frame)
	// Closed is called once, also when the connection never opened.
	Closed(c *Conn, err *CloseError)
}

// LoopConfig says how a loop runs. The zero LoopConfig is usable.
type LoopConfig struct {
	// Base is the moment that Now counts from; zero means when NewLoop is called.
	Base time.Time
	// Tick, if set, is called once a turn and at least every 32 connections. It
	// returns the moment, as of Now, when it wants to be called again.
	Tick func(now time.Duration) (next time.Duration)
}

// A Loop runs thousands of connections on the goroutine that calls Run. On Linux
// it is an epoll loop without goroutines or buffers per connection; elsewhere a
// goroutine reads each connection. Methods are for the loop's own goroutine
// (from handlers, Tick and Do), unless they say otherwise.
type Loop struct {
	cfg    LoopConfig
	now    time.Duration
	poller poller
	calls  chan func()
	ended  chan struct{}
	frame  Frame    // the one being delivered
	opened pendings // conns in their handshake or closing, oldest first
	slow   []*Conn  // conns that read at a limited rate
	slowAt time.Duration
	out    []byte // scratch for what is being sent
	rng    *rand.Rand
	live   int
	idle   time.Duration
	turns  int64
}

// pendings is a queue of conns with a deadline; all wait equally long, so the
// queue is in order by itself. It is bounded by the number of conns dialed.
type pendings []pending

type pending struct {
	c  *Conn
	at time.Duration
}

// NewLoop makes a loop; Run must be called to free what it holds.
func NewLoop(cfg LoopConfig) (*Loop, error) {
	if cfg.Base.IsZero() {
		cfg.Base = time.Now()
	}
	l := &Loop{
		cfg:   cfg,
		calls: make(chan func(), 16),
		ended: make(chan struct{}),
		rng:   rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
	if err := l.poller.open(); err != nil {
		return nil, fmt.Errorf("open poller: %w", err)
	}
	l.Clock()
	return l, nil
}

// A Target is an edge that a loop connects to. Only plain ws:// URLs of IP
// addresses and "localhost" will do: a loop looks no names up.
type Target struct {
	url  *url.URL
	addr netip.AddrPort
}

// ParseTarget checks a URL for use by a loop.
func ParseTarget(raw string) (*Target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "ws" {
		return nil, fmt.Errorf("%s: only ws:// URLs will do here", raw)
	}
	host, port := u.Hostname(), u.Port()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "80"
	}
	addr, err := netip.ParseAddrPort(joinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("%s: the host must be an IP address or localhost", raw)
	}
	return &Target{url: u, addr: addr}, nil
}

func joinHostPort(host, port string) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// Addr is the target's address.
func (t *Target) Addr() netip.AddrPort { return t.addr }

// Run serves the connections until ctx ends, then drops those that are left,
// without calling their handlers.
func (l *Loop) Run(ctx context.Context) error {
	defer close(l.ended)
	defer l.poller.shut()
	stop := context.AfterFunc(ctx, l.poller.wake)
	defer stop()
	for ctx.Err() == nil {
		next := l.Clock() + time.Second
		if l.cfg.Tick != nil {
			next = min(next, l.cfg.Tick(l.now))
		}
		l.serveCalls()
		if len(l.slow) > 0 {
			next = min(next, l.readSlow())
		}
		l.expire()
		l.turns++
		if err := l.poller.poll(l, max(0, next-l.now)); err != nil {
			return fmt.Errorf("poll: %w", err)
		}
	}
	return nil
}

func (l *Loop) serveCalls() {
	for {
		select {
		case f := <-l.calls:
			f()
		default:
			return
		}
	}
}

// tick lets the schedule in between connections.
func (l *Loop) tick() {
	if l.cfg.Tick != nil {
		l.cfg.Tick(l.Clock())
	}
}

// Do runs f on the loop's goroutine and waits for it. Any other goroutine may
// call it. It fails when the loop or ctx ends first.
func (l *Loop) Do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.calls <- func() { f(); close(done) }:
	case <-l.ended:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	l.poller.wake()
	select {
	case <-done:
		return nil
	case <-l.ended:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Now is the time of the event being handled, since Base.
func (l *Loop) Now() time.Duration { return l.now }

// Clock looks at the clock and makes that Now.
func (l *Loop) Clock() time.Duration {
	l.now = time.Since(l.cfg.Base)
	return l.now
}

// Live is the number of connections, those being opened included.
func (l *Loop) Live() int { return l.live }

// Idle is how long the loop has had nothing to do since it began. A loop whose
// Idle doesn't grow is the bottleneck of whatever it measures.
func (l *Loop) Idle() time.Duration { return l.idle }

// Turns counts how often the loop has gone round.
func (l *Loop) Turns() int64 { return l.turns }

// expire ends connections whose handshake or closing takes too long.
func (l *Loop) expire() {
	for len(l.opened) > 0 {
		p := l.opened[0]
		pending := p.c.phase != phaseOpen && p.c.phase != phaseClosed
		if pending && p.at > l.now {
			return
		}
		l.opened = l.opened[1:]
		if pending {
			p.c.end(errors.New("handshake took too long"))
		}
	}
}

func (l *Loop) await(c *Conn) {
	l.opened = append(l.opened, pending{c: c, at: l.now + handshakeTimeout})
}

// readSlow gives the slow readers their share and tells when the next is due.
func (l *Loop) readSlow() (next time.Duration) {
	if l.now < l.slowAt {
		return l.slowAt
	}
	l.slowAt = l.now + slowSlice
	keep := l.slow[:0]
	for _, c := range l.slow {
		if c.phase == phaseClosed {
			continue
		}
		keep = append(keep, c)
		l.poller.read(l, c, max(1, c.rate*int(slowSlice)/int(time.Second)))
	}
	clear(l.slow[len(keep):])
	l.slow = keep
	return l.slowAt
}
