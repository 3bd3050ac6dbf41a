package kv

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"roomd/bus"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Why an operation on a record did not succeed. Any other error means that
// nobody knows: the write may have happened.
var (
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("record was changed by somebody else")
	ErrNotFound = errors.New("no such record")
	ErrTooLarge = errors.New("record is too large")
)

// Storage says where records and logs are kept. The zero Storage is usable.
type Storage struct {
	Bucket   string // name of the JetStream KV bucket; empty means "roomd_rooms"
	Memory   bool   // keep it in memory: gone when NATS restarts
	Replicas int    // copies in a NATS cluster; zero means 1

	Lost    WhenLost      // what to do when NATS comes back without the records
	LostFor time.Duration // how long it must say so first, and twice as long as it takes Records.Trouble to speak; zero means 10 s
	Log     *slog.Logger  // nil means slog.Default()
}

// Records is a JetStream KV bucket with one key per record. Its methods may be
// called from any goroutine. Keys are "kind.id"; nothing here looks into values.
//
// The bucket is an ordinary one, to be looked at with NATS's own tools, except
// that a retired record is a deletion marker with a value. Beside the records it
// has keys without a dot: secrets, and "probe", which Watch writes.
type Records struct {
	js    jetstream.JetStream
	cfg   Storage
	place atomic.Pointer[place] // where the records are: see moved.go
	watch watch

	mu       sync.Mutex      // guards what follows
	inPieces map[string]bool // keys whose value is or was in pieces, as far as this process knows
}

// An Entry is a record as it is stored.
type Entry struct {
	Value    []byte
	Revision uint64 // grows with every write, of any key
	Retired  bool   // written by Retire
	Owner    string // the run that owns what the record is about; empty: nobody
}

// OpenRecords opens the bucket and creates it if need be. While JetStream is
// not there yet (a cluster that is electing) it keeps trying until ctx ends.
func OpenRecords(ctx context.Context, conn *bus.Conn, cfg Storage) (*Records, error) {
	if cfg.Bucket == "" {
		cfg.Bucket = defaultBucket
	}
	if cfg.LostFor == 0 {
		cfg.LostFor = defaultLostFor
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Records{js: conn.JetStream(), cfg: cfg, inPieces: make(map[string]bool)}
	s.watch.cfg, s.watch.log = cfg, cfg.Log // openStream may go on with a move
	stream, err := retry(ctx, s.openStream, streamConfig(cfg))
	if err != nil {
		return nil, fmt.Errorf("open records %q: %w", cfg.Bucket, err)
	}
	s.cfg.Memory = stream.CachedInfo().Config.Storage == jetstream.MemoryStorage // also if it is to be made again
	s.watch.cfg.Memory = s.cfg.Memory
	s.there(ctx, stream.CachedInfo())
	return s, nil
}

// openStream opens the stream of the records where they are, and makes one if there
// is none. cfg is what it should be if the records were never moved.
func (s *Records) openStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	change := s.js.UpdateStream
	now, next, err := s.generations(ctx)
	switch {
	case err != nil:
		return nil, err
	case now == nil:
		now = &generation{}
		// Above all revisions of records that may have been lost. Nobody may change it
		// later: a server that starts again drops the messages before it.
		cfg.FirstSeq = FirstEpoch(time.Now())
		change = s.js.CreateStream
	case now.info.Config.Sealed:
		// The nodes that began to move them may be gone.
		if err := s.goOnMoving(ctx, now, next); err != nil {
			return nil, fmt.Errorf("%w: %v", errNotYet, err)
		}
		return nil, fmt.Errorf("%w: %w", errNotYet, errMoving)
	default:
		was := now.info.Config
		cfg.Name, cfg.Subjects, cfg.FirstSeq = was.Name, was.Subjects, was.FirstSeq
		// A node that asks for fewer copies than there are was not told, nor was one
		// that would keep elsewhere what is in memory or in files.
		cfg.Replicas, cfg.Storage = max(cfg.Replicas, was.Replicas), was.Storage
		if first := was.Metadata[identityKey]; first != "" {
			cfg.Metadata = map[string]string{identityKey: first}
		}
	}
	stream, err := change(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || errors.Is(err, jetstream.ErrStreamNotFound) {
		err = errNotYet // another node was faster
	}
	if err != nil {
		return nil, err
	}
	return stream, s.goTo(ctx, now.n, stream)
}

// InMemory reports whether the records are gone when NATS restarts: as Storage
// says, or as the bucket was made by another node.
func (s *Records) InMemory() bool { return s.cfg.Memory }

// streamConfig is what makes a stream a KV bucket, except that AllowDirect is
// off: direct reads are answered by any replica, and 0.9 % of them were stale
// right after a write.
func streamConfig(cfg Storage) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              "KV_" + cfg.Bucket,
		Subjects:          []string{"$KV." + cfg.Bucket + ".>"},
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        -1,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
		Storage:           cfg.storage(),
		Replicas:          max(cfg.Replicas, 1),
	}
}

func (c Storage) storage() jetstream.StorageType {
	if c.Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

const defaultBucket = "roomd_rooms"

var errNotYet = errors.New("not possible yet")

const (
	retryEvery  = 100 * time.Millisecond
	openTimeout = 3 * time.Second // of one try
	noReplicas  = 10074           // JetStream's error for several replicas without a cluster
	noPeers     = 10005           // and for more than there are servers now
)

// retry makes a stream, again and again while JetStream does not answer or says
// that it is not there.
func retry(ctx context.Context, do func(context.Context, jetstream.StreamConfig) (jetstream.Stream, error), cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	for {
		// A request sent while nobody leads gets no answer, ever.
		try, cancel := context.WithTimeout(ctx, openTimeout)
		stream, err := do(try, cfg)
		cancel()
		var refused *jetstream.APIError
		if err == nil || errors.As(err, &refused) && (refused.Code < 500 || refused.ErrorCode == noReplicas) {
			return stream, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryEvery):
		}
	}
}

// MaxRecord is how large the value of a record may be, in bytes.
const MaxRecord = 16 << 20

// maxPage is the same for the pages of shards, which are as large as the data.
const maxPage = 1 << 30

// maxValue returns how large the value of a key may be.
func maxValue(key string) int {
	if strings.HasPrefix(key, PageKind+".") {
		return maxPage
	}
	return MaxRecord
}

// Create writes a record that must not be there, not even retired: then it
// returns ErrExists. owner is the run that owns what the record is about, empty
// for nobody; see Owned.
func (s *Records) Create(ctx context.Context, key string, value []byte, owner string) (revision uint64, err error) {
	revision, err = s.write(ctx, key, value, owner, 0, false)
	if errors.Is(err, ErrConflict) {
		err = fmt.Errorf("create %q: %w", key, ErrExists)
	}
	return revision, err
}

// Update replaces the record if revision is its last one, and returns
// ErrConflict if it is not.
func (s *Records) Update(ctx context.Context, key string, value []byte, owner string, revision uint64) (uint64, error) {
	return s.write(ctx, key, value, owner, revision, false)
}

// Retire is Update for a record whose subject is gone for now: Keys does not
// list it, Get still returns it.
func (s *Records) Retire(ctx context.Context, key string, value []byte, owner string, revision uint64) (uint64, error) {
	return s.write(ctx, key, value, owner, revision, true)
}

// Headers of a record. The first is NATS's own for a deletion marker in a KV
// bucket.
const (
	operationHeader = "KV-Operation"
	deleted         = "DEL"
	ownerHeader     = "Roomd-Owner"
)

// write is one compare-and-set, of a value of any size.
func (s *Records) write(ctx context.Context, key string, value []byte, owner string, revision uint64, retire bool) (uint64, error) {
	written, err := s.writeAny(ctx, key, value, owner, revision, retire)
	if err == nil && strings.Contains(key, ".") && !s.watch.seen.Load() {
		s.watch.seen.Store(true)
	}
	return written, err
}

func (s *Records) writeAny(ctx context.Context, key string, value []byte, owner string, revision uint64, retire bool) (uint64, error) {
	if len(value) > maxValue(key) {
		return 0, fmt.Errorf("write %q: %d bytes: %w", key, len(value), ErrTooLarge)
	}
	msg := nats.NewMsg(s.at().prefix + key)
	if owner != "" {
		msg.Header.Set(ownerHeader, owner)
	}
	if retire {
		msg.Header.Set(operationHeader, deleted)
	}
	if len(value) <= s.inline() {
		msg.Data = value
		written, err := s.swap(ctx, key, msg, revision)
		if err == nil && s.hasPieces(key) {
			s.sweep(ctx, key, "", written)
		}
		return written, err
	}
	s.setPieces(key, true)
	p, err := s.writePieces(ctx, key, value)
	if err != nil {
		return 0, fmt.Errorf("write %q: %w", key, err)
	}
	msg.Header.Set(piecesHeader, p.String())
	written, err := s.swap(ctx, key, msg, revision)
	switch {
	case err == nil:
		s.sweep(ctx, key, p.generation, written)
	case errors.Is(err, ErrConflict):
		_ = s.purge(ctx, key, p.generation, 0) // what it can't remove, the next write will
	}
	return written, err
}

// swap replaces the message of a key. Only code 10071 means that the revision
// was not the last one. A cluster also refuses a lone writer with the right
// revision now and then, with code 10164: then the entry is looked at and the
// write is tried again.
func (s *Records) swap(ctx context.Context, key string, msg *nats.Msg, revision uint64) (uint64, error) {
	for {
		ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(revision))
		if err == nil {
			return ack.Sequence, nil
		}
		var refused *jetstream.APIError
		s.watch.suspect(err)
		if errors.Is(err, nats.ErrMaxPayload) {
			return 0, fmt.Errorf("write %q: %w", key, ErrTooLarge)
		}
		if !errors.As(err, &refused) {
			return 0, fmt.Errorf("write %q: %w", key, err)
		}
		switch refused.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence:
			return 0, fmt.Errorf("write %q: %w", key, ErrConflict)
		case jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		default:
			return 0, fmt.Errorf("write %q: %w", key, err)
		}
		last, err := s.last(ctx, msg.Subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			last = &jetstream.RawStreamMsg{}
		case err != nil:
			return 0, fmt.Errorf("write %q: look again: %w", key, err)
		}
		if last.Sequence > revision && same(last, msg) {
			return last.Sequence, nil // it was this write, refused the second time it was proposed
		}
		if last.Sequence != revision {
			return 0, fmt.Errorf("write %q: %w", key, ErrConflict)
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("write %q: %w", key, ctx.Err())
		case <-time.After(retryEvery / 20):
		}
	}
}

// same reports whether a stored message is what msg writes.
func same(stored *jetstream.RawStreamMsg, msg *nats.Msg) bool {
	for _, header := range []string{operationHeader, ownerHeader, piecesHeader} {
		if stored.Header.Get(header) != msg.Header.Get(header) {
			return false
		}
	}
	return bytes.Equal(stored.Data, msg.Data)
}

// Get returns the last entry of a key, retired ones too, or ErrNotFound.
func (s *Records) Get(ctx context.Context, key string) (Entry, error) {
	for tries := 1; ; tries++ {
		msg, err := s.last(ctx, s.at().prefix+key)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return Entry{}, ErrNotFound
		}
		if err != nil {
			return Entry{}, fmt.Errorf("read %q: %w", key, err)
		}
		value, err := s.valueOf(ctx, key, msg)
		if errors.Is(err, jetstream.ErrMsgNotFound) && tries < getTries {
			continue // it was replaced, and its pieces were removed
		}
		if err != nil {
			return Entry{}, fmt.Errorf("read %q: %w", key, err)
		}
		return Entry{
			Value:    value,
			Revision: msg.Sequence,
			Retired:  msg.Header.Get(operationHeader) == deleted,
			Owner:    msg.Header.Get(ownerHeader),
		}, nil
	}
}

// last asks for the last message of a subject. While nobody leads there is no
// answer, ever: so one that takes long is not waited for until ctx ends.
func (s *Records) last(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return s.at().stream.GetLastMsgForSubject(ctx, subject)
}

// getTries is how often Get begins anew because the record changed under it.
const getTries = 10

// secretBytes is the length of a Secret.
const secretBytes = 32

// Secret returns 32 random bytes that all nodes with this bucket share under a
// name, made by the first to ask.
func (s *Records) Secret(ctx context.Context, name string) ([]byte, error) {
	if !bus.ValidNode(name) {
		return nil, fmt.Errorf("secret %q: not a valid name", name)
	}
	key := secretKey(name)
	fresh := make([]byte, secretBytes)
	rand.Read(fresh) // never fails since Go 1.24
	_, err := s.Create(ctx, key, fresh, "")
	if err == nil {
		s.remember(name, fresh)
		return fresh, nil
	}
	if !errors.Is(err, ErrExists) {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	entry, err := s.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	if len(entry.Value) != secretBytes {
		return nil, fmt.Errorf("secret %q: stored value is damaged", name)
	}
	s.remember(name, entry.Value)
	return entry.Value, nil
}
