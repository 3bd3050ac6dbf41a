package edge

import "syscall"

// An outbox is what waits for one client. During a turn frames gather in refs,
// shared with other conns; at its end one write takes them all. What the socket
// does not take is copied to the backlog, so nothing stays pinned, and the
// poller tells when it goes on. A conn with nothing queued has no outbox.
type outbox struct {
	refs    [][]byte // this turn's frames
	bytes   int      // invariant: len(backlog)-taken + the length of refs
	backlog []byte   // lent by the pool; comes before refs
	taken   int      // how much of backlog the socket has taken
	moved   uint32   // loop's milliseconds when the socket last took something
	waiting bool     // behind: the poller waits for the socket, backlog isn't empty
	dropped bool     // a droppable send was refused since it was empty
}

const (
	scratchBytes = 64 << 10
	keptOutboxes = 4096 // by a loop, for reuse
	keptRefs     = 32   // an outbox with room for more gives it back
)

// queue is conn.send, within the bounds.
func (l *loop) queue(c *conn, b []byte, droppable bool) bool {
	limit := l.cfg.OutboxBytes
	if droppable {
		limit = min(limit, l.cfg.DropBytes)
	}
	if o := c.out; o != nil && o.bytes+len(b) > limit {
		if !o.waiting {
			l.flush(c) // perhaps it isn't slow, there was just much to say in one turn
		}
		if c.state != stateOpen {
			return false
		}
		if o = c.out; o != nil && o.bytes+len(b) > limit {
			if droppable {
				o.dropped = true
				l.stats.drops++
			} else {
				l.stats.slowCloses++
				l.cut(c, closeSlow)
			}
			return false
		}
	}
	l.push(c, b)
	return true
}

// push queues b without looking at the bounds.
func (l *loop) push(c *conn, b []byte) {
	o := c.out
	if o == nil {
		o = l.takeOutbox()
		c.out = o
	}
	o.refs = append(o.refs, b)
	o.bytes += len(b)
	l.refs++
	l.markDirty(c)
}

func (l *loop) markDirty(c *conn) {
	if c.flags&flagDirty == 0 {
		c.flags |= flagDirty
		l.dirty = append(l.dirty, c)
	}
}

// cut resets a conn: it is behind, or dead. No close frame is tried: the socket
// takes no bytes, and a reset throws away what it has taken; but without the
// reset the kernel would keep its queue for minutes.
func (l *loop) cut(c *conn, code uint16) {
	c.flags |= flagReset
	l.lose(c, code)
}

// flushDirty writes what the turn has queued, one write for each dirty conn. It
// stops after flushesPerTurn conns, so that a huge room doesn't keep everyone
// else waiting; the rest comes first in the next turn, with what was added.
func (l *loop) flushDirty() {
	n := min(len(l.dirty), flushesPerTurn)
	for _, c := range l.dirty[:n] {
		c.flags &^= flagDirty
		if c.state != stateGone && c.state != stateFree {
			l.flush(c)
		}
	}
	left := copy(l.dirty, l.dirty[n:])
	clear(l.dirty[left:])
	l.dirty = l.dirty[:left]
	l.refs = 0
}

// flush writes c's refs, or puts them behind the backlog if there is one.
func (l *loop) flush(c *conn) {
	o := c.out
	if o == nil {
		l.settle(c)
		return
	}
	l.stats.framesOut += uint64(len(o.refs))
	if o.waiting {
		l.keep(c, nil, o.refs)
		return
	}
	refs := o.refs
	for len(refs) > 0 {
		b, n := l.gather(refs)
		refs = refs[n:]
		written, ok := l.write(c, b)
		if !ok {
			return
		}
		if written < len(b) {
			l.keep(c, b[written:], refs)
			return
		}
	}
	c.out = nil
	l.giveOutbox(o)
	l.settle(c)
}

// gather joins the first n refs to one slice to write: a single one as it is,
// several in the loop's scratch.
func (l *loop) gather(refs [][]byte) (b []byte, n int) {
	if len(refs) == 1 || len(refs[0])+len(refs[1]) > scratchBytes {
		return refs[0], 1
	}
	b = l.scratch[:0]
	for _, ref := range refs {
		if len(b)+len(ref) > scratchBytes {
			break
		}
		b = append(b, ref...)
		n++
	}
	return b, n
}

// write is one write(2) from c's outbox; zero bytes if the socket takes none
// now. It says false if the connection is broken.
func (l *loop) write(c *conn, b []byte) (n int, ok bool) {
	n, errno := sockWrite(c.fd, b)
	l.stats.writes++
	if errno != 0 && errno != syscall.EAGAIN {
		l.lose(c, closeAbnormal)
		return 0, false
	}
	l.stats.bytesOut += uint64(n)
	c.out.bytes -= n
	return n, true
}

// keep puts rest and refs behind the backlog and waits for the socket.
func (l *loop) keep(c *conn, rest []byte, refs [][]byte) {
	o := c.out
	if o.taken > len(o.backlog)/2 {
		o.backlog = o.backlog[:copy(o.backlog, o.backlog[o.taken:])]
		o.taken = 0
	}
	ok := true
	o.backlog, ok = l.hold(c, o.backlog, rest)
	for _, ref := range refs {
		if ok {
			o.backlog, ok = l.hold(c, o.backlog, ref)
		}
	}
	clear(o.refs)
	o.refs = o.refs[:0]
	if !ok {
		l.stats.overloads++
		l.cut(c, closeOverload)
		return
	}
	if !o.waiting {
		o.waiting, o.moved = true, l.ms
		l.poll.awaitWrite(c)
	}
}

// writable goes on with the backlog: the poller says that the socket takes
// bytes again.
func (l *loop) writable(c *conn) {
	o := c.out
	if o == nil || !o.waiting {
		return
	}
	n, ok := l.write(c, o.backlog[o.taken:])
	if !ok {
		return
	}
	o.taken += n
	if n > 0 {
		o.moved = l.ms
	}
	if o.taken < len(o.backlog) {
		l.poll.awaitWrite(c)
		return
	}
	l.pool.give(o.backlog)
	o.backlog, o.taken, o.waiting = nil, 0, false
	l.poll.wroteAll(c)
	dropped := o.dropped
	l.flush(c)
	if dropped && c.out == nil && c.state == stateOpen {
		l.hooks.drained(c)
	}
}

// settle is for a conn with nothing queued: a close goes on once its frame is
// out.
func (l *loop) settle(c *conn) {
	switch {
	case c.state == stateClosing && c.flags&flagPeerClosed != 0:
		l.lose(c, closeAbnormal)
	case c.state == stateDraining && c.flags&flagShut == 0:
		c.flags |= flagShut
		sockShutdown(c.fd)
	}
}

func (l *loop) takeOutbox() *outbox {
	if n := len(l.outboxes); n > 0 {
		o := l.outboxes[n-1]
		l.outboxes = l.outboxes[:n-1]
		return o
	}
	return new(outbox)
}

func (l *loop) giveOutbox(o *outbox) {
	l.pool.give(o.backlog)
	refs := o.refs
	clear(refs)
	if cap(refs) > keptRefs {
		refs = nil
	}
	*o = outbox{refs: refs[:0]}
	if len(l.outboxes) < keptOutboxes {
		l.outboxes = append(l.outboxes, o)
	}
}
