package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// This file moves the records out of a stream that NATS cannot write any more. It
// marks a stream when a disk was full for a moment, and takes no message into it
// until the server is started again, although it can be read and its configuration
// can be changed. So the records go on in another stream, with their revisions:
//
//  1. The stream is sealed by its configuration. From here nothing is written to it,
//     so what it holds is all there is.
//  2. A mirror is made, under the next name. NATS copies what the old stream has,
//     with its sequence numbers.
//  3. When the mirror has all, it is made a stream of its own that takes writes.
//  4. The old one is deleted.
//
// Any process may take any step, at any time and again, also one that was paused in
// between: a number is not used twice, a sealed stream is never opened again, and a
// mirror of a stream that is gone has nothing, so it is never taken for complete.
//
// Invariants. Of all generations the one with the highest number that is no mirror
// is where the records are. A mirror is promoted only when the generation before
// it was sealed, in its file, and the mirror has as many messages. Nothing is decided
// by what was read from a sealed stream: every decision is a write, and that is
// refused there; and a list of records counts only if the stream is still open.
//
// Only a file with one copy is moved: of several copies a healthy one takes over. If
// the disk is full again while NATS copies, the mirror is broken too, and NATS has to
// be started again; then the move goes on.

// A place is where the records are: an ordinary KV bucket.
type place struct {
	n      int // of the generation: how often they were moved
	stream jetstream.Stream
	bucket jetstream.KeyValue
	name   string // of the stream
	prefix string // of the subjects: "$KV.<bucket>."
}

func (s *Records) at() *place { return s.place.Load() }

// current fails if the records are not here any more, or are about to be moved.
func (p *place) current(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	info, err := p.stream.Info(ctx)
	if err == nil && info.Config.Sealed {
		err = errMoving
	}
	return err
}

var errMoving = errors.New("records are being moved to another stream")

// A generation is a stream of the records as NATS describes it.
type generation struct {
	n    int
	info *jetstream.StreamInfo
}

// movedInfix is between the name of the bucket and the number of a generation. No
// bucket of another prefix has it: those go on with an underscore.
const movedInfix = "-moved-"

// bucketOf names the bucket of a generation.
func (s *Records) bucketOf(n int) string {
	if n == 0 {
		return s.cfg.Bucket
	}
	return s.cfg.Bucket + movedInfix + strconv.Itoa(n)
}

// generationOf is the number in the name of a stream.
func (s *Records) generationOf(stream string) (n int, ok bool) {
	rest, ok := strings.CutPrefix(stream, "KV_"+s.cfg.Bucket)
	if !ok || rest == "" {
		return 0, ok
	}
	digits, ok := strings.CutPrefix(rest, movedInfix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0 && strconv.Itoa(n) == digits
}

// generations asks JetStream which streams there are: where the records are, and
// the mirror that is to be next. Both are nil if there is none.
func (s *Records) generations(ctx context.Context) (now, next *generation, err error) {
	var numbers []int
	names := s.js.StreamNames(ctx)
	for name := range names.Name() {
		if n, ok := s.generationOf(name); ok {
			numbers = append(numbers, n)
		}
	}
	if err := names.Err(); err != nil {
		return nil, nil, fmt.Errorf("list streams: %w", err)
	}
	slices.Sort(numbers)
	for _, n := range slices.Backward(numbers) {
		stream, err := s.js.Stream(ctx, "KV_"+s.bucketOf(n))
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			continue // it was deleted just now
		case err != nil:
			return nil, nil, err
		}
		g := &generation{n, stream.CachedInfo()}
		if g.info.Config.Mirror == nil {
			if next != nil && next.n != n+1 {
				next = nil
			}
			return g, next, nil
		}
		next = g
	}
	return nil, nil, nil
}

// goTo notes where the records are.
func (s *Records) goTo(ctx context.Context, n int, stream jetstream.Stream) error {
	bucket, err := s.js.KeyValue(ctx, s.bucketOf(n))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return errNotYet // in a cluster another server may be asked, which has not heard of it yet
	}
	if err != nil {
		return err
	}
	s.place.Store(&place{
		n: n, stream: stream, bucket: bucket, name: "KV_" + s.bucketOf(n), prefix: "$KV." + s.bucketOf(n) + ".",
	})
	return nil
}

// follow goes on where the records are, if that is elsewhere, and takes part in
// moving them if that is not done. It reports whether they are elsewhere.
func (s *Records) follow(ctx context.Context) (followed bool, err error) {
	now, next, err := s.generations(ctx)
	switch {
	case err != nil || now == nil:
		return false, err
	case now.info.Config.Sealed:
		if err := s.goOnMoving(ctx, now, next); err != nil && ctx.Err() == nil {
			s.watch.log.Warn("records not moved yet, tried again soon", "err", err)
		}
		return false, errMoving
	case now.n == s.at().n:
		return false, nil
	}
	stream, err := s.js.Stream(ctx, now.info.Config.Name)
	if err != nil {
		return false, err
	}
	if err := s.goTo(ctx, now.n, stream); err != nil {
		return false, err
	}
	s.watch.log.Warn("records are in another stream now", "stream", s.at().name)
	s.deleteOld(ctx, now.n)
	return true, nil
}

// goOnMoving takes the next step of a move. The stream that the records are in is
// sealed, if only in the memory of its server.
func (s *Records) goOnMoving(ctx context.Context, now, next *generation) error {
	if s.cfg.Lost == LostLeave {
		return nil // workers do it
	}
	name := "KV_" + s.bucketOf(now.n+1)
	if next == nil {
		_, err := s.js.CreateStream(ctx, s.mirrorConfig(now))
		return wrap(err, "mirror records in %s", name)
	}
	if next.info.State.Msgs < now.info.State.Msgs {
		return nil // NATS is copying
	}
	// Once more, and now it is in its file if it was not: a server that starts again
	// must not find it open.
	sealed, err := s.sealRecords(ctx, now.info.Config)
	if err != nil {
		return err
	}
	if next.info.State.Msgs != sealed.State.Msgs {
		return nil
	}
	if _, err := s.js.UpdateStream(ctx, s.promoted(next.info.Config)); err != nil {
		return fmt.Errorf("promote mirror of records %s: %w", name, err)
	}
	s.watch.log.Error("records were moved to another stream, as NATS could not write to theirs any more",
		"from", now.info.Config.Name, "to", name, "messages", sealed.State.Msgs)
	return nil
}

// sealRecords seals a stream of records for good and returns what is in it.
func (s *Records) sealRecords(ctx context.Context, cfg jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	cfg.Sealed = true
	if _, err := s.js.UpdateStream(ctx, cfg); err != nil {
		return nil, fmt.Errorf("seal %s: %w", cfg.Name, err)
	}
	stream, err := s.js.Stream(ctx, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", cfg.Name, err)
	}
	return stream.CachedInfo(), nil
}

// mirrorConfig describes the mirror of a generation. Its subjects have the next
// bucket's name in place of the old one's.
func (s *Records) mirrorConfig(of *generation) jetstream.StreamConfig {
	from, to := s.bucketOf(of.n), s.bucketOf(of.n+1)
	return jetstream.StreamConfig{
		Name: "KV_" + to, MaxMsgsPerSubject: 1, MaxMsgSize: -1, Discard: jetstream.DiscardNew, DenyDelete: true,
		Storage: of.info.Config.Storage, Replicas: of.info.Config.Replicas,
		Metadata: map[string]string{identityKey: identity(of.info)},
		Mirror: &jetstream.StreamSource{
			Name:              of.info.Config.Name,
			SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "$KV." + from + ".>", Destination: "$KV." + to + ".>"}},
		},
	}
}

// promoted describes a mirror as a stream of records of its own.
func (s *Records) promoted(mirror jetstream.StreamConfig) jetstream.StreamConfig {
	cfg := streamConfig(s.cfg)
	cfg.Name, cfg.Storage, cfg.Replicas = mirror.Name, mirror.Storage, mirror.Replicas
	cfg.Subjects = []string{"$KV." + strings.TrimPrefix(mirror.Name, "KV_") + ".>"}
	cfg.Metadata = map[string]string{identityKey: mirror.Metadata[identityKey]}
	return cfg
}

// identityKey is where a stream of moved records says what identity returns.
const identityKey = "roomd-records"

// identity tells records from those that were made when they were lost. Records
// that were moved are the same.
func identity(info *jetstream.StreamInfo) string {
	if was := info.Config.Metadata[identityKey]; was != "" {
		return was
	}
	return info.Created.UTC().Format(time.RFC3339Nano)
}

// deleteOld deletes the generations before the one in which the records are. What
// it cannot delete does no harm, and goes with the next move.
func (s *Records) deleteOld(ctx context.Context, n int) {
	if s.cfg.Lost == LostLeave {
		return
	}
	for old := range n {
		name := "KV_" + s.bucketOf(old)
		if err := s.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			s.watch.log.Warn("stream of moved records not deleted", "stream", name, "err", err)
		}
	}
}

// beginMoving seals the stream of the records, if NATS has not written to it for
// long though it answers, and writes elsewhere. That it writes elsewhere comes
// first: as long as the disk is full a mirror would break too.
func (s *Records) beginMoving(ctx context.Context) error {
	w := &s.watch
	w.mu.Lock()
	since, err := w.refused.since, w.refused.err
	writes := w.full.since.IsZero()
	w.mu.Unlock()
	if since.IsZero() || time.Since(since) < s.cfg.brokenAfter() || !unanswered(err) || !writes || s.cfg.Lost == LostLeave {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	info, err := s.at().stream.Info(ctx)
	if err != nil || info.Config.Replicas > 1 || info.Config.Storage != jetstream.FileStorage {
		return err
	}
	w.log.Error("NATS answers, but takes no write into the records' stream: they are moved to another one", "stream", s.at().name, "since", since)
	_, err = s.sealRecords(ctx, info.Config)
	return err
}

// brokenAfter is how long records may refuse writes, without a word, before they
// are moved: 15 s.
func (c Storage) brokenAfter() time.Duration { return c.LostFor * 3 / 2 }

// unanswered reports whether an error of a write says no more than that NATS has
// not answered. That is all a server says that cannot write to a stream.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}
