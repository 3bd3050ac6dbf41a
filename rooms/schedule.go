package rooms

import (
	"sync"
	"time"
)

// A runQueue holds the rooms that want a turn. A room is in it at most once, so
// its length is bounded by the number of rooms.
//
// Turns run on a few goroutines, as many as there are CPUs. A callback that
// blocks holds one of them up; when all are held up for stuckAfter, more are
// started, so that one bad room does not stop the others.
type runQueue struct {
	mu      sync.Mutex // guards what follows
	ready   sync.Cond
	rooms   []*Room
	head    int
	idle    int // runners that wait
	runners int
	base    int // runners that stay when there is nothing to do
	taken   uint64
	closed  bool
	watch   *time.Timer // set while more rooms wait than runners
	seen    uint64      // taken when watch was set
	start   func()      // starts a runner
}

const (
	stuckAfter = 20 * time.Millisecond
	maxRunners = 512
)

func newRunQueue(base int, start func()) *runQueue {
	q := &runQueue{base: base, start: start}
	q.ready.L = &q.mu
	return q
}

// open starts the runners that stay.
func (q *runQueue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range q.base {
		q.runners++
		q.start()
	}
}

// add queues rooms. Once the queue is closed nothing happens.
func (q *runQueue) add(rooms ...*Room) {
	if len(rooms) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.rooms = append(q.rooms, rooms...)
	for range min(q.idle, len(rooms)) {
		q.ready.Signal()
	}
	// Runners that were woken count as idle until they run, so one that is idle
	// may be about to take another room than these, and be held up by it.
	if len(q.rooms)-q.head > q.idle && q.watch == nil {
		q.seen = q.taken
		q.watch = time.AfterFunc(stuckAfter, q.look)
	}
}

// look starts another runner if none has taken a room for stuckAfter.
func (q *runQueue) look() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.watch = nil
	if q.closed || q.head == len(q.rooms) {
		return
	}
	if q.taken == q.seen && q.runners < maxRunners {
		q.runners++
		q.start()
	}
	q.seen = q.taken
	q.watch = time.AfterFunc(stuckAfter, q.look)
}

// next returns the room whose turn it is, and waits for one. It returns nil
// when the runner that asks is no longer needed.
func (q *runQueue) next() *Room {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.rooms) {
		if q.closed || q.runners > q.base {
			q.runners--
			return nil
		}
		q.rooms, q.head = q.rooms[:0], 0
		q.idle++
		q.ready.Wait()
		q.idle--
	}
	r := q.rooms[q.head]
	q.rooms[q.head] = nil
	q.head++
	q.taken++
	if q.head > 1024 && q.head > len(q.rooms)/2 { // never empty under constant load
		n := copy(q.rooms, q.rooms[q.head:])
		clear(q.rooms[n:])
		q.rooms, q.head = q.rooms[:n], 0
	}
	return r
}

// close lets the runners end when they have taken what is queued.
func (q *runQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.watch != nil {
		q.watch.Stop()
		q.watch = nil
	}
	q.ready.Broadcast()
}
