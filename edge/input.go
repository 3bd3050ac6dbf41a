package edge

import (
	"encoding/binary"
	"syscall"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// readable reads from c, once: level-triggered readiness comes again, and so
// one busy client can't keep the others waiting.
func (l *loop) readable(c *conn) {
	n, errno := sockRead(c.fd, l.inbuf)
	if errno == syscall.EAGAIN {
		l.poll.again(c)
		return
	}
	if errno != 0 || n == 0 {
		l.lose(c, closeAbnormal)
		return
	}
	c.lastRead, c.pings = l.ms, 0
	l.stats.bytesIn += uint64(n)
	if l.talksOn(c, n) {
		c.abort()
		return
	}
	switch c.state {
	case stateHead:
		l.readHead(c, l.inbuf[:n])
	case stateOpen, stateClosing:
		l.readFrames(c, l.inbuf[:n])
	}
	if c.state != stateGone {
		l.poll.again(c)
	}
}

// talksOn counts a read of n bytes and reports whether c has sent megabytes, or
// a thousand packets, after it was told that nobody listens any more. A client
// may well be in the middle of a long message then, and would not see our answer
// if it were reset at once; but it must not keep the loop busy until
// Config.CloseTimeout.
func (l *loop) talksOn(c *conn, n int) bool {
	if c.state != stateClosing && c.state != stateDraining {
		return false
	}
	const unit = 4 << 10
	c.idleTalk += 1 + uint16(n/unit)
	return c.idleTalk > maxIdleTalk
}

// readFrames takes b apart in place. What is left of an incomplete frame is
// kept in the inbox.
func (l *loop) readFrames(c *conn, b []byte) {
	for len(b) > 0 && (c.state == stateOpen || c.state == stateClosing) {
		if c.in != nil && len(c.in.raw) > 0 {
			b = l.completeFrame(c, b)
			continue
		}
		h, need, ok := l.checkHeader(c, b)
		if !ok {
			return
		}
		if len(b) < need {
			l.keepInput(c, b, need)
			return
		}
		l.frame(c, &h, b[h.size:need])
		b = b[need:]
	}
}

// completeFrame adds to the inbox what its frame still needs, handles the frame
// if that makes it whole, and returns the rest of b.
func (l *loop) completeFrame(c *conn, b []byte) (rest []byte) {
	in := c.in
	missing := min(in.need-len(in.raw), len(b))
	if !l.keepInput(c, b[:missing], in.need) {
		return nil
	}
	if b = b[missing:]; len(in.raw) < in.need {
		return b
	}
	h, need, ok := l.checkHeader(c, in.raw)
	if !ok {
		return nil
	}
	if in.need = need; len(in.raw) < need {
		return b
	}
	raw := in.raw
	in.raw = nil // before anyone looks at c again
	l.frame(c, &h, raw[h.size:need])
	l.pool.give(raw)
	l.tidyInbox(c)
	return b
}

// checkHeader reads the header at the start of b and checks it against the
// conn's state and limits, as soon as it is there: nothing is kept of a message
// that is too long. need is how many bytes must be there to go on.
func (l *loop) checkHeader(c *conn, b []byte) (h frameHeader, need int, ok bool) {
	h, need, ok = parseHeader(b)
	if !ok {
		l.fail(c, closeProtocol, "malformed frame")
		return h, need, false
	}
	if h.size == 0 || h.control() {
		return h, need, true
	}
	fragments := 0
	if c.in != nil {
		fragments = len(c.in.msg)
	}
	if inMessage := c.in != nil && c.in.op != 0; inMessage != (h.op == opContinuation) {
		l.fail(c, closeProtocol, "fragments out of order")
		return h, need, false
	}
	if h.length > l.cfg.MaxMessageBytes-fragments {
		l.fail(c, closeTooBig, "message too long")
		return h, need, false
	}
	return h, need, true
}

// frame handles one whole frame. The payload is unmasked in place.
func (l *loop) frame(c *conn, h *frameHeader, payload []byte) {
	l.stats.framesIn++
	ws.Cipher(payload, h.mask, 0)
	if h.control() || h.length == 0 && !h.fin {
		if c.idleTalk++; c.idleTalk > maxIdleTalk {
			l.fail(c, closeAbuse, "too many control frames")
			return
		}
	}
	if h.control() {
		l.controlFrame(c, h.op, payload)
		return
	}
	if h.fin && h.op != opContinuation {
		l.deliver(c, h.op, payload)
		return
	}
	in := l.inboxOf(c)
	if h.op != opContinuation {
		in.op = h.op
	}
	var ok bool
	if in.msg, ok = l.hold(c, in.msg, payload); !ok {
		l.overload(c)
		return
	}
	if h.fin {
		op, msg := in.op, in.msg
		in.op, in.msg = 0, nil
		l.deliver(c, op, msg)
		l.pool.give(msg)
		l.tidyInbox(c)
	}
}

// maxIdleTalk is how many frames without any message a client may send from one
// sweep to the next, about a second. The session half counts messages only, and
// a client that needs a ping every few seconds is far below.
const maxIdleTalk = 1000

// deliver hands on a whole message. Once we have sent a close frame nobody
// wants it any more.
func (l *loop) deliver(c *conn, op byte, payload []byte) {
	if op == opText && !utf8.Valid(payload) {
		l.fail(c, closeBadUTF8, "text is not UTF-8")
		return
	}
	if c.state != stateOpen {
		return
	}
	l.stats.messagesIn++
	l.hooks.message(c, op == opText, payload)
}

// controlFrame answers pings and closes.
func (l *loop) controlFrame(c *conn, op byte, payload []byte) {
	switch op {
	case opPing:
		l.pong(c, payload)
	case opClose:
		l.peerCloses(c, payload)
	}
}

// pong answers a ping, but not that of a client who is far behind: he would
// have us queue pongs for ever.
func (l *loop) pong(c *conn, payload []byte) {
	if c.state != stateOpen || c.out != nil && c.out.waiting && c.out.bytes > l.cfg.DropBytes {
		return
	}
	frame := emptyPongFrame
	if len(payload) > 0 {
		frame = appendFrame(nil, opPong, payload)
	}
	l.push(c, frame)
}

// peerCloses takes the peer's close frame: the answer to ours, or the first, to
// be answered with the same code. Then the server closes the socket, as it is
// the one that should (RFC 6455, 7.1.1).
func (l *loop) peerCloses(c *conn, payload []byte) {
	code, reason := uint16(closeNoStatus), ""
	if len(payload) > 0 {
		if len(payload) >= 2 {
			code, reason = binary.BigEndian.Uint16(payload), string(payload[2:])
		}
		if !validCloseCode(code) {
			l.fail(c, closeProtocol, "bad close code")
			return
		}
		if !utf8.ValidString(reason) {
			l.fail(c, closeBadUTF8, "close reason is not UTF-8")
			return
		}
	}
	c.flags |= flagPeerClosed
	if c.state == stateClosing {
		l.markDirty(c) // settle when our own frame is out
		return
	}
	c.setCloseReason(code, reason)
	c.enter(stateClosing)
	frame := emptyCloseFrame
	if code != closeNoStatus {
		frame = appendClose(nil, code, "")
	}
	l.push(c, frame)
}

// fail ends a conn that broke the protocol: a close frame that says how, then
// nothing of what it sends is looked at any more.
func (l *loop) fail(c *conn, code uint16, reason string) {
	switch code {
	case closeProtocol:
		l.stats.badFrames++
	case closeBadUTF8:
		l.stats.badUTF8++
	case closeTooBig:
		l.stats.tooBig++
	}
	if c.state != stateOpen {
		l.lose(c, code) // our close frame is out already
		return
	}
	c.setCloseReason(code, reason)
	c.enter(stateDraining)
	c.idleTalk = 0
	l.push(c, appendClose(nil, code, reason))
}

// overload ends a conn whose input finds no buffer.
func (l *loop) overload(c *conn) {
	l.stats.overloads++
	l.cut(c, closeOverload)
}

// keepInput adds b to what is incomplete; need is the length at which it is
// looked at again. It says false if c had to be given up.
func (l *loop) keepInput(c *conn, b []byte, need int) bool {
	in := l.inboxOf(c)
	in.need = need
	var ok bool
	if in.raw, ok = l.hold(c, in.raw, b); !ok {
		l.overload(c)
	}
	return ok
}

func (l *loop) inboxOf(c *conn) *inbox {
	if c.in != nil {
		return c.in
	}
	if n := len(l.inboxes); n > 0 {
		c.in = l.inboxes[n-1]
		l.inboxes = l.inboxes[:n-1]
	} else {
		c.in = new(inbox)
	}
	return c.in
}

// tidyInbox takes the inbox back if nothing is in it.
func (l *loop) tidyInbox(c *conn) {
	if in := c.in; in != nil && len(in.raw) == 0 && in.op == 0 && in.reason == "" {
		l.giveInbox(c)
	}
}

func (l *loop) giveInbox(c *conn) {
	in := c.in
	if in == nil {
		return
	}
	l.pool.give(in.raw)
	l.pool.give(in.msg)
	*in = inbox{}
	c.in = nil
	if len(l.inboxes) < keptInboxes {
		l.inboxes = append(l.inboxes, in)
	}
}

// keptInboxes is how many a loop keeps for reuse.
const keptInboxes = 1024
