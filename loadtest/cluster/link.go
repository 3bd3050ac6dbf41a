package cluster

import (
	"errors"
	"io"
	"net"
	"sync"
)

// A Link is a node's way to NATS: a TCP proxy for each server. Methods may be
// called by any goroutine.
type Link struct {
	addrs     []string // where the node connects, one for each server
	listeners []net.Listener
	working   sync.WaitGroup

	mu    sync.Mutex // guards what follows
	state linkState
	open  chan struct{} // closed while bytes may pass, or when all is over
	pairs map[*pair]struct{}
}

type linkState int

const (
	linkFine linkState = iota
	linkCut
	linkStalled
	linkClosed
)

// A pair is one connection: the node's side and NATS' side.
type pair struct {
	node, nats net.Conn // nats is nil until it is dialed
}

func newLink(targets []string) (*Link, error) {
	l := &Link{open: make(chan struct{}), pairs: make(map[*pair]struct{})}
	close(l.open)
	for _, target := range targets {
		addrs, err := freePorts(1)
		if err != nil {
			l.close()
			return nil, err
		}
		ln, err := net.Listen("tcp", addrs[0])
		if err != nil {
			l.close()
			return nil, err
		}
		l.listeners = append(l.listeners, ln)
		l.addrs = append(l.addrs, addrs[0])
		l.working.Go(func() { l.accept(ln, target) })
	}
	return l, nil
}

// Cut breaks all connections with a reset, and every new one until Heal.
func (l *Link) Cut() { l.enter(linkCut) }

// Stall holds all bytes back, in both directions, and the ends of connections
// too, until Heal: nobody sees an error, as when packets are lost.
func (l *Link) Stall() { l.enter(linkStalled) }

// Heal lets everything pass again. What was held back arrives.
func (l *Link) Heal() { l.enter(linkFine) }

// close ends the link and waits for its goroutines.
func (l *Link) close() {
	l.enter(linkClosed)
	for _, ln := range l.listeners {
		ln.Close()
	}
	l.working.Wait()
}

func (l *Link) enter(state linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkClosed {
		return
	}
	if passing := l.state != linkStalled; passing && state == linkStalled {
		l.open = make(chan struct{})
	} else if !passing && state != linkStalled {
		close(l.open)
	}
	l.state = state
	if state == linkCut || state == linkClosed {
		for p := range l.pairs {
			p.reset()
		}
	}
}

// reset ends both sides with a TCP reset.
func (p *pair) reset() {
	for _, conn := range []net.Conn{p.node, p.nats} {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it only fails on a connection that has ended
			tcp.Close()
		}
	}
}

// accept serves one of the listeners until the link is closed.
func (l *Link) accept(ln net.Listener, target string) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // the connection was gone before it was taken
		}
		l.working.Go(func() { l.serve(conn, target) })
	}
}

// serve joins one connection with its server until either ends.
func (l *Link) serve(node net.Conn, target string) {
	p := &pair{node: node}
	if !l.add(p) {
		p.reset()
		return
	}
	defer l.remove(p)
	l.pass()
	nats, err := net.Dial("tcp", target)
	if err != nil || !l.dialed(p, nats) {
		if err == nil {
			nats.Close()
		}
		p.reset()
		return
	}
	var back sync.WaitGroup
	back.Go(func() { l.copy(node, nats) })
	l.copy(nats, node)
	back.Wait()
}

// add notes a new connection, unless the link is cut.
func (l *Link) add(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkCut || l.state == linkClosed {
		return false
	}
	l.pairs[p] = struct{}{}
	return true
}

// dialed notes the other side, unless the link was cut meanwhile.
func (l *Link) dialed(p *pair, nats net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkCut || l.state == linkClosed {
		return false
	}
	p.nats = nats
	return true
}

func (l *Link) remove(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pairs, p)
}

// pass waits while the link is stalled.
func (l *Link) pass() {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	<-open
}

// copy carries bytes one way until either side ends, and then ends both.
func (l *Link) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		l.pass()
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				(&pair{to, from}).reset()
				return
			}
			to.Close()
			from.Close()
			return
		}
	}
}
