package rooms

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// This file says when a worker is not fit to have rooms, and what it does when the
// records of its rooms are lost.

// unacked counts the entries of rooms that the log has not acknowledged.
type unacked struct {
	n     atomic.Int64
	moved atomic.Int64 // nanoseconds since 1970: the last acknowledgement, or when the first came to wait
}

func (u *unacked) add() {
	if u.n.Add(1) == 1 {
		u.moved.Store(time.Now().UnixNano())
	}
}

func (u *unacked) done() {
	u.n.Add(-1)
	u.moved.Store(time.Now().UnixNano())
}

// stuckLog is how long nothing may be acknowledged before the log counts as
// stuck. Elections of a leader in a NATS cluster take up to 9 s; most take less.
const stuckLog = 5 * time.Second

// Trouble says why the worker cannot run rooms now; empty if it can.
func (w *Worker) Trouble() string {
	select {
	case <-w.owning:
	default:
		return "worker has no log yet"
	}
	if w.own.Load() == nil {
		return "worker was replaced and has not come back"
	}
	waits, moved := w.unacked.n.Load(), time.Unix(0, w.unacked.moved.Load())
	if stuck := time.Since(moved); waits > 0 && stuck > stuckLog {
		return fmt.Sprintf("log is stuck: nothing was acknowledged for %d s, and %d entries wait", int(stuck.Seconds()), waits)
	}
	return ""
}

// followStore gives up what this worker has of records that NATS has lost: it
// seals its own log, and so begins another run. Rooms are opened anew as clients
// and stores ask for them, under epochs that are later than all before.
func (w *Worker) followStore(ctx context.Context) error {
	own := w.own.Load()
	if own == nil || own.store == w.store.Generation() {
		return nil // it has none, or began after the loss
	}
	w.cfg.Log.Error("worker gives its rooms up: their records are lost", "node", w.conn.Name(), "run", own.run, "rooms", w.Len())
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := w.logs.Seal(ctx, own.run); err != nil {
		return err
	}
	own.log.Append(nil, func(uint64, error) {}) // Log.Run finds the seal, and says so
	return nil
}

// orphan notes a room that somebody needs and that this worker gives up. Others
// take it over, if they have not yet, but for one whose record is lost: of that
// only the worker that had it knows.
func (w *Worker) orphan(r *Room) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.orphans[r.key] = r.own.store
}

// reopenOrphans opens the rooms anew whose records were lost.
func (w *Worker) reopenOrphans(ctx context.Context) {
	own := w.own.Load()
	if own == nil {
		return
	}
	var keys []string
	w.mu.Lock()
	for key, store := range w.orphans {
		if store == own.store {
			delete(w.orphans, key)
		} else {
			keys = append(keys, key)
		}
	}
	w.mu.Unlock()
	w.openAll(ctx, keys)
}

// known reports whether edges may have heard of a room of which there is no
// record: it was lost while its worker lived, so that nothing else tells them.
func (w *Worker) known() bool { return w.store.Generation() > 1 }
