package kvspeed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"roomd/kv/resp"
)

// The client that measures: all connections on one goroutine, over bare sockets
// and poll(2). It costs a system call for each answer and each command, and hardly
// anything else: what is measured is to be the server.

const (
	drainWithin = 10 * time.Second // for answers that are due when the time is up
	longestPoll = 100 * time.Millisecond
	readBytes   = 16 << 10
)

// A loop is one measurement.
type loop struct {
	base     time.Time
	conns    []*conn
	fds      []unix.PollFd
	depth    int // commands that a connection keeps under way
	from, to int64

	latency  *hdr.Histogram // in µs
	answers  int            // in the window
	total    int            // and over all
	sum      int64          // of all answers that are numbers
	heard    int            // messages to listeners
	sleeping time.Duration  // in poll, in the window
}

func (l *loop) now() int64 { return int64(time.Since(l.base)) }

// newLoop connects to a server.
func newLoop(ctx context.Context, addr string, depth int, roles []role) (*loop, error) {
	l := &loop{base: time.Now(), depth: depth, latency: newHistogram()}
	for i, r := range roles {
		c, err := l.dial(ctx, addr, i, r)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.conns = append(l.conns, c)
		l.fds = append(l.fds, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLIN})
	}
	return l, nil
}

func newHistogram() *hdr.Histogram { return hdr.New(1, 60e6, 3) }

func (l *loop) dial(ctx context.Context, addr string, id int, r role) (*conn, error) {
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	file, err := tcp.(*net.TCPConn).File()
	if err := errors.Join(err, tcp.Close()); err != nil {
		return nil, err
	}
	c := &conn{role: r, file: file, fd: int(file.Fd()), id: id, sent: make([]int64, l.depth), begun: r.begin == nil}
	c.rng.Seed(uint64(id), 1)
	c.in = make([]byte, 0, readBytes)
	return c, unix.SetNonblock(c.fd, true)
}

func (l *loop) close() error {
	var err error
	for _, c := range l.conns {
		err = errors.Join(err, c.file.Close())
	}
	return err
}

// run loads the server for warmup and length, and then waits for what is due.
func (l *loop) run(ctx context.Context, warmup, length time.Duration) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	l.from = l.now() + int64(warmup)
	l.to = l.from + int64(length)
	for _, c := range l.conns {
		if c.next == nil {
			continue
		}
		if err := l.fill(c, l.now()); err != nil {
			return err
		}
	}
	for {
		now := l.now()
		if now >= l.to && (l.drained() || now >= l.to+int64(drainWithin)) {
			break
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := l.turn(now); err != nil {
			return err
		}
	}
	if l.due() > 0 {
		return fmt.Errorf("%d answers are missing %v after the end", l.due(), drainWithin)
	}
	return nil
}

// begin sends the commands that come first, and waits for their answers: whoever
// subscribes does before anybody publishes.
func (l *loop) begin(ctx context.Context) error {
	for _, c := range l.conns {
		if c.begin == nil {
			continue
		}
		c.out = c.begin(c.out)
		if err := c.flush(); err != nil {
			return err
		}
		for !c.begun {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if err := l.turn(l.now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// drained reports whether all that is due has come.
func (l *loop) drained() bool { return l.due() == 0 && l.unheard() == 0 }

// due is how many answers must still come.
func (l *loop) due() int {
	n := 0
	for _, c := range l.conns {
		if !c.blocks {
			n += c.waits
		}
	}
	return n
}

// unheard is how many messages the listener has not got of those that the server
// said somebody would.
func (l *loop) unheard() int {
	if last := l.conns[len(l.conns)-1]; last.next != nil {
		return 0
	}
	return max(0, int(l.sum)-l.heard)
}

// turn waits for sockets and deals with those that are ready.
func (l *loop) turn(now int64) error {
	sleep := int64(longestPoll)
	for _, c := range l.conns {
		if c.pause == 0 || c.waits > 0 || now >= l.to {
			continue
		}
		if now >= c.due {
			if err := l.fill(c, now); err != nil {
				return err
			}
			continue
		}
		sleep = min(sleep, c.due-now)
	}
	if now < l.to {
		sleep = min(sleep, l.to-now)
	}
	began := l.now()
	_, err := unix.Poll(l.fds, int((sleep+999_999)/1_000_000))
	now = l.now()
	if began >= l.from && now < l.to {
		l.sleeping += time.Duration(now - began)
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	for i := range l.fds {
		if l.fds[i].Revents == 0 {
			continue
		}
		c := l.conns[i]
		if err := l.ready(c); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		l.fds[i].Events = unix.POLLIN
		if len(c.out) > 0 {
			l.fds[i].Events |= unix.POLLOUT
		}
	}
	return nil
}

// ready reads what is there and sends what follows from it.
func (l *loop) ready(c *conn) error {
	if len(c.in) == cap(c.in) {
		c.in = append(make([]byte, 0, 2*cap(c.in)), c.in...)
	}
	n, err := unix.Read(c.fd, c.in[len(c.in):cap(c.in)])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return c.flush()
	case err != nil:
		return err
	case n == 0:
		return io.ErrUnexpectedEOF
	}
	now := l.now()
	rest := c.in[:len(c.in)+n]
	for len(rest) > 0 {
		v, after, err := resp.Parse(rest)
		if errors.Is(err, resp.ErrShort) {
			break
		}
		if err != nil {
			return err
		}
		if err := l.answered(c, &v, now); err != nil {
			return err
		}
		rest = after
	}
	c.in = c.in[:copy(c.in[:cap(c.in)], rest)]
	if c.next == nil || c.pause > 0 {
		return c.flush()
	}
	return l.fill(c, now)
}

// answered takes note of one answer.
func (l *loop) answered(c *conn, v *resp.Value, now int64) error {
	switch {
	case v.Kind == '-':
		return fmt.Errorf("the server answers: %s", v.Text)
	case !c.begun:
		c.begun = true
		return nil
	case c.next == nil:
		l.heard++
		return nil
	case c.waits == 0:
		return errors.New("an answer to nothing")
	case c.answer == 0 && v.Null(), c.answer != 0 && v.Kind != c.answer:
		return fmt.Errorf("an answer of kind %c", v.Kind)
	}
	sent := c.sent[c.first]
	c.first = (c.first + 1) % len(c.sent)
	c.waits--
	if c.pause > 0 { // not all at the same time
		c.due = now + int64(c.pause)/2 + int64(c.n(int(c.pause)))
	}
	if c.silent {
		return nil
	}
	l.total++
	l.sum += v.Int
	if now < l.from || now >= l.to {
		return nil
	}
	l.answers++
	took := now - sent
	if c.latency != nil {
		took = c.latency(c, v, now, sent)
	}
	if took >= 0 {
		return l.latency.RecordValue(min(max(took/1000, 1), l.latency.HighestTrackableValue()))
	}
	return nil
}

// fill brings the connection to its number of commands under way.
func (l *loop) fill(c *conn, now int64) error {
	depth := l.depth
	if c.pause > 0 || c.blocks {
		depth = 1
	}
	for c.waits < depth && now < l.to {
		at := l.now() // a message may carry it
		c.sent[(c.first+c.waits)%len(c.sent)] = at
		c.waits++
		c.out = c.next(c, c.out)
		c.count++
	}
	return c.flush()
}
