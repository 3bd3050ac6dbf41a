package rooms

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"roomd/bus"
	"roomd/kv"
	"roomd/rooms/patch"

	"github.com/vmihailenco/msgpack/v5"
)

// A record is a room's key in kv: who owns it and what it must not lose.
//
//	version byte
//	epoch   uint
//	owner   string   the run of a worker; empty: released, whoever wants it may take it
//	closed  bool     by its author: whoever opens it begins anew
//	ver     uint     of the state, when the record was written
//
// and to the end the snapshot, if there is one:
//
//	number          uint     of the last log entry that it covers
//	lineage         uint     first epoch since which nothing was lost
//	seq, ver, next  uint     next is the last member id given
//	meta, state     string   msgpack
//	timers          count, each name and time (milliseconds since 1970)
//	members         count, each id, session, user, messages, numbers,
//	                replies: count, each number and item
//	untold          members that nobody has been told of: count, each id of one that
//	                has left; count, each id of one that has joined
//
// and, for members who have missed the end of it, the history: always with
// Commit durability, else in the last record of an owner that releases the room:
//
//	base    uint
//	items   count, each seq and item
//	trimmed uint, for each member
type record struct {
	epoch    uint64
	owner    string
	closed   bool
	ver      uint64
	snapshot []byte // empty: none
}

const recordVersion = 3

var errRecord = errors.New("record is damaged or of another version")

func parseRecord(b []byte) (rec record, err error) {
	rd := bus.NewReader(b)
	version := rd.Byte()
	rec.epoch, rec.owner = rd.Uint(), rd.String()
	rec.closed, rec.ver = rd.Bool(), rd.Uint()
	if rd.Err() != nil || rec.epoch == 0 || version != recordVersion {
		return rec, errRecord
	}
	rec.snapshot = rd.Rest()
	return rec, nil
}

func (rec *record) append(b []byte) []byte {
	b = append(b, recordVersion)
	b = bus.AppendUint(b, rec.epoch)
	b = bus.AppendString(b, rec.owner)
	b = bus.AppendUint(bus.AppendBool(b, rec.closed), rec.ver)
	return append(b, rec.snapshot...)
}

// How far an owner's versions of the state may be ahead of what storage has of
// them. The next owner begins that far on, so no version names two states,
// whichever of them was shown: one was in a patch of which nothing is stored, if
// the room was quiet then, or its durability lets it go back.
//
// With Commit durability a turn whose version is further ahead makes an entry
// (makeEntry). Of the others nobody waits for storage: leapOthers is two years of
// 60 patches a second. A version has 53 bits, so 2 million takeovers are possible.
const (
	leapCommit = 1 << 10
	leapOthers = 1 << 32
)

// nextVer returns the version that the next owner begins with: the record's, or
// the snapshot's, which has been brought up to the log, if the owner before has
// released the room, or else one above all that it may have shown.
func (rec *record) nextVer(kind *Kind, snapshot []byte) uint64 {
	rd, ver := bus.NewReader(snapshot), rec.ver
	if rd.More() {
		rd.Uint()
		rd.Uint() // number and lineage
		rd.Uint() // seq
		ver = max(ver, rd.Uint())
	}
	switch {
	case rec.owner == "":
		return ver
	case kind.Durability == Commit:
		return ver + leapCommit
	}
	return ver + leapOthers
}

// appendRecord appends the room's record as it is now: owned by this worker, or
// released. One that would be too large goes without the replies and the
// history: members may then hear out_of_order for a command that they send
// again, and recovered false.
func (r *Room) appendRecord(b []byte, owner string) []byte {
	start := len(b)
	b = r.appendWhole(b, owner, true)
	if len(b)-start > kv.MaxRecord {
		r.Log().Warn("record without replies and history: it is too large with them", "bytes", len(b)-start)
		b = r.appendWhole(b[:start], owner, false)
	}
	return b
}

func (r *Room) appendWhole(b []byte, owner string, extras bool) []byte {
	rec := record{epoch: r.epoch, owner: owner, closed: r.over, ver: r.ver}
	b = rec.append(b)
	if rec.closed || r.kind.Durability == None {
		return b
	}
	state := r.encodeState(r.turn)
	if r.trail != nil {
		state = r.trail.state // the same, as the turn's entry was made before
	}
	return r.appendSnapshot(b, state, extras, extras && (owner == "" || r.trail != nil))
}

func (r *Room) appendSnapshot(b, state []byte, replies, history bool) []byte {
	number := uint64(0)
	if r.trail != nil {
		number = r.trail.number
	}
	for _, v := range [...]uint64{number, r.lineage, r.seq, r.ver, uint64(r.nextMember)} {
		b = bus.AppendUint(b, v)
	}
	b = bus.AppendString(b, r.metaBytes())
	b = bus.AppendString(b, state)
	b = r.appendTimers(b)
	b = bus.AppendUint(b, uint64(len(r.members)))
	for _, m := range r.members {
		b = m.appendRecord(b, replies)
	}
	b = r.presence.append(b)
	if history {
		b = r.appendHistory(b)
	}
	return b
}

func (r *Room) appendTimers(b []byte) []byte {
	b = bus.AppendUint(b, uint64(len(r.timers)))
	for _, t := range r.timers {
		b = bus.AppendString(b, t.name)
		b = bus.AppendUint(b, uint64(t.at))
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
	b = m.appendNumbers(bus.AppendUint(b, m.count), true)
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

// appendNumbers appends where the numbers of the member's commands are, and if need
// be its client's last join: four times the last number, plus 1 if void is not 0 and
// follows, plus 2 if join follows.
func (m *Member) appendNumbers(b []byte, join bool) []byte {
	v := m.last << 2
	if m.void != 0 {
		v |= 1
	}
	if join {
		v |= 2
	}
	b = bus.AppendUint(b, v)
	if m.void != 0 {
		b = bus.AppendUint(b, m.void)
	}
	if join {
		b = bus.AppendUint(b, m.join)
	}
	return b
}

func (m *Member) loadNumbers(rd *bus.Reader) {
	v := rd.Uint()
	m.last, m.void = v>>2, 0
	if v&1 != 0 {
		m.void = rd.Uint()
	}
	if v&2 != 0 {
		m.join = rd.Uint()
	}
}

// load fills a new room from a snapshot, all but the handler's state, which it
// returns. Members are away.
func (r *Room) load(snapshot []byte) (state []byte, err error) {
	rd := bus.NewReader(snapshot)
	number := rd.Uint()
	if r.trail != nil {
		r.trail.number = number
	}
	r.lineage = rd.Uint()
	r.seq, r.ver, r.nextMember = rd.Uint(), rd.Uint(), rd.Uint32()
	r.loadMeta(rd)
	state = rd.Bytes()
	r.loadTimers(rd)
	for range rd.Count() {
		r.enter(r.restoreMember(rd))
	}
	r.loadPresence(rd)
	if r.history.base = r.seq; rd.More() {
		r.loadHistory(rd)
	}
	if rd.Err() != nil {
		return nil, errRecord
	}
	return state, nil
}

func (r *Room) loadMeta(rd *bus.Reader) {
	if meta := slices.Clone(rd.Bytes()); len(meta) > 0 {
		r.meta.Store(&meta)
	}
}

func (r *Room) loadTimers(rd *bus.Reader) {
	r.timers = r.timers[:0]
	for range rd.Count() {
		r.timers = append(r.timers, timer{rd.String(), int64(rd.Uint())})
	}
}

func (r *Room) loadHistory(rd *bus.Reader) {
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
	m.count = rd.Uint()
	m.loadNumbers(rd)
	m.trimmed = m.count
	for range rd.Count() {
		m.replies.push(rd.Uint(), rd.Bytes())
	}
	return m
}

// restore fills a new room and its handler from a snapshot.
func (r *Room) restore(snapshot []byte) error {
	state, err := r.load(snapshot)
	if err != nil {
		return err
	}
	if r.trail != nil && len(state) > 0 {
		if r.trail.state, err = patch.Canonical(nil, state); err != nil {
			return fmt.Errorf("state: %w", err)
		}
	}
	if s, ok := r.handler.(Stater); ok && len(state) > 0 {
		if err := msgpack.Unmarshal(state, s.State()); err != nil {
			return fmt.Errorf("decode state: %w", err)
		}
	}
	return nil
}

// wakeUp is the first thing that runs in a room: what the time away has left to
// do, and the handler's Open.
func (r *Room) wakeUp() error {
	if r.keys != nil {
		r.keys.shard.Begin(r.turn.wall)
		return nil
	}
	r.restored = r.seq
	if r.trail != nil {
		r.trail.reset(r.seq, r.ver)
	}
	if r.history.items.count > 0 {
		r.history.last = r.turn.now
		r.at(dueTrim, r.turn.now+int64(r.kind.Linger+trimAfter))
	}
	if r.presence != nil {
		r.at(duePresence, r.turn.now+int64(r.worker.cfg.PresenceEvery))
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

// store brings what the turn has changed on its way to kv: as an entry for the
// log, appended when the turn has ended, and as the record, when its time has come. It is
// the last thing a turn does that may call the author's code.
func (r *Room) store() {
	if r.trail != nil && !r.crash && (r.phase < ended || r.leaves) {
		r.makeEntry()
	}
	if r.leaves {
		r.writeLast()
		r.leaves = false
		return
	}
	r.watchRecord()
}

// watchRecord writes the record of a room that has changed, when its time has
// come.
func (r *Room) watchRecord() {
	if r.phase != live || r.kind.Durability == None || !r.recordDue() {
		return
	}
	r.dirty = false
	b := r.appendRecord(nil, r.own.run)
	if sum := maphash.Bytes(recordSeed, b); sum != r.saved {
		r.saving, r.saved = true, sum
		r.trail.recordBegun(len(b))
		r.worker.keeper.add(job{room: r, value: b, revision: r.revision})
	}
}

// wrote is what comes back from a write of the record.
func (r *Room) wrote(revision uint64, err error) {
	r.saving = false
	switch {
	case err == nil:
		r.revision = revision
		r.trail.recordWritten()
	case errors.Is(err, errFenced):
		if r.phase != ended {
			r.fenced("its record names another owner")
		}
	default:
		r.saved, r.dirty = 0, true
		r.trail.recordFailed(r.turn.now)
		r.due[dueSave] = r.turn.now + max(int64(r.kind.Durability), 0) + int64(saveRetry)
	}
	if then := r.onWrote; then != nil {
		r.onWrote = nil
		then()
	}
}

const saveRetry = time.Second // added to the interval when a record could not be written
