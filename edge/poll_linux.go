//go:build linux && !roomd_portable

package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller is epoll, with the listener and the conns of one loop in it. Sockets
// are bare descriptors: no net.Conn, which would cost a kilobyte each.
//
// Waiting in epoll_wait would hold a thread. Instead the epoll descriptor, which
// is itself pollable, waits in Go's netpoller, and costs a goroutine per loop.
type poller struct {
	epoll  *os.File
	epfd   int
	listen int  // -1 when closed
	spare  int  // a descriptor to give up when there are no others; -1 if gone
	paused bool // the listener is not watched, for want of descriptors
	wake   chan struct{}
	rested chan struct{}
	quit   chan struct{}
	wait   sync.WaitGroup

	raw    [eventsPerTurn]unix.EpollEvent
	n      int // how many of raw are events; the goroutine's until wake, the loop's until rested
	events [eventsPerTurn]event
	peer   unix.RawSockaddrAny
}

// listenerSlot marks the listener's events; no slab is that large.
const listenerSlot = ^uint32(0)

// newPollers listens on addr with n sockets that share the port; the kernel
// spreads the clients over them.
func newPollers(cfg *Config) ([]*poller, net.Addr, error) {
	// The first socket binds without sharing, so that a port in use is an error
	// even if its user shares it; then it opens up for the others.
	first, addr, err := listenSocket(cfg.Addr, cfg, false)
	if err != nil {
		return nil, nil, err
	}
	var pollers []*poller
	abandon := func(err error) ([]*poller, net.Addr, error) {
		for _, p := range pollers {
			p.stopAccepting()
			p.close()
		}
		return nil, nil, err
	}
	fd := first
	for len(pollers) < cfg.Loops {
		if len(pollers) > 0 {
			if fd, _, err = listenSocket(addr.String(), cfg, true); err != nil {
				return abandon(err)
			}
		}
		p, err := newPoller(fd)
		if err != nil {
			return abandon(errors.Join(err, unix.Close(fd)))
		}
		pollers = append(pollers, p)
	}
	return pollers, addr, nil
}

// listenSocket lets package net find the address and listen, and keeps the
// descriptor only. What is set on the listener, its clients' sockets inherit.
func listenSocket(addr string, cfg *Config, share bool) (fd int, at net.Addr, err error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return control(raw, func(fd int) error { return setListenerOptions(fd, cfg, share) })
	}}
	lc.SetMultipathTCP(false) // its sockets are not plain TCP sockets
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return -1, nil, err
	}
	defer func() { err = errors.Join(err, ln.Close()) }()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		return -1, nil, err
	}
	err = control(raw, func(own int) error {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("keep listener: %w", err)
		}
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
	return fd, ln.Addr(), err
}

// control runs fn on raw's descriptor.
func control(raw syscall.RawConn, fn func(fd int) error) error {
	var err error
	outer := raw.Control(func(fd uintptr) { err = fn(int(fd)) })
	return errors.Join(outer, err)
}

const (
	deferAcceptSeconds = 5
	notSentBytes       = 16 << 10 // unsent bytes in the kernel before a socket takes no more; see Config.SendBufferBytes
)

func setListenerOptions(fd int, cfg *Config, share bool) error {
	options := []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_SNDBUF, cfg.SendBufferBytes},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentBytes},
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAcceptSeconds},
	}
	if share {
		options = append(options, struct{ level, name, value int }{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// newPoller owns the listening socket from now on, unless it returns an error.
func newPoller(listen int) (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &poller{
		epfd:   epfd,
		listen: listen,
		wake:   make(chan struct{}, 1),
		rested: make(chan struct{}, 1),
		quit:   make(chan struct{}),
	}
	if err := p.watch(listen, listenerSlot, 0); err != nil {
		return nil, errors.Join(err, unix.Close(epfd))
	}
	p.openSpare()
	if err := unix.SetNonblock(epfd, true); err != nil { // os.NewFile: a descriptor to poll
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(epfd))
	}
	p.epoll = os.NewFile(uintptr(epfd), "epoll")
	raw, err := p.epoll.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, p.epoll.Close())
	}
	p.wait.Go(func() { p.watchEpoll(raw) })
	return p, nil
}

// watchEpoll waits for events, hands them to the loop, and waits until it is
// done with them. It ends when the epoll descriptor is closed.
func (p *poller) watchEpoll(raw syscall.RawConn) {
	for {
		err := raw.Read(func(uintptr) bool {
			p.n = p.poll()
			return p.n > 0
		})
		if err != nil {
			return // closed: nothing else ends it
		}
		p.wake <- struct{}{}
		select {
		case <-p.rested:
		case <-p.quit:
			return
		}
	}
}

// poll is epoll_wait that doesn't wait: fit for a raw system call.
func (p *poller) poll() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd),
		uintptr(unsafe.Pointer(&p.raw[0])), eventsPerTurn, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (p *poller) ready() <-chan struct{} { return p.wake }

func (p *poller) take() []event {
	for i := range p.n {
		raw := &p.raw[i]
		e := event{slot: uint32(raw.Fd), gen: uint32(raw.Pad)}
		if e.slot == listenerSlot {
			e.what = eventAccept
		} else {
			if raw.Events&^unix.EPOLLOUT != 0 {
				e.what |= eventRead
			}
			if raw.Events&unix.EPOLLOUT != 0 {
				e.what |= eventWrite
			}
		}
		p.events[i] = e
	}
	return p.events[:p.n]
}

func (p *poller) rest() { p.rested <- struct{}{} }

func (p *poller) watch(fd int, slot, gen uint32) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(slot), Pad: int32(gen)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &e))
}

func (p *poller) accept(c *conn) error {
	if p.listen < 0 || p.paused {
		return errNothing
	}
	fd, errno := p.acceptSocket()
	switch errno {
	case 0:
		c.fd, c.addr = int32(fd), p.peerAddr()
		return nil
	case unix.EAGAIN:
		return errNothing
	case unix.EMFILE, unix.ENFILE:
		if !p.turnAway() {
			return errNothing // said before it looks whether anyone waits
		}
	}
	return os.NewSyscallError("accept4", errno)
}

// acceptSocket is accept4 without what package unix allocates for the address.
func (p *poller) acceptSocket() (int, syscall.Errno) {
	size := uint32(unix.SizeofSockaddrAny)
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(p.listen), uintptr(unsafe.Pointer(&p.peer)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(fd), errno
}

// peerAddr is the IP in p.peer; IPv4 as mapped.
func (p *poller) peerAddr() (addr [16]byte) {
	switch p.peer.Addr.Family {
	case unix.AF_INET:
		addr[10], addr[11] = 0xFF, 0xFF
		copy(addr[12:], (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.peer)).Addr[:])
	case unix.AF_INET6:
		addr = (*unix.RawSockaddrInet6)(unsafe.Pointer(&p.peer)).Addr
	}
	return addr
}

// turnAway takes a client from the listener for whom there is no descriptor,
// and closes it; else the listener would stay ready, and the loop busy. If not
// even that can be done, the listener is left alone until resumeAccepting. It
// says false if there was none.
func (p *poller) turnAway() bool {
	if p.spare >= 0 {
		closeSocket(p.spare)
	}
	fd, errno := p.acceptSocket()
	if errno == 0 {
		closeSocket(fd)
	}
	p.openSpare()
	if errno == unix.EMFILE || errno == unix.ENFILE {
		p.pauseListener(true)
	}
	return errno != unix.EAGAIN
}

// pauseListener can fail only for a descriptor that isn't there, which would be
// a bug of ours.
func (p *poller) pauseListener(paused bool) {
	slot := listenerSlot
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(slot)}
	if paused {
		e.Events = 0
	}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, p.listen, &e); err != nil {
		panic(fmt.Sprintf("edge: epoll_ctl of the listener: %v", err))
	}
	p.paused = paused
}

func (p *poller) resumeAccepting() {
	if !p.paused || p.listen < 0 {
		return
	}
	if p.spare < 0 {
		p.openSpare()
	}
	p.pauseListener(false)
}

func (p *poller) openSpare() {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1 // none to spare right now; the next turnAway tries again
	}
	p.spare = fd
}

func (p *poller) stopAccepting() {
	if p.listen >= 0 {
		closeSocket(p.listen)
		p.listen = -1
	}
}

func (p *poller) add(c *conn) error {
	if err := p.watch(int(c.fd), c.slot, c.gen); err != nil {
		return err
	}
	c.flags |= flagPolled
	if c.out != nil && c.out.waiting {
		p.awaitWrite(c)
	}
	return nil
}

func (p *poller) again(*conn) {} // level-triggered

func (p *poller) awaitWrite(c *conn) {
	if c.flags&(flagPolled|flagWaiting) == flagPolled {
		c.flags |= flagWaiting
		p.change(c, unix.EPOLLIN|unix.EPOLLOUT)
	}
}

func (p *poller) wroteAll(c *conn) {
	if c.flags&flagWaiting != 0 {
		c.flags &^= flagWaiting
		p.change(c, unix.EPOLLIN)
	}
}

// change can fail only for a descriptor that isn't there, which would be a bug
// of ours.
func (p *poller) change(c *conn, events uint32) {
	e := unix.EpollEvent{Events: events, Fd: int32(c.slot), Pad: int32(c.gen)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, int(c.fd), &e); err != nil {
		panic(fmt.Sprintf("edge: epoll_ctl of conn %v: %v", c, err))
	}
}

func (p *poller) shut(c *conn, reset bool) {
	if reset {
		// Fails only on a socket that is broken anyway.
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	closeSocket(int(c.fd)) // epoll forgets it
}

func (p *poller) detach(c *conn) (net.Conn, error) {
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	sock, err := net.FileConn(f) // with a descriptor of its own
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if c.flags&flagPolled != 0 {
		// The copy keeps the socket open, so epoll would not forget it. It can
		// fail only for a descriptor that isn't there.
		_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, int(c.fd), nil)
	}
	closeSocket(int(c.fd))
	return sock, nil
}

func (p *poller) close() {
	close(p.quit)
	p.stopAccepting()
	if err := p.epoll.Close(); err != nil {
		panic(fmt.Sprintf("edge: close epoll: %v", err)) // closed twice: a bug of ours
	}
	p.wait.Wait()
	if p.spare >= 0 {
		closeSocket(p.spare)
	}
}
