package rooms

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// An alarms wakes rooms at the time they asked for: one goroutine, one timer
// and one heap for all of them. A room that has asked for a time and then needs
// a later one is woken early, finds nothing to do and asks again; so the common
// case, a deadline that moves on with every message, costs a comparison.
type alarms struct {
	now  func() int64 // the worker's clock
	wake func([]*Room)
	kick chan struct{} // the earliest alarm has changed

	mu   sync.Mutex // guards heap and the places of its rooms
	heap []*Room    // a room is in it once or not at all, the earliest first
}

// An alarm is a room's part of the alarms.
type alarm struct {
	at    atomic.Int64 // when the room will be woken; 0: not at all
	place int          // in the heap, while at is not 0
}

func newAlarms(now func() int64, wake func([]*Room)) *alarms {
	return &alarms{now: now, wake: wake, kick: make(chan struct{}, 1)}
}

// set wakes the room at the given time or earlier.
func (a *alarms) set(r *Room, at int64) {
	if set := r.alarm.at.Load(); set != 0 && set <= at {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.alarm.at.Load() == 0 {
		r.alarm.place = len(a.heap)
		a.heap = append(a.heap, r)
	}
	r.alarm.at.Store(at)
	a.up(r.alarm.place)
	if a.heap[0] == r {
		select {
		case a.kick <- struct{}{}:
		default:
		}
	}
}

// clear forgets a room that is gone.
func (a *alarms) clear(r *Room) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.alarm.at.Load() != 0 {
		a.remove(r.alarm.place)
	}
}

// due takes out what is due, appended to rooms, and returns how long it is
// until the next.
func (a *alarms) due(rooms []*Room) ([]*Room, time.Duration) {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.heap) > 0 {
		r := a.heap[0]
		if at := r.alarm.at.Load(); at > now {
			return rooms, time.Duration(at - now)
		}
		a.remove(0)
		rooms = append(rooms, r)
	}
	return rooms, time.Hour
}

// run wakes rooms until ctx ends.
func (a *alarms) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var rooms []*Room
	for {
		var wait time.Duration
		rooms, wait = a.due(rooms[:0])
		a.wake(rooms)
		clear(rooms)
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-a.kick:
		case <-ctx.Done():
			return
		}
	}
}

func (a *alarms) remove(i int) {
	last := len(a.heap) - 1
	a.heap[i].alarm.at.Store(0)
	moved := a.heap[last]
	a.heap[last] = nil
	a.heap = a.heap[:last]
	if i < last {
		a.heap[i], moved.alarm.place = moved, i
		a.down(i)
		a.up(moved.alarm.place)
	}
}

func (a *alarms) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !a.before(i, parent) {
			return
		}
		a.swap(i, parent)
		i = parent
	}
}

func (a *alarms) down(i int) {
	for {
		child := 2*i + 1
		if child+1 < len(a.heap) && a.before(child+1, child) {
			child++
		}
		if child >= len(a.heap) || !a.before(child, i) {
			return
		}
		a.swap(i, child)
		i = child
	}
}

func (a *alarms) before(i, j int) bool {
	return a.heap[i].alarm.at.Load() < a.heap[j].alarm.at.Load()
}

func (a *alarms) swap(i, j int) {
	a.heap[i], a.heap[j] = a.heap[j], a.heap[i]
	a.heap[i].alarm.place, a.heap[j].alarm.place = i, j
}
