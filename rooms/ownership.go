package rooms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// An ownership is one run of the worker: the name by which the records of its
// rooms call it, and its log. A room is the worker's for as long as nobody has
// sealed that log (R1); no clock decides anything. When it is sealed, all the
// run's rooms go, and the worker begins another run.
type ownership struct {
	run   string // never the same twice
	log   *kv.Log
	store uint64 // the generation of the records that were there when it began
}

// A pin keeps the log from being cut behind what it has of a room that is no
// longer in memory and whose record lacks it.
type pin struct {
	own  *ownership
	tail uint64
}

// runName makes the name of one run of a worker.
func runName(node string) string {
	var random [8]byte
	rand.Read(random[:]) // never fails since Go 1.24
	return fmt.Sprintf("%.44s-%x", node, random)
}

// nodeOf returns the node of a run.
func nodeOf(run string) string { return run[:max(0, len(run)-17)] }

// keepOwning gives the worker one run after the other, until ctx ends or the
// log is closed.
func (w *Worker) keepOwning(ctx context.Context) error {
	for first := true; ; first = false {
		own, stop, err := w.beginRun(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("begin a run: %w", err)
		}
		w.own.Store(own)
		if w.draining.Load() {
			own.log.Close() // endRun may have come just before
		}
		if first {
			close(w.owning)
		}
		w.cfg.Log.Info("worker runs", "node", w.conn.Name(), "run", own.run)
		if !first {
			w.surveySoon() // orphans
		}
		err = own.log.Run(ctx)
		stop()
		if !errors.Is(err, kv.ErrSealed) {
			return err
		}
		w.own.Store(nil)
		w.disown(own, err)
		if w.draining.Load() {
			return nil
		}
	}
}

// beginRun makes the log of a new run, as soon as NATS and the records are there. Pings of the run
// are answered before that: one that has a log and says nothing is taken for dead.
func (w *Worker) beginRun(ctx context.Context) (own *ownership, stop func(), err error) {
	run := runName(w.conn.Name())
	stop, err = w.conn.Handle(w.conn.Subjects().Worker(run, "ping"), "", w.answerPing)
	if err != nil {
		return nil, nil, err
	}
	// If this fails NATS is away, and hears of the subscription before all else
	// when it is back.
	_ = w.conn.Flush(ctx)
	store, err := w.store.Await(ctx)
	if err != nil {
		stop()
		return nil, nil, err
	}
	log, err := w.logs.Begin(ctx, run)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return &ownership{run, log, store}, stop, nil
}

// disown stops all rooms of a run whose log is over, and says why.
func (w *Worker) disown(own *ownership, why error) {
	var rooms []*Room
	w.mu.Lock()
	for _, r := range w.rooms {
		if r.own == own {
			rooms = append(rooms, r)
		}
	}
	for key, p := range w.pins {
		if p.own == own {
			delete(w.pins, key)
		}
	}
	w.mu.Unlock()
	w.metrics.replaced.Inc()
	text := "worker was replaced: another worker sealed this worker's log and owns its rooms now"
	if errors.Is(why, kv.ErrBroken) {
		text = "worker gives its log up and begins a new one: NATS answers, but takes no write into it"
	}
	w.cfg.Log.Error(text, "node", w.conn.Name(), "run", own.run, "rooms", len(rooms), "err", why)
	for _, r := range rooms {
		w.post(r, func(r *Room) {
			if r.phase != ended {
				if r.keys != nil || r.needed() {
					w.orphan(r)
				}
				r.fenced("the worker's log is sealed")
			}
		})
	}
}

// endRun lets the last run end when its log has everything that waits for it.
func (w *Worker) endRun(endWriting context.CancelFunc) {
	if own := w.own.Load(); own != nil {
		own.log.Close()
		return
	}
	endWriting() // a run that is being begun is not needed
}

// deleteLog removes the log of a worker that has ended in order, unless there is
// something in it that no record has.
func (w *Worker) deleteLog(ctx context.Context) {
	own := w.own.Load()
	w.mu.RLock()
	needed := len(w.rooms)+len(w.pins) > 0
	w.mu.RUnlock()
	if own == nil || needed {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := w.logs.Delete(ctx, own.run); err != nil {
		w.cfg.Log.Info("log not deleted, another worker will", "run", own.run, "err", err)
	}
}

const (
	cutEvery       = time.Second
	replicateEvery = 10 // cuts
)

// cutLogs keeps the log short, in as many copies as it should have and beside the
// records it belongs to, until ctx ends.
func (w *Worker) cutLogs(ctx context.Context) {
	tick := time.NewTicker(cutEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.behind.Store(max(recordLag, int64(recordLagOf*w.Len())))
		if err := w.followStore(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("rooms not given up, tried again soon", "err", err)
		}
		if err := w.cutLog(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("log not cut, tried again later", "err", err)
		}
		if own := w.own.Load(); own != nil && n%replicateEvery == 0 {
			if err := own.log.Replicate(ctx); err != nil && ctx.Err() == nil {
				w.cfg.Log.Warn("log has fewer copies than it should, tried again later", "err", err)
			}
		}
	}
}

// cutLog frees what no room of this run needs any more.
func (w *Worker) cutLog(ctx context.Context) error {
	own := w.own.Load()
	if own == nil {
		return nil
	}
	need := own.log.Last() + 1 // before the rooms are looked at: what comes later is behind it
	w.mu.RLock()
	for _, r := range w.rooms {
		if r.trail != nil && r.own == own {
			if tail := r.trail.tail.Load(); tail != 0 {
				need = min(need, tail)
			}
		}
	}
	for _, p := range w.pins {
		if p.own == own {
			need = min(need, p.tail)
		}
	}
	w.mu.RUnlock()
	return own.log.Cut(ctx, need)
}

// reopenAfter keeps a room that fails again and again from doing only that.
const reopenAfter = time.Second

// abandon ends a room whose record may lack what the log has. Until somebody
// has read that, it is kept.
func (r *Room) abandon() {
	w := r.worker
	if r.trail != nil {
		if tail := r.trail.tail.Load(); tail != 0 {
			w.mu.Lock()
			w.pins[r.key] = pin{r.own, tail}
			w.mu.Unlock()
			time.AfterFunc(reopenAfter, w.surveySoon)
		}
	}
	w.forget(r)
}

// unpin forgets a pin whose room's record has what the log had. One that was
// made since stays.
func (w *Worker) unpin(key string, p pin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pins[key] == p {
		delete(w.pins, key)
	}
}

func (w *Worker) pinOf(key string) pin {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.pins[key]
}

// answerPing says of a run of this worker whether it has a room or is about to,
// and whether its log has something of it that the record lacks.
func (w *Worker) answerPing(_ context.Context, body []byte) ([]byte, error) {
	key := bus.NewReader(body).String()
	w.mu.RLock()
	defer w.mu.RUnlock()
	_, has := w.rooms[key]
	_, moving := w.moving[key]
	_, logged := w.pins[key]
	return bus.AppendBool(bus.AppendBool(nil, has || moving), logged), nil
}
