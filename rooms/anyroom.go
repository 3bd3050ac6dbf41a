package rooms

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strings"
	"time"

	"roomd/bus"
)

// openAny finds a room of the kind with a free seat, or opens a new one. Seats
// that it gives out are counted until they are taken, so that a crowd is spread
// over as many rooms as it needs.
func (w *Worker) openAny(ctx context.Context, kind *Kind) (string, error) {
	w.lists.opening.Lock()
	defer w.lists.opening.Unlock()
	if ctx.Err() != nil { // it took too long to get here
		return "", bus.Errorf(bus.Timeout, "many rooms are being opened")
	}
	if r := w.freeRoom(kind); r != nil {
		w.promise(r)
		return r.ID(), nil
	}
	if w.lists.scan(kind) {
		if id := w.freeElsewhere(ctx, kind); id != "" {
			return id, nil
		}
	}
	var random [10]byte
	rand.Read(random[:]) // never fails since Go 1.24
	id := strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
	if err := w.open(ctx, kind, id); err != nil {
		return "", err
	}
	if r := w.room(bus.Key(kind.Name, id)); r != nil {
		w.promise(r)
	}
	return id, nil
}

// scan reports whether it is time to look through all rooms of a kind again.
func (c *listCache) scan(kind *Kind) bool {
	if time.Since(c.scanned[kind]) < listEvery {
		return false
	}
	if c.scanned == nil {
		c.scanned = make(map[*Kind]time.Time)
	}
	c.scanned[kind] = time.Now()
	return true
}

// freeRoom returns a room of this worker with a free seat: the last one that
// had, or, once in a while, any.
func (w *Worker) freeRoom(kind *Kind) *Room {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if r := w.lists.first[kind]; r != nil && w.free(r) {
		return r
	}
	if time.Since(w.lists.scanned[kind]) < listEvery {
		return nil
	}
	for _, r := range w.rooms {
		if r.kind == kind && w.free(r) {
			return r
		}
	}
	return nil
}

// free reports whether a room lives and has a seat that nobody was promised.
// The caller holds w.mu.
func (w *Worker) free(r *Room) bool {
	if w.rooms[r.key] != r || w.moving[r.key] != nil {
		return false
	}
	if r.kind.Seats == 0 {
		return true
	}
	if w.clock(time.Now())-r.promises.Load() > int64(promiseFor) {
		r.promised.Store(0)
	}
	return int(r.size.Load()+r.promised.Load()) < r.kind.Seats
}

// freeElsewhere returns the id of a room with a free seat on another worker.
func (w *Worker) freeElsewhere(ctx context.Context, kind *Kind) string {
	rooms, err := w.gather(ctx, kind.Name)
	if err != nil {
		return ""
	}
	for _, l := range rooms {
		if w.room(bus.Key(l.Kind, l.ID)) == nil && (l.Seats == 0 || l.Members < l.Seats) {
			return l.ID
		}
	}
	return ""
}

// promise keeps a seat free for whoever asked openAny for one.
func (w *Worker) promise(r *Room) {
	r.promised.Add(1)
	r.promises.Store(w.clock(time.Now()))
	if w.lists.first == nil {
		w.lists.first = make(map[*Kind]*Room)
	}
	w.lists.first[r.kind] = r
}

// takePromise is called for every session that asks for a new seat: it may be
// the one that the seat was promised to.
func (r *Room) takePromise() {
	if n := r.promised.Load(); n > 0 {
		r.promised.CompareAndSwap(n, n-1)
	}
}

// room returns a room that is in memory, or nil.
func (w *Worker) room(key string) *Room {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.rooms[key]
}
