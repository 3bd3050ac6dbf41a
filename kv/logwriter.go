package kv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxMessage = 256 << 10            // bytes of one message of a log
	ackTimeout = time.Second          // how long the writer waits before it looks
	firstPause = 5 * time.Millisecond // between tries, then twice as long each time
	lastPause  = 500 * time.Millisecond
	lostAfter  = 15 * time.Second // how long NATS may be behind its own acknowledgements: elections take up to 9 s

	// brokenAfter is how long a log may take no message though its leader answers.
	// A leader that has lost its majority answers for 10 s.
	brokenAfter = 15 * time.Second
)

// A logWriter is what Run needs to write one message after another. It sends
// requests by itself rather than with [jetstream.Publisher]: one goroutine less
// to wake, no JSON.
type logWriter struct {
	log    *Log
	nc     *nats.Conn
	msg    nats.Msg // used for every message
	buf    []byte   // its data
	number uint64   // of the last message made
	last   uint64   // position of the last message known to be in the log
	acks   chan *nats.Msg
	sub    *nats.Subscription
	timer  *time.Timer
	behind time.Time // since when looks found less than was acknowledged; zero: not
	stuck  time.Time // since when looks found that the message was not taken; zero: not
}

func newLogWriter(g *Log) (*logWriter, error) {
	nc := g.logs.js.Conn()
	w := &logWriter{log: g, nc: nc, acks: make(chan *nats.Msg, 64), timer: time.NewTimer(0)}
	w.msg = nats.Msg{Subject: g.logs.subject(g.run), Reply: nc.NewInbox(), Header: nats.Header{}}
	var err error
	if w.sub, err = nc.ChanSubscribe(w.msg.Reply, w.acks); err != nil {
		return nil, fmt.Errorf("write log of run %q: %w", g.run, err)
	}
	return w, nil
}

func (w *logWriter) stop() {
	w.timer.Stop()
	w.sub.Unsubscribe() // fails only if the connection is closed, and so is the subscription then
}

// writeSome writes the first of the entries, as many as one message holds, and
// reports them done.
func (w *logWriter) writeSome(ctx context.Context, batch []pending) (n int, err error) {
	limit := min(maxMessage, int(w.nc.MaxPayload())-1024) // its headers count too
	if maxFrameHead+framedLen(batch[0].entry) > limit {
		err = w.writePieces(ctx, batch[0].entry, limit-maxFrameHead)
		n = 1
	} else {
		w.begin(frameEntries)
		for n < len(batch) && len(w.buf)+framedLen(batch[n].entry) <= limit {
			w.buf = appendEntry(w.buf, batch[n].entry)
			n++
		}
		err = w.write(ctx)
	}
	if err != nil {
		return 0, err
	}
	w.log.written.Store(w.last)
	w.log.entries.Add(uint64(n))
	for _, p := range batch[:n] {
		p.done(w.last, nil)
	}
	w.log.last.Store(w.last)
	return n, nil
}

func (w *logWriter) writePieces(ctx context.Context, entry []byte, size int) error {
	first := w.last + 1
	for offset := 0; offset < len(entry); offset += size {
		kind, end := framePiece, offset+size
		if end >= len(entry) {
			kind, end = frameLastPiece, len(entry)
		}
		w.begin(kind)
		w.buf = binary.AppendUvarint(w.buf, uint64(offset))
		w.buf = append(w.buf, entry[offset:end]...)
		if err := w.write(ctx); err != nil {
			return err
		}
	}
	w.log.mu.Lock()
	w.log.pieces = append(w.log.pieces, span{first, w.last})
	w.log.mu.Unlock()
	return nil
}

func (w *logWriter) begin(kind byte) {
	w.number++
	w.buf = appendHead(w.buf[:0], kind, w.number)
}

// write returns when the message in w.buf is in the log, or never will be. The
// next one may not be sent before: this one, sent again, could then be second.
//
// A refusal proves nothing: it is also the answer to a second try when the first
// one was written and its acknowledgement lost, and a cluster refuses now and
// then for no reason. So it looks at what is there. The other way round an
// acknowledgement of any try, even a late one, proves that the message is
// there: of all its tries one at most can have been stored.
func (w *logWriter) write(ctx context.Context) error {
	w.msg.Data = w.buf
	w.msg.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(w.last, 10)}
	w.behind = time.Time{}
	send := true
	defer w.unstick()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		pos := uint64(0)
		if send && w.nc.PublishMsg(&w.msg) == nil { // an error means that NATS is away: so will looking say
			pos = w.await(ctx, ackTimeout)
		}
		if pos == 0 {
			var err error
			if pos, send, err = w.look(ctx); err != nil {
				return err
			}
		}
		if pos == 0 {
			pos = w.await(ctx, pause)
		}
		if pos != 0 {
			w.last = pos
			w.log.messages.Add(1)
			w.log.bytes.Add(uint64(len(w.buf)))
			return nil
		}
		if w.nc.IsClosed() {
			return fmt.Errorf("write log of run %q: %w", w.log.run, nats.ErrConnectionClosed)
		}
		if ctx.Err() != nil {
			return ErrClosed
		}
	}
}

// await waits for the position of the message, and returns 0 when the time is
// over, or with a refusal. Old acknowledgements are of messages at w.last and
// before; an old refusal costs a look.
func (w *logWriter) await(ctx context.Context, d time.Duration) (pos uint64) {
	w.timer.Reset(d)
	for {
		select {
		case ack := <-w.acks:
			pos, ok := parseAck(ack.Data)
			if !ok {
				return 0
			}
			if pos > w.last {
				return pos
			}
		case <-w.timer.C:
			return 0
		case <-ctx.Done():
			return 0
		}
	}
}

// look finds out what became of the message: its position if it is in the log,
// or whether it should be sent (again), or neither if NATS does not say. The
// error is for good.
func (w *logWriter) look(ctx context.Context) (pos uint64, send bool, err error) {
	w.log.looks.Add(1)
	at, err := w.log.logs.end(ctx, w.log.run)
	switch {
	case errors.Is(err, ErrNoLog):
		return 0, false, w.sealed("it was removed")
	case err != nil:
		w.unstick() // nobody leads the stream: it will take messages again
		return 0, false, nil
	case at.pos == w.last+1 && bytes.Equal(at.data, w.buf):
		return at.pos, false, nil
	case at.seal():
		return 0, false, ErrSealed
	case at.pos < w.last:
		return 0, true, w.fellBehind(at.pos)
	case at.pos == w.last:
		w.behind = time.Time{}
		return 0, true, w.notTaken()
	case at.data == nil:
		return 0, false, w.sealed("it was purged by somebody else")
	}
	return 0, false, w.sealed("somebody else writes to it")
}

// fellBehind is for a log that ends before what was acknowledged. A new leader
// may not have read all of its own log yet; but after a power cut NATS may have
// lost it for ever, and then the run can't go on as if nothing had happened.
func (w *logWriter) fellBehind(pos uint64) error {
	if w.behind.IsZero() {
		w.behind = time.Now()
	}
	if time.Since(w.behind) < lostAfter {
		return nil
	}
	return w.sealed(fmt.Sprintf("NATS lost what it had acknowledged: %d to %d", pos+1, w.last))
}

// notTaken is for a message that is not in the log though its leader answers. If
// that stays so, as NATS had no space for a message and takes none into this
// stream any more, the run is over: only a new one, with a new log, can go on. Its
// rooms are then taken over, by this worker or another one, like a dead worker's.
func (w *logWriter) notTaken() error {
	if w.stuck.IsZero() {
		w.stuck = time.Now()
		w.log.stuckSince.Store(w.stuck.UnixMilli())
	}
	if time.Since(w.stuck) < w.log.logs.brokenAfter {
		return nil
	}
	return fmt.Errorf("write log of run %q: %w: %w", w.log.run, ErrBroken, ErrSealed)
}

func (w *logWriter) unstick() {
	w.stuck = time.Time{}
	w.log.stuckSince.Store(0)
}

// sealed is an ErrSealed for a log that nobody sealed and that is over as well.
func (w *logWriter) sealed(why string) error {
	return fmt.Errorf("write log of run %q: %s: %w", w.log.run, why, ErrSealed)
}

// parseAck reads JetStream's answer to a publish: {"stream":"…","seq":12}, or
// one with an error, or nothing if nobody answered.
func parseAck(b []byte) (pos uint64, ok bool) {
	if bytes.Contains(b, []byte(`"error":`)) {
		return 0, false
	}
	_, b, ok = bytes.Cut(b, []byte(`"seq":`))
	b = bytes.TrimLeft(b, " ")
	for ok && len(b) > 0 && '0' <= b[0] && b[0] <= '9' {
		pos, b = pos*10+uint64(b[0]-'0'), b[1:]
	}
	return pos, pos > 0
}
