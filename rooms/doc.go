// Package rooms runs rooms: stateful units whose logic is a plain Go type with
// three methods, each owned by one [Worker] at a time and reached by members on
// any edge. Authors write a [Handler] and describe it with a [Kind]; everything
// else here is how it is run.
//
// # The life of a room
//
// Somebody joins a room that nobody has in memory. The edge hears from NATS
// that there is no responder and asks the workers that host the kind, one of
// which answers: it reads the room's record, writes it again with its own name
// and the next epoch (a compare-and-set, so of several workers one succeeds),
// restores the state, calls Open, and subscribes. From then on the room is
// live.
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
// its worker ends in order, all this is done for every room, and members keep
// their seats for their linger in the room's next life.
//
// # Members
//
// A seat belongs to a session, not to a connection. When the connection goes,
// the member is away and its seat is kept for Kind.Linger; when the session
// joins again, from any edge, it has its old seat, and the room sends what it
// has missed if its history reaches that far (recovered), or else says that it
// does not. The same mechanism repairs what an edge has missed.
//
// # What you can rely on
//
//   - R1, one owner: each write of a record is a compare-and-set on its last
//     revision, under one epoch and owner. A worker whose write is refused looks
//     at the record, and if it names another it stops the room, silently for
//     clients and with a line in the log. Today this holds for what is written:
//     a worker that was paused and then wakes may still answer commands until
//     it has looked at its records, which it does first thing. What it says then
//     bears an old epoch, so an edge that has heard the next owner drops it.
//     Commands that waited past their deadline meanwhile are not run.
//   - R2, epochs grow: by one with each owner, never reused, also across a
//     room's closing. Every envelope bears one.
//   - R3, one at a time: callbacks of a room never overlap, nor nest: a Kick or
//     a Close takes effect when the callback has returned.
//   - R4, order: commands of a member run in the order of their numbers; all
//     members see broadcasts in the same order, seq by seq.
//   - R6, once: a numbered command is applied once and keeps its reply until the
//     client has it. Numbers and replies are part of the record.
//   - R7, bounds: mailbox, history, kept replies, timers and what Go runs have
//     limits; beyond them commands are refused with a code, histories forget
//     the oldest, and metrics count it.
//
// # What you can't
//
// R5 (commit, then show) does not hold yet: state is stored at intervals, so a
// worker that dies takes with it what happened since the last time, replies
// that were sent included. Clients are told that the room went back. A room
// whose worker died comes back when an edge with members misses the worker, or
// when somebody joins; timers of a room without members at an edge wait until
// then.
//
// Presence diffs are to be applied as sets: a diff may repeat what a newcomer's
// list of members already said.
package rooms
