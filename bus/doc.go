// Package bus is how nodes talk: NATS, its subjects, the envelopes that travel
// on them, requests with deadlines, and the codes that say what went wrong.
// Everything above it (kv, rooms, edge) is written against this package and
// never sees a subject string.
//
// # Subjects
//
// With the prefix "r" (Config.Prefix):
//
//	r.room.<kind>.<id>.in        the room's owner          commands, with a reply address
//	r.edge.<edge>.<loop>.out     one loop of one edge      all output of all rooms with members there
//	r.edge.<edge>.<loop>.nr.<n>  the same loop             NATS's "no responders" for its room number n
//	r.open.<kind>                a queue group of workers  open a room, or say who has it
//	r.worker.<worker>.<verb>     that worker               ping (does it have this room?), list
//	r.list                       a queue group of workers  live rooms, of all workers
//	r.node.<name>                every node                heartbeats
//	r.inbox.<conn>.<n>           one Conn                  replies to its requests
//
// Kinds, room ids and node names are the only tokens that come from outside,
// and [Subjects] refuses those that are not valid names, so no client can
// address anything but a room.
//
// # Delivery
//
// A publish is at most once and ordered per sender and receiver. What a room
// says to one loop of an edge travels on one connection and arrives on one
// channel, in order; a loss shows as a jump of the positions that every
// [Output] carries, and is repaired by joining again from the last position.
//
// A request ends in exactly one of: an answer, an [Error] the other side
// returned, code [Unavailable] (nobody listens: it did not happen) or code
// [Timeout] (nobody knows).
//
// # What is not promised
//
// Nothing published while the connection is down is kept or sent later:
// Publish returns an error instead. A stale command that was queued in front
// of a paused process is delivered when it wakes; receivers look at the
// deadline that every command and request carries.
package bus
