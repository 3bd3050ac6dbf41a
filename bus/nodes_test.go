package bus

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// watched is a Nodes that does not run: the test takes the place of its Run.
func watched(t *testing.T, c *Conn) (n *Nodes, lost chan Node) {
	t.Helper()
	lost = make(chan Node, 16)
	n = NewNodes(c, "worker", nil, func(node Node) { lost <- node })
	n.own = ownGaps{connected: true, reconnects: c.reconnects(), looked: time.Now()}
	return n, lost
}

// beatOf is a heartbeat of a worker that is not there.
func beatOf(c *Conn, name, gone string) *Msg {
	b := heartbeat{role: "worker", time: time.Now(), gone: gone}
	return &Msg{Subject: c.subjects.Node(name), Data: b.append(nil)}
}

// decideOnce waits for the answer to one ping, and acts on it.
func decideOnce(n *Nodes) {
	<-n.landed
	n.decide()
}

func TestCrashedNodeIsLostAtOnceWhenSomebodyChecks(t *testing.T) {
	a := open(t, Config{Name: "a", LostAfter: maxLostAfter}) // nothing else finds it in time
	b, err := a.Dial(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	lost := make(chan Node, 1)
	na := NewNodes(a, "edge", nil, func(n Node) { lost <- n })
	nb := NewNodes(b, "worker", nil, nil)
	for _, n := range []*Nodes{na, nb} {
		running.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, func() bool { return na.Alive("b") })
	b.Close() // without a word
	await(t, func() bool { na.Check(); return !na.Alive("b") })
	if n := <-lost; n.Name != "b" || !na.Lost("b") {
		t.Errorf("lost %q, want b and to be remembered", n.Name)
	}
}

func TestNodesAreAskedAllAtOnceAndNotTooOften(t *testing.T) {
	a := open(t, Config{Name: "a", LostAfter: maxLostAfter})
	pings := make(chan string, 1000)
	n := NewNodes(a, "edge", nil, nil)
	for _, name := range []string{"b", "c"} {
		stop, err := a.Handle(a.subjects.Node(name)+".ping", "", func(context.Context, []byte) ([]byte, error) { pings <- name; return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		n.heard(beatOf(a, name, ""))
	}
	n.Check() // does not run: nothing happens
	if len(n.checks) != 0 {
		t.Error("Check before Run is kept for later")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	await(t, func() bool { return n.running.Load() })
	began := time.Now()
	const rounds = 4
	asked := map[string]int{}
	n.Check()
	for range 2 * rounds {
		asked[<-pings]++
		n.Check() // a caller that never stops
	}
	if took := time.Since(began); took < (rounds-1)*roundEvery {
		t.Errorf("%d rounds in %v, want %v between two", rounds, took, roundEvery)
	}
	if asked["b"] != rounds || asked["c"] != rounds {
		t.Errorf("asked %v, want both nodes in each of %d rounds", asked, rounds)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestEachBeatAsksTheNextNodeAndTellsAllWhenItIsGone(t *testing.T) {
	c := open(t, Config{Name: "m"})
	beats := make(chan *Msg, 16)
	n, lost := watched(t, c)
	n.heard(beatOf(c, "b", ""))
	n.heard(beatOf(c, "x", ""))
	n.heard(beatOf(c, "z", ""))
	if _, err := c.Subscribe(c.subjects.Node("m"), "", beats); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"x", "z", "b"} { // in a circle
		n.tick(time.Now())
		decideOnce(n)
		if node := <-lost; node.Name != want {
			t.Fatalf("lost %q, want %q", node.Name, want)
		}
		if h, err := parseHeartbeat((<-beats).Data); err != nil || h.gone != want {
			t.Errorf("told others that %q is gone (%v), want %q", h.gone, err, want)
		}
	}
}

func TestNodeThatAnotherFoundGoneIsAskedBeforeItIsBelieved(t *testing.T) {
	c := open(t, Config{Name: "a"})
	beats := make(chan *Msg, 16)
	n, lost := watched(t, c)
	stop, err := c.Handle("r.node.here.ping", "", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	n.heard(beatOf(c, "here", ""))
	n.heard(beatOf(c, "gone", ""))
	n.heard(beatOf(c, "b", "here"))
	decideOnce(n)
	if !n.Alive("here") {
		t.Error("a node that answers was lost as another said so")
	}
	if _, err := c.Subscribe(c.subjects.Node("a"), "", beats); err != nil {
		t.Fatal(err)
	}
	n.heard(beatOf(c, "b", "gone"))
	decideOnce(n)
	if node := <-lost; node.Name != "gone" {
		t.Errorf("lost %q", node.Name)
	}
	n.heard(beatOf(c, "b", "a")) // we are not gone
	if m := <-beats; bytes.HasSuffix(m.Data, []byte("gone")) {
		t.Error("what one node told everyone was told again")
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(beats) != 0 {
		t.Errorf("%d beats too many", len(beats))
	}
}

func TestNobodyIsLostForAGapOfOurOwn(t *testing.T) {
	server := open(t, Config{Name: "server"})
	gaps := map[string]func(*Nodes){
		"the connection was lost and is back": func(n *Nodes) {
			back := make(chan struct{}, 1)
			defer n.conn.OnChange(func(connected bool) {
				if connected {
					back <- struct{}{}
				}
			})()
			if err := n.conn.nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
			<-back
			if err := n.conn.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"the process was stopped": func(n *Nodes) { n.own.looked = time.Now().Add(-time.Minute) },
	}
	for name, gap := range gaps {
		t.Run(name, func(t *testing.T) {
			c, err := server.Dial(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			n, lost := watched(t, c)
			n.heard(beatOf(c, "b", ""))
			gap(n)
			n.tick(time.Now())
			decideOnce(n)
			if !n.Alive("b") || len(lost) > 0 {
				t.Fatal("a node was lost though we were away ourselves")
			}
			n.own.since = time.Now().Add(-n.lostAfter) // we have been here long enough
			n.tick(time.Now())
			decideOnce(n)
			if n.Alive("b") {
				t.Error("a node that is gone is never lost")
			}
		})
	}
}

func TestSilentNodeIsAskedAndLostIfItDoesNotAnswer(t *testing.T) {
	c := open(t, Config{Name: "m"})
	n, lost := watched(t, c)
	deaf := make(chan *Msg, 16)
	if _, err := c.Subscribe("r.node.deaf.ping", "", deaf); err != nil {
		t.Fatal(err)
	}
	n.heard(beatOf(c, "deaf", ""))
	n.beatEvery = 20 * time.Millisecond // for an answer
	n.tick(time.Now())
	decideOnce(n)
	if !n.Alive("deaf") {
		t.Fatal("lost as it did not answer, though it was heard a moment ago")
	}
	n.own.looked = time.Now().Add(time.Minute) // its silence is not ours
	n.tick(time.Now().Add(n.lostAfter + time.Second))
	for n.Alive("deaf") {
		decideOnce(n)
	}
	if node := <-lost; node.Name != "deaf" {
		t.Errorf("lost %q", node.Name)
	}
}

// NATS takes a moment to forget what somebody who crashed had subscribed to.
func TestNodeThatCrashesAsItIsAskedIsAskedAgain(t *testing.T) {
	c := open(t, Config{Name: "m", LostAfter: maxLostAfter})
	n, lost := watched(t, c)
	deaf := make(chan *Msg, 16)
	sub, err := c.Subscribe("r.node.dying.ping", "", deaf)
	if err != nil {
		t.Fatal(err)
	}
	n.heard(beatOf(c, "dying", ""))
	n.tick(time.Now())
	<-deaf
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	for n.Alive("dying") {
		decideOnce(n)
	}
	if node := <-lost; node.Name != "dying" {
		t.Errorf("lost %q", node.Name)
	}
}

func TestLostNodeThatIsHeardAgainIsLikeNew(t *testing.T) {
	var text bytes.Buffer
	c := open(t, Config{Name: "a", Log: slog.New(slog.NewTextHandler(&text, nil))})
	n, lost := watched(t, c)
	n.heard(beatOf(c, "b", ""))
	for range 2 { // and can be lost again
		n.tick(time.Now())
		decideOnce(n)
		<-lost
		if n.Alive("b") || !n.Lost("b") {
			t.Fatal("want b lost")
		}
		n.heard(beatOf(c, "b", ""))
		if !n.Alive("b") || n.Lost("b") {
			t.Fatal("want b known again")
		}
	}
	if got := bytes.Count(text.Bytes(), []byte(`msg="node back" node=b role=worker`)); got != 2 {
		t.Errorf("logged %d times that it is back, want 2:\n%s", got, &text)
	}
}

func TestNodeThatWasMissedIsTold(t *testing.T) {
	a := open(t, Config{Name: "a"})
	b, err := a.Dial(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	na, lost := watched(t, a)
	nb := NewNodes(b, "edge", nil, nil)
	missed := make(chan struct{}, 1)
	nb.OnMissed(func() { missed <- struct{}{} })
	na.heard(beatOf(a, "b", ""))
	na.tick(time.Now()) // b does not run yet: nobody listens
	decideOnce(na)
	<-lost
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- nb.Run(ctx) }()
	await(t, func() bool { nb.mu.Lock(); defer nb.mu.Unlock(); return len(nb.nodes) > 0 }) // it hears itself
	na.heard(beatOf(a, "b", ""))
	<-missed
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAnswerThatIsOlderThanTheNodesLastBeatIsNotBelieved(t *testing.T) {
	c := open(t, Config{Name: "a"})
	n, lost := watched(t, c)
	n.heard(beatOf(c, "b", ""))
	n.tick(time.Now())
	<-n.landed
	n.heard(beatOf(c, "b", ""))
	n.decide()
	if !n.Alive("b") || len(lost) > 0 {
		t.Error("lost, though it was heard after it was asked")
	}
}

func TestLostNodesAreRememberedWithinBounds(t *testing.T) {
	c := open(t, Config{Name: "a", Log: slog.New(slog.DiscardHandler)})
	n, _ := watched(t, c)
	n.onLost = nil
	for range maxLost + 10 {
		node := Node{Name: randomToken(8), Role: "worker"}
		n.add(node)
		n.lose(node, "test")
	}
	if len(n.lost) > maxLost {
		t.Errorf("%d lost nodes remembered, want %d at most", len(n.lost), maxLost)
	}
}

func TestLostAfterIsChecked(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, time.Millisecond, time.Hour} {
		if c, err := Open(t.Context(), Config{LostAfter: d}); err == nil {
			c.Close()
			t.Errorf("LostAfter %v was accepted", d)
		}
	}
	if c := open(t, Config{}); c.LostAfter() != defaultLostAfter {
		t.Errorf("LostAfter() = %v, want %v", c.LostAfter(), defaultLostAfter)
	}
}
