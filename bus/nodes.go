package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// How nodes tell each other that they live. A crash shows sooner, as "no
// responders"; heartbeats find what hangs and what is cut off.
const (
	beatEvery   = 500 * time.Millisecond
	lostAfter   = 2500 * time.Millisecond // silence after which a node is asked directly
	pingLimit   = 500 * time.Millisecond  // how long it may take to answer
	pausedAfter = 3 * beatEvery           // a heartbeat that comes so much later than the one before: this process was stopped
)

// A Node is one process of ours as its peers see it.
type Node struct {
	Name string
	Role string // "edge" or "worker"
	Load uint64 // conns of an edge, rooms of a worker
	Seen time.Time
}

// Nodes knows which nodes are alive: each publishes a heartbeat every 0.5 s,
// and one that was silent for 2.5 s and does not answer a direct request is
// lost. A node that leaves in order says so and is lost at once. When this
// node's own connection was down, or its process stopped, nobody is declared
// lost for it: silence then says nothing about others.
type Nodes struct {
	conn   *Conn
	self   Node
	load   func() uint64
	onLost func(Node)

	mu     sync.Mutex // guards nodes
	nodes  map[string]Node
	asking map[string]bool
}

// NewNodes returns the tracker of conn's node. load is asked at every
// heartbeat, onLost is told of every node that went; either may be nil.
func NewNodes(conn *Conn, role string, load func() uint64, onLost func(Node)) *Nodes {
	return &Nodes{
		conn: conn, self: Node{Name: conn.Name(), Role: role}, load: load, onLost: onLost,
		nodes: make(map[string]Node), asking: make(map[string]bool),
	}
}

// Run sends and watches heartbeats until ctx ends, and then says goodbye.
func (n *Nodes) Run(ctx context.Context) error {
	stopPing, err := n.conn.Handle(n.ping(n.self), "", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	if err != nil {
		return fmt.Errorf("answer pings: %w", err)
	}
	defer stopPing()
	beats := make(chan *Msg, 4096)
	sub, err := n.conn.Subscribe(n.conn.subjects.Nodes(), "", beats)
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	defer sub.Unsubscribe()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	since := time.Now() // of the connection's last change: nobody can be called silent before
	ticked := since
	n.beat(false)
	for connected := true; ; {
		select {
		case <-ctx.Done():
			n.beat(true)
			return nil
		case m := <-beats:
			n.heard(m)
		case now := <-tick.C:
			n.beat(false)
			// Neither did anybody reach a process that was stopped.
			paused := now.Sub(ticked) > pausedAfter
			ticked = now
			if up := n.conn.Connected(); up != connected || paused {
				connected, since = up, now
			}
			if !connected || now.Sub(since) < lostAfter {
				continue
			}
			for _, node := range n.silent(now) {
				asking.Go(func() { n.ask(ctx, node) })
			}
		}
	}
}

// Alive reports whether a node of that name was heard and is not lost.
func (n *Nodes) Alive(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.nodes[name]
	return ok
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

// beat publishes: role, load, leaving. A failed publish is a missed heartbeat,
// which is what heartbeats are for.
func (n *Nodes) beat(leaving bool) {
	load := uint64(0)
	if n.load != nil {
		load = n.load()
	}
	b := AppendBool(AppendUint(AppendString(nil, n.self.Role), load), leaving)
	_ = n.conn.Publish(n.conn.subjects.Node(n.self.Name), b)
}

func (n *Nodes) heard(m *Msg) {
	name := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	r := Reader{b: m.Data}
	node := Node{Name: name, Role: r.String(), Load: r.Uint(), Seen: time.Now()}
	leaving := r.Bool()
	if r.Err() != nil || !ValidNode(name) {
		n.conn.cfg.Log.Warn("malformed heartbeat", "node", name)
		return
	}
	if leaving {
		n.lose(node)
		return
	}
	n.mu.Lock()
	_, known := n.nodes[name]
	n.nodes[name] = node
	n.mu.Unlock()
	if !known {
		n.beat(false) // it may be new, and is to know us at once: who was never heard is not missed
	}
}

// silent returns the nodes to be asked, and marks them so that each is asked
// once at a time.
func (n *Nodes) silent(now time.Time) []Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []Node
	for _, node := range n.nodes {
		if now.Sub(node.Seen) > lostAfter && node.Name != n.self.Name && !n.asking[node.Name] {
			n.asking[node.Name] = true
			list = append(list, node)
		}
	}
	return list
}

func (n *Nodes) ask(ctx context.Context, node Node) {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	reconnects := n.conn.reconnects()
	_, err := n.conn.Request(ctx, n.ping(node), nil)
	n.mu.Lock()
	delete(n.asking, node.Name)
	current, known := n.nodes[node.Name]
	if err == nil && known {
		current.Seen = time.Now()
		n.nodes[node.Name] = current
	}
	n.mu.Unlock()
	code := ""
	if err != nil {
		code = CodeOf(err)
	}
	// An answer may have been lost with a connection of our own.
	sure := n.conn.Connected() && n.conn.reconnects() == reconnects
	if (code == Unavailable || code == Timeout) && sure && current.Seen.Equal(node.Seen) {
		n.lose(node)
	}
}

func (n *Nodes) lose(node Node) {
	n.mu.Lock()
	_, known := n.nodes[node.Name]
	delete(n.nodes, node.Name)
	n.mu.Unlock()
	if !known || node.Name == n.self.Name {
		return
	}
	n.conn.cfg.Log.Info("node gone", "node", node.Name, "role", node.Role)
	if n.onLost != nil {
		n.onLost(node)
	}
}

// ping is where a node answers that it is there.
func (n *Nodes) ping(node Node) string { return n.conn.subjects.Node(node.Name) + ".ping" }
