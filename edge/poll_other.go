//go:build unix && (!linux || roomd_portable)

package edge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A poller for where there is no epoll: Go's sockets, and a goroutine per conn
// that waits until it can be read. It costs 3.5 KB a conn, so it is for
// development and small installations; what the loop does is the same.
type poller struct {
	listener net.Listener // shared by all loops
	accepted chan net.Conn
	quit     chan struct{}
	wait     sync.WaitGroup
	watched  map[uint32]*watched // by slot; the loop's only
	stopped  bool                // accepting; the loop's only

	signal chan struct{}
	taken  []event
	mu     sync.Mutex // guards events
	events []event    // at most one for reading and one for writing a conn, one to accept
}

// A watched conn is a socket with the goroutines that wait for it.
type watched struct {
	sock    *net.TCPConn
	raw     syscall.RawConn
	resume  chan bool   // capacity 1; false: the socket was given away
	writing atomic.Bool // a goroutine waits for room to write
}

func newPollers(cfg *Config) ([]*poller, net.Addr, error) {
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, nil, err
	}
	pollers := make([]*poller, cfg.Loops)
	for i := range pollers {
		pollers[i] = &poller{
			listener: ln,
			accepted: make(chan net.Conn, 1),
			quit:     make(chan struct{}),
			watched:  make(map[uint32]*watched),
			signal:   make(chan struct{}, 1),
		}
	}
	first := pollers[0]
	first.wait.Go(func() { first.acceptAll(pollers, cfg.SendBufferBytes) })
	return pollers, ln.Addr(), nil
}

// acceptAll takes clients from the listener and deals them out, until it is
// closed.
func (p *poller) acceptAll(pollers []*poller, sendBuffer int) {
	for next := 0; ; {
		sock, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors left, most likely: wait for some
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-p.quit:
				return
			}
		}
		// A larger buffer than asked for does no harm.
		_ = sock.(*net.TCPConn).SetWriteBuffer(sendBuffer)
		to := pollers[next]
		next = (next + 1) % len(pollers)
		select {
		case to.accepted <- sock:
			to.push(event{what: eventAccept})
		case <-to.quit:
			_ = sock.Close() // nobody has seen it
		}
	}
}

func (p *poller) push(e event) {
	p.mu.Lock()
	p.events = append(p.events, e)
	p.mu.Unlock()
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *poller) ready() <-chan struct{} { return p.signal }

func (p *poller) take() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken, p.events = p.events, p.taken[:0]
	return p.taken
}

func (p *poller) rest() {}

func (p *poller) accept(c *conn) error {
	if p.stopped {
		return errNothing
	}
	var sock net.Conn
	select {
	case sock = <-p.accepted:
	default:
		return errNothing
	}
	w := &watched{sock: sock.(*net.TCPConn), resume: make(chan bool, 1)}
	raw, err := w.sock.SyscallConn()
	if err == nil {
		w.raw = raw
		err = raw.Control(func(fd uintptr) { c.fd = int32(fd) })
	}
	if err != nil {
		return errors.Join(err, sock.Close())
	}
	if at, err := netip.ParseAddrPort(sock.RemoteAddr().String()); err == nil {
		c.addr = at.Addr().As16()
	}
	p.watched[c.slot] = w
	return nil
}

func (p *poller) resumeAccepting() {} // acceptAll waits by itself

func (p *poller) stopAccepting() {
	p.stopped = true
	// Another loop may have closed it.
	if err := p.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(fmt.Sprintf("edge: close listener: %v", err))
	}
}

func (p *poller) add(c *conn) error {
	w := p.watched[c.slot]
	c.flags |= flagPolled
	slot, gen := c.slot, c.gen
	p.wait.Go(func() { p.watch(w, slot, gen) })
	if c.out != nil && c.out.waiting {
		p.awaitWrite(c)
	}
	return nil
}

// watch tells the loop each time the socket can be read, until it is closed or
// given away.
func (p *poller) watch(w *watched, slot, gen uint32) {
	for {
		err := w.raw.Read(func(fd uintptr) bool { return isReady(fd, unix.POLLIN) })
		if err != nil {
			return // closed, by the loop
		}
		p.push(event{slot: slot, gen: gen, what: eventRead})
		if !<-w.resume {
			return
		}
	}
}

// isReady asks for the present state: Go's own readiness is of changes, and one
// may have come before anybody waited.
func isReady(fd uintptr, events int16) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(fds, 0)
	return n > 0 || err != nil && !errors.Is(err, syscall.EINTR)
}

func (p *poller) again(c *conn) {
	if c.flags&flagPolled == 0 {
		return
	}
	select {
	case p.watched[c.slot].resume <- true:
	default:
	}
}

func (p *poller) awaitWrite(c *conn) {
	w := p.watched[c.slot]
	if c.flags&flagPolled == 0 || w.writing.Swap(true) {
		return
	}
	slot, gen := c.slot, c.gen
	p.wait.Go(func() {
		err := w.raw.Write(func(fd uintptr) bool { return isReady(fd, unix.POLLOUT) })
		w.writing.Store(false)
		if err == nil {
			p.push(event{slot: slot, gen: gen, what: eventWrite})
		}
	})
}

func (p *poller) wroteAll(c *conn) {}

func (p *poller) shut(c *conn, reset bool) {
	w := p.watched[c.slot]
	delete(p.watched, c.slot)
	w.resume <- false
	if reset {
		_ = w.sock.SetLinger(0) // fails only on a socket that is broken anyway
	}
	_ = w.sock.Close() // the descriptor is free whatever it says
}

func (p *poller) detach(c *conn) (net.Conn, error) {
	w := p.watched[c.slot]
	delete(p.watched, c.slot)
	w.resume <- false
	return w.sock, nil
}

func (p *poller) close() {
	close(p.quit)
	p.stopAccepting()
	p.wait.Wait()
	select {
	case sock := <-p.accepted:
		_ = sock.Close() // nobody has seen it
	default:
	}
}
