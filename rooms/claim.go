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
	epoch     uint64
	revision  uint64
	snapshot  []byte
	clean     bool // the owner before released it in order
}

// claim makes this worker the owner of a room by writing its record, unless the
// owner that is written there has it in memory. A lost race begins anew: then
// there is a living owner.
func (w *Worker) claim(ctx context.Context, key string) (claim, error) {
	for {
		c, err := w.tryClaim(ctx, key)
		if !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrExists) {
			if err != nil && bus.AsError(err).Code == bus.Internal && !errors.Is(err, errRecord) {
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

func (w *Worker) tryClaim(ctx context.Context, key string) (claim, error) {
	mine := record{epoch: 1, owner: w.run}
	entry, err := w.store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		revision, err := w.store.Create(ctx, key, mine.append(nil))
		return claim{epoch: 1, revision: revision}, err
	}
	if err != nil {
		return claim{}, err
	}
	rec, err := parseRecord(entry.Value)
	if err != nil {
		return claim{}, fmt.Errorf("room %q: %w", key, err)
	}
	if has, err := w.ownerHas(ctx, rec.owner, key); has || err != nil {
		return claim{elsewhere: has}, err
	}
	mine.epoch = rec.epoch + 1
	if !rec.closed {
		mine.snapshot = rec.snapshot
	}
	revision, err := w.store.Update(ctx, key, mine.append(nil), entry.Revision)
	return claim{
		epoch: mine.epoch, revision: revision, snapshot: mine.snapshot,
		clean: rec.owner == "" && len(mine.snapshot) > 0,
	}, err
}

// pingTimeout is how long a room's owner may take to say that it has it.
const pingTimeout = time.Second

// ownerHas asks the run of a worker that a record names whether it has the
// room. A run that nobody answers for is dead; one that is silent may live.
func (w *Worker) ownerHas(ctx context.Context, owner, key string) (bool, error) {
	if owner == "" || owner == w.run {
		return false, nil // the caller knows that this run does not have it
	}
	if !bus.ValidNode(owner) {
		return false, errRecord
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	answer, err := w.conn.Request(ctx, w.conn.Subjects().Worker(owner, "ping"), bus.AppendString(nil, key))
	switch {
	case err == nil:
		return bus.NewReader(answer).Bool(), nil
	case bus.CodeOf(err) == bus.Unavailable && w.conn.Connected():
		return false, nil
	}
	return false, bus.Errorf(bus.Unavailable, "the room's owner does not answer")
}

// answerPing says whether this run has a room, or is about to.
func (w *Worker) answerPing(_ context.Context, body []byte) ([]byte, error) {
	key := bus.NewReader(body).String()
	w.mu.RLock()
	defer w.mu.RUnlock()
	_, has := w.rooms[key]
	_, moving := w.moving[key]
	return bus.AppendBool(nil, has || moving), nil
}
