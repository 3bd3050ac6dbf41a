package edge

import "time"

// The package has two halves.
//
// The transport half owns sockets: accepting, the HTTP upgrade, RFC 6455,
// outboxes, keepalive, shutdown. The session half owns what the bytes mean:
// the client protocol, sessions, rooms, the bus. They meet in this file.
//
// Everything of one conn happens on one goroutine, its loop's. A loop waits
// for readiness of its sockets, for bus messages, for functions given to do and
// for its ticker; when one wakes it, it takes what else has queued up, within
// bounds, and that is one turn:
//
//	messages, envelopes, do-functions  →  closed  →  turn  →  one write per dirty conn
//
// So hooks and the conn's methods need no locks, must not block, and may keep
// nothing they were given beyond what is said below.

// hooks is what the session half gives a loop. All of it is called on the
// loop's goroutine only.
type hooks interface {
	// opened says that c speaks WebSocket now; c.protocol tells which of
	// the subprotocols given to listen. The 101 is written.
	opened(c *conn)

	// message is one whole WebSocket message, unmasked; UTF-8 if text. The
	// payload is valid during the call only and may be overwritten by it.
	message(c *conn, text bool, payload []byte)

	// closed says that c's socket is closed; called exactly once for each conn
	// that was opened. c.closeCode and c.closeReason tell why; c is not valid
	// after the call.
	closed(c *conn)

	// drained says that c, which has refused a droppable send since, has
	// nothing queued any more: the time to send it fresh state.
	drained(c *conn)

	// envelopes is what has come in on the loop's bus channel, in order. The
	// slice is valid during the call only.
	envelopes(in []*busMsg)

	// turn ends a turn: what was grouped is published now. What it sends is
	// still written in this turn.
	turn(now time.Time)

	// second is called about once a second, for housekeeping.
	second(now time.Time)

	// draining says that the server leaves: no more conns will be opened, and
	// those here are closed with closeShutdown when the call returns; what it
	// sends goes out before. Envelopes and messages may still come.
	draining(now time.Time)
}
