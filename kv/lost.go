package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// This file watches over the bucket of the records: whether it can be written,
// and whether NATS still has it. A NATS that has lost its disk or its memory comes
// back empty, and then the bucket is made again, but not before JetStream's leader
// has said for a while without a break that there is none: one that is starting
// says so too. Where records were kept on a disk, that disk may only be missing,
// so nothing is made there unless the operator wants it: it would fork the data.

// WhenLost says what becomes of records that NATS has lost.
type WhenLost string

// The values of WhenLost.
const (
	LostDefault WhenLost = ""     // LostWait for a file store in which records were seen, else LostMake
	LostMake    WhenLost = "make" // an empty bucket is made, and all rooms begin anew
	LostWait    WhenLost = "wait" // the old one is waited for
	LostLeave   WhenLost = "-"    // other nodes see to it: for edges alone, which do not know what records there were
)

// Set implements flag.Value.
func (l *WhenLost) Set(text string) error {
	if l2 := WhenLost(text); l2 == LostDefault || l2 == LostMake || l2 == LostWait {
		*l = l2
		return nil
	}
	return fmt.Errorf("%q: want make or wait", text)
}

// String implements flag.Value.
func (l *WhenLost) String() string { return string(*l) }

const (
	defaultLostFor = 10 * time.Second
	lookStoreEvery = 2 * time.Second // or five times in Storage.LostFor
	probeTimeout   = 4 * time.Second
	probeKey       = "probe" // no dot, so never the key of a room
)

// A watch is what is known of the bucket.
type watch struct {
	cfg Storage
	log *slog.Logger

	mu         sync.Mutex  // guards what follows; not held over I/O
	identity   string      // tells the records from those made when they were lost
	generation uint64      // how many buckets there were, as far as this process knows
	file       bool        // it is a file store
	replicas   int         // it has at least so many copies
	seen       atomic.Bool // it has or had a record
	gone       time.Time   // since when JetStream has said without a break that there is none; zero: it has not
	waits      bool        // it was said that the bucket is waited for
	away       trouble     // it cannot be looked at
	refused    trouble     // it cannot be written
	full       trouble     // nor can the stream of the probe
	doubted    atomic.Bool // a write has failed since the last one was tried
	probed     time.Time
	secrets    map[string][]byte // this process works with these
	unsaved    map[string][]byte // of them, those that the bucket may lack
}

// A trouble is something that fails again and again.
type trouble struct {
	since time.Time // zero: it does not
	err   error
}

func (t *trouble) note(err error) {
	switch {
	case err == nil:
		*t = trouble{}
	case t.since.IsZero():
		*t = trouble{time.Now(), err}
	default:
		t.err = err
	}
}

// text says it once it has lasted for a while.
func (t *trouble) text(what string, after time.Duration) string {
	if t.since.IsZero() || time.Since(t.since) < after {
		return ""
	}
	return fmt.Sprintf("%s for %d s: %v", what, int(time.Since(t.since).Seconds()), t.err)
}

// Trouble says what is wrong with the records, as far as Watch knows; empty if
// nothing is.
func (s *Records) Trouble() string {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone.IsZero() {
		then := fmt.Sprintf("an empty one is made after %v", w.cfg.LostFor)
		switch {
		case w.cfg.Lost == LostLeave:
			then = "workers see to it"
		case w.waiting():
			then = "it is waited for, see -lost-store"
		}
		return fmt.Sprintf("records are lost: NATS says for %d s that there is no stream %s; %s",
			int(time.Since(w.gone).Seconds()), s.at().name, then)
	}
	if text := w.away.text("records cannot be reached", w.cfg.patience()); text != "" {
		return text
	}
	full, refused := w.full.text("NATS cannot write", w.cfg.patience()), w.refused.text("records cannot be written", w.cfg.patience())
	if full != "" && refused != "" {
		full += "; "
	}
	return full + refused
}

// patience is how long records may be away or refuse writes before that is said,
// as most elections take less, and how often a small write tries them.
func (c Storage) patience() time.Duration { return c.LostFor / 2 }

// waiting reports whether a lost bucket is waited for; w.mu is held.
func (w *watch) waiting() bool {
	return w.cfg.Lost == LostWait || w.cfg.Lost == LostDefault && w.file && w.seen.Load()
}

// Watch looks after the bucket until ctx ends: see [Records.Trouble], and
// Storage.Lost.
func (s *Records) Watch(ctx context.Context) {
	w := &s.watch
	tick := time.NewTicker(min(lookStoreEvery, w.cfg.LostFor/5))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch err := s.look(ctx); {
		case err == nil:
			s.probe(ctx)
			if err := s.beginMoving(ctx); err != nil && ctx.Err() == nil {
				w.log.Warn("records cannot be written, nor moved yet", "stream", s.at().name, "err", err)
			}
		case errors.Is(err, jetstream.ErrStreamNotFound):
			s.lost(ctx)
		}
	}
}

// Await returns when the bucket is there, or ctx ends, and says which it is: the
// number grows when it was lost and another one made.
func (s *Records) Await(ctx context.Context) (generation uint64, err error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if err = s.look(ctx); err == nil {
			return s.Generation(), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for records: %w", err)
		case <-time.After(pause):
		}
	}
}

// Generation returns what Await did, or a later one. Whoever goes by records of
// an earlier generation has to give up what they were about.
func (s *Records) Generation() uint64 {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	return s.watch.generation
}

// look asks JetStream's leader for the bucket.
func (s *Records) look(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stream, err := s.js.Stream(try, s.at().name)
	if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && stream.CachedInfo().Config.Sealed {
		followed, failed := s.follow(try)
		switch {
		case followed:
			stream, err = s.js.Stream(try, s.at().name)
		case failed != nil:
			err = failed
		}
	}
	if ctx.Err() != nil {
		return ctx.Err() // whatever came of it
	}
	w := &s.watch
	w.mu.Lock()
	missing := errors.Is(err, jetstream.ErrStreamNotFound)
	switch {
	case !missing:
		w.gone = time.Time{}
	case w.gone.IsZero():
		w.gone = time.Now()
		w.log.Warn("NATS says that there are no records", "stream", s.at().name)
	}
	switch w.away.note(err); {
	case missing:
		w.away = trouble{} // it has its own text
	case err != nil && !errors.Is(err, errMoving):
		w.refused = trouble{} // that counts while NATS answers
	}
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("look at records: %w", err)
	}
	s.there(ctx, stream.CachedInfo())
	return nil
}

// there notes what the bucket is, and whether it is another one.
func (s *Records) there(ctx context.Context, info *jetstream.StreamInfo) {
	w := &s.watch
	w.mu.Lock()
	if now := identity(info); now != w.identity {
		if w.generation > 0 {
			w.log.Error("records are others than before: those were lost, and rooms begin anew",
				"stream", info.Config.Name, "made", now, "before", w.identity)
			w.unsaved = maps.Clone(w.secrets)
		}
		w.identity = now
		w.seen.Store(false)
		w.generation++
	}
	w.file, w.waits = info.Config.Storage == jetstream.FileStorage, false
	w.replicas = max(w.replicas, info.Config.Replicas)
	unsaved := len(w.unsaved)
	w.mu.Unlock()
	if unsaved > 0 {
		s.saveSecrets(ctx)
	}
	if !w.seen.Load() && info.State.Msgs > 0 {
		s.lookForRecords(ctx)
	}
}

// lookForRecords finds out whether the bucket has a record.
func (s *Records) lookForRecords(ctx context.Context) {
	if _, err := s.last(ctx, s.at().prefix+"*.*"); err != nil {
		return // none, or it is looked for again
	}
	s.watch.seen.Store(true)
}

// probe finds out whether the bucket can be written, if a write has failed, and
// whether NATS can write at all. The latter with a stream for nothing else: one that
// is written while its disk is full is broken, see moved.go.
func (s *Records) probe(ctx context.Context) {
	w := &s.watch
	w.mu.Lock()
	due := time.Since(w.probed) >= w.cfg.patience() || !w.full.since.IsZero()
	doubted := w.doubted.Load() || !w.refused.since.IsZero()
	w.mu.Unlock()
	if !due && !doubted {
		return
	}
	full := s.writeProbe(ctx)
	var refused error
	if doubted {
		w.doubted.Store(false)
		try, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		_, refused = s.js.Publish(try, s.at().prefix+probeKey, nil)
	}
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probed = time.Now()
	w.full.note(full)
	w.refused.note(refused)
}

// writeProbe writes to the stream of the probe, and makes it if there is none. If
// it is broken itself, the next one begins anew.
func (s *Records) writeProbe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cfg := jetstream.StreamConfig{
		Name: s.cfg.Bucket + "_probe", Subjects: []string{"$RP." + s.cfg.Bucket},
		MaxMsgs: 1, Storage: s.cfg.storage(), Replicas: max(s.cfg.Replicas, 1),
	}
	try, stop := context.WithTimeout(ctx, probeTimeout/2)
	defer stop()
	_, err := s.js.Publish(try, cfg.Subjects[0], nil)
	var refused *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		_, err = s.js.CreateStream(ctx, cfg)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || errors.As(err, &refused) && refused.ErrorCode == noPeers {
			err = nil // by a node that was told another number of copies, or too few servers are there for ours
		}
	case unanswered(err) && cfg.Replicas == 1:
		err = errors.Join(err, s.js.DeleteStream(ctx, cfg.Name))
	}
	return wrap(err, "write to stream %s", cfg.Name)
}

// suspect takes the error of a write, for probe to look at if it may be the
// bucket's fault.
func (w *watch) suspect(err error) {
	var refused *jetstream.APIError
	if !errors.As(err, &refused) || refused.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence {
		w.doubted.Store(true)
	}
}

// lost makes the bucket again, if it is time and allowed.
func (s *Records) lost(ctx context.Context) {
	w := &s.watch
	w.mu.Lock()
	waiting, said, since := w.waiting(), w.waits, w.gone
	due := w.cfg.Lost != LostLeave && !since.IsZero() && time.Since(since) >= w.cfg.LostFor
	w.waits = w.waits || due && waiting
	cfg := w.cfg
	cfg.Replicas = max(cfg.Replicas, w.replicas)
	w.mu.Unlock()
	switch {
	case !due || waiting && said:
		return
	case waiting:
		w.log.Error("records are lost: NATS has no stream of them, and it is waited for; -lost-store make begins anew without them",
			"stream", s.at().name, "since", since)
		return
	}
	try, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	again := streamConfig(cfg)
	// Above all revisions there were, so that a write meant for a lost record cannot
	// meet a new one with the same revision.
	again.FirstSeq = FirstEpoch(time.Now())
	stream, err := s.js.CreateStream(try, again)
	switch {
	case err == nil:
		w.log.Error("records are lost: NATS had no stream of them, and an empty one was made", "stream", again.Name, "since", since)
		if err = s.goTo(ctx, 0, stream); err == nil {
			err = s.look(ctx)
		}
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		err = nil // another node was faster: it is found at the next look
	}
	if err != nil && ctx.Err() == nil {
		w.log.Warn("records not made again, tried again soon", "stream", again.Name, "err", err)
	}
}

// remember keeps a secret that this process works with.
func (s *Records) remember(name string, value []byte) {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.secrets == nil {
		w.secrets = make(map[string][]byte)
	}
	w.secrets[name] = value
}

// saveSecrets puts secrets into a bucket that was made anew, so that nodes that
// start later have them too.
func (s *Records) saveSecrets(ctx context.Context) {
	w := &s.watch
	w.mu.Lock()
	unsaved := maps.Clone(w.unsaved)
	w.mu.Unlock()
	for name, value := range unsaved {
		_, err := s.Create(ctx, secretKey(name), value, "")
		if errors.Is(err, ErrExists) {
			err = s.compareSecret(ctx, name, value)
		}
		if err != nil {
			if ctx.Err() == nil {
				w.log.Warn("secret not saved, tried again soon", "secret", name, "err", err)
			}
			continue
		}
		w.mu.Lock()
		delete(w.unsaved, name)
		w.mu.Unlock()
	}
}

// compareSecret tells if another node was faster and has made another secret.
func (s *Records) compareSecret(ctx context.Context, name string, value []byte) error {
	entry, err := s.Get(ctx, secretKey(name))
	if err == nil && string(entry.Value) != string(value) {
		s.watch.log.Error("nodes work with different secrets, since one began when the records were lost: restart those that were there before",
			"secret", name)
	}
	return err
}

func secretKey(name string) string { return "secret/" + name } // no dot, so never the key of a room

// FirstEpoch returns the epoch with which something begins of which no record
// knows: milliseconds since 1970, so that it is later than all there were before
// the records were lost. It is below 2^53 for 285,000 years.
func FirstEpoch(now time.Time) uint64 { return uint64(max(now.UnixMilli(), 1)) }
