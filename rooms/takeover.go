package rooms

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// This file takes over the rooms of runs that are dead. A room with traffic is
// opened when an edge asks for it, the others as soon as somebody notices; both
// come through claim, which reads what the dead run's log has of the room.

// tails holds what dead runs have left in their logs.
type tails struct {
	mu   sync.Mutex
	runs map[string]*tail // by run; no more than have died and not yet been taken over
}

// A tail is a log that was sealed and read, or that is gone.
type tail struct {
	read    chan struct{} // closed when entries and err are set
	entries map[string][]entryHead
	gone    bool // what a record still names the run for, and lacks, is lost
	err     error
}

// has reports whether a run was found dead before.
func (ts *tails) has(run string) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.runs[run] != nil
}

// of seals a run's log and reads it, or returns what was read before.
func (ts *tails) of(ctx context.Context, w *Worker, run string) (*tail, error) {
	ts.mu.Lock()
	if ts.runs == nil {
		ts.runs = make(map[string]*tail)
	}
	t := ts.runs[run]
	first := t == nil
	if first {
		t = &tail{read: make(chan struct{})}
		ts.runs[run] = t
	}
	ts.mu.Unlock()
	if first {
		began := time.Now()
		n := 0
		t.entries, n, t.err = w.sealAndRead(ctx, run)
		t.gone = errors.Is(t.err, kv.ErrNoLog)
		switch {
		case t.gone:
			t.err = nil
		case t.err != nil:
			ts.drop(run)
		default:
			w.cfg.Log.Warn("worker is dead: its log is sealed", "run", run, "entries", n, "ms", time.Since(began).Milliseconds())
		}
		close(t.read)
	}
	select {
	case <-t.read:
		return t, t.err
	case <-ctx.Done():
		return nil, bus.Errorf(bus.Timeout, "a dead worker's log is being read")
	}
}

func (ts *tails) drop(run string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.runs, run)
}

// keep forgets all but the given runs, which are those that still have a log.
func (ts *tails) keep(runs []string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	maps.DeleteFunc(ts.runs, func(run string, _ *tail) bool { return !slices.Contains(runs, run) })
}

func (w *Worker) sealAndRead(ctx context.Context, run string) (entries map[string][]entryHead, n int, err error) {
	if err := w.logs.Seal(ctx, run); err != nil {
		return nil, 0, fmt.Errorf("seal log of %q: %w", run, err)
	}
	entries = make(map[string][]entryHead)
	err = w.eachEntry(ctx, run, func(e entryHead) {
		entries[e.key] = append(entries[e.key], e)
		n++
	})
	return entries, n, err
}

// readLog reads what a log has of one room that its owner no longer has.
func (w *Worker) readLog(ctx context.Context, run, key string) (entries []entryHead, err error) {
	err = w.eachEntry(ctx, run, func(e entryHead) {
		if e.key == key {
			entries = append(entries, e)
		}
	})
	return entries, err
}

func (w *Worker) eachEntry(ctx context.Context, run string, f func(entryHead)) error {
	err := w.logs.Read(ctx, run, func(pos uint64, b []byte) error {
		if len(b) == 0 {
			return nil // somebody wanted to know whether the log was sealed
		}
		e, err := parseEntry(b)
		if err != nil {
			return fmt.Errorf("entry at %d: %w", pos, err)
		}
		f(e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read log of %q: %w", run, err)
	}
	return nil
}

// How dead runs are looked for, and their rooms taken.
const (
	surveyEvery = 10 * time.Second // at the latest
	openAtOnce  = 64
	passes      = 6           // over the rooms of a run
	passEvery   = time.Second // others take theirs meanwhile
)

// surveySoon has dead runs looked for now.
func (w *Worker) surveySoon() {
	select {
	case w.survey <- struct{}{}:
	default:
	}
}

// runSurveys looks for dead runs and rooms of our own that are to come back,
// until ctx ends.
func (w *Worker) runSurveys(ctx context.Context) {
	var taking sync.WaitGroup
	defer taking.Wait()
	var mu sync.Mutex
	busy := make(map[string]bool) // runs that are being looked after
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	w.surveySoon() // whoever was killed before this worker came
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.survey:
		case <-tick.C:
		}
		runs, err := w.logs.Runs(ctx)
		switch {
		case err == nil:
			w.tails.keep(runs) // others may have taken over what was left
		case ctx.Err() == nil:
			w.cfg.Log.Warn("dead workers not looked for, tried again later", "err", err)
		}
		own := w.own.Load()
		for _, run := range runs {
			mu.Lock()
			skip := busy[run] || own == nil || run == own.run
			busy[run] = busy[run] || !skip
			mu.Unlock()
			if skip {
				continue
			}
			taking.Go(func() {
				w.lookAfter(ctx, run)
				mu.Lock()
				defer mu.Unlock()
				delete(busy, run)
			})
		}
		w.reopenPinned(ctx)
		w.reopenOrphans(ctx)
	}
}

// lookAfter takes over the rooms of a run if it is dead.
func (w *Worker) lookAfter(ctx context.Context, run string) {
	if !bus.ValidNode(run) {
		return // some other stream
	}
	if !w.tails.has(run) && !w.isLost(run) {
		if _, _, err := w.ping(ctx, run, ""); err == nil || !w.isDead(ctx, run, err) {
			return
		}
	}
	if err := w.takeOver(ctx, run); err != nil && ctx.Err() == nil {
		w.cfg.Log.Warn("takeover of a dead worker's rooms goes on later", "run", run, "err", err)
	}
}

// takeOver opens the rooms of a dead run: those that are this worker's share at
// first, and then whatever is left. When nothing is, it deletes the log.
func (w *Worker) takeOver(ctx context.Context, run string) error {
	if _, err := w.tails.of(ctx, w, run); err != nil {
		return err
	}
	began := time.Now()
	taken, none := 0, 0
	for pass := range passes {
		keys, err := w.store.Owned(ctx, run)
		if err != nil {
			return err
		}
		if none++; len(keys) > 0 {
			none = 0
		}
		if none == 2 { // the first answer may have come from a server that lags
			err := w.logs.Delete(ctx, run)
			w.tails.drop(run)
			return err
		}
		if pass == 0 {
			keys = w.share(keys)
		}
		if len(keys) > 0 {
			taken += w.openAll(ctx, keys)
			w.cfg.Log.Info("dead worker's rooms are taken over", "run", run, "here", taken, "ms", time.Since(began).Milliseconds())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(passEvery):
		}
	}
	return errors.New("some rooms are left: of kinds that this worker does not host, or it could not open them")
}

// share returns those of a dead run's rooms that this worker is to take: each
// worker finds the same by itself (rendezvous hashing).
func (w *Worker) share(keys []string) []string {
	self := w.conn.Name()
	workers := []string{self}
	for _, n := range w.nodes.List("worker") {
		if n.Name != self {
			workers = append(workers, n.Name)
		}
	}
	var mine []string
	for _, key := range keys {
		best, winner := uint64(0), ""
		for _, name := range workers {
			h := fnv.New64a()
			h.Write([]byte(key + " " + name)) // never fails
			if sum := h.Sum64(); sum > best || winner == "" {
				best, winner = sum, name
			}
		}
		if winner == self {
			mine = append(mine, key)
		}
	}
	return mine
}

// openAll opens rooms, several at once, and returns how many of them are here.
func (w *Worker) openAll(ctx context.Context, keys []string) (here int) {
	atOnce(openAtOnce, keys, func(key string) { w.reopen(ctx, key) })
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, key := range keys {
		if w.rooms[key] != nil {
			here++
		}
	}
	return here
}

// atOnce calls f for each of the items, up to n at the same time, and waits.
func atOnce[T any](n int, items []T, f func(T)) {
	todo := make(chan T)
	var running sync.WaitGroup
	for range min(n, len(items)) {
		running.Go(func() {
			for item := range todo {
				f(item)
			}
		})
	}
	for _, item := range items {
		todo <- item
	}
	close(todo)
	running.Wait()
}

// reopen opens a room that nobody has asked for.
func (w *Worker) reopen(ctx context.Context, key string) {
	name, id, ok := bus.SplitKey(key)
	kind := w.kinds[name]
	if !ok || kind == nil || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	p := w.pinOf(key)
	if err := w.open(ctx, kind, id); err != nil {
		w.cfg.Log.Debug("room not taken over, tried again", "room", key, "err", err)
		return
	}
	w.unpin(key, p) // here or elsewhere, its record has what the log had
	w.mu.Lock()
	delete(w.orphans, key)
	w.mu.Unlock()
}

// reopenPinned brings back rooms that closed by a fault of their code or whose
// last record could not be written, so that the log can be cut.
func (w *Worker) reopenPinned(ctx context.Context) {
	w.mu.RLock()
	keys := make([]string, 0, len(w.pins))
	for key := range w.pins {
		keys = append(keys, key)
	}
	w.mu.RUnlock()
	w.openAll(ctx, keys)
}

// handOff has another worker open a room that this one has just released.
func (w *Worker) handOff(ctx context.Context, r *Room) {
	ctx, cancel := context.WithTimeout(ctx, handOffTimeout)
	defer cancel()
	body := bus.AppendString(bus.AppendString(nil, r.Kind()), r.ID())
	if _, err := w.conn.Request(ctx, w.conn.Subjects().Open(r.Kind()), body); err != nil {
		w.cfg.Log.Debug("room released, but nobody took it over", "room", r.key, "err", err)
		return
	}
	w.metrics.handedOff.Inc()
}

const handOffTimeout = 2 * time.Second
