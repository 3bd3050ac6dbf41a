package rooms

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"roomd/bus"
)

// A timer is a named time at which Handler.Timer is called. It is kept in the
// record, so it is wall clock time, in milliseconds since 1970.
type timer struct {
	name string
	at   int64
}

// Bounds of what authors may leave running.
const (
	maxTimers    = 1024
	maxTimerName = 256
	maxGo        = 64
)

// SetTimer calls Timer.Timer with name after d, once; a timer of the same name
// is set anew. A room with a timer stays in memory, and the timer survives a
// restart: one that went off meanwhile is called when the room is back.
func (r *Room) SetTimer(name string, d time.Duration) {
	t := r.turnOf("SetTimer")
	if _, ok := r.handler.(Timer); !ok {
		panic(fmt.Errorf("rooms: SetTimer, but %T has no method Timer", r.handler))
	}
	if r.phase >= closed {
		return
	}
	r.StopTimer(name)
	if len(r.timers) >= maxTimers || len(name) > maxTimerName {
		panic(fmt.Errorf("rooms: more than %d timers, or a name over %d bytes", maxTimers, maxTimerName))
	}
	r.timers = append(r.timers, timer{name, t.wall.Add(d).UnixMilli()})
	r.at(dueTimer, t.now+int64(max(d, 0)))
	r.timersChanged()
}

// StopTimer forgets a timer; one that is not set is fine.
func (r *Room) StopTimer(name string) {
	r.turnOf("StopTimer")
	if i := slices.IndexFunc(r.timers, func(t timer) bool { return t.name == name }); i >= 0 {
		r.timers = slices.Delete(r.timers, i, i+1)
		r.timersChanged()
	}
}

func (r *Room) timersChanged() {
	r.dirty = true
	if r.trail != nil {
		r.trail.timers = true
	}
}

// ring calls the timers that have gone off, the earliest first, and sets the
// time of the next.
func (r *Room) ring() {
	now := r.turn.wall.UnixMilli()
	for range maxTimers { // a timer may set itself again, but not for ever in one turn
		if len(r.timers) == 0 || r.phase >= closed {
			return
		}
		i := 0
		for j := range r.timers {
			if r.timers[j].at < r.timers[i].at {
				i = j
			}
		}
		next := r.timers[i]
		if next.at > now {
			break
		}
		r.timers = slices.Delete(r.timers, i, i+1)
		r.timersChanged()
		r.handled(r.handler.(Timer).Timer(r, next.name))
	}
	r.armTimers()
}

// armTimers sets the time at which ring is called.
func (r *Room) armTimers() {
	for _, t := range r.timers {
		wait := time.Duration(t.at-r.turn.wall.UnixMilli()) * time.Millisecond
		r.at(dueTimer, r.turn.now+int64(max(wait, time.Millisecond)))
	}
}

// Go runs f on a goroutine of its own, for what waits: a database, an HTTP
// request, List. What f returns, if not nil, runs as a callback of the room. ctx
// ends when the room leaves this worker, and f must return soon after. A room
// may have 64 such functions at a time; one more is not started and Go returns
// an overloaded error. A panic in f closes the room.
func (r *Room) Go(f func(ctx context.Context) func(r *Room)) error {
	r.turnOf("Go")
	if r.phase >= closed {
		return bus.Errorf(bus.Closed, "")
	}
	if r.running >= maxGo {
		return bus.Errorf(bus.Overloaded, "%d functions are running", maxGo)
	}
	if r.gone == nil {
		r.ctx, r.gone = context.WithCancel(r.worker.roomsCtx)
	}
	r.running++
	ctx := r.ctx
	r.worker.goes.Go(func() {
		then := r.shield(ctx, f)
		r.worker.post(r, func(r *Room) {
			r.running--
			if then != nil && r.phase < closed {
				then(r)
				r.ran()
			}
		})
	})
	return nil
}

// shield runs f and turns a panic into a callback that panics, where the room
// deals with it.
func (r *Room) shield(ctx context.Context, f func(context.Context) func(*Room)) (then func(*Room)) {
	defer func() {
		if p := recover(); p != nil {
			err := fmt.Errorf("in Go: %v\n%s", p, debug.Stack())
			then = func(*Room) { panic(err) }
		}
	}()
	return f(ctx)
}

// List returns rooms that exist, on any worker. It waits for others, so call it
// inside Go.
func (r *Room) List(ctx context.Context, q Query) ([]Listing, error) {
	return r.worker.List(ctx, q)
}
