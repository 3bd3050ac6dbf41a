//go:build linux && !roomd_portable

package client

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The epoll half of a Loop. Sockets are bare descriptors: no netpoller, no
// goroutine, no buffer per connection. System calls on them never block, so they
// go past the scheduler (RawSyscall).

const readBuffer = 256 << 10 // one for all connections

type poller struct {
	epoll  int
	conns  []*Conn // by descriptor
	failed []*Conn // conns to end at the next turn: a Dial or a handler must return first
	buffer []byte
	events [256]unix.EpollEvent

	mu    sync.Mutex // guards event against a wake after the end
	event int        // an eventfd; -1: the loop has ended
}

// link is the descriptor of a Conn.
type link struct {
	fd     int32
	gen    int32 // tells an event of an earlier use of the descriptor
	target *Target
	failed error
}

func (p *poller) open() error {
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if p.event, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		unix.Close(p.epoll)
		return os.NewSyscallError("eventfd", err)
	}
	p.buffer = make([]byte, readBuffer)
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.event,
		&unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.event), Pad: -1}))
}

// shut closes everything.
func (p *poller) shut() {
	for _, c := range p.conns {
		if c != nil && c.phase != phaseClosed {
			c.release(false)
		}
	}
	unix.Close(p.epoll)
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.event)
	p.event = -1
}

// wake makes poll return. Any goroutine may call it, at any time.
func (p *poller) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.event >= 0 {
		one := [8]byte{1}
		// Fails only when the counter is full, and then poll wakes up anyway.
		_, _ = unix.Write(p.event, one[:])
	}
}

// poll waits up to timeout for something to happen and handles it.
func (p *poller) poll(l *Loop, timeout time.Duration) error {
	if len(p.failed) > 0 {
		p.endFailed(l)
		timeout = 0
	}
	before := l.Clock()
	n, err := p.wait(timeout)
	if err != nil {
		return err
	}
	l.idle += l.Clock() - before
	for i := range p.events[:n] {
		if i%tickEvery == tickEvery-1 {
			l.tick()
		}
		p.handle(l, &p.events[i])
	}
	return nil
}

func (p *poller) handle(l *Loop, ev *unix.EpollEvent) {
	if ev.Pad == -1 {
		var counter [8]byte
		_, _ = unix.Read(p.event, counter[:]) // resets it; empty is fine too
		return
	}
	c := p.conns[ev.Fd]
	if c == nil || c.link.gen != ev.Pad || c.phase == phaseClosed {
		return
	}
	if c.phase == phaseConnecting {
		p.finishConnect(c)
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 && len(c.unsent) > 0 {
		c.writable()
	}
	switch {
	case c.phase == phaseClosed:
	case c.rate == 0 && ev.Events&(unix.EPOLLIN|unix.EPOLLERR|unix.EPOLLHUP) != 0:
		p.read(l, c, len(p.buffer))
	case ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		p.read(l, c, len(p.buffer)) // a slow reader whose connection broke
	}
}

// read reads up to limit bytes once; what is left brings the next event.
func (p *poller) read(l *Loop, c *Conn, limit int) {
	n, errno := rawIO(unix.SYS_READ, c.link.fd, p.buffer[:limit])
	l.Clock()
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
	case errno != 0:
		c.end(os.NewSyscallError("read", errno))
	case n == 0:
		c.end(io.ErrUnexpectedEOF)
	default:
		c.received(p.buffer[:n])
	}
}

// wait is epoll_pwait2, whose timeouts are as fine as a schedule of 100,000
// sends a second needs; before Linux 5.11 it is epoll_wait, in milliseconds.
func (p *poller) wait(timeout time.Duration) (int, error) {
	if timeout <= 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
			uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		return waited(int(n), errno)
	}
	spec := unix.NsecToTimespec(int64(timeout))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(unsafe.Pointer(&spec)), 0, 0)
	if errno == unix.ENOSYS {
		millis := (timeout + time.Millisecond - 1) / time.Millisecond
		n, err := unix.EpollWait(p.epoll, p.events[:], int(millis))
		return max(n, 0), ignoreEINTR(err)
	}
	return waited(int(n), errno)
}

func waited(n int, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, ignoreEINTR(errno)
	}
	return n, nil
}

func ignoreEINTR(err error) error {
	if err == nil || errors.Is(err, unix.EINTR) {
		return nil
	}
	return os.NewSyscallError("epoll_wait", err)
}

// connect begins a TCP connection. Failures are told at the next turn.
func (p *poller) connect(l *Loop, c *Conn, t *Target, source netip.Addr) {
	c.link = link{fd: -1, target: t}
	if err := p.begin(l, c, t, source); err != nil {
		c.link.failed = err
		p.failed = append(p.failed, c)
		p.wake()
	}
}

func (p *poller) begin(l *Loop, c *Conn, t *Target, source netip.Addr) error {
	domain := unix.AF_INET
	if t.addr.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	c.link.fd = int32(fd)
	c.link.gen = int32(l.rng.Uint32() >> 1)
	for fd >= len(p.conns) {
		p.conns = append(p.conns, nil)
	}
	p.conns[fd] = c
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if source.IsValid() {
		// Let the kernel choose the port at connect, by the whole address pair.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0))); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(t.addr)); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return p.control(c, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
}

func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if ap.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
}

func (p *poller) control(c *Conn, op int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: c.link.fd, Pad: c.link.gen}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, op, int(c.link.fd), &ev))
}

func (p *poller) finishConnect(c *Conn) {
	code, err := unix.GetsockoptInt(int(c.link.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		c.end(os.NewSyscallError("connect", err))
		return
	}
	if err := p.control(c, unix.EPOLL_CTL_MOD, unix.EPOLLIN); err != nil {
		c.end(err)
		return
	}
	c.connected(c.link.target)
}

// endFailed ends the conns that could not connect or write. What the server said
// before that, a bye perhaps, is read first.
func (p *poller) endFailed(l *Loop) {
	failed := p.failed
	p.failed = nil
	for _, c := range failed {
		for last := ^uint64(0); c.phase >= phaseUpgrading && c.phase < phaseClosed && c.BytesIn != last; {
			last = c.BytesIn
			p.read(l, c, len(p.buffer))
		}
		c.end(c.link.failed)
	}
}

// wantWrite asks for an event once the socket takes bytes again.
func (p *poller) wantWrite(c *Conn, on bool) {
	var events uint32
	if c.rate == 0 {
		events = unix.EPOLLIN
	}
	if on {
		events |= unix.EPOLLOUT
	}
	if err := p.control(c, unix.EPOLL_CTL_MOD, events); err != nil {
		c.link.fail(c, err)
	}
}

// readSlowly stops or allows read events. A slow reader also gets a small
// receive buffer, or the kernel would take in megabytes for it.
func (p *poller) readSlowly(c *Conn, slow bool) {
	p.wantWrite(c, len(c.unsent) > 0)
	if !slow {
		return
	}
	if err := unix.SetsockoptInt(int(c.link.fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
		c.link.fail(c, os.NewSyscallError("setsockopt", err))
	}
}

// drop closes the descriptor, with a TCP reset if the connection shall look broken.
func (p *poller) drop(c *Conn, reset bool) {
	fd := int(c.link.fd)
	if fd < 0 {
		return
	}
	if reset {
		// On failure the peer sees an end instead of a reset: good enough.
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if p.conns[fd] == c {
		p.conns[fd] = nil
	}
	unix.Close(fd)
	c.link.fd = -1
}

// write tells how much the kernel took; a full socket is no error.
func (k *link) write(b []byte) (int, error) {
	n, errno := rawIO(unix.SYS_WRITE, k.fd, b)
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, os.NewSyscallError("write", errno)
	}
	return n, nil
}

// fail ends c at the next turn, since the caller may be in a handler.
func (k *link) fail(c *Conn, err error) {
	if k.failed == nil {
		k.failed = err
		c.loop.poller.failed = append(c.loop.poller.failed, c)
	}
}

func rawIO(trap uintptr, fd int32, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
