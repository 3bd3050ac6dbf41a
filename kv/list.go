package kv

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Keys returns up to limit keys of a kind's records that are not retired, in no
// particular order. Values are not read; still it costs a consumer, up to a few
// milliseconds, so callers keep the result for a while.
func (s *Records) Keys(ctx context.Context, kind string, limit int) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher, err := s.at().bucket.Watch(ctx, kind+".*", jetstream.IgnoreDeletes(), jetstream.MetaOnly())
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

// Owned returns the keys of all records whose last write named that owner,
// retired ones too, in no particular order. It reads the headers of all records.
func (s *Records) Owned(ctx context.Context, owner string) ([]string, error) {
	var keys []string
	at := s.at()
	records := scan{js: s.js, stream: at.name, toEnd: true, cfg: jetstream.ConsumerConfig{
		FilterSubject: at.prefix + "*.*", // neither pieces nor secrets
		HeadersOnly:   true,
	}, each: func(m *nats.Msg, _ uint64) (bool, error) {
		if m.Header.Get(ownerHeader) == owner {
			keys = append(keys, strings.TrimPrefix(m.Subject, at.prefix))
		}
		return true, nil
	}}
	err := records.run(ctx)
	if err == nil {
		err = at.current(ctx) // a log is deleted when no record names its run
	}
	return keys, wrap(err, "list records of owner %q", owner)
}
