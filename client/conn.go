package client

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// A Conn is one connection of a Loop. Only the loop's goroutine may use it.
type Conn struct {
	loop    *Loop
	handler Handler
	link    link // the operating system's side
	stream  stream
	unsent  []byte      // what the kernel did not take yet; at most maxUnsent
	accept  string      // what answers our upgrade, while that is awaited
	ending  *CloseError // what is known of the end: a bye, a close frame
	rate    int         // bytes per second to read; 0: all there is
	phase   phase

	// BytesIn counts what was received, WebSocket framing included.
	BytesIn uint64
}

type phase uint8

const (
	phaseConnecting phase = iota
	phaseUpgrading
	phaseOpen
	phaseClosing // our close frame is out
	phaseClosed
)

// Dial begins to connect; what comes of it the handler hears, never before Dial
// has returned. A valid source is the local address to come from; Linux has all
// of 127.0.0.0/8 for that, which lifts the limit of 28,000 ports an address.
func (l *Loop) Dial(t *Target, source netip.Addr, h Handler) *Conn {
	c := &Conn{loop: l, handler: h}
	l.live++
	l.await(c)
	l.poller.connect(l, c, t, source)
	return c
}

// connected is called by the poller when TCP is up.
func (c *Conn) connected(t *Target) {
	var nonce [16]byte
	binary.NativeEndian.PutUint64(nonce[:], c.loop.rng.Uint64())
	binary.NativeEndian.PutUint64(nonce[8:], c.loop.rng.Uint64())
	var request []byte
	request, c.accept = upgradeRequest(t.url, ProtocolMsgpack, nonce)
	c.phase = phaseUpgrading
	c.push(request)
}

// received is called by the poller with what came in; b is ours until it returns.
func (c *Conn) received(b []byte) {
	c.BytesIn += uint64(len(b))
	if c.phase == phaseUpgrading {
		if b = c.upgrade(b); c.phase != phaseOpen {
			return
		}
	}
	if len(b) == 0 {
		return
	}
	if err := c.stream.feed(b, c); err != nil {
		c.end(err)
	}
}

func (c *Conn) upgrade(b []byte) (rest []byte) {
	if len(c.stream.partial) > 0 {
		b = append(c.stream.partial, b...)
	}
	rest, done, err := cutResponse(b, c.accept, ProtocolMsgpack)
	if err != nil {
		c.end(err)
		return nil
	}
	if !done {
		c.stream.partial = append([]byte(nil), b...)
		return nil
	}
	c.stream.partial = nil
	c.phase, c.accept = phaseOpen, ""
	c.handler.Opened(c)
	return rest
}

func (c *Conn) onMessage(payload []byte) bool {
	f := &c.loop.frame
	for len(payload) > 0 {
		rest, err := ParseFrame(f, payload)
		if err != nil {
			c.end(err)
			return false
		}
		payload = rest
		if f.Type == FrameBye {
			c.ending = byeOf(f)
		}
		c.handler.Received(c, f)
		if c.phase == phaseClosed {
			return false
		}
	}
	return true
}

// byeOf notes what a bye frame says about the close that follows.
func byeOf(f *Frame) *CloseError {
	return &CloseError{
		Code: CloseAbnormal, Bye: string(f.Code), Reason: string(f.Message),
		Retry: time.Duration(f.Time) * time.Millisecond,
	}
}

func (c *Conn) onControl(opcode byte, payload []byte) bool {
	switch opcode {
	case opPing:
		c.writeFrame(opPong, payload)
	case opClose:
		if c.ending == nil {
			c.ending = &CloseError{Retry: -1}
		}
		code, reason := parseClose(payload)
		c.ending.Code = code
		if reason != "" {
			c.ending.Reason = reason
		}
		if c.phase == phaseOpen {
			c.writeFrame(opClose, payload[:min(2, len(payload))])
		}
		c.end(nil)
	}
	return c.phase != phaseClosed
}

// Send sends frames, made by the Append functions, as one WebSocket message. What
// the kernel doesn't take at once waits, up to 256 KiB; beyond that the
// connection is ended. A Conn that is not open drops the frames.
func (c *Conn) Send(frames []byte) {
	if c.phase == phaseOpen {
		c.writeFrame(opBinary, frames)
	}
}

func (c *Conn) writeFrame(opcode byte, payload []byte) {
	l := c.loop
	l.out = beginFrame(l.out[:0], opcode, l.rng.Uint32())
	l.out = append(l.out, payload...)
	c.push(l.out[endFrame(l.out, 0):])
}

// push writes b, or queues what the kernel doesn't take.
func (c *Conn) push(b []byte) {
	if len(c.unsent) == 0 {
		n, err := c.link.write(b)
		if err != nil {
			c.link.fail(c, err)
			return
		}
		if n == len(b) {
			return
		}
		b = b[n:]
		c.loop.poller.wantWrite(c, true)
	}
	if len(c.unsent)+len(b) > maxUnsent {
		c.end(errors.New("the server does not read"))
		return
	}
	c.unsent = append(c.unsent, b...)
}

// writable is called by the poller when there is room again.
func (c *Conn) writable() {
	n, err := c.link.write(c.unsent)
	if err != nil {
		c.link.fail(c, err)
		return
	}
	if n < len(c.unsent) {
		c.unsent = append(c.unsent[:0], c.unsent[n:]...)
		return
	}
	c.unsent = nil
	c.loop.poller.wantWrite(c, false)
}

// Unsent is the number of bytes that wait because the server doesn't read.
func (c *Conn) Unsent() int { return len(c.unsent) }

// Close begins the closing handshake; Closed follows within 10 s.
func (c *Conn) Close(code int, reason string) {
	switch c.phase {
	case phaseConnecting, phaseUpgrading:
		c.end(nil)
	case phaseOpen:
		c.phase = phaseClosing
		c.loop.await(c)
		c.writeFrame(opClose, closePayload(nil, code, reason))
	}
}

// Drop cuts the connection as a dying machine would: no close frame, a TCP
// reset. Closed is not called.
func (c *Conn) Drop() {
	if c.phase != phaseClosed {
		c.release(true)
	}
}

// ReadSlowly makes the connection read no more than so many bytes per second,
// as a client on a bad line does. 0 lifts the limit.
func (c *Conn) ReadSlowly(bytesPerSecond int) {
	if c.phase == phaseClosed || c.rate == bytesPerSecond {
		return
	}
	if c.rate == 0 {
		c.loop.slow = append(c.loop.slow, c)
	}
	c.rate = bytesPerSecond
	c.loop.poller.readSlowly(c, bytesPerSecond > 0)
}

// end frees the connection and tells the handler.
func (c *Conn) end(cause error) {
	if c.phase == phaseClosed {
		return
	}
	c.release(cause != nil)
	if c.ending == nil {
		c.ending = &CloseError{Code: CloseAbnormal, Retry: -1}
	}
	if c.ending.Cause == nil && c.ending.Code == CloseAbnormal {
		c.ending.Cause = cause
	}
	c.handler.Closed(c, c.ending)
}

func (c *Conn) release(reset bool) {
	c.phase = phaseClosed
	c.loop.live--
	c.loop.poller.drop(c, reset)
	c.stream, c.unsent = stream{}, nil
}
