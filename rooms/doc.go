// Package rooms runs rooms: stateful units whose logic is a plain Go type with
// three methods, each owned by one [Worker] at a time and reached by members on
// any edge. Authors write a [Handler] and describe it with a [Kind]; everything
// else here is how it is run.
//
// # The life of a room
//
// Somebody joins a room that nobody has in memory. The edge hears from NATS
// that there is no responder and asks the workers that host the kind, one of
// which answers: it reads the room's record, writes it again with the name of
// its run and the next epoch (a compare-and-set, so of several workers one
// succeeds), restores the state, calls Open, and subscribes. From then on the
// room is live, and if it has had an owner before, all edges hear where the new
// one begins.
//
// A live room is a struct and a mailbox. Commands that arrive are put into the
// mailbox, and the room is queued for a turn; a few goroutines give turns to
// all rooms. A turn takes everything that waits, calls the handler for one
// command after the other, does what is due (ticks, timers, ended lingers,
// presence, state), and then sends one envelope to each loop of an edge that
// has members: replies, broadcasts and patches in the order in which they came
// about, broadcasts encoded once. Between turns a room has no goroutine, no
// timer and no buffer.
//
// A room that has had no member and no timer for Kind.EmptyFor leaves memory:
// its subscription ends, what arrived before is still run, and the last record
// is written without an owner. The next join brings it back. A room that its
// author closes leaves a record that says so; who joins then begins anew. When
// its worker ends in order, all this is done for every room, some at a time, and
// another worker is asked to open each that somebody needs.
//
// # What survives
//
// That is the kind's choice, Kind.Durability. With Interval the record is
// written every so often. With Commit every turn that has changed anything (the
// state, members and seats, numbers and replies of commands, history, timers,
// meta) makes an entry, the difference to what was before, for the worker's log;
// what the turn has said is held back until the log has it, and meanwhile
// commands gather for the next turn. So a room has one entry on its way, and the
// log writes the entries of all rooms together. The record follows in the
// background, when the room falls quiet, has logged much or has been busy for ten
// seconds, and the log is cut behind what all records have.
//
// # When a worker dies
//
// Nobody holds a lease. A run is taken for dead when nobody listens where it
// answers pings, or when it is silent and its node is lost (package bus). That
// may be a mistake, and does no harm: whoever takes a room over first seals the
// log of its last owner (package kv), which therefore commits nothing any more,
// finds out, drops all its rooms and goes on under a new run. Then it reads the
// log, once for all rooms, and brings each record up to what the log has.
//
// Rooms with traffic are opened as edges ask for them; the others by the
// workers that are left, each its share, as soon as they notice: timers go on,
// and members on an edge that noticed nothing are brought back in.
//
// # When the records are lost
//
// NATS may come back empty. Then the workers have nothing that holds: the log is
// gone with the records, so each gives its rooms up, waits until there are records
// again (package kv), goes on under a new run and opens those anew that somebody
// needs. They have lost everything, and members hear reset. So it is with the
// shared data.
//
// # Members
//
// A seat belongs to a session, not to a connection. When the connection goes,
// the member is away and its seat is kept for Kind.Linger; when the session
// joins again, from any edge, it has its old seat, and the room sends what it
// has missed if its history reaches that far (recovered), or else says that it
// does not. The same mechanism repairs what an edge has missed.
//
// # Shared data
//
// What rooms of all kinds and workers share goes through [Room.KV], a kv.Store.
// Its shards are owned by workers as rooms are: claimed, logged, sealed off and
// taken over by the same code (keyspace.go), which differs in what a turn does and
// in how much of the data a record holds.
//
// # What you can rely on
//
//   - R1, one owner: a run commits only to its own log, and only while nobody
//     has sealed it; a record is written by compare-and-set on its last revision.
//     A worker that was paused or cut off and comes back finds its log sealed and
//     stops its rooms, silently for clients and with a line for operators. Commands
//     that waited past their deadline meanwhile are not run. Rooms without Commit
//     may say something before their worker has noticed; that bears an old epoch,
//     so an edge that has heard the next owner drops it.
//   - R2, epochs grow: by one with each owner, never reused, also across a
//     room's closing. Every envelope bears one. The first epoch of a room is the
//     time, in milliseconds since 1970, so that it is later than all before also
//     where the records are lost.
//   - R3, one at a time: callbacks of a room never overlap, nor nest: a Kick or
//     a Close takes effect when the callback has returned.
//   - R4, order: commands of a member run in the order of their numbers; all
//     members see broadcasts in the same order, seq by seq.
//   - R5, commit, then show: with Commit durability nothing leaves a room, no
//     reply, no message, no patch, before the log has what caused it.
//   - R6, once: a numbered command is applied once and keeps its reply until the
//     client has it. Numbers and replies survive with the state.
//   - R7, bounds: rooms in memory, mailbox, history, kept replies, timers and what Go runs have
//     limits; beyond them commands are refused with a code, histories forget
//     the oldest, and metrics count it.
//
// # What you can't
//
// Without Commit a worker that dies takes with it what happened since the
// record was last written, replies that were sent included; clients are told
// that the room went back (reset). With None it begins anew.
//
// A turn that panics with Commit durability is as if it had not been: the room
// closes, nobody hears what the turn has said, and the room comes back as it was
// before. Commands without a number may be lost with anybody who dies.
//
// The cost of an entry grows with the state, which is encoded and compared
// after every turn: 1 ms for some 500 KB. Large states belong into several
// rooms, or under Interval.
//
// Presence diffs are to be applied as sets: a diff may repeat what a newcomer's
// list of members already said.
package rooms
