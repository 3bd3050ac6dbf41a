package rooms

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"roomd/bus"

	"github.com/vmihailenco/msgpack/v5"
)

// A Room is a stateful unit with one owner. Authors use it inside the callbacks
// of its Handler and nowhere else, except for Kind, ID, Key, Log and List.
//
// All fields but the last group belong to whoever runs the room's turn. An idle
// room is this struct, its members and what the author keeps.
type Room struct {
	worker  *Worker
	kind    *Kind
	handler Handler
	keys    *keyspace // in place of a handler, in a shard of kv
	key     string    // "kind.id"
	epoch   uint64
	lineage uint64     // the first epoch since which nothing was lost
	heir    bool       // edges may know an owner before this one
	own     *ownership // what it is this worker's by
	turn    *turn      // nil between turns
	rest    *batch
	phase   phase
	closing bool // ItemClosed was said in this turn
	crash   bool // its code panicked
	over    bool // its author closed it
	leaves  bool // its last record is to be written at the end of this turn

	members    []*Member // by id, those who are away included
	sessions   map[uint64]*Member
	nextMember uint32
	present    int    // members with a connection
	peers      []peer // addresses with members; their numbers stay while they have any

	seq      uint64 // last broadcast or presence diff
	ver      uint64 // last version of the state
	spoke    int64  // when something was last said to all
	history  history
	presence *presence // changes to be told; nil: none
	canon    []byte    // the state at ver, in canonical form; nil while nobody listens
	touched  bool      // callbacks ran since canon was made
	nextSync int64     // when the next patch may go out
	lastTick int64
	timers   []timer
	due      [numDues]int64 // what is to be done when; 0: nothing

	gone    context.CancelFunc // ends what Go started; nil if nothing was
	ctx     context.Context
	running int // functions that Go started

	trail     *trail // with Commit durability
	revision  uint64 // of the record
	saved     uint64 // hash of the last record written
	restored  uint64 // seq when this owner began
	onWrote   func() // waits for the write that is under way; nil: nothing
	dirty     bool   // the record lags behind
	saving    bool   // a write is under way
	departing bool   // worker.retire is at work, or the room has not arrived

	box      mailbox
	alarm    alarm
	sub      *bus.Subscription // guarded by worker.mu
	shard    *shard
	size     atomic.Int32 // len(members), for listings
	wanted   atomic.Bool  // somebody needs it: when its worker leaves, another is to open it
	promised atomic.Int32 // seats that open has given out, not yet taken
	promises atomic.Int64 // when the last of them was given
	meta     atomic.Pointer[[]byte]
}

// A phase is where a room is in its life. Turns move it forward; only leaving
// may go back to live.
type phase uint8

const (
	live    phase = iota
	leaving       // its subscription is being given up; commands still run
	closed        // the author closed it or it crashed; commands are refused
	ended         // another owner has it, or the last record is being written: silent
)

// A peer is an address with members of the room.
type peer struct {
	to      *endpoint // nil: the number is free
	members int
}

// An endpoint is an address as all rooms of a worker share it.
type endpoint struct {
	address bus.Address
	subject string
	clock   bus.ClockID // of the edge
}

// The things a room does at a time of its own.
const (
	dueTick = iota
	dueTimer
	dueSync     // send the state
	duePresence // tell the presence changes
	dueBeacon   // say where the output is
	dueLinger   // end the seats of those away too long
	dueEmpty    // leave memory
	dueSave     // write the record
	dueTrim     // forget a history that nobody can come back for
	numDues
)

// Kind returns the name of the room's kind.
func (r *Room) Kind() string { return r.kind.Name }

// ID returns the room's name within its kind.
func (r *Room) ID() string { return r.key[len(r.kind.Name)+1:] }

// Key returns "kind.id", the room's name in the whole system.
func (r *Room) Key() string { return r.key }

// Log returns a logger that names the room.
func (r *Room) Log() *slog.Logger {
	return r.worker.cfg.Log.With("room", r.key, "epoch", r.epoch)
}

// Now returns the time at which the current callbacks run.
func (r *Room) Now() time.Time { return r.turnOf("Now").wall }

// Len returns the number of members, those who are away included.
func (r *Room) Len() int { return len(r.members) }

// Members returns the members by id, those who are away included.
func (r *Room) Members() []*Member { return slices.Clone(r.members) }

// Each goes through the members by id without allocating: for m := range
// r.Each. The loop must not keep a seat from ending; it may Kick.
func (r *Room) Each(yield func(*Member) bool) {
	for _, m := range r.members {
		if !yield(m) {
			return
		}
	}
}

// Member returns the member with an id, or nil.
func (r *Room) Member(id uint32) *Member {
	i, ok := slices.BinarySearchFunc(r.members, id, func(m *Member, id uint32) int {
		return int(int64(m.id) - int64(id))
	})
	if !ok {
		return nil
	}
	return r.members[i]
}

// Broadcast sends a message to all members. Those who are away get it when they
// come back, as long as the room's history reaches that far. Data is encoded
// once, at once; Raw is copied as it is.
func (r *Room) Broadcast(event string, data any) {
	t := r.turnOf("Broadcast")
	if r.phase >= closed {
		return
	}
	t.setMessage(bus.ItemMessage, event, t.enc.mustEncode("broadcast "+event, data))
	b := t.all()
	r.seq++
	t.said()
	r.remember(r.seq, b)
}

// send is Member.Send.
func (r *Room) send(m *Member, event string, data any) {
	t := r.turnOf("Send")
	if r.phase >= closed || !m.seated {
		return
	}
	t.setMessage(bus.ItemPrivate, event, t.enc.mustEncode("message "+event, data))
	m.count++
	r.mark(m)
	t.item.To, t.item.Count, t.item.Seq = m.id, m.count, r.seq
	if m.at == away {
		t.scratch = t.item.Append(t.scratch[:0])
		r.remember(r.seq, t.scratch)
		return
	}
	r.remember(r.seq, t.one(m.at))
}

func (t *turn) setMessage(op bus.ItemOp, event string, data []byte) {
	t.event = append(t.event[:0], event...)
	t.item.Op, t.item.Event, t.item.Data = op, t.event, data
}

// SetMeta sets what listings show of the room, a small map or struct.
func (r *Room) SetMeta(v any) {
	t := r.turnOf("SetMeta")
	b := slices.Clone(t.enc.mustEncode("meta", v))
	r.meta.Store(&b)
	r.dirty = true
	if r.trail != nil {
		r.trail.meta = true
	}
}

// Meta decodes what SetMeta last set, also before a restart, into v.
func (r *Room) Meta(v any) error { return decode(r.metaBytes(), v, bus.Internal) }

func (r *Room) metaBytes() []byte {
	if b := r.meta.Load(); b != nil {
		return *b
	}
	return nil
}

// Close ends the room as soon as the current callback has returned: every
// member leaves with reason Closed and is told the code; an empty one means
// closed, and so does one that is not for authors (see Errorf).
// Nothing of the room is kept; who joins it again begins a new one.
func (r *Room) Close(code string) {
	t := r.turnOf("Close")
	t.kicks = append(t.kicks, kicked{code: r.endCode(code, bus.Closed)})
}

// turnOf returns the turn that runs, for the methods that authors call.
func (r *Room) turnOf(method string) *turn {
	if r.turn == nil {
		panic("rooms: " + method + " of room " + r.key + " called outside its callbacks")
	}
	return r.turn
}

// at asks for something to be done at a time, or earlier if that was asked for.
func (r *Room) at(due int, when int64) {
	if r.due[due] == 0 || when < r.due[due] {
		r.due[due] = when
	}
}

// isDue reports whether it is time for something, and then takes it off the
// list.
func (r *Room) isDue(due int) bool {
	if when := r.due[due]; when == 0 || when > r.turn.now {
		return false
	}
	r.due[due] = 0
	return true
}

func (r *Room) publish(to *endpoint, b []byte) {
	w := r.worker
	w.metrics.envelopes.Inc()
	w.metrics.outBytes.Add(float64(len(b)))
	if err := w.conn.Publish(to.subject, b); err != nil {
		// The receivers see the gap in seq and come for what they missed.
		w.metrics.lost.Inc()
	}
}

// metaMap decodes a room's meta for listings.
func metaMap(b []byte) map[string]any {
	if len(b) == 0 {
		return nil
	}
	var m map[string]any
	if msgpack.Unmarshal(b, &m) != nil {
		return nil // not a map; shown to programs that read it raw only
	}
	return m
}
