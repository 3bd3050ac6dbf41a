package rooms

import (
	"context"
	"time"
)

// This file is about a worker that was away: its process was stopped, or its
// connection lost. Others may have taken it for dead and its rooms over, and
// nothing would tell a room that nobody sends anything to. So the worker writes
// to its log, which it can only while it has not been replaced, and then its
// rooms say where their output stands, which shows what was lost on the way.

const (
	lookEvery   = 500 * time.Millisecond
	pausedAfter = time.Second // a process that was stopped for less was hardly missed
)

// watchPauses runs until ctx ends.
func (w *Worker) watchPauses(ctx context.Context) {
	defer w.conn.OnChange(func(connected bool) {
		if connected {
			w.doubtSoon()
		}
	})()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.away:
			w.doubt("connection was lost, or others thought so")
		case <-tick.C:
			now := time.Now()
			if away := now.Sub(last); away > pausedAfter {
				w.doubt("process was stopped")
			}
			last = now
		}
	}
}

// doubtSoon has watchPauses doubt, once for all who ask until then.
func (w *Worker) doubtSoon() {
	select {
	case w.away <- struct{}{}:
	default:
	}
}

// doubt finds out whether the run still counts: an entry can only be written
// while nobody has sealed the log.
func (w *Worker) doubt(why string) {
	own := w.own.Load()
	if own == nil {
		return
	}
	w.mu.RLock()
	rooms := make([]*Room, 0, len(w.rooms))
	for _, r := range w.rooms {
		rooms = append(rooms, r)
	}
	w.mu.RUnlock()
	w.cfg.Log.Warn("worker was away: it looks whether its rooms are still its own",
		"node", w.conn.Name(), "run", own.run, "why", why, "rooms", len(rooms))
	own.log.Append(nil, func(_ uint64, err error) {
		if err != nil {
			return // Log.Run says so too
		}
		for _, r := range rooms {
			w.post(r, func(r *Room) { r.at(dueBeacon, r.turn.now) })
		}
	})
}
