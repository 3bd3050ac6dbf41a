//go:build !linux || roomd_portable

package client

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// The half of a Loop that runs where there is no epoll: a goroutine connects and
// reads each connection and hands what it got to the loop. Writes come from the
// loop and block, with a deadline: enough for development, not for records.

const (
	portableBuffer = 16 << 10
	writeTimeout   = 5 * time.Second
)

type poller struct {
	ctx     context.Context
	cancel  context.CancelFunc
	arrived chan arrival
	woken   chan struct{}
	readers sync.WaitGroup
	failed  []*Conn
}

// link is the net.Conn of a Conn.
type link struct {
	conn   net.Conn
	failed error
	cancel context.CancelFunc
	slow   chan int // shares, in bytes, of a reader that was slowed down
}

// An arrival is what a reader has for the loop; the reader goes on when done is closed.
type arrival struct {
	c      *Conn
	opened net.Conn
	target *Target
	b      []byte
	err    error
	done   chan struct{}
}

func (p *poller) open() error {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.arrived = make(chan arrival)
	p.woken = make(chan struct{}, 1)
	return nil
}

// shut ends every reader and waits for them.
func (p *poller) shut() {
	p.cancel()
	p.readers.Wait()
}

// wake makes poll return. Any goroutine may call it, at any time.
func (p *poller) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func (p *poller) poll(l *Loop, timeout time.Duration) error {
	failed := p.failed
	p.failed = nil
	for _, c := range failed {
		c.end(c.link.failed)
		timeout = 0
	}
	before := l.Clock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case a := <-p.arrived:
		l.idle += l.Clock() - before
		p.handle(a)
	case <-p.woken:
		l.idle += l.Clock() - before
	case <-timer.C:
		l.idle += l.Clock() - before
	}
	return nil
}

func (p *poller) handle(a arrival) {
	defer close(a.done)
	c := a.c
	switch {
	case c.phase == phaseClosed:
		if a.opened != nil {
			a.opened.Close()
		}
	case a.err != nil:
		c.end(a.err)
	case a.opened != nil:
		c.link.conn = a.opened
		c.connected(a.target)
	default:
		c.received(a.b)
	}
}

func (p *poller) connect(_ *Loop, c *Conn, t *Target, source netip.Addr) {
	ctx, cancel := context.WithCancel(p.ctx)
	c.link = link{cancel: cancel, slow: make(chan int, 1)}
	slow := c.link.slow
	p.readers.Go(func() {
		defer cancel()
		var d net.Dialer
		if source.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		}
		conn, err := d.DialContext(ctx, "tcp", t.addr.String())
		if err != nil {
			p.deliver(ctx, arrival{c: c, err: err})
			return
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		if p.deliver(ctx, arrival{c: c, opened: conn, target: t}) {
			p.readAll(ctx, c, conn, slow)
		}
	})
}

func (p *poller) readAll(ctx context.Context, c *Conn, conn net.Conn, slow <-chan int) {
	b := make([]byte, portableBuffer)
	limit := len(b)
	for {
		select {
		case limit = <-slow:
		default:
		}
		for limit == 0 { // slowed down: wait for the next share
			select {
			case limit = <-slow:
			case <-ctx.Done():
				return
			}
		}
		n, err := conn.Read(b[:min(limit, len(b))])
		if n > 0 && !p.deliver(ctx, arrival{c: c, b: b[:n]}) {
			return
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			p.deliver(ctx, arrival{c: c, err: err})
			return
		}
		if limit < len(b) {
			limit = 0
		}
	}
}

// deliver hands a to the loop and waits until it is done with it.
func (p *poller) deliver(ctx context.Context, a arrival) bool {
	a.done = make(chan struct{})
	select {
	case p.arrived <- a:
	case <-ctx.Done():
		return false
	}
	<-a.done
	return true
}

// read gives a slow reader its next share.
func (p *poller) read(_ *Loop, c *Conn, limit int) {
	select {
	case c.link.slow <- limit:
	default:
	}
}

func (p *poller) readSlowly(c *Conn, slow bool) {
	if tcp, ok := c.link.conn.(*net.TCPConn); ok && slow {
		// On failure the reader is slow for the server only after more bytes.
		_ = tcp.SetReadBuffer(4096)
	}
	first := portableBuffer
	if slow {
		first = 1
	}
	p.read(nil, c, first)
}

func (p *poller) wantWrite(*Conn, bool) {}

func (p *poller) drop(c *Conn, reset bool) {
	if tcp, ok := c.link.conn.(*net.TCPConn); ok && reset {
		// On failure the peer sees an end instead of a reset: good enough.
		_ = tcp.SetLinger(0)
	}
	c.link.cancel()
}

func (k *link) write(b []byte) (int, error) {
	if err := k.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return k.conn.Write(b)
}

// fail ends c at the next turn, since the caller may be in a handler.
func (k *link) fail(c *Conn, err error) {
	if k.failed == nil {
		k.failed = err
		c.loop.poller.failed = append(c.loop.poller.failed, c)
		c.loop.poller.wake()
	}
}
