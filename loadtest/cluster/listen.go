package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Listen subscribes to everything that nodes say on NATS until ctx ends, as an
// operator does who wants to see what goes on, and returns how many messages it
// heard.
func (c *Cluster) Listen(ctx context.Context) (heard int64, err error) {
	nc, err := nats.Connect(c.NATSURL(), nats.Name("listener"), nats.MaxReconnects(-1))
	if err != nil {
		return 0, fmt.Errorf("listen: %w", err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	var n atomic.Int64
	_, err = nc.Subscribe(">", func(*nats.Msg) { n.Add(1) })
	if err == nil {
		<-ctx.Done()
	}
	nc.Close()
	<-closed
	return n.Load(), err
}

// recorded bounds the stream of Record: what is older goes.
const recorded = 64 << 20 // bytes

// Record has a stream keep all that nodes say under their prefix, until ctx ends,
// and returns how many messages it took. The stream is gone then, or the error says
// why not.
func (c *Cluster) Record(ctx context.Context) (kept uint64, err error) {
	nc, err := nats.Connect(c.NATSURL(), nats.Name("recorder"), nats.MaxReconnects(-1))
	if err != nil {
		return 0, fmt.Errorf("record: %w", err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	defer func() { nc.Close(); <-closed }()
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, fmt.Errorf("record: %w", err)
	}
	const name = "recorder"
	making, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	s, err := js.CreateStream(making, jetstream.StreamConfig{
		Name: name, Subjects: []string{"r.>"}, Storage: jetstream.MemoryStorage, MaxBytes: recorded,
	})
	if err == nil {
		<-ctx.Done()
	}
	ending, stop := context.WithTimeout(context.WithoutCancel(ctx), readyWithin)
	defer stop()
	if err == nil {
		var info *jetstream.StreamInfo
		if info, err = s.Info(ending); err == nil {
			kept = info.State.LastSeq
		}
	}
	gone := js.DeleteStream(ending, name) // also if it was not said to be there: it may be
	if errors.Is(gone, jetstream.ErrStreamNotFound) {
		gone = nil
	}
	if err = errors.Join(err, gone); err != nil {
		err = fmt.Errorf("record: %w", err)
	}
	return kept, err
}
