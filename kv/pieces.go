package kv

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A value that one message does not carry well is stored in pieces: under keys
// of their own first, "piece.<key>.<generation>.<n>", then the record, which has
// no data but a header that says where they are. The generation is a random
// name, so that nobody overwrites the pieces of somebody else.
//
// Pieces that no record names any more are removed by the next successful write
// of the same key, or at once if the write they belong to failed before its
// record was written, or was refused. What a
// crash or an unknown outcome leaves behind, 16 MiB at most each time, stays
// until the key is written the next time by a process that knows it to be large:
// one that read it or wrote it large before.
const piecesHeader = "Roomd-Pieces"

// maxPiece is how much of a value is in one message: a leader should not be busy
// with a single one for long, and NATS carries 1 MiB by default.
const maxPiece = 512 << 10

// pieces say where a value is.
type pieces struct {
	generation string
	count      int
	size       int // of the value
}

func (p pieces) String() string { return fmt.Sprintf("%s %d %d", p.generation, p.count, p.size) }

func parsePieces(header string) (p pieces, err error) {
	if _, err := fmt.Sscanf(header, "%s %d %d", &p.generation, &p.count, &p.size); err != nil {
		return p, fmt.Errorf("header %s %q: %w", piecesHeader, header, err)
	}
	if p.size < 0 || p.size > maxPage || p.count < 0 || p.count > maxPage {
		return p, fmt.Errorf("header %s %q: out of range", piecesHeader, header)
	}
	return p, nil
}

// inline is how large a value may be to be stored in the record itself.
func (s *Records) inline() int {
	return min(maxPiece, int(s.js.Conn().MaxPayload())-1024) // its headers count too
}

func (s *Records) pieceKey(key, generation string) string {
	return s.at().prefix + "piece." + key + "." + generation
}

func (s *Records) writePieces(ctx context.Context, key string, value []byte) (pieces, error) {
	p := pieces{generation: rand.Text(), size: len(value)}
	for limit := s.inline(); len(value) > 0; p.count++ {
		n := min(limit, len(value))
		msg := &nats.Msg{Subject: fmt.Sprintf("%s.%d", s.pieceKey(key, p.generation), p.count), Data: value[:n]}
		if _, err := s.js.PublishMsg(ctx, msg); err != nil {
			_ = s.purge(ctx, key, p.generation, 0) // what it can't remove, the next write will
			return p, fmt.Errorf("piece %d: %w", p.count, err)
		}
		value = value[n:]
	}
	return p, nil
}

// valueOf returns the value of a record. If it changes meanwhile, the error is
// jetstream.ErrMsgNotFound.
func (s *Records) valueOf(ctx context.Context, key string, record *jetstream.RawStreamMsg) ([]byte, error) {
	header := record.Header.Get(piecesHeader)
	if header == "" {
		return record.Data, nil
	}
	p, err := parsePieces(header)
	if err != nil {
		return nil, err
	}
	s.setPieces(key, true)
	value := make([]byte, 0, p.size)
	for i := range p.count {
		msg, err := s.last(ctx, fmt.Sprintf("%s.%d", s.pieceKey(key, p.generation), i))
		if err != nil {
			return nil, fmt.Errorf("piece %d of %d: %w", i, p.count, err)
		}
		value = append(value, msg.Data...)
	}
	if len(value) != p.size {
		return nil, fmt.Errorf("%d bytes in %d pieces, want %d", len(value), p.count, p.size)
	}
	return value, nil
}

// sweep removes the pieces of all generations but one that were there when the
// record got its revision: no write that they belong to can succeed any more.
// What it can't remove, the next write will.
func (s *Records) sweep(ctx context.Context, key, keep string, revision uint64) {
	info, err := s.at().stream.Info(ctx, jetstream.WithSubjectFilter(s.pieceKey(key, "*")+".*"))
	if err != nil {
		return
	}
	generations := map[string]bool{}
	for subject := range info.State.Subjects {
		generation, _, _ := strings.Cut(strings.TrimPrefix(subject, s.pieceKey(key, "")), ".")
		generations[generation] = true
	}
	delete(generations, keep)
	clean := true
	for generation := range generations {
		if err := s.purge(ctx, key, generation, revision); err != nil {
			clean = false
		}
	}
	if clean && keep == "" {
		s.setPieces(key, false)
	}
}

// purge removes the pieces of a generation that are older than a revision, or
// all for 0. They are close together in the stream, so it is quick.
func (s *Records) purge(ctx context.Context, key, generation string, revision uint64) error {
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(s.pieceKey(key, generation) + ".*")}
	if revision > 0 {
		opts = append(opts, jetstream.WithPurgeSequence(revision))
	}
	return s.at().stream.Purge(ctx, opts...)
}

func (s *Records) hasPieces(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inPieces[key]
}

func (s *Records) setPieces(key string, large bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if large {
		s.inPieces[key] = true
	} else {
		delete(s.inPieces, key)
	}
}
