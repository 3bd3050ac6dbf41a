package cluster

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// This file carries the bytes of a Link's connections: in each direction a
// goroutine that reads, and one that writes when it is time.

// A pair is one connection: the side that connected and the server's.
type pair struct {
	near, far net.Conn // far is nil until it is dialed

	once sync.Once
	gone chan struct{} // closed by reset
}

// reset ends both sides with a TCP reset.
func (p *pair) reset() {
	p.once.Do(func() { close(p.gone) })
	for _, conn := range []net.Conn{p.near, p.far} {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it only fails on a connection that has ended
			tcp.Close()
		}
	}
}

func (p *pair) over() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// A chunk is what one read gave.
type chunk struct {
	data []byte
	err  error     // of the read: nothing follows
	due  time.Time // when it may be written; zero: at once
}

const (
	readBytes = 32 << 10
	waiting   = 64 // chunks read and not yet written; what is full is not read on
)

// carry takes bytes one way until either side ends, and then ends both.
func (l *Link) carry(way Way, p *pair, to, from net.Conn) {
	chunks := make(chan chunk, waiting)
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() { l.write(way, p, to, from, chunks) })
	defer close(chunks)
	buf := make([]byte, readBytes)
	for {
		n, err := from.Read(buf)
		chunks <- chunk{data: bytes.Clone(buf[:n]), err: err, due: l.due(way, n)} // write takes all of them
		if err != nil {
			return
		}
	}
}

// due is when bytes that were just read may arrive.
func (l *Link) due(way Way, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.ways[way]
	if w.held || w.delay > 0 {
		l.did.Bytes += n
	}
	if w.delay == 0 {
		return time.Time{}
	}
	return time.Now().Add(w.delay)
}

// write passes chunks on when they are due and nothing holds them. It takes all,
// also when the connection has ended, so that the reader never waits for it then.
func (l *Link) write(way Way, p *pair, to, from net.Conn, chunks <-chan chunk) {
	for c := range chunks {
		if !p.until(c.due) || !l.pass(p, way) {
			continue
		}
		if len(c.data) > 0 {
			if _, err := to.Write(c.data); err != nil {
				p.reset()
				continue
			}
		}
		switch {
		case errors.Is(c.err, io.EOF):
			to.Close()
			from.Close()
		case c.err != nil:
			p.reset()
		}
	}
}

// until waits for a time, and reports whether the connection still is.
func (p *pair) until(due time.Time) bool {
	if due.IsZero() {
		return !p.over()
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return !p.over()
	case <-p.gone:
		return false
	}
}

// pass waits while a direction is held, and reports whether the connection still is.
func (l *Link) pass(p *pair, way Way) bool {
	l.mu.Lock()
	open := l.ways[way].open
	l.mu.Unlock()
	select {
	case <-open:
		return !p.over()
	case <-p.gone:
		return false
	}
}
