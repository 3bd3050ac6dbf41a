package edge

// When the pool has nothing more to lend, somebody must go. It is whoever holds
// most of those looked at, not whoever asks next: else a few thousand clients
// that keep half a message each, or read nothing, would have everyone else
// closed who needs a buffer for a moment.

const pagesPerRelief = 4 // of the slab, so that a look stays far below a millisecond

// hold is bufferPool.append for a buffer of c's. It says false if nobody was
// found who holds more than c would.
func (l *loop) hold(c *conn, b, more []byte) ([]byte, bool) {
	if held, ok := l.pool.append(b, more); ok {
		return held, true
	}
	want := c.holds() - cap(b) + 1<<classOf(len(b)+len(more))
	greedy := l.holdsMore(want, c)
	if greedy == nil {
		return b, false
	}
	l.overload(greedy)
	// What greedy holds comes back at the end of the turn, and is more than this.
	return l.pool.grow(b, more), true
}

// holdsMore returns a conn other than c that holds more than want, the one that
// holds most in its page, or nil.
func (l *loop) holdsMore(want int, c *conn) *conn {
	pages := l.slab.pages
	for range min(pagesPerRelief, len(pages)) {
		l.reliefAt = (l.reliefAt + 1) % len(pages)
		page := pages[l.reliefAt]
		var greedy *conn
		for i := range page {
			x := &page[i]
			if x == c || x.state == stateFree || x.state == stateGone {
				continue
			}
			if held := x.holds(); held > want {
				greedy, want = x, held
			}
		}
		if greedy != nil {
			return greedy
		}
	}
	return nil
}

// holds is how many bytes of the pool c has.
func (c *conn) holds() (n int) {
	if c.in != nil {
		n = cap(c.in.raw) + cap(c.in.msg)
	}
	if c.out != nil {
		n += cap(c.out.backlog)
	}
	return n
}
