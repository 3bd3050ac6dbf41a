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
//	r.worker.<worker>.<verb>     that worker               ping (does it have this room?), list, open (only there)
//	r.list                       a queue group of workers  live rooms, of all workers
//	r.announce                   every loop of every edge  new owners of rooms
//	r.node.<name>                every node                heartbeats
//	r.node.<name>.ping           that node                 is it there?
//	r.node.<name>.<verb>         that process              state, drain: for operators
//	r.inbox.<conn>.<n>           one Conn                  replies to its requests
//	r.inbox.<conn>.t<n>          the same Conn             NATS's reports of who listens ([Conn.Listens])
//	r.room._kv.<n>.in            the owner of shard n      requests of kv's stores
//	r.kv.inbox.<session>         one session of a store    answers
//	r.kv.news.<hash>             stores that listen        messages on kv's channels
//
// Kinds, room ids and node names are the only tokens that come from outside,
// and [Subjects] refuses those that are not valid names, so no client can
// address anything but a room. No kind of a client's begins with an underscore.
//
// # Delivery
//
// A publish is at most once and ordered per sender and receiver. What a room
// says to one loop of an edge travels on one connection and arrives on one
// channel, in order; a loss shows as a jump of the positions that every
// [Output] carries, and is repaired by joining again from the last position.
//
// A request ends in exactly one of: an answer, an [Error] the other side
// returned, code [Unavailable] (nobody listens: it did not happen, or those who
// took it died at once) or code [Timeout] (nobody knows).
//
// NATS says "no responders" of a subject that nobody listens to, and that is how
// crashes show within milliseconds. It can't while something else listens: a
// subscription to ">" such as an operator's, or a stream on all subjects, which
// even answers. So that may only make things quicker. Answers of ours bear a
// mark, and others are ignored; where an answer is late, NATS is asked who
// listens to the subject itself ([Conn.Listens]), which a server before 2.11
// does not tell: then workers are asked to open rooms that are silent, and who
// crashed is lost after Config.LostAfter.
//
// # Who lives
//
// [Nodes] tells which nodes are there, and which are lost: at once where somebody
// asks after them ([Nodes.Check]), within a heartbeat otherwise, and after
// Config.LostAfter if they hang. A node whose connection to NATS was cut for a
// moment, or that was connected to a NATS server that restarted, looks lost to
// those that ask just then. It is heard again as soon as it is back. By then
// workers may have taken its rooms over (a lost worker finds its log sealed, and
// goes on under a new run) or taken its members for away (a lost edge brings them
// back in): that costs work, and loses no more than a crash would. After an
// outage of NATS that all nodes see, nobody is declared lost for
// Config.LostAfter.
//
// # What is not promised
//
// Nothing published while the connection is down is kept or sent later:
// Publish returns an error instead. A stale command that was queued in front
// of a paused process is delivered when it wakes; receivers look at the
// deadline that every command and request carries. It is a time of the sender's
// clock, and read as one: heartbeats tell how far two nodes' clocks are apart
// ([Conn.Late]), from the second that is heard of a node. Until then they are taken
// to agree, and all other times (timers, expiry) always are.
package bus
