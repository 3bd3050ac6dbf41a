package rooms

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// This file lets a worker own shards of the shared data (package kv). A shard is
// a room with Commit durability that has a kv.Shard where others have an
// author's handler, and no members: it is placed, claimed, sealed off, taken over
// and handed off by the same code, and its entries share the worker's log. What
// differs is what a turn does, and that it is kept in many records, its pages,
// instead of one.

// A keyspace is a shard in its room. It belongs to the room's turn.
type keyspace struct {
	shard     *kv.Shard
	revisions [kv.Pages]uint64 // of the pages' records; 0: there is none
	pos       uint64           // of the last entry in the log
	changed   int64            // when the last entry was made; 0: pages have all
	begun     int64            // when the entry on its way was made
	owned     int64            // when the last one was made that the log has: the shard was ours
	nextPage  int64            // when a page may be written because much has changed
	logged    int              // bytes of entries since a page was last begun

	keys, bytes, sessions, waiting atomic.Int64 // for metrics
}

// maxRequestBytes is how much may wait for a shard.
const maxRequestBytes = 64 << 20

// openShard answers who asks for a shard, or, without an id, how many there are.
func (w *Worker) openShard(ctx context.Context, kind *Kind, id string) ([]byte, error) {
	if id == "" {
		return bus.AppendString(nil, strconv.Itoa(w.cfg.KVShards)), nil
	}
	if n, err := strconv.Atoi(id); err != nil || n < 0 || n >= w.cfg.KVShards || strconv.Itoa(n) != id {
		return nil, bus.Errorf(bus.BadOptions, "no shard %.20q: kv has %d", id, w.cfg.KVShards)
	}
	// Loading takes as long as there is data, whether or not the caller waits.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
	defer cancel()
	defer context.AfterFunc(w.serving, cancel)()
	if err := w.open(ctx, kind, id); err != nil {
		return nil, err
	}
	return bus.AppendString(nil, id), nil
}

// loadTimeout bounds the loading of a shard.
const loadTimeout = time.Minute

// buildShard makes the room of a shard.
func (w *Worker) buildShard(kind *Kind, key string, c claim) *Room {
	r := &Room{
		worker: w, kind: kind, key: key, shard: w.shardOf(key), trail: &trail{},
		epoch: c.epoch, heir: c.heir, lineage: c.epoch, own: c.own, revision: c.revision, departing: true,
	}
	c.shard.shard.ReadDeadlines(w.conn.Late)
	r.keys = &keyspace{shard: c.shard.shard, revisions: c.shard.revisions}
	r.trail.done = r.keysAcked
	return r
}

// runKeys is runTurn for a shard.
func (r *Room) runKeys(t *turn) (again bool) {
	b := r.rest
	if r.rest = nil; b == nil {
		b = r.box.take()
	}
	t.begin(r) // after that: what is served had come by then, see ownedFor
	waits := r.workKeys(b)
	switch {
	case b == nil:
	case b.next < len(b.entries):
		r.rest = b
	default:
		b.free()
	}
	r.worker.metrics.turns.Inc()
	t.end()
	if waits {
		r.worker.append(r) // from here the room may be in its next turn
		return false
	}
	return r.rest != nil || r.box.rest()
}

// workKeys serves what waits, or so much of it that its answers are not too
// large. It reports whether there is an entry to append.
func (r *Room) workKeys(b *batch) (waits bool) {
	defer func() {
		if p := recover(); p != nil {
			waits = false
			r.keysCrashed(p)
		}
	}()
	if r.trail.waiting {
		r.keysCommitted()
	}
	k := r.keys
	for b != nil && b.next < len(b.entries) && !(r.phase < ended && k.shard.Full()) {
		e := &b.entries[b.next]
		b.next++
		switch {
		case e.event != nil:
			e.event(r)
		case r.phase < ended:
			r.worker.metrics.kvRequests.Inc()
			if err := k.shard.Serve(r.turn.wall, e.request.Data, e.request.Reply); err != nil {
				r.worker.metrics.malformed.Inc()
			}
		}
	}
	if r.phase == ended && !r.leaves {
		return false
	}
	if r.phase < ended {
		k.shard.Tick(r.turn.wall)
	}
	k.measure()
	if r.makeKeysEntry() {
		return true
	}
	k.shard.Answers(r.tell)
	if r.leaves {
		r.leaves = false
		r.writeLast()
		return false
	}
	r.watchPages()
	r.setKeysAlarm()
	return false
}

// ownedFor bounds how old what was read can be: an owner that was replaced does
// not know it before it writes to its log. So it writes an empty entry if it has
// written none for so long, and always before it says that something could not
// be changed, or was just so already.
const ownedFor = 100 * time.Millisecond

// makeKeysEntry makes the turn's entry, if anything has changed. Until the log
// has it nobody is answered, and no other turn is taken.
func (r *Room) makeKeysEntry() bool {
	k, l := r.keys, r.trail
	b := append(make([]byte, 0, max(l.size, 256)), entryVersion)
	b = bus.AppendString(b, r.key)
	b = bus.AppendUint(bus.AppendUint(b, r.epoch), k.shard.Number()+1)
	b, changed := k.shard.AppendEntry(append(b, 0))
	any, writes := k.shard.Ran()
	switch {
	case changed:
		l.entry, l.size = b, max(len(b), l.size-l.size/8)
		k.changed = r.turn.now
		k.logged += len(b)
	case writes || any && r.turn.now > k.owned+int64(ownedFor):
		l.entry = []byte{}
	default:
		return false
	}
	l.waiting, k.begun = true, r.turn.now
	return true
}

// keysAcked is acked for a shard.
func (r *Room) keysAcked(pos uint64, err error) {
	r.keys.pos = pos
	r.acked(pos, err)
}

// keysCommitted is committed for a shard.
func (r *Room) keysCommitted() {
	k, l := r.keys, r.trail
	l.waiting = false
	if l.err != nil {
		switch {
		case r.phase != ended:
			r.fenced("its changes could not be committed: " + l.err.Error())
		case r.leaves: // it is off the bus, and has what is not to get into its pages
			r.leaves = false
			r.abandon()
		}
		return
	}
	k.owned = k.begun
	k.shard.Committed(k.pos, r.own.log.Bytes())
	l.tail.Store(k.shard.Tail())
	k.shard.Answers(r.tell)
}

// tell publishes what a shard has to say.
func (r *Room) tell(subject string, b []byte) {
	w := r.worker
	w.metrics.envelopes.Inc()
	w.metrics.outBytes.Add(float64(len(b)))
	if err := w.conn.Publish(subject, b); err != nil {
		w.metrics.lost.Inc() // whoever waits for it asks again
	}
}

// keysCrashed gives a shard up whose code has panicked, before anything of the
// turn is kept or told. What the log and the pages have holds; it is opened anew.
func (r *Room) keysCrashed(p any) {
	r.worker.metrics.panics.Inc()
	r.Log().Error("shard given up: it panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	r.crash, r.leaves, r.trail.entry, r.trail.waiting = true, false, nil, false
	r.phase = ended
	r.depart()
}

// setKeysAlarm has the room woken when the shard has something to do, or a page
// is to be written.
func (r *Room) setKeysAlarm() {
	w, k := r.worker, r.keys
	next := int64(0)
	if at := k.shard.Next(); !at.IsZero() {
		// By the wall clock, which may have been set since the worker began.
		next = r.turn.now + max(int64(at.Sub(r.turn.wall)), int64(time.Millisecond))
	}
	if k.changed != 0 && !r.saving {
		quiet := max(k.changed+int64(recordQuiet), r.trail.notBefore, r.turn.now+int64(time.Millisecond))
		if next == 0 || quiet < next {
			next = quiet
		}
	}
	if next != 0 {
		w.alarms.set(r, next)
	}
}

func (k *keyspace) measure() {
	k.keys.Store(int64(k.shard.Keys()))
	k.bytes.Store(int64(k.shard.Bytes()))
	k.sessions.Store(int64(k.shard.Sessions()))
	k.waiting.Store(int64(k.shard.Waiting()))
}
