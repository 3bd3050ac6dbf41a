package edge

import (
	"fmt"
	"net/netip"
)

// A conn is one client's socket, from accept to close. It is a record in its
// loop's slab, touched by the loop's goroutine only, and as small as it can be:
// whatever a conn needs only while something is under way hangs off out and in,
// which are nil when it is idle.
type conn struct {
	l    *loop
	out  *outbox
	in   *inbox
	user any      // the session half's own; nil at first
	addr [16]byte // client's IP, IPv4 as mapped

	fd        int32
	slot      uint32 // index in the slab; reused after closed
	gen       uint32 // +1 each time the slot is reused
	lastRead  uint32 // loop's milliseconds when something was read
	since     uint32 // loop's milliseconds when state was entered
	closeCode uint16 // first reason to close; zero while there is none
	idleTalk  uint16 // frames since the last sweep that carry nothing: control frames, empty fragments; see talksOn too
	state     connState
	protocol  uint8 // index into transport.protocols
	flags     connFlags
	pings     uint8 // sent since lastRead
}

// A connState is where a conn is in its life. Input means something else in
// each; output is queued in stateOpen only.
type connState uint8

const (
	stateFree     connState = iota // in the slab's free list
	stateHead                      // the request is not whole yet
	stateOpen                      // messages go both ways
	stateClosing                   // our close frame is queued or sent; input matters until the peer's
	stateDraining                  // refused or failed: input is thrown away until the peer is gone
	stateGone                      // to be closed at the end of this turn
)

type connFlags uint16

const (
	flagDirty      connFlags = 1 << iota // in the loop's dirty list
	flagOpened                           // hooks.opened was called
	flagPolled                           // the poller's own: it watches the socket
	flagWaiting                          // the poller's own: it watches for room to write
	flagPeerClosed                       // the peer's close frame has come
	flagShut                             // our side of the socket is shut down
	flagReset                            // to be closed with a reset
	flagDetached                         // the socket belongs to HTTP now
)

// An inbox is what a conn has received in part.
type inbox struct {
	raw    []byte // an incomplete request or frame; lent by the pool
	need   int    // frame: how long raw must be before it is looked at again; request: where to go on looking
	msg    []byte // payload of the fragments so far; lent by the pool
	op     byte   // opcode of the fragmented message, zero if there is none
	reason string // of the close
}

// send queues a WebSocket frame, made with appendFrame or the like. b may hold
// several whole frames, may be shared by any number of conns and must never
// change. It is written at the end of the turn. Past Config.OutboxBytes the
// conn is closed as slow. What is droppable is refused earlier, past
// Config.DropBytes; hooks.drained tells when to send afresh. The answer is
// whether b was queued.
func (c *conn) send(b []byte, droppable bool) bool {
	if c.state != stateOpen {
		return false
	}
	return c.l.queue(c, b, droppable)
}

// queued is how many bytes wait for the client.
func (c *conn) queued() int {
	if c.out == nil {
		return 0
	}
	return c.out.bytes
}

// close sends what is queued and a close frame, waits for the client's (for
// Config.CloseTimeout at most), and closes the socket. No message comes any
// more, and nothing can be sent. Only the first call counts.
func (c *conn) close(code uint16, reason string) {
	if c.state != stateOpen {
		return
	}
	c.setCloseReason(code, reason)
	c.enter(stateClosing)
	c.l.push(c, appendClose(nil, code, reason))
}

// abort resets the connection at the end of this turn; what is queued is lost.
func (c *conn) abort() {
	c.flags |= flagReset
	c.l.lose(c, closeAbnormal)
}

// isOpen says whether messages go both ways.
func (c *conn) isOpen() bool { return c.state == stateOpen }

// ip is the client's address: the socket's, or what the proxy says.
func (c *conn) ip() netip.Addr { return netip.AddrFrom16(c.addr).Unmap() }

// closeReason goes with closeCode: the peer's words or ours.
func (c *conn) closeReason() string {
	if c.in == nil {
		return ""
	}
	return c.in.reason
}

// String names c in logs.
func (c *conn) String() string { return fmt.Sprintf("%d.%d.%d", c.l.index, c.slot, c.gen) }

func (c *conn) enter(s connState) {
	c.state = s
	c.since = c.l.ms
}

// setCloseReason keeps why c closes, if nothing was said before.
func (c *conn) setCloseReason(code uint16, reason string) {
	if c.closeCode != 0 {
		return
	}
	c.closeCode = code
	if reason != "" {
		c.l.inboxOf(c).reason = reason
	}
}
