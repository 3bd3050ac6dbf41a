// Package kv is what roomd keeps in JetStream: the records, one for each room
// there ever was, and the logs, one for each worker that lives or has just died.
//
// # Records
//
// A record ([Records]) says what a room was when it was last written, and which
// run owns it. It is replaced as a whole, by compare-and-set: of two writers with
// the same revision at most one succeeds; the other gets [ErrConflict]. A value
// may have up to [MaxRecord] bytes; a large one is kept in pieces, which nobody
// sees.
//
// # Logs
//
// A run is one life of a worker, under a name never used again. What rooms change
// between two writes of their records goes to the log of the run ([Log]), if it
// must not be lost: all rooms of a worker write to one log, and all that wait at
// the same time go out as one message. When the records have caught up, the
// beginning of the log is cut off.
//
// When a worker is thought dead, whoever takes over seals its log ([Logs.Seal])
// and reads it ([Logs.Read]). The seal is a message that the log ends with for
// ever; it needs no clock and no agreement on who is alive. If the worker was
// alive after all, its next append fails with [ErrSealed], and it acknowledges
// nothing any more that is not in the sealed log.
//
//	log, err := logs.Begin(ctx, run)   // worker
//	go log.Run(ctx)
//	log.Append(entry, func(pos uint64, err error) { … tell the client … })
//
//	logs.Seal(ctx, run)                // whoever takes over
//	logs.Read(ctx, run, func(pos uint64, entry []byte) error { … })
//	…                                  // write the records
//	logs.Delete(ctx, run)
//
// # What you can rely on
//
// A write of a record that returned nil, and an entry whose done got nil,
// survives the death of any process, and with replicas that of any one server.
// Every later read of a record sees it: reads go to the stream's leader, never to
// a replica that may lag. Reading a log after sealing it from the same [Logs]
// gives every acknowledged entry once, in the order of Append, or fails.
//
// While NATS is away, electing a leader for instance, a log waits, as long as it
// takes; then it finds out what became of the message on its way and goes on.
// Nothing is written twice and nothing left out.
//
// # What you can't
//
// A write of a record that returned any error but [ErrConflict], [ErrExists] and
// [ErrTooLarge] may have happened. So may an append that got [ErrSealed] or
// [ErrClosed]: the sealed log tells.
//
// NATS acknowledges before its disk has the bytes: the power cut of a single
// server, or of all replicas at once, loses what was acknowledged in the last two
// minutes, unless it runs with sync always. A log that finds such a loss
// ends with [ErrSealed]. With Storage.Memory everything is gone with NATS.
//
// A log that nobody sealed can be read too. It gives what was acknowledged
// before the call, as far as the stream's leader knows, which one just elected
// may not do for a moment.
//
// Absence proves nothing: NATS was seen to bring purged keys back after a crash.
// So a record is never removed; [Records.Retire] leaves one that says it is
// closed, with whatever its writer wants to find there again. It costs about 150
// bytes of storage for ever.
package kv
