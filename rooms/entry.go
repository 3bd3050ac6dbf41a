package rooms

import (
	"bytes"
	"fmt"

	"roomd/bus"
	"roomd/rooms/patch"
)

// An entry of the log is what one turn of a room with Commit durability has
// changed:
//
//	version byte
//	key     string
//	epoch   uint
//	number  uint   +1 for each entry of the room, over all epochs
//	flags   byte
//	seq, ver, next uint
//	state   string if entryPatch: a patch; if entryState: all of it
//	meta    string if entryMeta
//	timers  as in a record, if entryTimers
//	gone    count, each the id of a member that has lost its seat
//	members count, those that have changed, each: id, session, user, messages,
//	        numbers, trimmed, number of replies kept, and the new ones:
//	        count, each number and item
//	base    uint   of the history
//	kept    uint   its number of items
//	said    count, the new ones, each seq and item
//	untold  as in a record, if entryUntold; else there is none
//
// A record and the entries behind it, in order, are the room as it was.
const entryVersion = 1

const (
	entryPatch byte = 1 << iota
	entryState
	entryMeta
	entryTimers
	entryClosed // by its author
	entryUntold
)

// makeEntry makes the turn's entry, if there is anything to commit.
func (r *Room) makeEntry() {
	l := r.trail
	flags, state := r.stateChange()
	if r.over && !l.over {
		flags |= entryClosed
		l.over = true
	}
	if l.meta {
		flags |= entryMeta
	}
	if l.timers {
		flags |= entryTimers
	}
	if r.presence.untold() {
		flags |= entryUntold // with the change itself, which makes an entry
	}
	if flags&^entryUntold == 0 && r.seq == l.seq && len(l.members) == 0 && len(l.gone) == 0 && r.ver-l.ver < leapCommit/2 {
		return
	}
	l.number++
	b := append(make([]byte, 0, l.size), entryVersion)
	b = bus.AppendString(b, r.key)
	b = bus.AppendUint(bus.AppendUint(b, r.epoch), l.number)
	b = append(b, flags)
	b = bus.AppendUint(bus.AppendUint(bus.AppendUint(b, r.seq), r.ver), uint64(r.nextMember))
	if flags&(entryPatch|entryState) != 0 {
		b = bus.AppendString(b, state)
	}
	if flags&entryMeta != 0 {
		b = bus.AppendString(b, r.metaBytes())
	}
	if flags&entryTimers != 0 {
		b = r.appendTimers(b)
	}
	b = bus.AppendUint(b, uint64(len(l.gone)))
	for _, id := range l.gone {
		b = bus.AppendUint(b, uint64(id))
	}
	b = l.appendMembers(b)
	b = bus.AppendUint(b, r.history.base)
	b = bus.AppendUint(b, uint64(r.history.items.count))
	b = r.history.items.appendLast(b, r.history.unlogged)
	r.history.unlogged = 0
	if flags&entryUntold != 0 {
		b = r.presence.append(b)
	}
	l.seq, l.ver, l.meta, l.timers, l.gone = r.seq, r.ver, false, false, l.gone[:0]
	l.made(b, r.turn.now)
}

// stateChange says how the state differs from what the log has: by a patch, or,
// if that is no shorter, all of it.
func (r *Room) stateChange() (flags byte, change []byte) {
	l, t := r.trail, r.turn
	if _, ok := r.handler.(Stater); !ok || !l.touched && l.state != nil {
		return 0, nil
	}
	l.touched = false
	state := r.canonicalState()
	switch {
	case l.state == nil:
		flags, change = entryState, state
	case bytes.Equal(state, l.state):
		return 0, nil
	default:
		diff, err := patch.Diff(t.scratch[:0], l.state, state)
		if err != nil {
			panic(fmt.Errorf("rooms: compare states: %w", err))
		}
		t.scratch = diff
		if flags, change = entryPatch, diff; len(diff) >= len(state) {
			flags, change = entryState, state
		}
	}
	l.state = append(l.state[:0], state...)
	return flags, change
}

// appendMembers appends the members that have changed and still have a seat.
func (l *trail) appendMembers(b []byte) []byte {
	n := 0
	for _, m := range l.members {
		m.marked = false
		if m.seated {
			l.members[n] = m
			n++
		}
	}
	b = bus.AppendUint(b, uint64(n))
	for _, m := range l.members[:n] {
		b = bus.AppendUint(b, uint64(m.id))
		b = bus.AppendUint(b, m.session)
		b = bus.AppendString(b, m.user)
		b = m.appendNumbers(bus.AppendUint(b, m.count), m.rejoins)
		m.rejoins = false
		b = bus.AppendUint(bus.AppendUint(b, m.trimmed), uint64(m.replies.count))
		b = m.replies.appendLast(b, int(m.unlogged))
		m.unlogged = 0
	}
	clear(l.members)
	l.members = l.members[:0]
	return b
}

// An entryHead is an entry of which the head was read.
type entryHead struct {
	key    string
	epoch  uint64
	number uint64
	flags  byte
	rd     bus.Reader
}

func parseEntry(b []byte) (e entryHead, err error) {
	e.rd = *bus.NewReader(b)
	version := e.rd.Byte()
	e.key, e.epoch, e.number, e.flags = e.rd.String(), e.rd.Uint(), e.rd.Uint(), e.rd.Byte()
	if e.rd.Err() != nil || version != entryVersion || e.number == 0 {
		return e, errRecord
	}
	return e, nil
}

// apply brings a room that was loaded from a record up to the entry that follows.
func (r *Room) apply(e *entryHead) error {
	l, rd := r.trail, &e.rd
	l.number = e.number
	r.seq, r.ver, r.nextMember = rd.Uint(), rd.Uint(), rd.Uint32()
	switch {
	case e.flags&entryState != 0:
		l.state = bytes.Clone(rd.Bytes())
	case e.flags&entryPatch != 0:
		next, err := patch.Apply(nil, l.state, rd.Bytes())
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", errRecord, e.number, err)
		}
		l.state = next
	}
	if e.flags&entryMeta != 0 {
		r.loadMeta(rd)
	}
	if e.flags&entryTimers != 0 {
		r.loadTimers(rd)
	}
	for range rd.Count() {
		if m := r.Member(rd.Uint32()); m != nil {
			r.exit(m)
		}
	}
	r.over = e.flags&entryClosed != 0
	ok := r.loadMembers(rd)
	if r.presence = nil; e.flags&entryUntold != 0 {
		r.loadPresence(rd)
	}
	if rd.Err() != nil || rd.More() || !ok {
		return fmt.Errorf("%w: entry %d", errRecord, e.number)
	}
	return nil
}

// loadMembers takes the members of an entry, and the history, which says what
// of their messages is gone.
func (r *Room) loadMembers(rd *bus.Reader) (ok bool) {
	changed := make([]*Member, rd.Count())
	trimmed := make([]uint64, len(changed))
	ok = true
	for i := range changed {
		id, session, user := rd.Uint32(), rd.Uint(), rd.String()
		m := r.Member(id)
		if m == nil {
			m = &Member{room: r, id: id, session: session, user: user, at: away}
			r.enter(m)
		}
		m.count = rd.Uint()
		m.loadNumbers(rd)
		changed[i], trimmed[i] = m, rd.Uint()
		kept := rd.Uint()
		for range rd.Count() {
			m.replies.push(rd.Uint(), rd.Bytes())
		}
		ok = ok && uint64(m.replies.count) >= kept
		for uint64(m.replies.count) > kept {
			m.replies.drop()
		}
	}
	h := &r.history
	base, kept := rd.Uint(), rd.Uint()
	said := rd.Count()
	if ok = ok && uint64(said) <= kept && uint64(h.items.count+said) >= kept; !ok {
		return false
	}
	if kept == 0 {
		r.forget()
	}
	for uint64(h.items.count+said) > kept {
		r.trim()
	}
	for range said {
		h.items.push(rd.Uint(), rd.Bytes())
	}
	h.base = base
	for i, m := range changed {
		m.trimmed = trimmed[i]
	}
	return true
}

// replay returns the snapshot that a room's record becomes with the entries
// that the log has behind it, and whether its author closed it since. The
// entries are of the record's epoch and in order; those that the record covers
// are passed over.
func replay(kind *Kind, snapshot []byte, entries []entryHead) (after []byte, closed bool, err error) {
	r := &Room{kind: kind, trail: &trail{}}
	if len(snapshot) > 0 {
		state, err := r.load(snapshot)
		if err != nil {
			return nil, false, err
		}
		if len(state) > 0 {
			if r.trail.state, err = patch.Canonical(nil, state); err != nil {
				return nil, false, fmt.Errorf("state: %w", err)
			}
		}
	}
	for i := range entries {
		e := &entries[i]
		if e.number <= r.trail.number {
			continue
		}
		if e.number != r.trail.number+1 {
			return nil, false, fmt.Errorf("%w: entry %d follows %d", errRecord, e.number, r.trail.number)
		}
		if r.lineage == 0 {
			r.lineage = e.epoch
		}
		if err := r.apply(e); err != nil {
			return nil, false, err
		}
	}
	return r.appendSnapshot(nil, r.trail.state, true, true), r.over, nil
}
