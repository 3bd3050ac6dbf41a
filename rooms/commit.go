package rooms

import (
	"sync"
	"sync/atomic"
	"time"
)

// This file is about Commit durability: nothing a turn has said leaves before
// the log has what the turn has changed (R5).

// A trail is what a room with Commit durability knows of its entries in the
// log. It belongs to the room's turn, but for acked, which runs while the room
// waits for it and takes no turn.
type trail struct {
	number uint64 // of the last entry made
	state  []byte // in canonical form, as of that entry; nil: no entry has it yet
	seq    uint64 // as of that entry
	ver    uint64 // the same; invariant: what was shown is below ver + leapCommit

	touched bool // callbacks ran since
	meta    bool // changed since, as are what follows
	timers  bool
	over    bool      // the log knows that the author closed the room
	members []*Member // changed, each once
	gone    []uint32

	entry   []byte // of this turn, not yet appended
	size    int    // what the next one may take
	waiting bool   // an entry is under way: what was said is held, and no turn is taken
	held    *hold
	done    func(pos uint64, err error)
	err     error // what became of the entry

	first     int64  // when the first entry was made that no record has; 0: there is none
	last      int64  // when the last was made
	entries   int    // how many those are
	bytes     int    // and of what size
	since     uint64 // bytes of the log when the first of them was made
	covers    uint64 // number of the last entry in the last record begun
	record    int    // its size
	next      uint64 // position of the first entry behind it; 0: none
	notBefore int64  // when to try again after a record could not be written

	// tail is the position of the first entry that is not in a record. The log
	// is not cut behind it. 0: none.
	tail atomic.Uint64
}

// A hold is what a turn has said and what waits for the commit: envelopes, and
// their bytes one after the other.
type hold struct {
	outs []heldOutput
	buf  []byte
}

type heldOutput struct {
	to  *endpoint
	end int // in hold.buf
}

// holds saves the allocation of a hold per turn; a quiet room has none.
var holds = sync.Pool{New: func() any { return &hold{} }}

// made takes the entry of a turn.
func (l *trail) made(entry []byte, now int64) {
	l.entry, l.size = entry, max(len(entry), l.size-l.size/8)
	l.entries++
	l.bytes += len(entry)
	l.last = now
	if l.first == 0 {
		l.first = now
	}
}

// reset forgets what restoring the room has marked.
func (l *trail) reset(seq, ver uint64) {
	l.seq, l.ver, l.members, l.gone, l.meta, l.timers = seq, ver, nil, nil, false, false
}

// mark notes that a member has changed.
func (r *Room) mark(m *Member) {
	if r.trail != nil && !m.marked {
		m.marked = true
		r.trail.members = append(r.trail.members, m)
	}
}

// commit holds back what the turn has said if it has made an entry; append is
// to follow when the turn has ended. It reports whether it did.
func (r *Room) commit(t *turn) bool {
	l := r.trail
	if l == nil || l.entry == nil {
		return false
	}
	h := holds.Get().(*hold)
	t.each(func(p *peer, b []byte) {
		if p.to != nil {
			h.buf = append(h.buf, b...)
			h.outs = append(h.outs, heldOutput{p.to, len(h.buf)})
		}
	})
	l.held, l.waiting = h, true
	return true
}

// append appends the entry of a room's last turn to the log.
func (w *Worker) append(r *Room) {
	l, log := r.trail, r.own.log
	entry := l.entry
	l.entry = nil
	if l.done == nil {
		l.done = r.acked
	}
	if l.since == 0 {
		l.since = log.Bytes() + 1
	}
	w.metrics.commits.Inc()
	w.metrics.commitBytes.Add(float64(len(entry)))
	w.unacked.add()
	log.Append(entry, l.done)
}

// acked is called by the log when the room's entry is in it, or never will be.
// The room takes its next turn then, and committed is the first thing in it.
func (r *Room) acked(pos uint64, err error) {
	r.worker.unacked.done()
	l := r.trail
	l.err = err
	if err == nil {
		if l.tail.Load() == 0 {
			l.tail.Store(pos)
		}
		if l.next == 0 {
			l.next = pos
		}
	}
	r.worker.schedule(r)
}

// committed lets go what was held.
func (r *Room) committed() {
	l := r.trail
	h := l.held
	l.held, l.waiting = nil, false
	if l.err != nil {
		if r.phase != ended {
			r.fenced("its changes could not be committed: " + l.err.Error())
		}
	} else {
		from := 0
		for _, o := range h.outs {
			r.publish(o.to, h.buf[from:o.end])
			from = o.end
		}
	}
	clear(h.outs)
	h.outs, h.buf = h.outs[:0], spare(h.buf)
	holds.Put(h)
}

// When the record of a room with Commit durability is written. Between them
// these bound what a takeover has to read, and storage with it: what a worker's
// busy rooms have logged in the last ten seconds, at most some 16 MiB in some
// 16,000 messages, which takes 0.1 to 0.2 s. (Many small messages cost more than
// few large ones, and a log has many where it is quick.)
const (
	recordQuiet = 2 * time.Second  // after the last change
	recordAfter = 10 * time.Second // after the first that the record lacks
	recordBytes = 64 << 10         // of entries, or twice the record if that is more
	recordAt    = 64               // entries, if they have a quarter of the record's size: each is applied to the whole state
	recordTail  = 16 << 20         // bytes of all rooms' entries since the first that the record lacks
	recordLag   = 16_000           // messages of the log since then, or recordLagOf
	recordLagOf = 4                // for each room of the worker, lest many rooms write nothing but records
)

// recordDue reports whether it is time to write the record, and sets the time
// if it is not.
func (r *Room) recordDue() bool {
	if r.trail != nil {
		return !r.saving && r.entriesDue()
	}
	if r.dirty && r.due[dueSave] == 0 { // also while one is being written
		r.due[dueSave] = r.turn.now + int64(r.kind.Durability)*3/4
	}
	return r.dirty && !r.saving && r.isDue(dueSave)
}

// entriesDue is recordDue for a room with Commit durability.
func (r *Room) entriesDue() bool {
	l, now := r.trail, r.turn.now
	if l.first == 0 {
		r.due[dueSave] = 0
		return false
	}
	log, tail := r.own.log, l.tail.Load()
	full := l.bytes > max(recordBytes, 2*l.record) || l.entries > recordAt && 4*l.bytes > l.record ||
		l.since != 0 && log.Bytes() > l.since+recordTail ||
		tail != 0 && log.Last() > tail+uint64(r.worker.behind.Load())
	due := max(min(l.last+int64(recordQuiet), l.first+int64(recordAfter)), l.notBefore)
	if now < l.notBefore || now < due && !full {
		r.due[dueSave] = due
		return false
	}
	r.due[dueSave] = 0
	return true
}

// recordBegun notes that a record of n bytes is being written: with all that
// was changed until now, also by the entry of this turn, which the log does not
// have yet. That is no harm: if the log refuses the entry, its changes happened
// all the same, unseen, and their commands get the replies kept in the record.
func (l *trail) recordBegun(n int) {
	if l != nil {
		l.first, l.entries, l.bytes, l.since, l.next = 0, 0, 0, 0, 0
		l.covers, l.record = l.number, n
	}
}

// recordWritten notes that the record is there.
func (l *trail) recordWritten() {
	switch {
	case l == nil:
	case l.number == l.covers:
		l.tail.Store(0)
	default:
		l.tail.Store(l.next)
	}
}

// recordFailed makes it due again.
func (l *trail) recordFailed(now int64) {
	if l != nil {
		l.notBefore = now + int64(saveRetry)
		if l.first == 0 {
			l.first = now
		}
	}
}
