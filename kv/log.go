package kv

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Why an entry was not appended.
var (
	// ErrSealed: the run is over for everybody else. Whether the entry made it
	// into the log is for whoever sealed it to find out.
	ErrSealed = errors.New("log is sealed: somebody has taken over")
	// ErrBroken comes with ErrSealed if nobody has sealed the log, but NATS has taken
	// no message into it for long though it answers: it had no space for one.
	ErrBroken = errors.New("NATS takes no message into the log: was its disk full?")
	// ErrClosed: the log ended before the entry was known to be written.
	ErrClosed = errors.New("log is closed")
)

// A Log is where one run writes what must not be lost. Any number of entries
// may wait; its writer, Run, puts all that wait into one message, and while
// that is on its way the next gather: 1,000 rooms that write at once cost little
// more than one. Except for Run its methods may be called from any goroutine.
//
// Only the writer appends, with one message on its way and the position it must
// get in it. So a message is in the log once or not at all, whatever happened to
// the acknowledgement, and none is after the seal.
type Log struct {
	logs   *Logs
	run    string
	stream jetstream.Stream
	wake   chan struct{} // something waits, or Close was called

	mu      sync.Mutex // guards what follows
	waiting []pending  // bounded by the callers: a room waits for its entry before it makes the next
	spare   []pending  // the slice that waiting was before, to be used again
	closing bool
	ended   error  // why Run is over; nil while it isn't
	pieces  []span // of entries in pieces that were not cut off, ascending; each is large, so they are few

	replicas atomic.Int32  // copies of the log
	written  atomic.Uint64 // position of the last entry written
	last     atomic.Uint64 // the same once its done has returned
	messages atomic.Uint64
	bytes    atomic.Uint64
	entries  atomic.Uint64
	looks    atomic.Uint64

	stuckSince atomic.Int64 // milliseconds since 1970; 0: not stuck
}

// pending is an entry that waits to be written.
type pending struct {
	entry []byte
	done  func(pos uint64, err error)
}

// A span is where an entry in pieces is: positions of the first and last one.
type span struct{ first, last uint64 }

// Stats are what a log has done since Begin.
type Stats struct {
	Messages uint64 // written
	Entries  uint64 // in them
	Bytes    uint64 // of them
	Looks    uint64 // times NATS had to be asked whether a message was written: refused, or no answer
	Waiting  int    // entries that are not on their way yet
}

// Name returns the name of the run.
func (g *Log) Name() string { return g.run }

// Append hands an entry to the writer and never blocks. The entry belongs to
// the log from here on. done is called once: with the entry's position when it
// is in the log for good, or with [ErrSealed] or [ErrClosed]; then it may be in
// the log or not. Calls are made in the order of Append, on the goroutine of
// Run, which they must not block; after Close or the end of Run by Append
// itself.
//
// An empty entry is written too, to find out about a seal, but [Logs.Read]
// leaves it out.
func (g *Log) Append(entry []byte, done func(pos uint64, err error)) {
	g.mu.Lock()
	if err := g.over(); err != nil {
		g.mu.Unlock()
		done(0, err)
		return
	}
	g.waiting = append(g.waiting, pending{entry, done})
	alone := len(g.waiting) == 1
	g.mu.Unlock()
	if alone {
		g.signal()
	}
}

// over returns what appends get now; g.mu is held.
func (g *Log) over() error {
	if g.ended == nil && g.closing {
		return ErrClosed
	}
	return g.ended
}

// Close has Run write what waits and return. Entries appended from now on get
// [ErrClosed].
func (g *Log) Close() {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	g.signal()
}

func (g *Log) signal() {
	select {
	case g.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Last returns the position up to which every entry was written and its done
// has returned; 0 if none was.
func (g *Log) Last() uint64 { return g.last.Load() }

// Bytes returns how many bytes were written since Begin.
func (g *Log) Bytes() uint64 { return g.bytes.Load() }

// Stats returns what the log has done so far.
func (g *Log) Stats() Stats {
	g.mu.Lock()
	waiting := len(g.waiting)
	g.mu.Unlock()
	return Stats{
		Messages: g.messages.Load(), Entries: g.entries.Load(), Bytes: g.bytes.Load(),
		Looks: g.looks.Load(), Waiting: waiting,
	}
}

// Stuck returns since when NATS has taken no message into the log though it
// answers; zero if that is not so. After 15 s Run ends with [ErrBroken].
func (g *Log) Stuck() time.Time {
	if ms := g.stuckSince.Load(); ms != 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// Cut removes what nobody needs: all entries at positions before pos. The last
// entry written stays whatever pos is. It costs about as much as an append.
func (g *Log) Cut(ctx context.Context, pos uint64) error {
	pos = min(pos, g.written.Load())
	g.mu.Lock()
	i := sort.Search(len(g.pieces), func(i int) bool { return g.pieces[i].last >= pos })
	g.pieces = g.pieces[i:]
	if len(g.pieces) > 0 {
		pos = min(pos, g.pieces[0].first) // else the entry at pos loses its beginning
	}
	g.mu.Unlock()
	if pos <= 1 {
		return nil
	}
	return wrap(g.stream.Purge(ctx, jetstream.WithPurgeSequence(pos)), "cut log of run %q", g.run)
}

// Replicate gives a log that was begun while servers were away the copies that
// it lacks. It does nothing once the log has them all, and fails while it can't.
func (g *Log) Replicate(ctx context.Context) error {
	want := max(g.logs.cfg.Replicas, 1)
	if g.replicas.Load() >= int32(want) {
		return nil
	}
	cfg := g.stream.CachedInfo().Config
	cfg.Replicas = want
	if _, err := g.logs.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("replicate log of run %q: %w", g.run, err)
	}
	g.replicas.Store(int32(want))
	return nil
}

// Run writes entries until ctx ends, or Close was called and nothing waits any
// more: then it returns nil. It returns [ErrSealed] when another worker has sealed
// the log or removed it, or, with [ErrBroken], when NATS takes nothing into it; what waits gets the same error. While NATS is away it
// waits, however long that takes, unless the connection was closed: that is an
// error too. It may be called once.
func (g *Log) Run(ctx context.Context) error {
	w, err := newLogWriter(g)
	if err != nil {
		return g.finish(nil, err)
	}
	defer w.stop()
	for {
		batch, closing := g.take()
		for rest := batch; len(rest) > 0; {
			n, err := w.writeSome(ctx, rest)
			if err != nil {
				return g.finish(rest, err)
			}
			rest = rest[n:]
		}
		if len(batch) > 0 {
			g.giveBack(batch)
			continue
		}
		if closing {
			return g.finish(nil, nil)
		}
		select {
		case <-g.wake:
		case <-ctx.Done():
			return g.finish(nil, nil)
		}
	}
}

// take returns what waits, in a slice for giveBack.
func (g *Log) take() (batch []pending, closing bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) > 0 {
		batch, g.waiting, g.spare = g.waiting, g.spare, nil
	}
	return batch, g.closing
}

// maxSpare is how large a slice of entries is kept for later, in entries.
const maxSpare = 1 << 16

func (g *Log) giveBack(batch []pending) {
	if cap(batch) > maxSpare {
		return
	}
	clear(batch)
	g.mu.Lock()
	g.spare = batch[:0]
	g.mu.Unlock()
}

// finish tells the rest of a batch, and what came after it, that the log is
// over, and returns what Run returns.
func (g *Log) finish(rest []pending, err error) error {
	told := ErrClosed
	switch {
	case errors.Is(err, ErrSealed):
		told = ErrSealed
	case errors.Is(err, ErrClosed): // its context ended
		err = nil
	}
	g.mu.Lock()
	g.ended = told
	waiting := g.waiting
	g.waiting, g.spare = nil, nil
	g.mu.Unlock()
	for _, p := range rest {
		p.done(0, told)
	}
	for _, p := range waiting {
		p.done(0, told)
	}
	return err
}
