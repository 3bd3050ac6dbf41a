package bus

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// How nodes tell each other that they live, and find out who does not. A crash
// shows within milliseconds where there is traffic, as "no responders", and
// within a beat where there is none; heartbeats find what hangs and what is cut
// off. All decisions are taken on Run's goroutine.
//
// A heartbeat is
//
//	role    string
//	load    uint
//	leaving bool
//	time    uint    milliseconds since 1970, by the sender's clock
//	gone    string  a node that the sender has just found gone; empty, or left out: none
//
// Who hears of a gone node asks it himself. The node itself, should it be there,
// makes itself heard at once.

const (
	beatsToLoss = 5                      // heartbeats in Config.LostAfter
	roundEvery  = 100 * time.Millisecond // at most so often are all nodes asked
	beatQueue   = 4096                   // heartbeats that wait; NATS drops the rest

	// A node that has just crashed may still be listed as somebody who listens.
	// So whoever is slow to answer is asked again, with twice the patience.
	firstPatience = 20 * time.Millisecond
	maxAsked      = 4
)

// Why a node is asked.
type reason uint8

const (
	forSilence reason = iota // no answer means lost as well
	forCheck                 // only "nobody listens" does, and others are told
	forHint                  // likewise, but another node has told everyone
	forBack                  // it was lost, and is to know
)

// An answer is what came of a ping.
type answer struct {
	node       Node // as it was when it was asked
	why        reason
	asked      int    // how often, before
	reconnects uint64 // of our connection then
	err        error
}

// Run sends and watches heartbeats until ctx ends, and then says goodbye.
func (n *Nodes) Run(ctx context.Context) error {
	stopPing, err := n.conn.Handle(n.ping(n.self), "", n.answerPing)
	if err != nil {
		return fmt.Errorf("answer pings: %w", err)
	}
	defer stopPing()
	beats := make(chan *Msg, beatQueue)
	sub, err := n.conn.Subscribe(n.conn.subjects.Nodes(), "", beats)
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	// An error means that the connection is closed, and the subscription with it.
	defer func() { _ = sub.Unsubscribe() }()
	reconnected := make(chan struct{}, 1)
	defer n.conn.OnChange(func(connected bool) {
		if connected {
			select {
			case reconnected <- struct{}{}:
			default:
			}
		}
	})()
	tick := time.NewTicker(n.beatEvery)
	defer tick.Stop()
	n.own = ownGaps{connected: true, reconnects: n.conn.reconnects(), looked: time.Now()}
	n.running.Store(true)
	defer n.running.Store(false)
	n.beat(false, "")
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			n.beat(true, "")
			return nil
		case m := <-beats:
			n.heard(m)
		case <-n.landed:
			n.decide()
		case <-n.checks:
			if due == nil {
				due = time.After(time.Until(n.lastRound.Add(roundEvery)))
			}
		case now := <-due:
			due, n.lastRound = nil, now
			for len(beats) > 0 { // what a node said before it is asked says nothing against the answer
				n.heard(<-beats)
			}
			for _, node := range n.others(func(Node) bool { return true }) {
				n.ask(node, forCheck, 0)
			}
		case <-reconnected:
			n.beat(false, "") // who lost us is to hear us at once
		case now := <-tick.C:
			n.beat(false, "")
			n.tick(now)
		}
	}
}

// tick asks the next node in the circle, and those that are silent.
func (n *Nodes) tick(now time.Time) {
	if next, ok := n.successor(); ok {
		n.ask(next, forCheck, 0)
	}
	if n.gap(now); !n.own.connected || now.Sub(n.own.since) < n.lostAfter {
		return
	}
	silent := n.others(func(node Node) bool { return now.Sub(node.Seen) > n.lostAfter })
	for _, node := range silent {
		if !n.asking[node.Name] {
			n.asking[node.Name] = true
			n.ask(node, forSilence, 0)
		}
	}
}

// ownGaps is what a node knows of the times when it could not hear others.
type ownGaps struct {
	connected  bool
	reconnects uint64
	looked     time.Time
	since      time.Time // end of the last gap; zero if there was none
}

// pausedBeats is how many beats Run may be late: more mean that the process was
// stopped, and then it did not hear others either.
const pausedBeats = 3

// gap looks whether there was one since it last looked.
func (n *Nodes) gap(now time.Time) {
	g := &n.own
	connected, reconnects := n.conn.Connected(), n.conn.reconnects()
	if connected != g.connected || reconnects != g.reconnects || now.Sub(g.looked) > pausedBeats*n.beatEvery {
		g.since = now
	}
	g.connected, g.reconnects, g.looked = connected, reconnects, now
}

// ask sends a ping; its answer, or that there is none in time, comes to decide.
// Rounds, ticks and what others tell bound how many are out.
func (n *Nodes) ask(node Node, why reason, asked int) {
	patience := firstPatience << asked
	if why == forSilence {
		patience = n.beatEvery
	}
	reconnects := n.conn.reconnects()
	var body []byte
	if why == forBack {
		body = []byte{1}
	}
	n.conn.Call(n.ping(node), body, patience, func(_ []byte, err error) {
		n.mu.Lock()
		n.answers = append(n.answers, answer{node, why, asked, reconnects, err})
		n.mu.Unlock()
		select {
		case n.landed <- struct{}{}:
		default: // Run looks at all that are there
		}
	})
}

// decide looks at the answers to pings.
func (n *Nodes) decide() {
	n.mu.Lock()
	answers := n.answers
	n.answers = nil
	n.mu.Unlock()
	now := time.Now()
	n.gap(now)
	for _, a := range answers {
		if a.why == forSilence {
			delete(n.asking, a.node.Name)
		}
		if a.err == nil {
			n.answered(a.node.Name, now)
			continue
		}
		// An answer may have been lost with a connection of our own, and who was
		// cut off together with us may be back a little later.
		sure := n.own.connected && n.own.reconnects == a.reconnects && (n.own.since.IsZero() || now.Sub(n.own.since) >= n.lostAfter)
		switch code := CodeOf(a.err); {
		case !sure:
		case code == Unavailable && n.known(a.node.Name).heard == a.node.heard: // else it was back before the answer came
			if n.lose(a.node, "nobody listens") && a.why != forHint {
				n.beat(false, a.node.Name)
			}
		case code == Timeout && a.why == forSilence && n.known(a.node.Name).Seen.Equal(a.node.Seen):
			n.lose(a.node, "silent")
		case code == Timeout && a.why != forSilence && a.asked < maxAsked:
			n.ask(a.node, a.why, a.asked+1)
		}
	}
}

// answered notes that a node lives.
func (n *Nodes) answered(name string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if node, known := n.nodes[name]; known {
		node.Seen = now
		n.nodes[name] = node
	}
}

// known is what is known of a node now; the zero Node if it is not known.
func (n *Nodes) known(name string) Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[name]
}

// answerPing says that this node lives, and hears whether it was missed.
func (n *Nodes) answerPing(_ context.Context, body []byte) ([]byte, error) {
	if len(body) > 0 && n.missed != nil {
		n.missed()
	}
	return nil, nil
}

// beat publishes a heartbeat. A failed publish is a missed heartbeat, which is
// what heartbeats are for.
func (n *Nodes) beat(leaving bool, gone string) {
	load := uint64(0)
	if n.load != nil {
		load = n.load()
	}
	b := heartbeat{n.self.Role, load, leaving, n.conn.Deadline(time.Now(), 0), gone}
	_ = n.conn.Publish(n.conn.subjects.Node(n.self.Name), b.append(nil))
}

// A heartbeat is what it says of its sender.
type heartbeat struct {
	role    string
	load    uint64
	leaving bool
	time    time.Time
	gone    string
}

func (h *heartbeat) append(b []byte) []byte {
	b = AppendBool(AppendUint(AppendString(b, h.role), h.load), h.leaving)
	b = AppendUint(b, uint64(h.time.UnixMilli()))
	if h.gone != "" {
		b = AppendString(b, h.gone)
	}
	return b
}

// parseHeartbeat reads a heartbeat. What follows the fields that are known here is
// of a version to come.
func parseHeartbeat(b []byte) (h heartbeat, err error) {
	r := Reader{b: b}
	h.role, h.load, h.leaving = r.String(), r.Uint(), r.Bool()
	h.time = time.UnixMilli(int64(r.Uint()))
	if r.More() {
		h.gone = r.String()
	}
	if !ValidNode(h.role) || h.gone != "" && !ValidNode(h.gone) {
		r.fail()
	}
	return h, r.Err()
}

func (n *Nodes) heard(m *Msg) {
	name := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	h, err := parseHeartbeat(m.Data)
	if err != nil || !ValidNode(name) {
		n.conn.cfg.Log.Warn("malformed heartbeat", "node", name)
		return
	}
	node := Node{Name: name, Role: h.role, Load: h.load, Seen: time.Now()}
	if h.leaving {
		n.lose(node, "left")
		return
	}
	n.conn.heardTime(name, h.time, node.Seen, n.beatEvery)
	gone := h.gone
	isNew, back := n.add(node)
	if back {
		n.ask(n.known(name), forBack, 0)
	}
	if isNew || gone == n.self.Name {
		n.beat(false, "") // it may be new, and is to know us at once: who was never heard is not missed
	}
	if suspect := n.known(gone); suspect.Name != "" && gone != n.self.Name {
		n.ask(suspect, forHint, 0)
	}
}

// ping is where a node answers that it is there.
func (n *Nodes) ping(node Node) string { return n.conn.subjects.Node(node.Name) + ".ping" }
