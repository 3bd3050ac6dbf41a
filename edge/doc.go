// Package edge connects clients with rooms: it owns their WebSockets, speaks the
// client protocol, and passes on what travels between a socket and the bus. It
// keeps nothing that matters. When an edge dies, its clients go on at another
// one from where they were.
//
// # What a client sees
//
// PROTOCOL.md is the contract, written for people who write clients. In short:
// a client says hello and has a session; it joins rooms; it sends commands; a
// room answers, and sends messages to all members or to one. Everything that a
// room says has a place: an epoch (which owner of the room said it), a seq
// (broadcasts and presence), a count (messages to this member alone) and a ver
// (state and patches). A client that comes back names the place where it
// stopped and gets what it missed.
//
//	client                     edge                        room
//	  │ hello ────────────────► │                            │
//	  │ ◄──────────── welcome   │                            │
//	  │ join ─────────────────► │ OpJoin ──────────────────► │
//	  │ ◄───────────── joined   │ ◄─────────────── ItemJoined│
//	  │ send n ───────────────► │ OpSend ──────────────────► │
//	  │ ◄──── message, reply    │ ◄── ItemMessage, ItemReply │
//
// # Loops
//
// An edge has a few loops, each a goroutine that owns a share of the sockets
// and everything about them: the transport half of a loop (loop, conn) reads,
// frames and writes, its session half (sessions, session, room, membership)
// knows what the bytes mean. hooks.go is the border between them. Nothing of a
// conn, a session or a room is shared between loops, so there are no locks, no
// goroutine and no timer per conn: deadlines are looked at by sweeps.
//
// A loop works in turns. What sockets and the bus have brought is taken in one
// go; commands of all members to one room become one envelope, and all that was
// queued for one socket becomes one write. The more there is to do, the cheaper
// each piece gets.
//
// A loop has one address on the bus. A room sends one envelope for each batch of
// its output to each address where it has members. What is in it for all is
// encoded once for each protocol, as WebSocket frames, and every member's
// outbox gets a reference to the same bytes; a room's number is therefore the
// same for all conns of a loop. Only a member for whom the envelope holds
// something of its own gets bytes of its own.
//
// # Owners come and go
//
// A command goes to the room's subject. If nobody listens there NATS says so at
// once, and the loop has a worker open the room and joins every member again
// from its place ([bus.OpJoin] with Since). The same happens when the output
// shows a gap, when it comes from a newer owner, when a new owner announces
// itself to all edges (the old one may hang, and then nothing else would tell),
// and after NATS was away: one mechanism for all. Meanwhile commands with a
// number wait and are sent again in order afterwards; the room knows the numbers
// and runs each once. Members hear "paused" if nobody listened, and then
// "resumed" (nothing was lost) or "reset".
//
// One command that finds no owner has all nodes asked whether they live
// ([bus.Nodes]). When that shows that a worker is gone, every room here is asked
// for its owner, so that those without traffic are back as soon as the others;
// and requests to open a room, which may have gone to the dead worker, are made
// again. Opening a room that nobody can open yet is tried after 12 to 25 ms,
// then after twice as long, up to two seconds.
//
// A worker may take this edge for lost while it lives, and its members for away:
// when the two hear of each other again all members join again, within bounds
// (about 2,000 members of a loop every 10 ms), as they do after NATS was away.
//
// A room may refuse a member that the edge brings back in: its mailbox is full, or
// it read the request too late. That says nothing about the seat, so the member
// stays, hears "paused", and the room is asked again, 25 to 50 ms later at first
// and then less often, up to every two seconds. Every OpJoin has a number, which
// the answer gives back: an answer to an earlier return is not taken for one to
// the next.
//
// # What you can rely on
//
// Messages reach a conn in the room's order without a gap or a duplicate, or
// the conn is closed. A command with a number gets one reply; should the code be
// timeout, nobody knows whether it ran, and the same number sent again tells.
// Output of an owner older than the newest seen is dropped (R2).
//
// # What you can't
//
// Commands without a number are lost with the connection, and while a room has
// no owner. Patches are not for everyone: a client that is behind gets a whole
// state later. A session that nobody resumes is known to its rooms only, for
// as long as they keep its seats.
//
// # Bounds
//
// Everything that clients and rooms can make grow has an end ([Config] has the
// numbers, the metric roomd_edge_limit shows them):
//
//	conns, conns of one IP, half-open requests   turned away: 503, 429, the oldest dropped
//	a request's head, its time                   431, 408
//	a message                                    closed 1009
//	an outbox, and a reader that stands still    closed slow; patches are left out before
//	half-received messages and backlogs together the conn that wants more is closed
//	time to hello                                closed unauthorized
//	frames a second and at once                  refused rate_limited
//	frames refused                               closed abuse
//	rooms of one conn                            refused too_many_rooms
//	commands without a reply, of one member      refused in_flight
//	the same, their bytes, of one loop           refused overloaded
//	rooms that wait to be opened                 refused overloaded, at once or within seconds
//	time to a join's or command's answer         refused unavailable or timeout
//	nesting of a value                           closed bad_frame
//	requests to workers                          wait; one a room and one a session
//	members that went while NATS was away        the first 65,536 of a loop are told to their rooms
//	envelopes that wait for a loop               lost by NATS, seen as a gap, repaired
package edge
