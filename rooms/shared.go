package rooms

import (
	"sync"

	"roomd/kv"
)

// A sharedStore is the worker's way to the shared data, made when a room first
// asks for it.
type sharedStore struct {
	mu     sync.Mutex // guards what follows
	store  kv.Store
	closed bool
}

// KV returns the data that all rooms of the system share, of all kinds and on
// all workers. It may be used from any goroutine, also after the callback. A
// command takes a round trip and, if it writes, a commit: 0.2 ms or so when all
// is well, and up to some seconds while a worker or NATS is being replaced; the
// room does nothing else meanwhile. What may wait longer, BLPop for instance, is
// for [Room.Go].
//
// What a callback writes there is not undone if the room's own change is not
// committed, nor is it done only once if the callback is run again.
func (r *Room) KV() kv.Store {
	w := r.worker
	w.shared.mu.Lock()
	defer w.shared.mu.Unlock()
	if w.shared.store == nil {
		store := kv.OpenShards(w.conn, kv.Config{}, w.cfg.KVShards)
		if w.shared.closed { // by a callback that ran while the worker ended
			store.Close()
		}
		w.shared.store = store
	}
	return lentStore{w.shared.store}
}

func (s *sharedStore) close() {
	s.mu.Lock()
	s.closed = true
	store := s.store
	s.mu.Unlock()
	if store != nil {
		store.Close()
	}
}

// A lentStore is one that its user does not close.
type lentStore struct{ kv.Store }

// Close does nothing: the store is the worker's.
func (lentStore) Close() {}
