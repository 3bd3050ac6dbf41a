package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullMessages = 4096    // asked for at a time
	pullBytes    = 8 << 20 // likewise; a server keeps 16 MiB for a slow client
	pullTimeout  = time.Second
	scanGone     = 5 * time.Second // after that long NATS forgets the consumer of a scan
)

// A scan reads a stream from its first message on, through a consumer that
// sends many at a time and forgets them. When the consumer, its server or a
// message gets lost, another one goes on behind the last message. (nats.go's
// ordered consumers do the same, but wait a second before they begin anew and
// can't be stopped meanwhile.)
type scan struct {
	js     jetstream.JetStream
	stream string
	cfg    jetstream.ConsumerConfig // which subjects, and whether with data
	toEnd  bool                     // stop where NATS says that there is nothing more
	each   func(m *nats.Msg, seq uint64) (goOn bool, err error)

	next uint64 // sequence of the first message to read
	why  error  // what went wrong last
}

// run calls each with the messages in order until it returns false or an error
// or, with toEnd, there are no more. Otherwise it waits for more until ctx ends.
func (s *scan) run(ctx context.Context) error {
	s.next = 1
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		from := s.next
		done, err := s.attempt(ctx)
		if done || err != nil {
			return err
		}
		if s.next > from {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.why)
		case <-time.After(pause):
		}
	}
}

// attempt reads through one consumer. It returns false if another one is needed.
func (s *scan) attempt(ctx context.Context) (done bool, err error) {
	cfg := s.cfg
	cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, s.next
	cfg.AckPolicy, cfg.InactiveThreshold = jetstream.AckNonePolicy, scanGone
	cfg.MemoryStorage, cfg.Replicas = true, 1
	try, cancel := context.WithTimeout(ctx, openTimeout)
	consumer, err := s.js.CreateConsumer(try, s.stream, cfg)
	cancel()
	var refused *jetstream.APIError
	if errors.As(err, &refused) && refused.Code < 500 {
		return false, err
	}
	if err != nil {
		s.why = err
		return false, nil
	}
	if s.toEnd && consumer.CachedInfo().NumPending == 0 {
		return true, nil
	}
	nc := s.js.Conn()
	p := puller{
		scan: s, nc: nc, inbox: nc.NewInbox(),
		subject: "$JS.API.CONSUMER.MSG.NEXT." + s.stream + "." + consumer.CachedInfo().Name,
		msgs:    make(chan *nats.Msg, pullMessages+16), // it gets some news of the pull as well
	}
	sub, err := nc.ChanSubscribe(p.inbox, p.msgs)
	if err != nil {
		return false, err
	}
	defer sub.Unsubscribe() // fails only if the connection is closed, and so is the subscription then
	for {
		goOn, err := p.pull(ctx)
		if err != nil || !goOn {
			return !p.broken, err
		}
	}
}

// A puller asks one consumer for messages.
type puller struct {
	scan    *scan
	nc      *nats.Conn
	inbox   string
	subject string
	msgs    chan *nats.Msg
	read    uint64 // messages of this consumer
	broken  bool   // nothing comes from it any more
}

var pullRequest = fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d}`, pullMessages, pullBytes, pullTimeout.Nanoseconds())

// pull asks once and reads what comes. It returns false when there is no more to
// read, from this consumer at least.
func (p *puller) pull(ctx context.Context) (goOn bool, err error) {
	if err := p.nc.PublishRequest(p.subject, p.inbox, pullRequest); err != nil {
		return p.fail(err)
	}
	idle := time.NewTimer(2 * pullTimeout)
	defer idle.Stop()
	for range pullMessages {
		var m *nats.Msg
		select {
		case m = <-p.msgs:
		case <-idle.C:
			return p.fail(errors.New("no answer from the consumer"))
		case <-ctx.Done():
			p.broken = true // run says why
			return false, nil
		}
		if status := m.Header.Get("Status"); status != "" && len(m.Data) == 0 && m.Subject == p.inbox {
			return p.status(status, m.Header.Get("Description"))
		}
		goOn, err := p.message(m)
		if err != nil || !goOn {
			return goOn, err
		}
		idle.Reset(2 * pullTimeout)
	}
	return true, nil
}

func (p *puller) message(m *nats.Msg) (goOn bool, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return p.fail(err)
	}
	if meta.Sequence.Consumer != p.read+1 {
		return p.fail(fmt.Errorf("message %d came after %d", meta.Sequence.Consumer, p.read))
	}
	p.read++
	p.scan.next = meta.Sequence.Stream + 1
	goOn, err = p.scan.each(m, meta.Sequence.Stream)
	return goOn && !(p.scan.toEnd && meta.NumPending == 0), err
}

// status is how a pull ends that did not get all it asked for.
func (p *puller) status(code, description string) (goOn bool, err error) {
	if code == "408" || strings.Contains(description, "MaxBytes") {
		return true, nil
	}
	return p.fail(fmt.Errorf("consumer: %s %s", code, description))
}

func (p *puller) fail(why error) (goOn bool, err error) {
	p.broken, p.scan.why = true, why
	return false, nil
}

// wrap says what err is about, if it is one.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
