package rooms

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"roomd/bus"

	"github.com/vmihailenco/msgpack/v5"
)

// A record is a room's key in kv: who owns it and what it must not lose.
//
//	version byte
//	epoch   uint
//	owner   string   the run of a worker; empty: released, whoever wants it may take it
//	closed  bool     by its author: whoever opens it begins anew
//
// and to the end the snapshot, if there is one:
//
//	seq, ver, next  uint     next is the last member id given
//	meta, state     string   msgpack
//	timers          count, each name and time (milliseconds since 1970)
//	members         count, each id, session, user, messages, last command,
//	                replies: count, each number and item
//
// and, in the last record of an owner that releases the room, its history, for
// members who have missed the end of it:
//
//	base    uint
//	items   count, each seq and item
//	trimmed uint, for each member
type record struct {
	epoch    uint64
	owner    string
	closed   bool
	snapshot []byte // empty: none
}

const recordVersion = 1

var errRecord = errors.New("record is damaged or of another version")

func parseRecord(b []byte) (rec record, err error) {
	rd := bus.NewReader(b)
	if rd.Byte() != recordVersion {
		return rec, errRecord
	}
	rec.epoch, rec.owner = rd.Uint(), rd.String()
	rec.closed = rd.Bool()
	if rd.Err() != nil || rec.epoch == 0 {
		return rec, errRecord
	}
	rec.snapshot = rd.Rest()
	return rec, nil
}

func (rec *record) append(b []byte) []byte {
	b = append(b, recordVersion)
	b = bus.AppendUint(b, rec.epoch)
	b = bus.AppendString(b, rec.owner)
	b = bus.AppendBool(b, rec.closed)
	return append(b, rec.snapshot...)
}

// recordRoom is what NATS and kv put around a record.
const recordRoom = 1 << 10

// appendRecord appends the room's record as it is now: owned by this worker, or
// released. One that is larger than NATS carries goes without the replies and
// the history: members may then hear out_of_order for a command that they send
// again, and recovered false.
func (r *Room) appendRecord(b []byte, owner string) []byte {
	start := len(b)
	b = r.appendWhole(b, owner, true)
	if limit := r.worker.conn.MaxPayload() - recordRoom; len(b)-start > limit {
		r.Log().Warn("record without replies and history: it is larger than NATS carries", "bytes", len(b)-start)
		b = r.appendWhole(b[:start], owner, false)
	}
	return b
}

func (r *Room) appendWhole(b []byte, owner string, extras bool) []byte {
	rec := record{epoch: r.epoch, owner: owner, closed: r.phase == closed}
	b = rec.append(b)
	if rec.closed || r.kind.Durability == None {
		return b
	}
	for _, v := range [...]uint64{r.seq, r.ver, uint64(r.nextMember)} {
		b = bus.AppendUint(b, v)
	}
	b = bus.AppendString(b, r.metaBytes())
	b = bus.AppendString(b, r.encodeState(r.turn))
	b = bus.AppendUint(b, uint64(len(r.timers)))
	for _, t := range r.timers {
		b = bus.AppendString(b, t.name)
		b = bus.AppendUint(b, uint64(t.at))
	}
	b = bus.AppendUint(b, uint64(len(r.members)))
	for _, m := range r.members {
		b = m.appendRecord(b, extras)
	}
	if owner == "" && extras {
		b = r.appendHistory(b)
	}
	return b
}

func (r *Room) appendHistory(b []byte) []byte {
	b = bus.AppendUint(b, r.history.base)
	b = bus.AppendUint(b, uint64(r.history.items.count))
	for seq, item := range r.history.items.all {
		b = bus.AppendUint(b, seq)
		b = bus.AppendString(b, item)
	}
	for _, m := range r.members {
		b = bus.AppendUint(b, m.trimmed)
	}
	return b
}

func (m *Member) appendRecord(b []byte, replies bool) []byte {
	b = bus.AppendUint(b, uint64(m.id))
	b = bus.AppendUint(b, m.session)
	b = bus.AppendString(b, m.user)
	b = bus.AppendUint(b, m.count)
	b = bus.AppendUint(b, m.last)
	if !replies {
		return bus.AppendUint(b, 0)
	}
	b = bus.AppendUint(b, uint64(m.replies.count))
	for n, item := range m.replies.all {
		b = bus.AppendUint(b, n)
		b = bus.AppendString(b, item)
	}
	return b
}

// restore fills a new room from a snapshot. Its members are away, and their
// lingers begin now.
func (r *Room) restore(snapshot []byte) error {
	rd := bus.NewReader(snapshot)
	r.seq, r.ver, r.nextMember = rd.Uint(), rd.Uint(), rd.Uint32()
	if meta := slices.Clone(rd.Bytes()); meta != nil {
		r.meta.Store(&meta)
	}
	state := rd.Bytes()
	for range rd.Count() {
		r.timers = append(r.timers, timer{rd.String(), int64(rd.Uint())})
	}
	for range rd.Count() {
		r.enter(r.restoreMember(rd))
	}
	if r.history.base = r.seq; rd.More() {
		r.restoreHistory(rd)
	}
	if rd.Err() != nil {
		return errRecord
	}
	if s, ok := r.handler.(Stater); ok && len(state) > 0 {
		if err := msgpack.Unmarshal(state, s.State()); err != nil {
			return fmt.Errorf("decode state: %w", err)
		}
	}
	return nil
}

func (r *Room) restoreHistory(rd *bus.Reader) {
	r.history.base = rd.Uint()
	for range rd.Count() {
		r.history.items.push(rd.Uint(), rd.Bytes())
	}
	for _, m := range r.members {
		m.trimmed = rd.Uint()
	}
}

func (r *Room) restoreMember(rd *bus.Reader) *Member {
	m := &Member{room: r, id: rd.Uint32(), session: rd.Uint(), user: rd.String(), at: away}
	m.count, m.last = rd.Uint(), rd.Uint()
	m.trimmed = m.count
	for range rd.Count() {
		m.replies.push(rd.Uint(), rd.Bytes())
	}
	return m
}

// wakeUp is the first thing that runs in a room: what the time away has left to
// do, and the handler's Open.
func (r *Room) wakeUp() error {
	r.restored = r.seq
	if r.history.items.count > 0 {
		r.history.last = r.turn.now
		r.at(dueTrim, r.turn.now+int64(r.kind.Linger+trimAfter))
	}
	for _, m := range r.members {
		m.leaveAt = r.turn.now + int64(r.kind.Linger)
		r.at(dueLinger, m.leaveAt)
		r.presenceToggled(m) // for those who come back recovered
	}
	r.armTimers()
	if o, ok := r.handler.(Opener); ok {
		if err := o.Open(r); err != nil {
			return err
		}
	}
	r.ran()
	r.settle()
	return nil
}

// recordSeed makes hashes of records, to see whether one has changed.
var recordSeed = maphash.MakeSeed()

// watchRecord writes the record of a room that has changed, when its time has
// come.
func (r *Room) watchRecord() {
	if !r.dirty || r.saving || r.phase != live || r.kind.Durability == None && !r.doubtful {
		return
	}
	if r.due[dueSave] == 0 {
		r.due[dueSave] = r.turn.now + int64(r.kind.Durability)
	}
	if !r.isDue(dueSave) {
		return
	}
	r.dirty = false
	b := r.appendRecord(nil, r.worker.run)
	if sum := maphash.Bytes(recordSeed, b); sum != r.saved {
		r.saving, r.saved = true, sum
		r.worker.keeper.add(job{room: r, value: b, revision: r.revision})
	}
}

// wrote is what comes back from a write of the record.
func (r *Room) wrote(revision uint64, err error) {
	r.saving = false
	switch {
	case err == nil:
		r.revision = revision
		r.doubtful = r.doubtful && r.saved == 0 // doubts came while it was being written
	case errors.Is(err, errFenced):
		if r.phase != ended {
			r.fenced()
		}
	default:
		r.saved, r.dirty = 0, true
	}
	if then := r.onWrote; then != nil {
		r.onWrote = nil
		then()
	}
	if err == nil {
		return
	}
	wait := max(int64(r.kind.Durability), 0) + int64(saveRetry)
	if r.doubtful {
		wait = int64(doubtRetry)
	}
	r.due[dueSave] = r.turn.now + wait
}

const (
	saveRetry  = time.Second            // added to the interval when a record could not be written
	doubtRetry = 100 * time.Millisecond // instead of it while the room may have another owner
)
