package rooms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// This file decides who owns a room.

// A claim is what came out of asking for a room.
type claim struct {
	elsewhere bool // another worker has it
	own       *ownership
	epoch     uint64
	heir      bool   // it has had an owner before, or may have had
	ver       uint64 // of the state, to begin with
	revision  uint64
	snapshot  []byte
	whole     bool // the snapshot has everything that the owner before has shown
	shard     *loadedShard
}

// claim makes this worker the owner of a room by writing its record, unless the
// owner that is written there has it in memory. A lost race begins anew: then
// there is a living owner.
func (w *Worker) claim(ctx context.Context, kind *Kind, key string) (claim, error) {
	for {
		c, err := w.tryClaim(ctx, kind, key)
		if !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrExists) {
			if err != nil && bus.AsError(err).Code == bus.Internal && !errors.Is(err, errRecord) {
				if w.serving.Err() != nil && errors.Is(err, context.Canceled) {
					return c, bus.Errorf(bus.Unavailable, "worker leaves service")
				}
				// NATS's own errors: the store is not there now.
				w.cfg.Log.Warn("room not opened", "room", key, "err", err)
				err = bus.Errorf(bus.Unavailable, "records cannot be reached")
			}
			return c, err
		}
		if ctx.Err() != nil {
			return claim{}, bus.Errorf(bus.Timeout, "room is contended")
		}
	}
}

func (w *Worker) tryClaim(ctx context.Context, kind *Kind, key string) (claim, error) {
	own := w.own.Load()
	if own == nil {
		return claim{}, bus.Errorf(bus.Unavailable, "worker was replaced and begins anew")
	}
	mine := record{epoch: kv.FirstEpoch(time.Now()), owner: own.run}
	entry, err := w.store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		var shard *loadedShard
		if kind.Name == kv.ShardKind {
			shard, mine.snapshot = w.newShard(mine.epoch), w.shardHead()
		}
		revision, err := w.store.Create(ctx, key, mine.append(nil), own.run)
		return claim{own: own, epoch: mine.epoch, heir: w.known(), revision: revision, shard: shard}, err
	}
	if err != nil {
		return claim{}, err
	}
	rec, err := parseRecord(entry.Value)
	if err != nil {
		return claim{}, fmt.Errorf("room %q: %w", key, err)
	}
	was, err := w.inherit(ctx, own, rec.owner, key)
	if was.elsewhere || err != nil {
		return claim{elsewhere: was.elsewhere}, err
	}
	entries := was.entries
	mine.epoch = rec.epoch + 1
	var shard *loadedShard
	switch {
	case kind.Name == kv.ShardKind:
		mine.snapshot = w.shardHead()
		if shard, err = w.loadShard(ctx, key, rec, entries); err != nil {
			return claim{}, fmt.Errorf("shard %q: %w", key, err)
		}
	default:
		after, closed, err := bring(kind, rec, entries)
		if err != nil {
			return claim{}, fmt.Errorf("room %q: %w", key, err)
		}
		mine.ver = rec.nextVer(kind, after)
		if !closed {
			mine.snapshot = after
		}
	}
	revision, err := w.store.Update(ctx, key, mine.append(nil), own.run, entry.Revision)
	lost := was.gone && (kind.Durability == Commit || shard != nil)
	if err == nil {
		if lost {
			w.cfg.Log.Error("the log of a room's last owner is gone: the room goes back to its record", "room", key, "run", rec.owner)
		}
		w.unpin(key, w.pinOf(key)) // no other is made before the room has come and gone
		if w.tails.has(rec.owner) {
			w.metrics.takenOver.Inc()
		}
	}
	return claim{
		own: own, epoch: mine.epoch, heir: true, ver: mine.ver, revision: revision, snapshot: mine.snapshot,
		whole: rec.owner == "" || kind.Durability == Commit && !lost, shard: shard,
	}, err
}

// bring returns the snapshot of a record, brought up to what the log has of the
// room in the record's epoch, and whether its author has closed the room.
func bring(kind *Kind, rec record, entries []entryHead) (after []byte, closed bool, err error) {
	mine := make([]entryHead, 0, len(entries))
	for _, e := range entries {
		if e.epoch == rec.epoch {
			mine = append(mine, e)
		}
	}
	if len(mine) == 0 || rec.closed {
		return rec.snapshot, rec.closed, nil
	}
	return replay(kind, rec.snapshot, mine)
}

// How a run is asked whether it lives. NATS says at once if nobody listens. That
// may be a connection that is just coming back, so it has to be said a few times.
const (
	pingTimeout = time.Second
	lostTimeout = 250 * time.Millisecond // where its node is not known to be alive
	deadAfter   = 3                      // times that nobody listens
	deadEvery   = 25 * time.Millisecond
)

// An inheritance is what a room's last owner has left of it besides the record.
type inheritance struct {
	elsewhere bool // the owner has the room still
	gone      bool // its log is gone; invariant: such a log is never taken for complete
	entries   []entryHead
}

// inherit returns what the log of a room's last owner has of the room, unless
// that owner has it still.
func (w *Worker) inherit(ctx context.Context, own *ownership, owner, key string) (was inheritance, err error) {
	switch {
	case owner == "":
		return was, nil
	case owner == own.run:
		// It is not in memory: the caller knows.
		if w.pinOf(key).own == own {
			was.entries, err = w.readLog(ctx, owner, key)
		}
		return was, err
	case !bus.ValidNode(owner):
		return was, errRecord
	case !w.tails.has(owner) && !w.isLost(owner):
		has, logged, err := w.ping(ctx, owner, key)
		switch {
		case err == nil && has:
			return inheritance{elsewhere: true}, nil
		case err == nil && logged:
			was.entries, err = w.readLog(ctx, owner, key)
			return was, err
		case err == nil:
			return was, nil
		case !w.isDead(ctx, owner, err):
			return was, bus.Errorf(bus.Unavailable, "the room's owner does not answer")
		}
	}
	t, err := w.tails.of(ctx, w, owner)
	if err != nil {
		return was, err
	}
	return inheritance{gone: t.gone, entries: t.entries[key]}, nil
}

// ping asks a run about a room.
func (w *Worker) ping(ctx context.Context, run, key string) (has, logged bool, err error) {
	timeout := pingTimeout
	if !w.nodes.Alive(nodeOf(run)) {
		timeout = lostTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := w.conn.Request(ctx, w.conn.Subjects().Worker(run, "ping"), bus.AppendString(nil, key))
	if err != nil {
		return false, false, err
	}
	rd := bus.NewReader(answer)
	has, logged = rd.Bool(), rd.Bool()
	return has, logged, rd.Err()
}

// isLost reports whether a run's node was found silent and not heard since.
func (w *Worker) isLost(run string) bool {
	node := nodeOf(run)
	return w.nodes.Lost(node) && !w.nodes.Alive(node)
}

// isDead decides whether a run is to be replaced, given how a first ping of it
// failed. It may be wrong: then the run lives, finds its log sealed and goes.
func (w *Worker) isDead(ctx context.Context, run string, err error) bool {
	for range deadAfter - 1 {
		if bus.CodeOf(err) != bus.Unavailable || !w.conn.Connected() {
			break
		}
		w.nodes.Check() // others may have died with it, and our peers want to know
		select {
		case <-ctx.Done():
			return false
		case <-time.After(deadEvery):
		}
		_, _, err = w.ping(ctx, run, "")
	}
	switch {
	case err == nil || !w.conn.Connected():
		return false
	case bus.CodeOf(err) == bus.Unavailable:
		return true
	}
	return bus.CodeOf(err) == bus.Timeout && !w.nodes.Alive(nodeOf(run))
}
