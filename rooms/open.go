package rooms

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

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
	handle(subjects.Worker(w.run, "ping"), "", w.answerPing)
	handle(subjects.Worker(w.conn.Name(), "list"), "", w.answerLocalList)
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
func (w *Worker) answerOpen(ctx context.Context, body []byte) ([]byte, error) {
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
		full := len(w.rooms) >= w.cfg.MaxRooms
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
			w.metrics.refuse(bus.Overloaded)
			return bus.Errorf(bus.Overloaded, "worker has %d rooms", w.cfg.MaxRooms)
		default:
			w.moving[key] = make(chan struct{})
		}
		w.mu.Unlock()
		if moving == nil {
			defer w.settled(key)
			return w.openHere(ctx, kind, key)
		}
		select {
		case <-moving:
		case <-ctx.Done():
			return bus.Errorf(bus.Timeout, "room is being opened or closed")
		}
	}
}

// openHere claims a room that is not in memory and brings it there, unless
// another worker has it.
func (w *Worker) openHere(ctx context.Context, kind *Kind, key string) error {
	c, err := w.claim(ctx, key)
	if err != nil || c.elsewhere {
		return err
	}
	r := &Room{
		worker: w, kind: kind, handler: kind.New(), key: key, shard: w.shardOf(key),
		epoch: c.epoch, revision: c.revision, clean: c.clean,
		departing: true, // until it lives there is nothing to take off the bus
	}
	if len(c.snapshot) > 0 && kind.Durability != None {
		if err := r.restore(c.snapshot); err != nil {
			return fmt.Errorf("restore room %q: %w", key, err)
		}
	}
	w.mu.Lock()
	w.rooms[key] = r
	w.mu.Unlock()
	if err := w.wakeUp(ctx, r); err != nil {
		w.drop(r)
		return err
	}
	w.metrics.opened.Inc()
	return nil
}

// wakeUp runs the room's first turn and subscribes it.
func (w *Worker) wakeUp(ctx context.Context, r *Room) error {
	woken := make(chan error, 1)
	w.post(r, func(r *Room) {
		var err error = bus.Errorf(bus.Internal, "room's code panicked")
		defer func() { woken <- err }()
		switch e := r.wakeUp(); {
		case e != nil:
			err = r.coded(e)
		case r.phase >= closed:
			err = bus.Errorf(bus.Closed, "room closed at once")
		default:
			r.departing, err = false, nil
		}
	})
	if err := <-woken; err != nil {
		return err
	}
	if err := w.listen(r); err != nil {
		return err
	}
	return w.conn.Flush(ctx)
}

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

// ownerHas asks the run of a worker that a record names whether it has the
// room. A run that nobody answers for is dead; one that is silent may live.
func (w *Worker) ownerHas(ctx context.Context, owner, key string) (bool, error) {
	if owner == "" || owner == w.run {
		return false, nil // the caller knows that this run does not have it
	}
	if !bus.ValidNode(owner) {
		return false, errRecord
	}
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
