package rooms

import (
	"bytes"
	"fmt"
	"time"

	"roomd/bus"
	"roomd/rooms/patch"
)

// maxState bounds the state of a room: it has to fit a record, with all that
// comes with it.
const maxState = 8 << 20

// encodeState returns the handler's state as msgpack, valid until the turn's
// encoder is used again; nil if it has none.
func (r *Room) encodeState(t *turn) []byte {
	s, ok := r.handler.(Stater)
	if !ok {
		return nil
	}
	limit := maxState
	if r.kind.Sync > 0 {
		limit = maxItemBytes
	}
	return t.enc.mustEncodeUpTo(limit, "state", s.State())
}

// canonicalState encodes the state so that it can be compared; valid until the
// next call in the same turn.
func (r *Room) canonicalState() []byte {
	t := r.turn
	canon, err := patch.Canonical(t.state[:0], r.encodeState(t))
	if err != nil {
		panic(fmt.Errorf("rooms: state: %w", err))
	}
	t.state = canon
	return canon
}

// rebase takes the state as it is now for what members have, if there is none:
// nobody was listening, so nobody needs a patch.
func (r *Room) rebase() {
	if r.kind.Sync == 0 || r.canon != nil {
		return
	}
	r.canon = bytes.Clone(r.canonicalState())
	r.ver++
	r.touched = false
}

// syncSlack lets a patch out a little before its time, so that ticks and
// patches of the same rate go together and not one just after the other.
func (r *Room) syncSlack() int64 { return int64(r.kind.Sync / 8) }

// sync broadcasts a patch if the state has changed and its time has come.
func (r *Room) sync() {
	if r.canon == nil {
		return
	}
	if r.present == 0 {
		r.canon = nil
		r.due[dueSync] = 0
		return
	}
	t := r.turn
	r.due[dueSync] = 0
	if !r.touched {
		return
	}
	if r.nextSync > t.now+r.syncSlack() {
		r.due[dueSync] = r.nextSync
		return
	}
	r.touched = false
	if r.nextSync += int64(r.kind.Sync); r.nextSync <= t.now {
		r.nextSync = t.now + int64(r.kind.Sync)
	}
	state := r.canonicalState()
	if bytes.Equal(state, r.canon) {
		return
	}
	b, err := patch.Diff(t.scratch[:0], r.canon, state)
	if err != nil {
		panic(fmt.Errorf("rooms: compare states: %w", err))
	}
	t.scratch = b
	r.canon = append(r.canon[:0], state...)
	t.item.Op, t.item.Data = bus.ItemPatch, b
	t.all()
	r.ver++
	t.said()
	r.worker.metrics.patchBytes.Add(float64(len(b)))
}

// sendState answers OpState.
func (r *Room) sendState(m *Member) {
	if r.canon == nil {
		return // the kind has none to show
	}
	it := &r.turn.item
	it.Op, it.To, it.Ver, it.Data = bus.ItemState, m.id, r.ver, r.canon
	r.turn.one(m.at)
}

// beaconAfter is how long after its last word a room says once more where its
// output stands, so that a loss at the end is seen.
const beaconAfter = time.Second

// beacon sends an empty envelope to every address when it is time.
func (r *Room) beacon() {
	t := r.turn
	if at := r.spoke + int64(beaconAfter); at > t.now {
		r.due[dueBeacon] = at
		return
	}
	for i := range r.peers {
		if r.peers[i].members > 0 {
			t.open(&t.outs[i])
		}
	}
}
