package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"roomd/bus"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Logs are the logs of all runs. A run is one life of a worker, under a name
// that is never used again; its log is a JetStream stream of its own, so that
// cutting it is a purge of whole blocks and deleting it one call. The methods
// may be called from any goroutine.
type Logs struct {
	js  jetstream.JetStream
	cfg Storage

	brokenAfter time.Duration // what the constant says, or less in tests

	mu     sync.Mutex        // guards what follows
	sealed map[string]uint64 // positions of the seals seen here, of logs that still exist
}

// OpenLogs returns the logs kept beside the records of the same Storage. It does
// no I/O.
func OpenLogs(conn *bus.Conn, cfg Storage) *Logs {
	if cfg.Bucket == "" {
		cfg.Bucket = defaultBucket
	}
	return &Logs{js: conn.JetStream(), cfg: cfg, brokenAfter: brokenAfter, sealed: make(map[string]uint64)}
}

func (l *Logs) stream(run string) string  { return l.cfg.Bucket + "_log_" + run }
func (l *Logs) subject(run string) string { return "$RL." + l.cfg.Bucket + "." + run }

// Begin creates the empty log of a new run. A run that has a log already is an
// error: [ErrExists]. While JetStream is away it tries until ctx ends. While
// servers of the cluster are away the log begins with as many copies as can be
// had, if they are a majority; [Log.Replicate] is for the others.
func (l *Logs) Begin(ctx context.Context, run string) (*Log, error) {
	if !bus.ValidNode(run) {
		return nil, fmt.Errorf("begin log of run %q: not a valid name", run)
	}
	stream, err := retry(ctx, l.create, l.streamConfig(run))
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		err = ErrExists
	}
	if err != nil {
		return nil, fmt.Errorf("begin log of run %q: %w", run, err)
	}
	log := &Log{logs: l, run: run, stream: stream, wake: make(chan struct{}, 1)}
	log.replicas.Store(int32(stream.CachedInfo().Config.Replicas))
	return log, nil
}

// create makes the stream of a log. With a server away JetStream refuses to make
// one with all its copies.
func (l *Logs) create(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	for majority := cfg.Replicas/2 + 1; ; cfg.Replicas-- {
		stream, err := l.js.CreateStream(ctx, cfg)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return l.begun(ctx, cfg, err)
		}
		var refused *jetstream.APIError
		if !errors.As(err, &refused) || refused.ErrorCode != noPeers {
			return stream, err
		}
		if cfg.Replicas == majority {
			return nil, fmt.Errorf("%s: %w", refused.Description, errNotYet)
		}
	}
}

// begun returns the stream that an earlier try of the same Begin has made, with
// fewer copies than this one asks for; its answer was lost. It returns inUse if
// another Begin made the stream.
func (l *Logs) begun(ctx context.Context, cfg jetstream.StreamConfig, inUse error) (jetstream.Stream, error) {
	stream, err := l.js.Stream(ctx, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotYet, err)
	}
	if stream.CachedInfo().Config.Metadata[beginKey] != cfg.Metadata[beginKey] {
		return nil, inUse
	}
	return stream, nil
}

// beginKey names the token of a Begin in the stream's metadata.
const beginKey = "roomd-begin"

// streamConfig holds a token, because NATS takes creating a stream again with
// the same configuration for a success: a second try of one Begin is one, a
// second Begin is not.
func (l *Logs) streamConfig(run string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       l.stream(run),
		Subjects:   []string{l.subject(run)},
		MaxMsgSize: -1,
		Discard:    jetstream.DiscardNew,
		DenyDelete: true,
		Storage:    l.cfg.storage(),
		Replicas:   max(l.cfg.Replicas, 1),
		Metadata:   map[string]string{beginKey: rand.Text()},
	}
}

// Runs returns the runs that have a log, sealed or not, in no particular order.
func (l *Logs) Runs(ctx context.Context) ([]string, error) {
	names := l.js.StreamNames(ctx, jetstream.WithStreamListSubject(l.subject("*")))
	var runs []string
	for name := range names.Name() {
		if run, ok := strings.CutPrefix(name, l.stream("")); ok {
			runs = append(runs, run)
		}
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	l.mu.Lock()
	maps.DeleteFunc(l.sealed, func(run string, _ uint64) bool { return !slices.Contains(runs, run) })
	l.mu.Unlock()
	return runs, nil
}

// Delete removes the log of a run, if it has one.
func (l *Logs) Delete(ctx context.Context, run string) error {
	err := l.js.DeleteStream(ctx, l.stream(run))
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete log of run %q: %w", run, err)
	}
	l.mu.Lock()
	delete(l.sealed, run)
	l.mu.Unlock()
	return nil
}

// Seal ends the log of a run for good: when it has returned nil, no entry is
// acknowledged any more that [Logs.Read] would not find. Sealing again is
// fine. A run without a log gets [ErrNoLog]: it commits nothing either, but what it
// had is gone. While JetStream is away it tries until ctx ends.
//
// A log whose stream takes no message, as a disk was full for a moment, is sealed
// by its configuration: see sealStream.
func (l *Logs) Seal(ctx context.Context, run string) error {
	refused := 0 // seals that NATS did not take, one after the other
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		ok, err := l.trySeal(ctx, run)
		if errors.Is(err, errNotTaken) {
			if refused++; refused >= sealTries {
				ok, err = l.sealStream(ctx, run)
			}
		} else {
			refused = 0
		}
		switch {
		case ok:
			return nil
		case errors.Is(err, ErrNoLog):
			return fmt.Errorf("seal log of run %q: %w", run, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("seal log of run %q: %w", run, errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
	}
}

// trySeal writes the seal wherever the log ends then: it takes the place that
// the writer must get its next message in. So it needs no compare-and-set and
// cannot lose against a busy writer; a second seal changes nothing.
func (l *Logs) trySeal(ctx context.Context, run string) (ok bool, err error) {
	at, err := l.end(ctx, run)
	if err != nil {
		return false, err
	}
	if at.sealed && !at.ends() {
		return l.sealStream(ctx, run)
	}
	if !at.ends() {
		try, cancel := context.WithTimeout(ctx, ackTimeout)
		defer cancel()
		ack, err := l.js.Publish(try, l.subject(run), appendHead(nil, frameSeal, 0))
		if err != nil {
			return false, fmt.Errorf("%w: %w", errNotTaken, err)
		}
		at.pos = ack.Sequence
	}
	l.sealedAt(run, at.pos)
	return true, nil
}

// sealTries is how many seals must fail, a second each, before a log is sealed by
// its configuration.
const sealTries = 3

// errNotTaken says that the leader of a log's stream answers, but did not take a
// message.
var errNotTaken = errors.New("the log takes no message")

// sealStream seals the stream itself. NATS marks a stream to which it could not
// write, and takes no message into it until the server is started again; but the
// configuration is stored apart and can be changed. In a sealed stream nobody
// writes, deletes or purges, and no update opens it again.
//
// It counts when NATS has acknowledged the update: then it is in a file too. One
// that failed, as the disk is still full, may have sealed the stream in the server's
// memory, and a server that starts again would find it open.
//
// A log with several copies is never sealed so. What its leader had proposed before
// is still stored, and acknowledged, if the others agree later; and a replica that
// becomes the leader may not have heard of the update yet. There a leader that has a
// majority takes the seal as a message, and without one nothing can be relied on.
func (l *Logs) sealStream(ctx context.Context, run string) (ok bool, err error) {
	stream, err := l.open(ctx, run)
	if err != nil {
		return false, err
	}
	cfg := stream.CachedInfo().Config
	if cfg.Replicas > 1 {
		return false, fmt.Errorf("seal a log with %d copies: %w", cfg.Replicas, errNotTaken)
	}
	try, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	cfg.Sealed = true
	if _, err := l.js.UpdateStream(try, cfg); err != nil {
		return false, fmt.Errorf("seal the stream: %w", err)
	}
	at, err := l.end(ctx, run)
	if err != nil || !at.sealed {
		return false, err
	}
	l.sealedAt(run, at.pos)
	return true, nil
}

func (l *Logs) sealedAt(run string, pos uint64) {
	l.mu.Lock()
	l.sealed[run] = pos
	l.mu.Unlock()
}

// ErrNoLog says that a run has no log: NATS said so twice. It was deleted when all
// that was in it had been taken over, or NATS has lost it.
var ErrNoLog = errors.New("no log")

// A logEnd is where a log ends: the position of its last message, and what that
// is, nil if it was purged.
type logEnd struct {
	pos    uint64
	data   []byte
	sealed bool // the stream is, whatever its last message says
}

// seal reports whether the log takes no more entries, for now at least.
func (e logEnd) seal() bool { return e.sealed || e.ends() }

// ends reports whether the log ends with a seal.
func (e logEnd) ends() bool { return len(e.data) > 0 && e.data[0] == frameSeal }

// end asks the stream's leader for the last message. It gives up soon.
func (l *Logs) end(ctx context.Context, run string) (logEnd, error) {
	stream, err := l.open(ctx, run)
	if err != nil {
		return logEnd{}, err
	}
	state, sealed := stream.CachedInfo().State, stream.CachedInfo().Config.Sealed
	if state.Msgs == 0 {
		return logEnd{pos: state.LastSeq, sealed: sealed}, nil
	}
	try, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	msg, err := stream.GetMsg(try, state.LastSeq)
	if err != nil {
		return logEnd{}, fmt.Errorf("look at message %d: %w", state.LastSeq, err)
	}
	return logEnd{msg.Sequence, msg.Data, sealed}, nil
}

// open asks the stream's leader how the log is. A log that is missing means that
// there is nothing to take over: a moment later NATS must say the same again,
// lest a server that is just starting is believed.
func (l *Logs) open(ctx context.Context, run string) (jetstream.Stream, error) {
	for missing := false; ; missing = true {
		try, cancel := context.WithTimeout(ctx, ackTimeout)
		stream, err := l.js.Stream(try, l.stream(run))
		cancel()
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return stream, err
		}
		if missing {
			return nil, ErrNoLog
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

// Read calls each with every whole entry of a log, in order, up to where it ends
// at the time of the call: everything acknowledged before. What each is given it
// may keep. A run without a log has no entries. After an error, its own or that
// of each, some entries may have been given already.
func (l *Logs) Read(ctx context.Context, run string, each func(pos uint64, entry []byte) error) error {
	stream, err := l.open(ctx, run)
	if errors.Is(err, ErrNoLog) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read log of run %q: %w", run, err)
	}
	state := stream.CachedInfo().State
	l.mu.Lock()
	end := max(state.LastSeq, l.sealed[run]) // a new leader may not know all yet
	l.mu.Unlock()
	if state.Msgs == 0 && end == state.LastSeq {
		return nil
	}
	d := deframer{each: each}
	messages := scan{js: l.js, stream: l.stream(run), each: func(m *nats.Msg, pos uint64) (bool, error) {
		err := d.add(pos, m.Data)
		return pos < end, err
	}}
	return wrap(messages.run(ctx), "read log of run %q", run)
}
