package rooms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"roomd/kv"
)

// A keeper writes records and takes rooms off the bus, with a few goroutines
// for all rooms. A room has at most one write and one departure under way, so
// its queue is bounded by the number of rooms.
type keeper struct {
	worker *Worker

	mu     sync.Mutex // guards what follows
	ready  sync.Cond
	jobs   []job
	closed bool
}

// A job is something to be done for a room that takes time: detach it from the
// bus, or write its record.
type job struct {
	room     *Room
	detach   bool
	value    []byte // of the record
	revision uint64
	final    bool         // the room ends with this write
	retire   bool         // and its record is not to be listed
	pages    []*pageWrite // of a shard of kv, to be written before
}

// errFenced means that a record names another owner, or a later epoch.
var errFenced = errors.New("another worker owns the room")

const (
	writeTimeout = 5 * time.Second
	finalFor     = 15 * time.Second       // how long the last write of a room is tried
	finalEvery   = 200 * time.Millisecond // and how often, where NATS is away and each try fails at once
)

func newKeeper(w *Worker) *keeper {
	k := &keeper{worker: w}
	k.ready.L = &k.mu
	return k
}

func (k *keeper) add(j job) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.jobs = append(k.jobs, j)
	k.ready.Signal()
}

// close lets run return when all jobs are done.
func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.ready.Broadcast()
}

func (k *keeper) next() (j job, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.jobs) == 0 {
		if k.closed {
			return job{}, false
		}
		k.jobs = nil
		k.ready.Wait()
	}
	j = k.jobs[0]
	k.jobs[0] = job{}
	k.jobs = k.jobs[1:]
	return j, true
}

// run does jobs until close. ctx ends when there is no more time for it.
func (k *keeper) run(ctx context.Context) {
	for {
		j, ok := k.next()
		if !ok {
			return
		}
		switch {
		case j.detach:
			err := k.worker.unlisten(ctx, j.room)
			k.worker.post(j.room, func(r *Room) { r.detached(err) })
		case j.final:
			k.finish(ctx, j)
		case len(j.pages) > 0:
			err := k.writePages(ctx, j)
			if err != nil && !errors.Is(err, errFenced) {
				k.worker.cfg.Log.Warn("page not written, tried again later", "room", j.room.key, "err", err)
			}
			k.worker.post(j.room, func(r *Room) { r.wrotePages(j.pages, err) })
		default:
			revision, err := k.write(ctx, j)
			switch {
			case errors.Is(err, kv.ErrTooLarge):
				k.worker.cfg.Log.Error("record not written: it is too large", "room", j.room.key, "bytes", len(j.value))
			case err != nil && !errors.Is(err, errFenced):
				k.worker.cfg.Log.Warn("record not written, tried again later", "room", j.room.key, "bytes", len(j.value), "err", err)
			}
			k.worker.post(j.room, func(r *Room) { r.wrote(revision, err) })
		}
	}
}

// finish writes a room's last record and forgets the room.
func (k *keeper) finish(ctx context.Context, j job) {
	log := k.worker.cfg.Log
	for until := time.Now().Add(finalFor); ; {
		err := k.writePages(ctx, j)
		if err == nil {
			_, err = k.write(ctx, j)
		}
		switch {
		case err == nil:
			k.worker.forget(j.room)
			return
		case errors.Is(err, errFenced):
			log.Warn("last record refused: another worker owns the room", "room", j.room.key, "epoch", j.room.epoch)
			k.worker.forget(j.room)
			return
		case time.Now().After(until) || ctx.Err() != nil || errors.Is(err, kv.ErrTooLarge):
			level, text := slog.LevelError, "last record not written: what counts is the one before"
			if j.room.trail != nil && !errors.Is(err, kv.ErrTooLarge) { // as when Config.Drain was too short
				level, text = slog.LevelWarn, "last record not written: nothing is lost, the log has what the one before lacks"
			}
			log.Log(ctx, level, text, "room", j.room.key, "epoch", j.room.epoch, "bytes", len(j.value), "err", err)
			// In its turn: the last entry may still be on its way to the log.
			k.worker.post(j.room, (*Room).abandon)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(finalEvery):
		}
	}
}

// write is one compare-and-set. A conflict is no proof of another owner: an
// earlier write of our own may have succeeded without our hearing of it. So the
// record is looked at, and only another owner or epoch means the end.
func (k *keeper) write(ctx context.Context, j job) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	// The answer to what was asked on a connection that is gone will not come.
	defer k.worker.conn.OnChange(func(bool) { cancel() })()
	m := &k.worker.metrics
	put := k.worker.store.Update
	if j.retire {
		put = k.worker.store.Retire
	}
	m.writes.Inc()
	m.writeBytes.Add(float64(len(j.value)))
	owner := j.room.own.run
	if j.final {
		owner = ""
	}
	revision, err := put(ctx, j.room.key, j.value, owner, j.revision)
	if errors.Is(err, kv.ErrConflict) {
		var last uint64
		var done bool
		if last, done, err = k.ownRevision(ctx, j); err == nil && !done {
			last, err = put(ctx, j.room.key, j.value, owner, last)
		}
		revision = last
	}
	if err != nil {
		m.writeErrors.Inc()
	}
	return revision, err
}

// ownRevision returns the revision of a room's record if it is still ours. done
// means that it is the very one to be written.
func (k *keeper) ownRevision(ctx context.Context, j job) (revision uint64, done bool, err error) {
	entry, err := k.worker.store.Get(ctx, j.room.key)
	if err != nil {
		return 0, false, err
	}
	if bytes.Equal(entry.Value, j.value) {
		return entry.Revision, true, nil
	}
	rec, err := parseRecord(entry.Value)
	if err != nil {
		return 0, false, err
	}
	if rec.owner != j.room.own.run || rec.epoch != j.room.epoch {
		return 0, false, fmt.Errorf("%w: %q, epoch %d", errFenced, rec.owner, rec.epoch)
	}
	return entry.Revision, false, nil
}
