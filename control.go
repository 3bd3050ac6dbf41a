package roomd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomd/bus"
	"roomd/edge"
)

// Operators ask nodes what they do, and to leave, over NATS. A process takes
// such questions under the names of all its nodes, and under everyone for
// those that are put to all:
//
//	r.node.everyone.state   →  what every process is
//	r.node.<name>.state     →  what this one is
//	r.node.<name>.drain     →  the same; and it leaves in order, as at SIGTERM
//
// Every answer is a processState, as append writes it.

// everyone is no node's name: those end in a token of hex digits.
const everyone = "everyone"

// A processState is what operators are told of a process: the nodes in it and how
// it is.
//
//	inside bool, state string, n uint, n × (name string, role string, load uint)
type processState struct {
	inside bool // it runs a NATS server, which ends with it
	state  string
	nodes  []nodeState
}

// A nodeState is one node of a process.
type nodeState struct {
	name, role string
	load       uint64 // clients of an edge, rooms of a worker
}

func (p *processState) append(b []byte) []byte {
	b = bus.AppendString(bus.AppendBool(b, p.inside), p.state)
	b = bus.AppendUint(b, uint64(len(p.nodes)))
	for _, n := range p.nodes {
		b = bus.AppendUint(bus.AppendString(bus.AppendString(b, n.name), n.role), n.load)
	}
	return b
}

func parseProcess(b []byte) (processState, error) {
	r := bus.NewReader(b)
	p := processState{inside: r.Bool(), state: r.String()}
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		p.nodes = append(p.nodes, nodeState{name: r.String(), role: r.String(), load: r.Uint()})
	}
	if len(p.nodes) == 0 && r.Err() == nil {
		return p, errors.New("process of no nodes")
	}
	return p, r.Err()
}

// A control answers operators.
type control struct {
	conn  *bus.Conn
	log   *slog.Logger
	names []string // of the nodes in this process
	tell  func() processState
	drain func() // begins the orderly end; called once
}

// controlQueue is how many questions may wait; NATS drops the rest, and who
// asked asks again.
const controlQueue = 64

// start answers until stop is called.
func (c *control) start() (stop func(), err error) {
	asked := make(chan *bus.Msg, controlQueue)
	subjects := c.conn.Subjects()
	listen := []string{stateSubject(subjects, everyone)}
	drains := make(map[string]bool)
	for _, name := range c.names {
		drain := drainSubject(subjects, name)
		drains[drain] = true
		listen = append(listen, stateSubject(subjects, name), drain)
	}
	var subs []*bus.Subscription
	unsubscribe := func() {
		for _, sub := range subs {
			// An error means that the connection is closed, and the subscription with it.
			_ = sub.Unsubscribe()
		}
	}
	for _, subject := range listen {
		sub, err := c.conn.Subscribe(subject, "", asked)
		if err != nil {
			unsubscribe()
			return nil, fmt.Errorf("answer operators: %w", err)
		}
		subs = append(subs, sub)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.answer(ctx, asked, drains) })
	return func() {
		unsubscribe()
		cancel()
		running.Wait()
	}, nil
}

func (c *control) answer(ctx context.Context, asked <-chan *bus.Msg, drains map[string]bool) {
	left := false
	for {
		select {
		case m := <-asked:
			if m.Reply == "" {
				continue
			}
			state := c.tell()
			if err := c.conn.Publish(m.Reply, state.append(nil)); err != nil {
				c.log.Warn("answer operator", "node", c.names[0], "err", err)
			}
			if drains[m.Subject] && !left {
				left = true
				c.log.Info("asked to leave", "node", c.names[0])
				c.drain()
			}
		case <-ctx.Done():
			return
		}
	}
}

func stateSubject(s bus.Subjects, name string) string { return s.Node(name) + ".state" }
func drainSubject(s bus.Subjects, name string) string { return s.Node(name) + ".drain" }

// edgeLoad reads how many clients an edge has, or had a second ago, from its
// metrics.
func edgeLoad(e *edge.Server) uint64 {
	registry := prometheus.NewRegistry()
	registry.MustRegister(e)
	families, err := registry.Gather()
	if err != nil {
		return 0 // an edge that has not begun
	}
	for _, f := range families {
		if f.GetName() == "roomd_edge_conns" {
			return uint64(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	return 0
}

// control returns what answers operators about this process.
func (n *node) control(drain func()) *control {
	c := &control{conn: n.conn, log: n.log, tell: n.state, drain: drain}
	for _, node := range n.state().nodes {
		c.names = append(c.names, node.name)
	}
	return c
}

// state describes this process to operators.
func (n *node) state() processState {
	p := processState{inside: n.cfg.nats == "", state: strings.Join(n.admin.reasons(), "; ")}
	if p.state == "" {
		p.state = "ready"
	}
	if n.edge != nil {
		p.nodes = append(p.nodes, nodeState{n.conn.Name(), roleEdge, edgeLoad(n.edge)})
	}
	if n.worker != nil {
		p.nodes = append(p.nodes, nodeState{n.workerConn.Name(), roleWorker, uint64(n.worker.Len())})
	}
	return p
}

// awaitBalancers gives load balancers the time to see at /readyz that this edge
// is about to leave. It ends early if the operator is in a hurry, or if
// there is no edge any more.
func (n *node) awaitBalancers(edgeDone <-chan struct{}) {
	if n.edge == nil || n.cfg.drainDelay == 0 {
		return
	}
	delay := time.NewTimer(n.cfg.drainDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-n.hurry:
	case <-edgeDone:
	}
}
