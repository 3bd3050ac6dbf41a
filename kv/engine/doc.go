// Package engine is what a store does, as a machine without I/O, clock or
// goroutines: Redis commands and the time go in, replies in RESP3 come out, and
// effects, which say what was changed.
//
//	e := engine.New(0, nil)
//	reply, blocked := e.Do(now, argv, nil)    // as Redis 7.0 replies to HELLO 3
//	log.Append(e.Effects()); e.ResetEffects()
//
// Whoever keeps an engine makes it durable with that: it writes effects down in
// their order, and now and then the pages that have changed ([Engine.Touched],
// [Engine.AppendPage]). A new engine that loads the pages ([Engine.LoadPage]) and
// then applies what was written down after each ([Engine.Apply]) is the same as
// the old one, down to the order of scans, so that cursors stay good.
//
// # Keys and pages
//
// A key has a slot, by Redis Cluster's rule, and 256 slots make one of the
// [Pages] pages. Effects are of one key each and make no choices: their values
// and times are absolute, also where the command said by how much or at random.
//
// # Time
//
// A key expires at the time it was given, in ms: commands that only read take no
// notice of it from then on; the first write that meets it, or [Engine.Sweep],
// removes it, and that is an effect too. So Apply needs no clock.
//
// # Commands of ours
//
// Beside Redis's commands ([Specs] has all) there is HINCRBYEX key field n ms,
// which is HINCRBY, then PEXPIRE. Those marked Internal are for front ends, not
// for their clients:
//
//	WATCH key…                                     an array of the keys' versions
//	EXEC nwatch (key version)… (argc arg…)…        null if a version is another now, else an array of replies
//	HOLD key token ms                              epoch; waits while another token holds the key
//	RENEW key token ms                             epoch; null if the hold is over
//	UNHOLD key token                               1; 0 if the hold is over
//
// EXEC's counts and versions are decimal numbers. A command in it that fails does
// not stop those after it; nothing in it waits.
//
// A hold is a key of type lock, which is gone when the hold ends. It ends with
// UNHOLD, or ms after the last HOLD or RENEW with its token; in an engine that
// was loaded, ms after its first command, since the clock of another owner counts
// for nothing. No other command can end it: those that would change or remove the
// key get WRONGTYPE, and FLUSHALL leaves it alone. Epochs grow with every hold of
// a key, for ever, though not always by one.
//
// # Where it differs from Redis
//
//   - Scans go through all kinds of values, small ones too, COUNT elements a time,
//     in an order of their own.
//   - No element of SRANDMEMBER's reply more than a million times over: a count
//     below -2^20 is out of range.
//   - INCRBYFLOAT and HINCRBYFLOAT are as exact as Redis on x86, but numbers
//     beyond a float64 count as infinite. Hexadecimal numbers are none.
//   - A key that was removed long ago may seem changed to WATCH when it was not,
//     never the other way round.
//
// # What it costs
//
// As in Redis: O(1) for keys, fields, members and ends of lists, O(log n) for
// sorted sets, whatever the size, and for SETEX, EXPIRE and the like among all
// keys that expire. KEYS, and all that returns a whole structure, is O(n).
package engine
