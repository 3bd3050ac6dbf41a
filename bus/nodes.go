package bus

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Node is one process of ours as its peers see it.
type Node struct {
	Name string
	Role string // "edge" or "worker"
	Load uint64 // conns of an edge, rooms of a worker
	Seen time.Time

	heard uint64 // which heartbeat it was, of all that were heard
}

// Nodes knows which nodes are alive. A node is lost, and no longer in the list,
// when
//
//   - it says so, as it leaves in order;
//   - NATS says that nobody listens where it answers pings: its connection is
//     gone. It is asked by Check, by the node before it in the order of names
//     (every beat), and by everyone as soon as one node finds it gone;
//   - it was silent for Config.LostAfter, and does not answer a ping either.
//
// While this node's own connection is down, and for Config.LostAfter after it
// was, or after the process was stopped for a while, nobody is declared lost:
// silence and "nobody listens" then say nothing about others.
//
// Being lost is an opinion, and it may pass: a node that lives, and was cut off
// from NATS for a moment or longer, is heard again at its next heartbeat, and
// then is in the list as if it were new. So onLost may be told of the same node
// several times, and must not harm a node that lives: whoever takes something
// over from a lost node needs a fence of its own. The node is told that it was
// missed (OnMissed): what peers keep of a node they may have given up.
type Nodes struct {
	conn   *Conn
	self   Node
	load   func() uint64
	onLost func(Node)
	missed func()

	beatEvery time.Duration
	lostAfter time.Duration

	running atomic.Bool
	checks  chan struct{} // Check was called
	landed  chan struct{} // there is something in answers

	// Owned by Run's goroutine.
	own       ownGaps
	lastRound time.Time       // when all nodes were asked
	asking    map[string]bool // nodes that are asked for their silence

	mu      sync.Mutex // guards what follows
	nodes   map[string]Node
	lost    map[string]time.Time // when, of those not heard since
	answers []answer             // to pings, not looked at yet
	beats   uint64               // heartbeats heard
}

// lostKept is for how long Lost remembers, and maxLost how many.
const (
	lostKept = 10 * time.Minute
	maxLost  = 1024
)

// NewNodes returns the tracker of conn's node. load is asked at every
// heartbeat, onLost is told of every node that went; either may be nil. onLost
// runs on Run's goroutine: while it does, no heartbeat is sent and nobody else
// is found lost.
func NewNodes(conn *Conn, role string, load func() uint64, onLost func(Node)) *Nodes {
	return &Nodes{
		conn: conn, self: Node{Name: conn.Name(), Role: role}, load: load, onLost: onLost,
		beatEvery: conn.cfg.LostAfter / beatsToLoss, lostAfter: conn.cfg.LostAfter,
		checks: make(chan struct{}, 1), landed: make(chan struct{}, 1),
		nodes: make(map[string]Node), lost: make(map[string]time.Time), asking: make(map[string]bool),
	}
}

// OnMissed has f called when a peer that took this node for lost hears it again.
// f runs on any goroutine, once for each such peer, and must not block for long.
// OnMissed is called before Run.
func (n *Nodes) OnMissed(f func()) { n.missed = f }

// Alive reports whether a node of that name was heard and is not lost.
func (n *Nodes) Alive(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.nodes[name]
	return ok
}

// Lost reports whether a node of that name was lost in the last ten minutes and
// not heard since. A node that is neither Alive nor Lost is one that this node
// has never heard, or long ago.
func (n *Nodes) Lost(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.lost[name]
	return ok && time.Since(at) < lostKept
}

// List returns the living nodes of a role, this one included once it has
// heard itself, sorted by name.
func (n *Nodes) List(role string) []Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []Node
	for _, node := range n.nodes {
		if node.Role == role {
			list = append(list, node)
		}
	}
	slices.SortFunc(list, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Check has all nodes asked whether they are there, as somebody has reason to
// think that one is not. It returns at once; a node that is gone is lost
// milliseconds later. There is at most one round in 100 ms, the last Check in
// that time begins the next. While Run does not run nothing happens.
func (n *Nodes) Check() {
	if !n.running.Load() {
		return
	}
	select {
	case n.checks <- struct{}{}:
	default: // a round is about to begin
	}
}

// add takes note of a node that was heard, and reports whether it was not known,
// and whether that is because it was lost.
func (n *Nodes) add(node Node) (isNew, back bool) {
	n.mu.Lock()
	_, known := n.nodes[node.Name]
	n.beats++
	node.heard = n.beats
	n.nodes[node.Name] = node
	_, back = n.lost[node.Name]
	delete(n.lost, node.Name)
	n.mu.Unlock()
	if back {
		n.conn.cfg.Log.Info("node back", "node", node.Name, "role", node.Role)
	}
	return !known, back
}

// lose takes a node off the list, and reports whether it was there.
func (n *Nodes) lose(node Node, why string) bool {
	n.mu.Lock()
	_, known := n.nodes[node.Name]
	if known {
		delete(n.nodes, node.Name)
		n.forgetLost()
		n.lost[node.Name] = time.Now()
	}
	n.mu.Unlock()
	n.conn.clocks.forget(node.Name)
	if !known || node.Name == n.self.Name {
		return false
	}
	n.conn.cfg.Log.Info("node gone", "node", node.Name, "role", node.Role, "why", why)
	if n.onLost != nil {
		n.onLost(node)
	}
	return true
}

// forgetLost makes room in lost. The caller holds mu.
func (n *Nodes) forgetLost() {
	oldest, since := "", time.Now()
	for name, at := range n.lost {
		if time.Since(at) >= lostKept {
			delete(n.lost, name)
		} else if at.Before(since) {
			oldest, since = name, at
		}
	}
	if len(n.lost) >= maxLost {
		delete(n.lost, oldest)
	}
}

// others returns the known nodes that pick picks, this one left out.
func (n *Nodes) others(pick func(Node) bool) []Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []Node
	for _, node := range n.nodes {
		if node.Name != n.self.Name && pick(node) {
			list = append(list, node)
		}
	}
	return list
}

// successor is the node after this one in the order of names, in a circle.
func (n *Nodes) successor() (next Node, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	after := func(a, b string) bool { // a comes after b, seen from self
		return a > n.self.Name && (b <= n.self.Name || a < b) || a <= n.self.Name && b <= n.self.Name && a < b
	}
	for _, node := range n.nodes {
		if node.Name != n.self.Name && (!ok || after(node.Name, next.Name)) {
			next, ok = node, true
		}
	}
	return next, ok
}
