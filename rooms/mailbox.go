package rooms

import (
	"sync"

	"roomd/bus"
)

// A mailbox holds what waits for a room. Any goroutine may put something in;
// the room's turn takes everything at once. Commands beyond the kind's limit
// are still taken in up to four times that, marked to be refused: a refusal is
// output of the room and so keeps its place in the room's order. What is beyond
// that too is dropped; its sender runs into its deadline.
//
// An idle room's mailbox holds no memory.
type mailbox struct {
	mu       sync.Mutex // guards what follows
	batch    *batch     // nil if nothing waits
	commands int        // in batch
	bytes    int        // of their envelopes
	lossy    bool       // something was dropped since the last turn
	queued   bool       // the room waits for a turn or has one
	again    bool       // and needs another one
}

// A batch is what one turn takes out of a mailbox.
type batch struct {
	entries []entry
	next    int // first that has not been looked at
	lossy   bool
}

// An entry is an envelope or something that happened inside the worker.
type entry struct {
	commands bus.Commands
	refused  bool        // the mailbox was full
	event    func(*Room) // if not nil, all there is
	request  *bus.Msg    // the same, for a shard of kv
}

// batches saves the allocation of a batch per turn.
var batches = sync.Pool{New: func() any { return &batch{entries: make([]entry, 0, 4)} }}

// maxSpareEntries is the largest batch that is kept for reuse.
const maxSpareEntries = 1024

// putResult says what became of an envelope.
type putResult struct {
	schedule bool // the room has to be queued for a turn
	refused  bool
	dropped  bool
}

// put adds an envelope of n commands and size bytes.
func (b *mailbox) put(e bus.Commands, n, size, limit int) (res putResult) {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := func(times int) bool {
		return b.commands > 0 && (b.commands+n > times*limit || b.bytes+size > times*limit<<10)
	}
	if full(4) {
		b.lossy = true
		res.dropped = true
		return res
	}
	res.refused = full(1)
	b.commands += n
	b.bytes += size
	b.add(entry{commands: e, refused: res.refused})
	res.schedule = b.schedule()
	return res
}

// request adds what somebody asks of a shard of kv. What does not fit is
// dropped: whoever sent it asks again.
func (b *mailbox) request(m *bus.Msg, maxBytes int) (res putResult) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes > 0 && b.bytes+len(m.Data) > maxBytes {
		res.dropped = true
		return res
	}
	b.bytes += len(m.Data) + requestOverhead
	b.add(entry{request: m})
	res.schedule = b.schedule()
	return res
}

// requestOverhead is what a request takes besides its bytes, about.
const requestOverhead = 256

// post adds an event, whatever else waits: there are few, and none comes from
// outside. It reports whether the room has to be queued.
func (b *mailbox) post(event func(*Room)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(entry{event: event})
	return b.schedule()
}

// wake asks for a turn without anything to take. It reports whether the room
// has to be queued.
func (b *mailbox) wake() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.again = true
	return b.schedule()
}

func (b *mailbox) add(e entry) {
	if b.batch == nil {
		b.batch = batches.Get().(*batch)
	}
	b.batch.entries = append(b.batch.entries, e)
}

func (b *mailbox) schedule() bool {
	if b.queued {
		return false
	}
	b.queued = true
	return true
}

// take empties the mailbox; nil if there was nothing.
func (b *mailbox) take() *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.batch
	if taken != nil {
		taken.lossy = b.lossy
	}
	b.batch, b.commands, b.bytes, b.lossy, b.again = nil, 0, 0, false, false
	return taken
}

// rest ends a turn. It reports whether the room needs another one.
func (b *mailbox) rest() (again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.batch != nil || b.again {
		return true
	}
	b.queued = false
	return false
}

// free gives a batch back that has been dealt with.
func (b *batch) free() {
	if cap(b.entries) > maxSpareEntries {
		return
	}
	clear(b.entries)
	b.entries, b.next = b.entries[:0], 0
	batches.Put(b)
}
