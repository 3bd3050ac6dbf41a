package rooms

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"

	"roomd/bus"
	"roomd/kv"
)

// serve answers what others ask of the worker, until stop is called.
func (w *Worker) serve(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	handle := func(subject, queue string, f func(context.Context, []byte) ([]byte, error)) {
		if err != nil {
			return
		}
		var end func()
		if end, err = w.conn.Handle(subject, queue, f); err == nil {
			stops = append(stops, end)
		}
	}
	subjects := w.conn.Subjects()
	handle(subjects.Worker(w.conn.Name(), "list"), "", w.answerLocalList)
	handle(subjects.Worker(w.conn.Name(), "open"), "", w.openHereOnly)
	handle(subjects.List(), "list", w.answerList)
	for name := range w.kinds {
		handle(subjects.Open(name), "open", w.answerOpen)
	}
	if err == nil {
		err = w.conn.Flush(ctx)
	}
	if err != nil {
		return stop, fmt.Errorf("serve rooms: %w", err)
	}
	return stop, nil
}

// answerOpen serves the open subject of a kind: kind and id (empty: any with a
// free seat) → id. When it answers, the room is live here or on another worker.
// Overloaded means that no worker has room for it.
func (w *Worker) answerOpen(ctx context.Context, body []byte) ([]byte, error) {
	answer, err := w.openHereOnly(ctx, body)
	if errors.Is(err, errFull) {
		return w.openElsewhere(ctx, body)
	}
	return answer, err
}

// errFull says that the worker has as many rooms as it may.
var errFull = &bus.Error{Code: bus.Overloaded, Message: "worker has as many rooms as it may"}

// openHereOnly is answerOpen without the other workers' help, for those that ask
// for theirs.
func (w *Worker) openHereOnly(ctx context.Context, body []byte) ([]byte, error) {
	rd := bus.NewReader(body)
	name, id := rd.String(), rd.String()
	kind := w.kinds[name]
	switch {
	case rd.Err() != nil:
		return nil, bus.Errorf(bus.BadFrame, "malformed request")
	case kind == nil:
		return nil, bus.Errorf(bus.UnknownKind, "%.40q", name)
	case id != "" && !bus.ValidID(id):
		return nil, bus.Errorf(bus.BadName, "room id")
	case name == kv.ShardKind:
		return w.openShard(ctx, kind, id)
	}
	var err error
	if id == "" {
		id, err = w.openAny(ctx, kind)
	} else {
		err = w.open(ctx, kind, id)
	}
	if err != nil {
		return nil, err
	}
	return bus.AppendString(nil, id), nil
}

// open makes sure that a room is live, here or on another worker.
func (w *Worker) open(ctx context.Context, kind *Kind, id string) error {
	key := bus.Key(kind.Name, id)
	for {
		w.mu.Lock()
		moving := w.moving[key]
		room := w.rooms[key]
		full := len(w.rooms)+w.opening >= w.cfg.MaxRooms && kind.Name != kv.ShardKind
		switch {
		case moving != nil:
		case room != nil:
			w.mu.Unlock()
			return nil
		case w.draining.Load():
			w.mu.Unlock()
			return bus.Errorf(bus.Unavailable, "worker leaves service")
		case full:
			w.mu.Unlock()
			return errFull
		default:
			w.moving[key] = make(chan struct{})
			w.opening++
		}
		w.mu.Unlock()
		if moving == nil {
			r, err := w.openHere(ctx, kind, key)
			w.settled(key)
			if r != nil {
				w.post(r, (*Room).arrived)
			}
			return err
		}
		select {
		case <-moving:
		case <-ctx.Done():
			return bus.Errorf(bus.Timeout, "room is being opened or closed")
		}
	}
}

// openHere claims a room that is not in memory and brings it there. It returns
// nil if another worker has it. The caller has counted it in w.opening.
func (w *Worker) openHere(ctx context.Context, kind *Kind, key string) (*Room, error) {
	r, err := w.claimAndBuild(ctx, kind, key)
	w.mu.Lock()
	w.opening--
	if r != nil {
		w.rooms[key] = r
	}
	w.mu.Unlock()
	if r == nil {
		return nil, err
	}
	if w.own.Load() != r.own { // and before: disown finds it
		w.drop(r)
		return nil, bus.Errorf(bus.Unavailable, "worker was replaced")
	}
	if err := w.wakeUp(r); err != nil {
		w.drop(r)
		return nil, err
	}
	w.metrics.opened.Inc()
	return r, nil
}

// claimAndBuild makes a room of this worker's own; nil if another one has it.
func (w *Worker) claimAndBuild(ctx context.Context, kind *Kind, key string) (*Room, error) {
	c, err := w.claim(ctx, kind, key)
	if err != nil || c.elsewhere {
		return nil, err
	}
	r, err := w.build(kind, key, c)
	if err != nil {
		return nil, fmt.Errorf("restore room %q: %w", key, err)
	}
	return r, nil
}

// build makes a room as its record has it. The author's code that runs here, New
// and what decodes the state, is not in a turn yet, and its panics must not cost
// the process either.
func (w *Worker) build(kind *Kind, key string, c claim) (r *Room, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.metrics.panics.Inc()
			r, err = nil, fmt.Errorf("its code panicked: %v\n%s", p, debug.Stack())
		}
	}()
	if c.shard != nil {
		return w.buildShard(kind, key, c), nil
	}
	r = &Room{
		worker: w, kind: kind, handler: kind.New(), key: key, shard: w.shardOf(key),
		epoch: c.epoch, heir: c.heir, ver: c.ver, lineage: c.epoch, own: c.own, revision: c.revision, departing: true,
	}
	if kind.Durability == Commit {
		r.trail = &trail{}
	}
	if len(c.snapshot) == 0 || kind.Durability == None {
		return r, nil
	}
	err = r.restore(c.snapshot)
	r.ver = c.ver
	if !c.whole {
		r.lineage = c.epoch
	}
	return r, err
}

// wakeUp runs the room's first turn and subscribes it.
func (w *Worker) wakeUp(r *Room) error {
	woken := make(chan error, 1)
	w.post(r, func(r *Room) {
		var err error = bus.Errorf(bus.Internal, "room's code panicked")
		defer func() { woken <- err }()
		if r.phase == ended { // disown was faster
			err = bus.Errorf(bus.Unavailable, "worker was replaced")
			return
		}
		switch e := r.wakeUp(); {
		case e != nil:
			r.crash = true // nothing of this is to be kept
			err = r.coded(e)
		case r.phase >= closed:
			err = bus.Errorf(bus.Closed, "room closed at once")
		default:
			err = nil
		}
	})
	if err := <-woken; err != nil {
		return err
	}
	return w.listen(r)
}

var shardSeed = maphash.MakeSeed()

func (w *Worker) shardOf(key string) *shard {
	return w.shards[maphash.String(shardSeed, key)%uint64(len(w.shards))]
}

// settled ends the state of a room's being opened or given up.
func (w *Worker) settled(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if moving := w.moving[key]; moving != nil {
		delete(w.moving, key)
		close(moving)
	}
}

// retire begins to take a room off the bus; see Room.depart. Until it is gone
// or revived, those who want to open it wait.
func (w *Worker) retire(r *Room) {
	w.mu.Lock()
	if w.moving[r.key] == nil {
		w.moving[r.key] = make(chan struct{})
	}
	w.mu.Unlock()
	w.keeper.add(job{room: r, detach: true})
}

// forget ends a room that is off the bus.
func (w *Worker) forget(r *Room) {
	w.alarms.clear(r)
	w.mu.Lock()
	if w.rooms[r.key] == r {
		delete(w.rooms, r.key)
	}
	w.mu.Unlock()
	w.settled(r.key)
}

// drop takes back a room that did not come to life. Its record names this run,
// which does not have it, so anybody may open it again.
func (w *Worker) drop(r *Room) {
	w.alarms.clear(r)
	w.mu.Lock()
	if w.rooms[r.key] == r {
		delete(w.rooms, r.key)
	}
	sub := r.sub
	r.sub = nil
	w.mu.Unlock()
	if sub != nil {
		_ = sub.Unsubscribe() // fails only if the connection is gone, and the subscription with it
	}
	w.post(r, func(r *Room) {
		r.phase = ended
		r.stopGo()
	})
}
