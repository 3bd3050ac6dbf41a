// Package kv keeps what the nodes of a system share: counters, sets, hashes,
// lists, sorted sets, messages and locks, in Redis's shapes and with no server
// but NATS ([Store]). Below that is what shards and rooms alike are kept in:
// records and logs.
//
//	store, err := kv.Open(ctx, conn, kv.Config{})   // in a room: r.KV()
//	n, err := store.HIncrBy(ctx, "players", "duel", 1)
//	_, ticket, ok, err := store.BLPop(ctx, 5*time.Second, "tickets")
//	stop, err := store.NewSubscriber().PSubscribe(ctx, "news.*", func(m kv.Message) { … })
//
//	err = store.Atomically(ctx, []string{"{ann}gold", "{ann}swords"}, func(tx kv.Tx) error {
//		gold, _, err := tx.Get(ctx, "{ann}gold")
//		…                                       // an error of f's changes nothing
//		tx.IncrBy("{ann}gold", -10)
//		tx.IncrBy("{ann}swords", 1)
//		return nil
//	})
//
//	err = store.Hold(ctx, "season", 10*time.Second, func(ctx context.Context, epoch uint64) error {
//		…                                       // nobody else is here; ctx ends if that changes
//	})
//
// [NewMemory] gives the same for a process by itself, with [Memory.Save] and
// [Memory.Load] to outlive a restart. Package kv/front serves a store to clients
// and tools made for Redis.
//
// # The model
//
// Keys are divided among shards by a hash; there is one shard unless the system
// is run with more. A shard has one owner, as a room has: a worker, which keeps
// all of it in memory and runs one command after the other, each on what the one
// before has left. What does that is kv/engine, a plain state machine without
// I/O or clock, and [Memory] is the same machine at home in a process.
//
// Commands travel to the owner over NATS. All that have come are run as a batch,
// what they have changed goes into the worker's log as one entry, together with
// that of the worker's rooms and other shards, and answers leave when the log
// has it: a batch costs one write, of what has changed, whatever the size of
// what it belongs to. Meanwhile the next batch gathers. In the background the
// data itself is written, in 64 pages by the hash of the key, each when it has
// changed by much or long ago, and the log is cut behind them.
//
// When the owner dies, is stopped or is cut off, those who use the shard ask
// another worker, which seals the owner's log, loads the pages, applies what the
// log has beyond them, and goes on with the next epoch. That takes about as long
// as for a room, and in addition the time to read all of the shard. An owner
// that ends in order writes its pages first.
//
// A store numbers what it asks, and the shard keeps, with the data, the replies
// that may not have arrived. So when an owner dies the store asks again, of the
// next one, and a command that had been applied is not applied once more: it
// gets the reply that it had.
//
// # What you can rely on
//
// Acknowledged is kept. What a method returned nil for is in the log: it
// survives the death of any process, and with replicas that of any one server.
//
// Once. A command is applied at most once, however often its owner dies or
// messages are lost. If it returned an error:
//
//   - an [*Error], such as one that is [ErrWrongType] or [ErrCrossSlot]: it was
//     refused, and changed nothing. So it is with [ErrTooLarge];
//   - a bus.Error with code Unavailable or Overloaded: it did not happen;
//   - any other: a Timeout, a context that has ended: it happened, or happens
//     yet, or not. Nothing tells but reading.
//
// Order. All commands on a shard happen one after the other, each at once and as
// a whole, whatever number of keys, fields or elements it has. A command begun
// after another was answered comes after it, and sees it.
//
// Strings: an increment is never lost and never doubled, however many write to
// one key. One that would overflow is refused.
//
// Expiry: a time to live is that of the whole key, in milliseconds, and kept
// with it. It ends for readers at that millisecond of the owner's clock, even if
// what was kept is removed a little later. The clock of a shard never goes back;
// after a takeover it is that of the new owner, so that clocks which differ move
// the end by as much. A key that is set anew, or whose last element goes, has
// lost its time to live.
//
// Hashes, sets, sorted sets: a command with several fields or members applies
// them all. HIncrByEx is one step: there is no counter without its time to live.
// Members with the same score are in the order of their bytes. HGetAll, SMembers
// and the like return what there was at one moment, in an order of no meaning.
//
// Lists: an element is popped by one caller. Those who wait at a list are served
// in the order in which their requests came; the order is lost at a takeover,
// and they wait on at the new owner. What is handed to a waiter he confirms, and
// that is committed, before his call returns; if he has died, or his context has
// ended, it goes back to the end where it was, for whoever is next. So an
// element can go only with somebody who dies after he has confirmed, or with it
// in his hands: where that matters too, move it with LMOVE (by Do) to a list of
// work in progress.
//
// Atomically: all writes happen at one moment, at which none of the keys has
// changed since the function was called; or none. A write that cannot be applied
// to the kind of value it meets is passed over alone, as in Redis, and reported.
//
// Hold: of those who hold a key at most one is inside at any time, as far as
// clocks run at the same rate to a tenth of ttl: the function's context ends
// before the store gives the key to the next. Code that does not look at its
// context, or was stopped between looking and writing, is still running then.
// That is what the epoch is for: it grows from holder to holder, for ever, so
// whatever is written to can refuse a smaller one than it has seen. Nobody loses
// a hold because the shard got another owner.
//
// Pub/sub: messages of all publishers are in one order, the same for all
// subscribers and across channels, and a publisher's own order is kept. A
// subscriber's handlers run one at a time in that order. What is published after
// Subscribe has returned arrives, what was published before it was called does
// not. After stop has returned no handler runs, and Publish does not count it.
//
// [Memory] keeps all of this within its process, and nothing beyond it but what
// Save wrote.
//
// # What you can't
//
// An owner that was replaced and does not know it yet may, for 100 ms, answer a
// command that changes nothing from what it had, if the store has not heard the
// next owner before. What it would write is refused, so nobody is told that it
// was done. Who must not act on such a read does it in Atomically, with a write.
//
// The clocks of nodes must agree to within a few seconds: a request says until
// when it is wanted, five seconds from when it was sent, and is not served after
// that. A process whose clock is further behind gets no answers.
//
// Commands that one caller begins without waiting for the answers are applied in
// that order, unless one of the requests is lost on its way, which takes a
// connection that breaks or an owner that is swamped: then it may come later, or
// end with a Timeout.
//
// Two commands are two moments. Between a Get and the Set that follows anything
// may happen, a takeover too; use Atomically, or a command that does both.
//
// Absence of a subscription's message proves nothing: pub/sub is for those who
// are there and keep up.
//
// # What it costs as it grows
//
// With n elements under a key, what names its elements costs the same for any n:
// Get, Incr, HSet, HGet, HDel, SAdd, SIsMember, LPush, LPop, and so on. Sorted
// sets add O(log n). What goes through elements costs what it goes through:
// HGetAll, SMembers, ZRange the elements returned, SInter those of the smallest
// set times the number of sets, SUnion and SDiff all of all sets, LRem and
// LINSERT the list until found. LIndex and LRange first walk to the element from
// the nearer end, 4 KiB of list at a step. Del of one key is O(1). Keys looks at
// every key; front ends have SCAN. RENAME, and what stores a result (SUNIONSTORE
// and the like), write all of the value to the log.
//
// Everything is in the memory of the owner, and nothing else runs on the shard
// while a command does: an HGetAll of a million fields holds up everybody for as
// long as it takes. So keep structures to a size that may be returned at once,
// or read them in parts.
//
// A batch writes its changes, not the structures, to the log. A page is written
// as a whole, so in the background a change of one field of a large hash costs
// the hash, at most every few seconds. A takeover reads the whole shard.
//
// One hot key is no worse than many: a shard is one goroutine, and batches make
// up for the time to commit. When one core is not enough, run more shards and
// spread keys over them. Then a {tag} in keys, as in Redis Cluster, keeps
// together what is used together. Del, Exists, Keys, MGET, MSET, SInter, SUnion
// and SDiff work across shards, but not at one moment; all else on keys of
// several shards is refused with [ErrCrossSlot], Atomically included. Pub/sub
// goes by the first shard.
//
// A store costs two sessions a shard, which hold the replies on their way. A
// waiting pop costs its arguments at the shard. A published message is one
// message on NATS for each node that listens; a pattern makes its node get all
// messages. A subscriber to which nothing happens is a few hundred bytes.
//
// # What is lost when
//
//   - A worker dies, or is stopped for seconds: nothing that was acknowledged.
//     Commands wait meanwhile, up to [Config].Timeout. Blocking pops and holds
//     go on. Messages published at that moment may be lost, and Publish then
//     says so with a Timeout; counts of receivers are short until all stores
//     have told the new owner of their subscriptions.
//   - The process with the store dies: what it had asked may have happened. Its
//     blocking pops take nothing with them, after a moment in which others wait;
//     its holds end after their ttl.
//   - A NATS server of three dies: nothing. Writes wait for the election of a
//     leader, up to 9 s, and may end with a Timeout before.
//   - The connection of a process to NATS breaks: its commands wait until it is
//     back, or their time is over. Messages published meanwhile are lost to its
//     subscribers.
//   - All NATS servers lose power at once: up to two minutes of what was
//     acknowledged, unless they run with sync always.
//   - Storage.Memory: everything, with NATS. [Memory]: everything since Save,
//     with the process.
//   - A subscriber is slow: when 65,536 messages or 64 MiB wait for its handlers
//     it loses what comes; Lost counts that. Nobody else is held up.
//   - Nobody listens: a published message is gone. Who must not miss any uses a
//     list.
//
// # Where it is not Redis
//
// A write is answered when it is durable. An argument may have 1 MiB
// ([Config].MaxValue), a command with all its arguments what NATS carries in one
// message, which is 8 MiB as roomd runs it; what is larger is refused with
// [ErrTooLarge] and [ErrCommandTooLarge]. So a large MSET or transaction goes in
// parts. [Memory] has the first limit only. There is one database, and no scripts,
// streams, bitmaps or geo. There is no eviction either: memory is bounded by
// what expires and what you delete. A key that somebody holds has a type of its
// own, lock. Over several shards, what the section on growth says.
//
// # Records
//
// The rest of this page is for who builds on NATS directly, as rooms and shards
// do. There is a record for each room there ever was and for each page of a
// shard, and a log for each worker that lives or has just died.
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
// # What records and logs promise
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
// # What they do not
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
