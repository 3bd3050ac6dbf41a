package edge

import "time"

// One sweep over the slab looks after every deadline there is: no conn has a
// timer. Each tick does a part of the slots, a pass takes Config.sweepEvery, so
// that deadlines are kept to within a pass.

const sweepParts = 8

// sweep is one tick.
func (l *loop) sweep() {
	l.poll.resumeAccepting()
	for range l.slab.size() / sweepParts {
		if l.sweepAt >= l.slab.size() {
			l.sweepAt = 0
		}
		l.look(l.slab.at(uint32(l.sweepAt)))
		l.sweepAt++
	}
	if !l.now.Before(l.nextSecond) {
		l.nextSecond = l.now.Add(time.Second)
		l.hooks.second(l.now)
	}
}

// look acts on c's deadlines.
func (l *loop) look(c *conn) {
	inState := l.ms - c.since
	switch c.state {
	case stateHead:
		if inState >= l.times.handshake {
			l.refuse(c, refusedTooSlow)
		}
	case stateClosing, stateDraining:
		if inState >= l.times.closing {
			c.flags |= flagReset
			l.lose(c, closeAbnormal)
		}
	case stateOpen:
		c.idleTalk = 0
		l.lookAlive(c)
	}
}

// lookAlive pings who is silent and gives up who is silent for long, or takes
// nothing of what waits for him.
func (l *loop) lookAlive(c *conn) {
	if o := c.out; o != nil && o.waiting && l.ms-o.moved >= l.times.slow {
		l.stats.slowCloses++
		l.cut(c, closeSlow)
		return
	}
	silence := l.ms - c.lastRead
	if silence >= l.times.idle {
		l.stats.timeouts++
		c.close(closeIdle, "idle")
		return
	}
	// Those who came together shall not be pinged together: take up to a
	// quarter off the interval, by slot.
	interval := l.times.ping - c.slot*0x9E3779B1>>16%(l.times.ping/4+1)
	if silence >= interval*uint32(c.pings+1) && c.pings < 255 {
		c.pings++
		l.stats.pings++
		l.push(c, pingFrame)
	}
}

// A ring remembers the conns of stateHead in the order they began to wait. It
// is as long as there may be of them; for a new one the oldest is forgotten.
// Entries may be stale: their conn has gone on or is gone.
type ring struct {
	entries []ringEntry
	next    int
}

type ringEntry struct{ slot, gen uint32 }

func (r *ring) init(size int) {
	r.entries = make([]ringEntry, size)
	for i := range r.entries {
		r.entries[i].gen = ^uint32(0) // nobody's
	}
}

// add returns the entry that had to go.
func (r *ring) add(e ringEntry) (oldest ringEntry) {
	oldest, r.entries[r.next] = r.entries[r.next], e
	r.next = (r.next + 1) % len(r.entries)
	return oldest
}

// remember bounds how many conns wait in stateHead: the oldest has had its time.
func (l *loop) remember(c *conn) {
	if old := l.waiting(l.halfOpen.add(ringEntry{c.slot, c.gen})); old != nil {
		l.dropHalfOpen(old)
	}
}

// oldestHalfOpen is the conn that has been in stateHead for longest, or nil.
func (l *loop) oldestHalfOpen() *conn {
	r := &l.halfOpen
	for i := range r.entries {
		if old := l.waiting(r.entries[(r.next+i)%len(r.entries)]); old != nil {
			return old
		}
	}
	return nil
}

// waiting is the conn of a ring's entry if it still waits.
func (l *loop) waiting(e ringEntry) *conn {
	if c := l.slab.find(e.slot, e.gen); c != nil && c.state == stateHead {
		return c
	}
	return nil
}

func (l *loop) dropHalfOpen(c *conn) {
	l.stats.refused[refusedHalfOpen]++
	c.flags |= flagReset
	l.lose(c, closeOverload)
}
