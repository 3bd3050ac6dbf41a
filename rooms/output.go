package rooms

import (
	"time"

	"roomd/bus"
)

// A turn is what one runner needs to give rooms their turns: buffers that grow
// once and are used for all of them. During a room's turn it holds what the
// room says, until release publishes it.
//
// What goes to all members is encoded once, into shared. What goes to one goes
// into the envelope of its address, after what shared holds by then: so each
// address gets everything in the order in which it was said, at the cost of one
// copy of shared per address.
type turn struct {
	room *Room
	now  int64     // on the worker's clock
	wall time.Time // the same for people

	shared []byte // items for all
	marks  []mark // where shared may be cut into envelopes
	outs   []out  // by number of the address in room.peers
	seq    uint64 // the room's positions when the turn began
	ver    uint64

	commands int // taken in this turn
	kicks    []kicked
	joining  *bus.Command // the join that runs, nil if none does
	joiner   int32        // and the address that it came from

	enc     encoder
	item    bus.Item // scratch; Append reads only what its Op needs
	event   []byte   // scratch
	scratch []byte
	state   []byte // scratch: a state in canonical form
	msg     Message
	names   map[string]string // event names seen, so that they need not be allocated
}

// A mark is a place in shared and the room's positions there.
type mark struct {
	at       int
	seq, ver uint64
}

// An out is the envelope for one address, or several one after the other.
type out struct {
	buf    []byte
	cuts   []int // where in buf the second and further envelopes begin
	copied int   // how much of shared is in buf
	open   bool  // buf has a head
	fresh  bool  // nobody was there when the turn began
}

// Sizes of output. A turn that has said maxTurnBytes or taken maxTurnCommands
// ends, and another one follows after the other rooms' turns.
const (
	envelopeBytes   = 128 << 10 // an envelope ends when it is larger
	maxTurnBytes    = 1 << 20
	maxTurnCommands = 2048

	// Members hear nothing of a turn before it is committed: with long turns a
	// busy room and its clients would wait for each other by turns.
	maxCommitCommands = 256

	maxSpareBytes = 256 << 10 // buffers up to this size are kept for the next turn
	maxEventNames = 512       // kept in turn.names
)

func newTurn() *turn {
	t := &turn{names: make(map[string]string)}
	t.msg.enc = &t.enc
	return t
}

// begin starts the turn of a room.
func (t *turn) begin(r *Room) {
	t.room, t.wall = r, time.Now()
	t.now = r.worker.clock(t.wall)
	t.seq, t.ver = r.seq, r.ver
	t.commands, t.joining = 0, nil
	for i := range r.peers {
		t.addOut(i, false)
	}
	r.turn = t
}

// end makes the buffers ready for the next room.
func (t *turn) end() {
	t.room.turn, t.room = nil, nil
	t.shared, t.marks = spare(t.shared), t.marks[:0]
	for i := range t.outs {
		o := &t.outs[i]
		o.buf, o.cuts = spare(o.buf), o.cuts[:0]
	}
	t.outs = t.outs[:0]
	t.enc.buf, t.scratch, t.state = spare(t.enc.buf), spare(t.scratch), spare(t.state)
	t.msg.set("", nil, "")
	t.item = bus.Item{}
}

func spare(b []byte) []byte {
	if cap(b) > maxSpareBytes {
		return nil
	}
	return b[:0]
}

// addOut makes outs[i] ready; i is at most len(outs).
func (t *turn) addOut(i int, fresh bool) {
	if i == len(t.outs) {
		if i < cap(t.outs) {
			t.outs = t.outs[:i+1] // with its buffers
		} else {
			t.outs = append(t.outs, out{})
		}
	}
	o := &t.outs[i]
	o.buf, o.cuts, o.copied, o.open, o.fresh = o.buf[:0], o.cuts[:0], 0, false, fresh
}

// full reports whether the turn has done its share.
func (t *turn) full() bool {
	if t.commands >= maxTurnCommands || t.commands >= maxCommitCommands && t.room.trail != nil {
		return true
	}
	n := len(t.shared)
	for i := range t.outs {
		n += len(t.outs[i].buf)
	}
	return n >= maxTurnBytes
}

// to returns the envelope for an address, ready for an item to be appended.
func (t *turn) to(peer int32) *out {
	o := &t.outs[peer]
	t.open(o)
	t.copyShared(o)
	last := 0
	if len(o.cuts) > 0 {
		last = o.cuts[len(o.cuts)-1]
	}
	if len(o.buf)-last > envelopeBytes {
		t.cut(o, t.room.seq, t.room.ver)
	}
	return o
}

// open writes the head: of what the address had before this turn, or, if nobody
// was there, of what the room has said until now.
func (t *turn) open(o *out) {
	if o.open {
		return
	}
	o.open = true
	r := t.room
	if o.fresh {
		o.copied = len(t.shared)
		o.buf = bus.AppendOutput(o.buf, r.key, r.epoch, r.seq, r.ver)
		return
	}
	o.buf = bus.AppendOutput(o.buf, r.key, r.epoch, t.seq, t.ver)
}

func (t *turn) cut(o *out, seq, ver uint64) {
	o.cuts = append(o.cuts, len(o.buf))
	o.buf = bus.AppendOutput(o.buf, t.room.key, t.room.epoch, seq, ver)
}

// copyShared brings an envelope up to what has been said to all.
func (t *turn) copyShared(o *out) {
	for _, m := range t.marks {
		if m.at > o.copied {
			o.buf = append(o.buf, t.shared[o.copied:m.at]...)
			o.copied = m.at
			t.cut(o, m.seq, m.ver)
		}
	}
	o.buf = append(o.buf, t.shared[o.copied:]...)
	o.copied = len(t.shared)
}

// insert puts an item into an envelope, at an offset it had before.
func (o *out) insert(at int, item []byte) {
	o.buf = append(o.buf, item...)
	if tail := len(o.buf) - len(item); tail > at {
		copy(o.buf[at+len(item):], o.buf[at:tail])
		copy(o.buf[at:], item)
		for i := range o.cuts {
			if o.cuts[i] > at {
				o.cuts[i] += len(item)
			}
		}
	}
}

// all appends t.item to what goes to all and returns its bytes.
func (t *turn) all() []byte {
	start := len(t.shared)
	t.shared = t.item.Append(t.shared)
	return t.shared[start:]
}

// said is called when the item that all appended has been counted in the room's
// seq or ver.
func (t *turn) said() {
	last := 0
	if n := len(t.marks); n > 0 {
		last = t.marks[n-1].at
	}
	if len(t.shared)-last > envelopeBytes {
		t.marks = append(t.marks, mark{len(t.shared), t.room.seq, t.room.ver})
	}
	t.room.spoke = t.now
}

// one appends t.item to what goes to an address and returns its bytes; they
// are valid until the next item.
func (t *turn) one(peer int32) []byte {
	o := t.to(peer)
	start := len(o.buf)
	o.buf = t.item.Append(o.buf)
	return o.buf[start:]
}

// eventName returns b as a string.
func (t *turn) eventName(b []byte) string {
	if s, ok := t.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(t.names) < maxEventNames {
		t.names[s] = s
	}
	return s
}

// release lets go what the turn has said: at once, or when what it has changed
// is committed; then it reports that the room waits for that.
func (t *turn) release() (waits bool) {
	if t.room.commit(t) {
		return true
	}
	t.each(func(p *peer, b []byte) {
		if p.to != nil {
			t.room.publish(p.to, b)
		}
	})
	return false
}

// each calls f with every envelope of the turn.
func (t *turn) each(f func(p *peer, b []byte)) {
	r := t.room
	for i := range t.outs {
		o, p := &t.outs[i], &r.peers[i]
		if !o.open && (len(t.shared) == 0 || p.members == 0 && !r.closing) {
			continue
		}
		t.open(o)
		if p.members > 0 || r.closing {
			t.copyShared(o)
		}
		from := 0
		for _, cut := range o.cuts {
			f(p, o.buf[from:cut])
			from = cut
		}
		f(p, o.buf[from:])
	}
}
