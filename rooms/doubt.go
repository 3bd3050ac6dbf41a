package rooms

import (
	"context"
	"time"
)

// This file is about a worker that was away: its process was stopped, or its
// connection lost. Others may have taken it for dead and its rooms over, and
// nothing would tell a room that nobody sends anything to. So each room writes
// its record, which only its owner can, and says where its output stands, which
// shows what was lost on the way.

const (
	lookEvery   = 500 * time.Millisecond
	pausedAfter = 2 * time.Second // nobody takes a worker for dead that was away for less
)

// watchPauses runs until ctx ends.
func (w *Worker) watchPauses(ctx context.Context) {
	back := make(chan struct{}, 1)
	defer w.conn.OnChange(func(connected bool) {
		if connected {
			select {
			case back <- struct{}{}:
			default:
			}
		}
	})()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-back:
			w.doubt("connection was lost")
		case <-tick.C:
			now := time.Now()
			if away := now.Sub(last); away > pausedAfter {
				w.doubt("process was stopped")
			}
			last = now
		}
	}
}

// doubt makes every room look whether it is still this worker's.
func (w *Worker) doubt(why string) {
	w.mu.RLock()
	rooms := make([]*Room, 0, len(w.rooms))
	for _, r := range w.rooms {
		rooms = append(rooms, r)
	}
	w.mu.RUnlock()
	if len(rooms) > 0 {
		w.cfg.Log.Warn("worker was away, its rooms are checked", "node", w.conn.Name(), "why", why, "rooms", len(rooms))
	}
	for _, r := range rooms {
		w.post(r, (*Room).doubt)
	}
}

// doubt makes the room's next write of its record due, whatever it has to say.
func (r *Room) doubt() {
	if r.phase != live {
		return // its last write is about to tell
	}
	r.doubtful, r.dirty, r.saved = true, true, 0
	r.due[dueSave] = r.turn.now
	r.at(dueBeacon, r.turn.now)
}
