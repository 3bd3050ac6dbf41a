package kv

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"roomd/bus"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Why an operation on a record did not succeed. Any other error means that
// nobody knows: the write may have happened.
var (
	ErrExists   = errors.New("record exists")
	ErrConflict = errors.New("record was changed by somebody else")
	ErrNotFound = errors.New("no such record")
	ErrTooLarge = errors.New("record is larger than NATS carries")
)

// Config says how records are stored. The zero Config is usable.
type Config struct {
	Bucket   string // name of the JetStream KV bucket; empty means "roomd_rooms"
	Memory   bool   // keep it in memory: gone when NATS restarts
	Replicas int    // copies in a NATS cluster; zero means 1
}

// Records is a JetStream KV bucket with one key per record. Its methods may be
// called from any goroutine. Keys are "kind.id"; nothing here looks into values.
//
// The bucket is an ordinary one, to be looked at with NATS's own tools, except
// that a retired record is a deletion marker with a value.
type Records struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	bucket jetstream.KeyValue
	prefix string // of the subjects: "$KV.<bucket>."
}

// An Entry is a record as it is stored.
type Entry struct {
	Value    []byte
	Revision uint64 // grows with every write, of any key
	Retired  bool   // written by Retire
}

// OpenRecords opens the bucket and creates it if need be. While JetStream is
// not there yet (a cluster that is electing) it keeps trying until ctx ends.
func OpenRecords(ctx context.Context, conn *bus.Conn, cfg Config) (*Records, error) {
	if cfg.Bucket == "" {
		cfg.Bucket = "roomd_rooms"
	}
	js := conn.JetStream()
	stream, err := openStream(ctx, js, streamConfig(cfg))
	if err != nil {
		return nil, fmt.Errorf("open records %q: %w", cfg.Bucket, err)
	}
	bucket, err := js.KeyValue(ctx, cfg.Bucket)
	if err != nil {
		return nil, fmt.Errorf("open records %q: %w", cfg.Bucket, err)
	}
	return &Records{js: js, stream: stream, bucket: bucket, prefix: "$KV." + cfg.Bucket + "."}, nil
}

// streamConfig is what makes a stream a KV bucket, except that AllowDirect is
// off: direct reads are answered by any replica, and 0.9 % of them were stale
// right after a write.
func streamConfig(cfg Config) jetstream.StreamConfig {
	storage := jetstream.FileStorage
	if cfg.Memory {
		storage = jetstream.MemoryStorage
	}
	return jetstream.StreamConfig{
		Name:              "KV_" + cfg.Bucket,
		Subjects:          []string{"$KV." + cfg.Bucket + ".>"},
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        -1,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
		Storage:           storage,
		Replicas:          max(cfg.Replicas, 1),
	}
}

const (
	retryEvery  = 100 * time.Millisecond
	openTimeout = 3 * time.Second // of one try
)

func openStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	for {
		// A request sent while nobody leads gets no answer, ever.
		try, cancel := context.WithTimeout(ctx, openTimeout)
		stream, err := js.CreateOrUpdateStream(try, cfg)
		cancel()
		var refused *jetstream.APIError
		if err == nil || errors.As(err, &refused) && refused.Code < 500 {
			return stream, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryEvery):
		}
	}
}

// Create writes a record that must not be there, not even retired: then it
// returns ErrExists.
func (s *Records) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	revision, err = s.write(ctx, key, value, 0, false)
	if errors.Is(err, ErrConflict) {
		err = fmt.Errorf("create %q: %w", key, ErrExists)
	}
	return revision, err
}

// Update replaces the record if revision is its last one, and returns
// ErrConflict if it is not.
func (s *Records) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.write(ctx, key, value, revision, false)
}

// Retire is Update for a record whose subject is gone for now: Keys does not
// list it, Get still returns it.
func (s *Records) Retire(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.write(ctx, key, value, revision, true)
}

// NATS's headers for a deletion marker in a KV bucket.
const (
	operationHeader = "KV-Operation"
	deleted         = "DEL"
)

// write is one compare-and-set. Only code 10071 means that the revision was not
// the last one. A cluster also refuses a lone writer with the right revision
// now and then, with code 10164: then the entry is looked at and the write is
// tried again.
func (s *Records) write(ctx context.Context, key string, value []byte, revision uint64, retire bool) (uint64, error) {
	msg := nats.NewMsg(s.prefix + key)
	msg.Data = value
	if retire {
		msg.Header.Set(operationHeader, deleted)
	}
	for {
		ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(revision))
		if err == nil {
			return ack.Sequence, nil
		}
		var refused *jetstream.APIError
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
		last, err := s.Get(ctx, key)
		switch {
		case errors.Is(err, ErrNotFound):
			last = Entry{}
		case err != nil:
			return 0, fmt.Errorf("write %q: look again: %w", key, err)
		}
		if last.Revision > revision && bytes.Equal(last.Value, value) && last.Retired == retire {
			return last.Revision, nil // it was this write, refused the second time it was proposed
		}
		if last.Revision != revision {
			return 0, fmt.Errorf("write %q: %w", key, ErrConflict)
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("write %q: %w", key, ctx.Err())
		case <-time.After(retryEvery / 20):
		}
	}
}

// Get returns the last entry of a key, retired ones too, or ErrNotFound.
func (s *Records) Get(ctx context.Context, key string) (Entry, error) {
	msg, err := s.stream.GetLastMsgForSubject(ctx, s.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Entry{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, fmt.Errorf("read %q: %w", key, err)
	}
	return Entry{
		Value:    msg.Data,
		Revision: msg.Sequence,
		Retired:  msg.Header.Get(operationHeader) == deleted,
	}, nil
}

// Keys returns up to limit keys of a kind's records that are not retired, in no
// particular order. Values are not read; still it costs a consumer, up to a few
// milliseconds, so callers keep the result for a while.
func (s *Records) Keys(ctx context.Context, kind string, limit int) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher, err := s.bucket.Watch(ctx, kind+".*", jetstream.IgnoreDeletes(), jetstream.MetaOnly())
	if err != nil {
		return nil, fmt.Errorf("list records of %q: %w", kind, err)
	}
	defer watcher.Stop()
	var keys []string
	for len(keys) < limit {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok {
				return nil, fmt.Errorf("list records of %q: %w", kind, context.Cause(ctx))
			}
			if entry == nil {
				return keys, nil // everything there was
			}
			keys = append(keys, entry.Key())
		case <-ctx.Done():
			return nil, fmt.Errorf("list records of %q: %w", kind, ctx.Err())
		}
	}
	return keys, nil
}

// secretBytes is the length of a Secret.
const secretBytes = 32

// Secret returns 32 random bytes that all nodes with this bucket share under a
// name, made by the first to ask.
func (s *Records) Secret(ctx context.Context, name string) ([]byte, error) {
	if !bus.ValidNode(name) {
		return nil, fmt.Errorf("secret %q: not a valid name", name)
	}
	key := "secret/" + name // no dot, so never the key of a room
	fresh := make([]byte, secretBytes)
	rand.Read(fresh) // never fails since Go 1.24
	_, err := s.Create(ctx, key, fresh)
	if err == nil {
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
	return entry.Value, nil
}
