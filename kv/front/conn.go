package front

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"roomd/kv/resp"
)

const (
	maxInFlight  = 512             // commands of a conn that the store has and has not answered
	maxReadAhead = 64 << 10        // bytes read while a command waits
	flushAt      = 64 << 10        // bytes of replies that are written before all commands have run
	goodbye      = 5 * time.Second // for a client to read the last replies
)

// errLeave ends a conn in order.
var errLeave = errors.New("client is to leave")

// A conn is one client. Its reader, the goroutine of serve, owns all that is not
// under mu.
type conn struct {
	s      *Server
	id     uint64
	nc     *net.TCPConn
	raw    syscall.RawConn
	since  time.Time
	ctx    context.Context // ends with the conn
	cancel context.CancelFunc
	in     *resp.Reader

	authed                bool
	name, lib, libVersion string
	tx                    *transaction // nil outside MULTI
	watched               []watch
	subs                  *subscriptions // nil before the first
	held                  bool           // the last command was a blocking one; it may still wait
	scratch               []byte         // for replies of the front's own

	output
}

func (s *Server) newConn(ctx context.Context, nc *net.TCPConn) (*conn, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{s: s, id: s.lastID.Add(1), nc: nc, raw: raw, since: time.Now()}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.in = resp.NewReader(counted{nc, &s.counts}, resp.Limits{
		Args: s.cfg.MaxArgs, Arg: s.cfg.MaxArg, Command: s.cfg.MaxCommand,
	})
	c.setAuthed(s.cfg.Password == "")
	c.init()
	return c, nil
}

// counted is a socket whose bytes are counted.
type counted struct {
	nc     *net.TCPConn
	counts *counters
}

func (r counted) Read(b []byte) (int, error) {
	n, err := r.nc.Read(b)
	r.counts.bytesIn.Add(uint64(n))
	return n, err
}

func (c *conn) setAuthed(yes bool) {
	c.authed, c.in.Limits.Stranger = yes, !yes
}

// serve runs the client's commands until it goes, and waits for everything that
// was begun for it.
func (c *conn) serve() {
	err := c.loop()
	var wrong *resp.ProtocolError
	switch {
	case errors.As(err, &wrong):
		c.drain()
		c.s.counts.protocol.Add(1)
		c.answer(resp.AppendError(nil, "ERR "+wrong.Error()), resp.Plain)
		c.finish()
	case err == io.EOF && !c.isHeld() || err == errLeave: // it may still read
		c.drain()
		c.finish()
	}
	c.fail()
	if c.subs != nil {
		c.subs.sub.Close()
	}
	c.mu.Lock()
	for c.inFlight > 0 {
		c.moved.Wait()
	}
	c.mu.Unlock()
	c.writers.Wait()
	c.in.Release()
}

// loop runs commands as they come. Its error says why the conn ends.
func (c *conn) loop() error {
	for {
		if !c.isHeld() {
			argv, err := c.in.Parse()
			if err != nil {
				return err
			}
			if argv != nil {
				if err := c.run(argv); err != nil {
					return err
				}
				continue
			}
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// fill sends what there is to send and reads once. It returns before that when
// a command that has held up others has been answered.
func (c *conn) fill() error {
	if c.held && c.in.Buffered() >= maxReadAhead {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flush()
		for c.holding && !c.dead {
			c.rest()
		}
		return nil
	}
	c.mu.Lock()
	c.flush()
	c.stalled = c.held && c.holding && c.in.Buffered() > 0
	if c.held && !c.holding { // since isHeld
		c.mu.Unlock()
		return nil
	}
	c.busy = false
	c.mu.Unlock()

	err := c.in.Fill()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.stalled = true, false
	if c.interrupted {
		c.interrupted = false
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		if e := c.nc.SetReadDeadline(time.Time{}); err == nil {
			err = e
		}
	}
	return err
}

// isHeld reports whether the last command waits, so that no other may run.
func (c *conn) isHeld() bool {
	if !c.held {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = c.holding
	return c.held
}

// drain waits until all that was begun is answered.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.inFlight > 0 && !c.dead {
		c.rest()
	}
}

// finish waits until the last replies are written. They are lost on a client
// that does not read them.
func (c *conn) finish() {
	if err := c.nc.SetWriteDeadline(time.Now().Add(goodbye)); err != nil {
		return // it is closed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.unsent > 0 && !c.dead {
		c.rest()
	}
}

// fail closes the conn at once: what has not been sent is not, and what waits
// is given up. It may be called by anybody, more than once.
func (c *conn) fail() {
	c.mu.Lock()
	c.failLocked()
	c.mu.Unlock()
}

func (c *conn) failLocked() {
	if c.dead {
		return
	}
	c.dead = true
	c.cancel()
	c.nc.Close()
	c.collect() // what is ready is nobody's now
	c.moved.Broadcast()
}

// output is what a conn has to say: replies in the order of their commands, and
// messages.
type output struct {
	mu       sync.Mutex
	moved    sync.Cond // something below went down, or dead came up
	first    *slot     // commands begun and not answered, or not before earlier ones
	last     *slot
	inFlight int     // slots
	out      *buffer // to be sent; nil if nothing is
	sending  *buffer // being sent, before out
	unsent   int     // bytes in both
	writing  bool    // somebody sends, and will send what comes
	busy     bool    // the reader runs commands, and will send what comes
	resp3    bool    // changed by the reader only
	dead     bool    // closed

	holding     bool // a blocking command is in flight
	stalled     bool // the reader reads though it has bytes of commands that were held up
	interrupted bool // it has been woken for those

	subscribing bool           // a subscription is being made
	early       []earlyMessage // what has come meanwhile

	writers  sync.WaitGroup // goroutines of send and of blocking commands
	sendFunc func()
	try      writeTry
}
