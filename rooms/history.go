package rooms

import (
	"time"

	"roomd/bus"
)

// A history is what a room has said lately, for members who come back: the
// items as they went out, in order, each with the seq that held after it. It is
// bounded in items and in bytes, and forgotten when nobody who could still come
// back can have missed it.
type history struct {
	items    fifo
	base     uint64 // broadcasts up to this seq are not in items (any more)
	last     int64  // when an item was added
	unlogged int    // items added since the last entry of the log
}

// trimAfter is how long after the linger a history is kept: an edge may take a
// while to notice that a connection is gone.
const trimAfter = 5 * time.Second

// remember keeps an item that was said at seq.
func (r *Room) remember(seq uint64, item []byte) {
	switch {
	case len(r.members) == 0 || len(item) > historyBytes:
		r.forget()
		return
	case r.kind.History == 0:
		r.miss(seq, item)
		return
	}
	r.history.last = r.turn.now
	q := &r.history.items
	for q.count >= r.kind.History || q.count > 0 && q.bytes()+len(item) > historyBytes {
		r.trim()
	}
	q.push(seq, item)
	r.history.unlogged++
	if r.due[dueTrim] == 0 {
		r.due[dueTrim] = r.turn.now + int64(r.kind.Linger+trimAfter)
	}
}

// trim drops the oldest item.
func (r *Room) trim() {
	r.miss(r.history.items.first())
	r.history.items.drop()
}

// miss notes that an item is not in the history.
func (r *Room) miss(seq uint64, item []byte) {
	if len(item) == 0 || bus.ItemOp(item[0]) != bus.ItemPrivate {
		r.history.base = seq
		return
	}
	to, count := privateOf(item)
	if m := r.Member(to); m != nil {
		m.trimmed = count
	}
}

// trimIdle forgets a history that has been quiet for longer than anybody's
// seat is kept, so that idle rooms are lean.
func (r *Room) trimIdle() {
	if r.history.items.count == 0 {
		return
	}
	if until := r.history.last + int64(r.kind.Linger+trimAfter); until > r.turn.now {
		r.due[dueTrim] = until
		return
	}
	r.forget()
}

// forget empties the history.
func (r *Room) forget() {
	r.history.items.clear()
	r.history.base = r.seq
	for _, m := range r.members {
		m.trimmed = m.count
	}
}

// privateOf returns the receiver and the count of an ItemPrivate.
func privateOf(item []byte) (to uint32, count uint64) {
	rd := bus.NewReader(item[1:])
	return rd.Uint32(), rd.Uint()
}

// covers reports whether the history has everything that a member has missed
// since a position. The position may be of an owner before, if nothing was lost
// since.
func (r *Room) covers(m *Member, since bus.Position) bool {
	switch {
	case since.Epoch == r.epoch:
	case since.Epoch >= r.lineage && since.Epoch < r.epoch && since.Seq <= r.restored:
	default:
		return false
	}
	return since.Seq >= r.history.base && since.Seq <= r.seq &&
		since.Count >= m.trimmed && since.Count <= m.count
}

// replay sends a member what it has missed since a position that the history
// covers: broadcasts and presence diffs as replays, its own messages as they
// were.
func (r *Room) replay(m *Member, since bus.Position) {
	t := r.turn
	for seq, b := range r.history.items.all {
		if bus.ItemOp(b[0]) == bus.ItemPrivate {
			if to, count := privateOf(b); to == m.id && count > since.Count {
				o := t.to(m.at)
				o.buf = append(o.buf, b...)
			}
			continue
		}
		if seq <= since.Seq {
			continue
		}
		it := parseItem(b)
		switch it.Op {
		case bus.ItemMessage:
			it.Op = bus.ItemReplay
		case bus.ItemPresence:
			it.Op = bus.ItemReplayed
		}
		it.To, it.Seq = m.id, seq
		o := t.to(m.at)
		o.buf = it.Append(o.buf)
	}
}

// parseItem reads an item as it stands in an envelope.
func parseItem(b []byte) (it bus.Item) {
	envelope := append(bus.AppendOutput(make([]byte, 0, len(b)+8), "", 0, 0, 0), b...)
	out, err := bus.ParseOutput(envelope)
	if err != nil || !out.Next(&it) {
		panic("rooms: history holds something that is no item")
	}
	return it
}
