package edge

import (
	"bytes"
	"slices"

	"github.com/gobwas/ws"
)

// The upgrade happens in the loop, from memory: the socket is read as any
// other, and gobwas/ws sees the request only when it is whole, through
// requestIO. So a slow client holds a few bytes, not a goroutine, and what it
// sends after the request stays ours.

// readHead goes on with c's request; b is what was just read.
func (l *loop) readHead(c *conn, b []byte) {
	from := 0
	if c.in != nil {
		from = c.in.need
		if !l.keepInput(c, b, from) {
			return
		}
		b = c.in.raw
	}
	n, next, ok := headEnd(b, from)
	switch {
	case !ok:
		l.refuse(c, refusedMalformed)
	case n > maxHeadBytes || n == 0 && len(b) >= maxHeadBytes:
		l.refuse(c, refusedTooLarge)
	case n > 0:
		var raw []byte
		if c.in != nil {
			raw, c.in.raw = c.in.raw, nil
			l.giveInbox(c)
		}
		l.answer(c, b, n)
		l.pool.give(raw)
	case c.in != nil:
		c.in.need = next
	default:
		l.keepInput(c, b, next)
	}
}

// answer decides about the request whose head is b[:n].
func (l *loop) answer(c *conn, b []byte, n int) {
	head, ok := parseHead(b[:n])
	if !ok {
		l.refuse(c, refusedMalformed)
		return
	}
	switch {
	case string(head.path()) != l.cfg.Path:
		l.handOff(c, b, head.hasBody)
	case !head.upgrade:
		l.refuse(c, refusedNoUpgrade)
	case head.hasBody || head.repeated || !head.validKey():
		l.refuse(c, refusedMalformed)
	case !head.originAllowed(l.cfg.Origins):
		l.refuse(c, refusedOrigin)
	default:
		l.upgrade(c, &head, b[:n], b[n:])
	}
}

// upgrade answers a request for a WebSocket and goes on with the bytes after it.
func (l *loop) upgrade(c *conn, head *requestHead, request, rest []byte) {
	l.request.in, l.request.out = request, l.scratch[:0]
	l.picked = noProtocol
	_, err := l.upgrader.Upgrade(&l.request)
	response := l.request.out
	switch {
	case err != nil && len(response) == 0:
		l.refuse(c, refusedMalformed)
		return
	case err != nil:
		l.refuseWith(c, refusedHandshake, response)
		return
	case l.picked == noProtocol:
		l.refuse(c, refusedProtocol)
		return
	}
	if l.cfg.TrustProxy {
		if addr, ok := head.forwardedFor(); ok {
			c.addr = addr.As16()
		}
	}
	if why, ok := l.t.reserve(c); !ok {
		l.refuse(c, why)
		return
	}
	l.open(c, response)
	l.readFrames(c, rest)
}

// open makes c a WebSocket.
func (l *loop) open(c *conn, response []byte) {
	l.stats.upgrades++
	l.stats.halfOpen--
	l.stats.open++
	c.protocol = l.picked
	c.flags |= flagOpened
	c.enter(stateOpen)
	if n, _ := sockWrite(c.fd, response); n < len(response) {
		l.lose(c, closeAbnormal) // a fresh socket takes this much, unless it is broken
	}
	l.stats.writes++
	l.stats.bytesOut += uint64(len(response))
	l.hooks.opened(c)
}

// refuse answers a request with what is wrong with it.
func (l *loop) refuse(c *conn, why refusal) { l.refuseWith(c, why, responses[why]) }

func (l *loop) refuseWith(c *conn, why refusal, response []byte) {
	l.stats.refused[why]++
	n, _ := sockWrite(c.fd, response)
	l.stats.writes++
	l.stats.bytesOut += uint64(max(n, 0))
	if l.t.crowded() {
		l.lose(c, closeAbnormal)
		return
	}
	// What comes now is thrown away until the peer closes: closing with input
	// unread would reset the connection, and the answer might be lost.
	c.enter(stateDraining)
	l.settle(c)
}

// handOff gives a request that is not ours to HTTP, with what was read of it;
// body says whether it has one.
func (l *loop) handOff(c *conn, read []byte, body bool) {
	switch {
	case l.t.front == nil:
		l.refuse(c, refusedNotFound)
		return
	case !l.t.front.reserve(body):
		l.refuse(c, refusedHTTPBusy)
		return
	}
	sock, err := l.poll.detach(c)
	if err != nil {
		l.t.front.unreserve(body)
		l.t.warnSocket("hand over", err)
		l.refuse(c, refusedHTTPBusy)
		return
	}
	l.stats.handedOff++
	l.t.front.give(sock, bytes.Clone(read), body)
	c.flags |= flagDetached
	l.lose(c, closeNormal)
}

// noProtocol is no index into transport.protocols.
const noProtocol = 255

func (l *loop) initUpgrader() {
	l.upgrader = ws.Upgrader{
		Protocol: func(offered []byte) bool {
			i := slices.Index(l.t.protocols, string(offered))
			if i >= 0 {
				l.picked = uint8(i)
			}
			return i >= 0
		},
	}
}

// requestIO is a request in memory, and the response to it.
type requestIO struct {
	in, out []byte
}

func (r *requestIO) Read(p []byte) (int, error) {
	n := copy(p, r.in)
	r.in = r.in[n:]
	if n == 0 && len(p) > 0 {
		return 0, errNothing
	}
	return n, nil
}

func (r *requestIO) Write(p []byte) (int, error) {
	r.out = append(r.out, p...)
	return len(p), nil
}
