package roomd

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// storeWait is how long JetStream is waited for before the log has a line, and
// between two lines. A cluster that is electing takes up to 9 s; one that is
// started node by node, or after the nodes, as long as it takes.
const storeWait = 5 * time.Second

// openStore opens the records, and reads what is kept there for edges, as soon as
// JetStream is there. Until ctx ends it waits, and says so.
func (n *node) openStore(ctx context.Context) error {
	began := time.Now()
	var open atomic.Bool
	n.admin.report(func() string {
		if open.Load() {
			return ""
		}
		return "waiting for JetStream"
	})
	for {
		err := n.tryStore(ctx)
		if err == nil {
			open.Store(true)
			n.admin.report(n.records.Trouble)
			if n.records.InMemory() && !n.conn.InMemory() {
				n.log.Warn("records are kept in NATS's memory, as the first node had it: they are gone when NATS restarts", "node", n.conn.Name())
			}
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		n.log.Warn("JetStream does not answer; this node waits for it", "node", n.conn.Name(),
			"s", int(time.Since(began).Seconds()), "err", err)
	}
}

func (n *node) tryStore(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	if err := n.conn.AwaitJetStream(ctx); err != nil {
		return late(ctx, err)
	}
	storage := storeConfig(n.conn, n.cfg)
	storage.Log = n.log
	if n.cfg.role == roleEdge {
		storage.Lost = kv.LostLeave
	}
	if n.records, err = kv.OpenRecords(ctx, n.conn, storage); err != nil {
		return late(ctx, err)
	}
	if n.cfg.role != roleWorker {
		n.secret, err = n.records.Secret(ctx, "resume")
	}
	return late(ctx, err)
}

// late says of an error whether it came as ctx's time was over: what JetStream said
// last before that need not be the reason.
func late(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(err, context.DeadlineExceeded)
	}
	return err
}

// unlessEnding is err, unless the node was told to end before it was up: then
// nothing has failed.
func (n *node) unlessEnding(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, bus.ErrDataLocked) {
		return err
	}
	n.log.Info("ended before it was up", "err", err)
	return nil
}
