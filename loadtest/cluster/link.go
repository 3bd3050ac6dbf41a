package cluster

import (
	"errors"
	"net"
	"sync"
	"time"
)

// A Link is one side's way to another: a TCP proxy for each server on the far side.
// Nodes reach NATS through one each, and NATS servers each other. Methods may be
// called by any goroutine.
type Link struct {
	addrs     []string // where the near side connects, one for each server
	listeners []net.Listener
	working   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	cut    bool
	closed bool
	ways   [2]wayState
	pairs  map[*pair]struct{}
	did    LinkEffect
}

// A Way is a direction in which bytes travel on a Link.
type Way int

const (
	There Way = iota // from the side that connects: from a node to NATS
	Back             // to it
)

// A wayState is what happens to bytes in one direction.
type wayState struct {
	open  chan struct{} // closed while bytes may pass
	held  bool          // invariant: held says that open is not closed
	delay time.Duration // how much later they arrive
}

// A LinkEffect is what a fault of a link has done, between its beginning and Heal.
type LinkEffect struct {
	Broken int // connections that were reset or refused
	Bytes  int // that were held back or delayed
}

func newLink(targets []string) (*Link, error) {
	l := &Link{pairs: make(map[*pair]struct{})}
	for way := range l.ways {
		l.ways[way].open = make(chan struct{})
		close(l.ways[way].open)
	}
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
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	l.did.Broken += len(l.pairs)
	l.resetAll()
}

// Stall holds all bytes back, in both directions, and the ends of connections
// too, until Heal: neither side sees an error, as when packets are lost.
func (l *Link) Stall() { l.Hold(There, Back) }

// Hold holds back, until Heal, what travels in some directions. No new connection
// is made meanwhile: that needs both.
func (l *Link) Hold(ways ...Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, way := range ways {
		if w := &l.ways[way]; !w.held && !l.closed {
			w.held, w.open = true, make(chan struct{})
		}
	}
}

// Delay lets what travels in some directions arrive later, in order, until Heal.
func (l *Link) Delay(by time.Duration, ways ...Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, way := range ways {
		l.ways[way].delay = by
	}
}

// Heal lets everything pass again, and tells what has been done to the link since
// it was last healed. What was held back arrives.
func (l *Link) Heal() LinkEffect {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	for way := range l.ways {
		w := &l.ways[way]
		if w.delay = 0; w.held {
			w.held = false
			close(w.open)
		}
	}
	did := l.did
	l.did = LinkEffect{}
	return did
}

// close ends the link and waits for its goroutines.
func (l *Link) close() {
	l.mu.Lock()
	l.closed = true
	l.resetAll()
	l.mu.Unlock()
	for _, ln := range l.listeners {
		ln.Close()
	}
	l.working.Wait()
}

// resetAll ends every connection. mu is held: it takes no time.
func (l *Link) resetAll() {
	for p := range l.pairs {
		p.reset()
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
func (l *Link) serve(near net.Conn, target string) {
	p := &pair{near: near, gone: make(chan struct{})}
	if !l.add(p) {
		p.reset()
		return
	}
	defer l.remove(p)
	if !l.pass(p, There) || !l.pass(p, Back) {
		return
	}
	far, err := net.Dial("tcp", target)
	if err != nil || !l.dialed(p, far) {
		if err == nil {
			far.Close()
		}
		p.reset()
		return
	}
	var back sync.WaitGroup
	back.Go(func() { l.carry(Back, p, near, far) })
	l.carry(There, p, far, near)
	back.Wait()
}

// add notes a new connection, unless the link is cut.
func (l *Link) add(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.closed {
		l.did.Broken++
		return false
	}
	l.pairs[p] = struct{}{}
	return true
}

// dialed notes the other side, unless the link was cut meanwhile.
func (l *Link) dialed(p *pair, far net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.over() || l.cut || l.closed {
		return false
	}
	p.far = far
	return true
}

func (l *Link) remove(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pairs, p)
}
