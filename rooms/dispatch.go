package rooms

import (
	"context"

	"roomd/bus"
)

// This file brings what arrives to the rooms, and rooms to the runners.

// sort takes envelopes off a shard's channel and puts them into mailboxes.
// Rooms that have something new are queued when a batch is sorted, so that
// under load a room finds many commands at its turn.
func (w *Worker) sort(ctx context.Context, s *shard) {
	var ready []*Room
	for {
		select {
		case m := <-s.in:
			ready = w.deliver(ready, m)
		case <-ctx.Done():
			return
		}
		for range min(len(s.in), sortAtOnce) {
			ready = w.deliver(ready, <-s.in)
		}
		w.schedule(ready...)
		clear(ready)
		ready = ready[:0]
	}
}

// barrierSubject marks messages that a worker puts into its own channels:
// whatever came before one has been sorted when its reply is due.
const barrierSubject = ""

func (w *Worker) deliver(ready []*Room, m *bus.Msg) []*Room {
	if m.Subject == barrierSubject {
		w.passed(m)
		return ready
	}
	key := w.conn.Subjects().RoomOf(m.Subject)
	w.mu.RLock()
	r := w.rooms[key]
	w.mu.RUnlock()
	if r == nil {
		w.metrics.strays.Inc()
		return ready
	}
	if r.keys != nil {
		res := r.box.request(m, maxRequestBytes)
		if res.dropped {
			w.metrics.mailboxLost.Inc()
		}
		if res.schedule {
			ready = append(ready, r)
		}
		return ready
	}
	commands, err := bus.ParseCommands(m.Data)
	if err != nil {
		w.metrics.malformed.Inc()
		return ready
	}
	n, count := 0, commands
	for c := (bus.Command{}); count.Next(&c); {
		n++
	}
	res := r.box.put(commands, n, len(m.Data), r.kind.MaxMailbox)
	if res.refused {
		w.metrics.mailboxFull.Inc()
	}
	if res.dropped {
		w.metrics.mailboxLost.Inc()
	}
	if res.schedule {
		ready = append(ready, r)
	}
	return ready
}

// post lets f run in a turn of the room.
func (w *Worker) post(r *Room, f func(*Room)) {
	if r.box.post(f) {
		w.schedule(r)
	}
}

// wake gives turns to rooms whose time has come.
func (w *Worker) wake(rooms []*Room) {
	n := 0
	for _, r := range rooms {
		if r.box.wake() {
			rooms[n] = r
			n++
		}
	}
	w.schedule(rooms[:n]...)
}

// schedule queues rooms for a turn.
func (w *Worker) schedule(rooms ...*Room) {
	for i, r := range rooms {
		if r.keys != nil {
			w.keysQueue.add(r)
			w.queue.add(rooms[:i]...)
			rooms = rooms[i+1:]
			w.schedule(rooms...)
			return
		}
	}
	w.queue.add(rooms...)
}

// runRooms is a runner: it gives turns to one room of a queue after the other.
func (w *Worker) runRooms(q *runQueue) {
	t := newTurn()
	for r := q.next(); r != nil; r = q.next() {
		run := r.runTurn
		if r.keys != nil {
			run = r.runKeys
		}
		if run(t) {
			q.add(r)
		}
	}
}

// listen subscribes a room. Whoever hears of it by something published on the
// same connection afterwards finds it subscribed: NATS keeps the order, also on
// the way to its other servers.
func (w *Worker) listen(r *Room) error {
	sub, err := w.conn.Subscribe(w.conn.Subjects().In(r.key), "", r.shard.in)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r.sub = sub
	return nil
}

// unlisten ends a room's subscription. When it returns nil, everything that
// NATS had for the room is in its mailbox, and whoever sends more hears that
// there is nobody.
func (w *Worker) unlisten(ctx context.Context, r *Room) error {
	w.mu.Lock()
	sub := r.sub
	r.sub = nil
	w.mu.Unlock()
	if sub == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	// Drain and not Unsubscribe: that would drop what is on its way.
	err := sub.Drain()
	if err == nil {
		err = w.conn.Flush(ctx)
	}
	if err != nil {
		_ = sub.Unsubscribe() // fails only if the subscription is gone already
		return err
	}
	return w.barrier(ctx, r.shard)
}

// barrier waits until a shard has sorted everything that is in its channel now.
func (w *Worker) barrier(ctx context.Context, s *shard) error {
	passed := make(chan struct{})
	m := &bus.Msg{Subject: barrierSubject}
	w.mu.Lock()
	w.barriers[m] = passed
	w.mu.Unlock()
	select {
	case s.in <- m:
	case <-ctx.Done():
		w.passed(m)
		return ctx.Err()
	}
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passed ends the wait of a barrier.
func (w *Worker) passed(m *bus.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if passed, ok := w.barriers[m]; ok {
		delete(w.barriers, m)
		close(passed)
	}
}
