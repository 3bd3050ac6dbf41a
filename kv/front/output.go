package front

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"roomd/kv/resp"
)

const (
	maxReplies  = 64 << 20 // unsent bytes with which no more commands are run
	maxMessages = 32 << 20 // unsent bytes with which a client that gets a message is closed
	keptBuffer  = 64 << 10 // larger ones are not used again
	firstBuffer = 1 << 10
)

// A slot is the place of a command's reply in the conn's order.
type slot struct {
	c      *conn
	next   *slot
	tx     *transaction // of an EXEC
	shape  resp.Shape
	resp3  bool // what the client spoke when it sent the command
	holds  bool // a blocking command
	done   bool
	reply  []byte
	err    error
	finish func(reply []byte, err error) // complete, bound once
}

var slots sync.Pool

func newSlot() *slot {
	s, ok := slots.Get().(*slot)
	if !ok {
		s = new(slot)
		s.finish = s.complete
	}
	return s
}

// A buffer is bytes for the socket, of which sent are gone.
type buffer struct {
	b    []byte
	sent int
}

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, firstBuffer)} }}

func (b *buffer) free() {
	if cap(b.b) <= keptBuffer {
		b.b, b.sent = b.b[:0], 0
		buffers.Put(b)
	}
}

func (c *conn) init() {
	c.moved.L = &c.mu
	c.busy = true
	c.sendFunc = c.sendAll
	c.try.f = c.try.once
}

// begin makes a slot at the end of the queue, when there is room. The conn may
// be dead then.
func (c *conn) begin(cmd *command, shape resp.Shape, tx *transaction) *slot {
	s := newSlot()
	s.c, s.tx, s.shape, s.resp3, s.holds = c, tx, shape, c.resp3, cmd.blocking
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom()
	c.push(s)
	if s.holds {
		c.held, c.holding = true, true
	}
	return s
}

// makeRoom waits until there may be one more reply. mu is held.
func (c *conn) makeRoom() {
	c.collect()
	if c.unsent >= flushAt {
		c.flush()
	}
	for (c.inFlight >= maxInFlight || c.unsent > maxReplies) && !c.dead {
		c.rest()
	}
}

// push adds a slot at the end. mu is held.
func (c *conn) push(s *slot) {
	if c.last == nil {
		c.first = s
	} else {
		c.last.next = s
	}
	c.last = s
	c.inFlight++
}

// complete puts a reply in its place, and has it sent if it is the first.
func (s *slot) complete(reply []byte, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.reply, s.err, s.done = reply, err, true
	if s.holds {
		c.holding = false
		if c.stalled && !c.interrupted && c.nc.SetReadDeadline(time.Unix(1, 0)) == nil {
			c.interrupted = true
		}
		c.moved.Broadcast()
	}
	if c.first != s {
		return
	}
	if c.dead {
		c.collect()
		c.moved.Broadcast()
		return
	}
	if c.busy {
		return
	}
	c.sendSoon()
}

// answer gives the reply to a command that the front has done itself.
func (c *conn) answer(reply []byte, shape resp.Shape) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom()
	if c.first == nil {
		c.emit(reply, nil, shape, c.resp3)
		return
	}
	s := newSlot()
	s.c, s.shape, s.resp3, s.done = c, shape, c.resp3, true
	s.reply = append([]byte(nil), reply...)
	c.push(s)
}

// rest has the reader send what is ready, and wait until something moves if that
// moved nothing. mu is held.
func (c *conn) rest() {
	inFlight, unsent, holding := c.inFlight, c.unsent, c.holding
	c.flush()
	if c.dead || c.inFlight != inFlight || c.unsent != unsent || c.holding != holding {
		return
	}
	c.busy = false
	c.moved.Wait()
	c.busy = true
}

// flush sends what is ready, as far as the socket takes it at once; a goroutine
// sends the rest. For the reader. mu is held, though not while it writes.
func (c *conn) flush() {
	if c.writing || c.dead || c.out == nil && (c.first == nil || !c.first.done) {
		return
	}
	c.writing = true
	if c.send(false) {
		c.writing = false
		return
	}
	c.writers.Add(1)
	go c.sendFunc()
}

// sendSoon has a goroutine send what is ready. mu is held.
func (c *conn) sendSoon() {
	if !c.writing && !c.dead {
		c.writing = true
		c.writers.Add(1)
		go c.sendFunc()
	}
}

func (c *conn) sendAll() {
	defer c.writers.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(true)
	c.writing = false
	c.moved.Broadcast()
}

// send writes until there is nothing left; without wait, until the socket takes
// no more, and then it returns false. mu is held, though not while it writes;
// writing is set, so nobody else is here.
func (c *conn) send(wait bool) (all bool) {
	for {
		if c.sending == nil {
			c.collect()
			if c.sending, c.out = c.out, nil; c.sending == nil || c.dead {
				return true
			}
		}
		b := c.sending
		c.mu.Unlock()
		var n int
		var err error
		if wait {
			n, err = c.nc.Write(b.b[b.sent:])
		} else {
			n, err = c.try.write(c.raw, b.b[b.sent:])
		}
		c.s.counts.bytesOut.Add(uint64(n))
		c.mu.Lock()
		b.sent += n
		c.unsent -= n
		if err != nil {
			c.failLocked()
		}
		if c.dead {
			return true
		}
		if b.sent < len(b.b) {
			return false
		}
		b.free()
		c.sending = nil
		if c.unsent < maxReplies {
			c.moved.Broadcast()
		}
	}
}

// collect takes the replies that are ready and in order into out. mu is held.
func (c *conn) collect() {
	for s := c.first; s != nil && s.done; s = c.first {
		if c.first = s.next; c.first == nil {
			c.last = nil
		}
		c.inFlight--
		if s.tx != nil && s.err == nil && !c.dead {
			s.reply, s.err = s.tx.finish(s.reply, s.resp3)
			s.resp3 = true // finish has done what there was to do
		}
		c.emit(s.reply, s.err, s.shape, s.resp3)
		finish := s.finish
		*s = slot{finish: finish}
		slots.Put(s)
	}
}

// emit appends a reply to out. mu is held.
func (c *conn) emit(reply []byte, err error, shape resp.Shape, resp3 bool) {
	if c.dead {
		return
	}
	out := c.outBuffer()
	before := len(out.b)
	switch {
	case err != nil && errors.Is(err, context.Canceled) && c.ctx.Err() != nil: // the conn ends
	case err != nil:
		out.b = appendFailure(out.b, err)
	case resp3:
		out.b = append(out.b, reply...)
	default:
		out.b, err = resp.Downgrade(out.b, reply, shape)
		if err != nil {
			out.b = appendFailure(out.b, err)
		}
	}
	if len(out.b) > before && out.b[before] == '-' {
		c.s.counts.failed(out.b[before:])
	}
	c.unsent += len(out.b) - before
}

// outBuffer returns what is sent next. mu is held.
func (c *conn) outBuffer() *buffer {
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	return c.out
}

// writeTry writes to a socket what it takes at once.
type writeTry struct {
	f   func(fd uintptr) bool // once, bound once
	b   []byte
	n   int
	err error
}

func (t *writeTry) write(raw syscall.RawConn, b []byte) (n int, err error) {
	t.b, t.n, t.err = b, 0, nil
	if err = raw.Write(t.f); err == nil {
		err = t.err
	}
	t.b = nil
	return t.n, err
}

// once never asks to be called again, when the socket takes more.
func (t *writeTry) once(fd uintptr) bool {
	for t.n < len(t.b) {
		n, err := unix.Write(int(fd), t.b[t.n:])
		if n > 0 {
			t.n += n
		}
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return true
		case err != nil:
			t.err = err
			return true
		}
	}
	return true
}
