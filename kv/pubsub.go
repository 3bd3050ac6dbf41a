package kv

import (
	"context"
	"sync"

	"roomd/kv/engine"
)

// A dispatcher brings what is published to the subscriptions of one [Store]. It
// knows them all, and finds those that a message is for. What calls the handlers
// is in subscriber.go, what tells others about subscriptions in listen.go.
//
// It implements [engine.Channels], for a store whose subscriptions are all here.
type dispatcher struct {
	up    upstream
	ctx   context.Context // of what up is told; ends in close
	end   context.CancelFunc
	slots chan struct{}  // has one for each thing up is being told
	work  sync.WaitGroup // goroutines: those of subscribers and those that tell up

	mu       sync.Mutex // guards what follows and all topics; taken before a subscriber's; never held over a handler or up
	closed   bool
	channels topics
	patterns topics
}

// topics are channels or patterns, by name.
type topics struct {
	all map[string]*topic
	// heard is how many of them have subscriptions. The others are in all for as
	// long as up does not know that they have none.
	heard int
}

// A topic is a channel or a pattern, and those who have subscribed to it.
type topic struct {
	name        string
	glob        []byte // the name of a pattern; nil for a channel
	first, last *subscription
	count       int // of subscriptions
	telling         // nothing, without an upstream
}

func newDispatcher(up upstream) *dispatcher {
	d := &dispatcher{
		up:       up,
		slots:    make(chan struct{}, maxTellings),
		channels: topics{all: map[string]*topic{}},
		patterns: topics{all: map[string]*topic{}},
	}
	d.ctx, d.end = context.WithCancel(context.Background())
	return d
}

// NewSubscriber implements [PubSub].
func (d *dispatcher) NewSubscriber() Subscriber { return &subscriber{d: d} }

// deliver hands a message, published at a moment, to all subscriptions it is for,
// and returns how many they are, with those that may turn out to have begun after
// it. It never waits for a handler. Messages are handed to each subscriber
// in the order of the calls; one that matches in several ways goes to its
// channel first, then to patterns in any order.
func (d *dispatcher) deliver(at moment, channel, text []byte) (receivers int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0
	}
	var m Message // made when somebody wants it; then shared by all
	pass := func(t *topic) {
		if t.first == nil {
			return
		}
		if receivers == 0 {
			m.Channel, m.Text = string(channel), string(text)
		}
		for sub := t.first; sub != nil; sub = sub.next {
			sub.by.push(delivery{sub, at, m.Channel, m.Text})
		}
		receivers += t.count
	}
	if t := d.channels.all[string(channel)]; t != nil {
		pass(t)
	}
	for _, t := range d.patterns.all {
		if t.first != nil && engine.Match(t.glob, channel) {
			pass(t)
		}
	}
	return receivers
}

// Publish is deliver, for the engine.
func (d *dispatcher) Publish(channel, message []byte) (receivers int) {
	return d.deliver(moment{}, channel, message)
}

// Channels returns the channels that have subscriptions, patterns not counted.
func (d *dispatcher) Channels() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := make([]string, 0, d.channels.heard)
	for name, t := range d.channels.all {
		if t.count > 0 {
			names = append(names, name)
		}
	}
	return names
}

// NumSub returns how many subscriptions the channel has, patterns not counted.
func (d *dispatcher) NumSub(channel []byte) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.channels.all[string(channel)]; t != nil {
		return t.count
	}
	return 0
}

// NumPat returns how many patterns have subscriptions: as in Redis, a pattern
// counts once.
func (d *dispatcher) NumPat() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.patterns.heard
}

// counts returns how many subscriptions each channel and each pattern has: what
// upstream has to know if it has forgotten.
func (d *dispatcher) counts() (channels, patterns map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channels.counts(), d.patterns.counts()
}

func (ts *topics) counts() map[string]int {
	counts := make(map[string]int, ts.heard)
	for name, t := range ts.all {
		if t.count > 0 {
			counts[name] = t.count
		}
	}
	return counts
}

// topics returns those of the topic's sort.
func (d *dispatcher) topics(pattern bool) *topics {
	if pattern {
		return &d.patterns
	}
	return &d.channels
}

// link adds a subscription behind those that its topic has. d.mu is held.
func (d *dispatcher) link(sub *subscription, name string, pattern bool) {
	ts := d.topics(pattern)
	t := ts.all[name]
	if t == nil {
		t = &topic{name: name}
		if pattern {
			t.glob = append([]byte{}, name...) // not nil, even if empty
		}
		ts.all[name] = t
	}
	sub.to, sub.prev = t, t.last
	if t.last == nil {
		t.first = sub
		ts.heard++
	} else {
		t.last.next = sub
	}
	t.last = sub
	t.count++
	d.changed(t, sub, nil)
}

// unlink takes a subscription out again, if it is there. What it returns is closed
// when upstream does not count it any more, or could not be told. d.mu is held.
func (d *dispatcher) unlink(sub *subscription) (left chan struct{}) {
	if sub.left != nil {
		return sub.left
	}
	sub.left = make(chan struct{})
	delete(sub.by.subs, sub)
	t := sub.to
	if sub.prev == nil {
		t.first = sub.next
	} else {
		sub.prev.next = sub.next
	}
	if sub.next == nil {
		t.last = sub.prev
	} else {
		sub.next.prev = sub.prev
	}
	sub.prev, sub.next = nil, nil
	t.count--
	if t.count == 0 {
		d.topics(t.glob != nil).heard--
	}
	d.changed(t, nil, sub.left)
	return sub.left
}

// forget drops a topic that has no subscriptions. d.mu is held.
func (d *dispatcher) forget(t *topic) {
	if t.count == 0 {
		delete(d.topics(t.glob != nil).all, t.name)
	}
}

// close stops all subscriptions, fails those that are under way and waits for
// handlers that run, unless it is called from inside one. Upstream is told
// nothing any more.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	var all []*subscription
	for _, ts := range []*topics{&d.channels, &d.patterns} {
		for _, t := range ts.all {
			for t.first != nil {
				all = append(all, t.first)
				d.unlink(t.first)
			}
		}
	}
	d.mu.Unlock()
	d.end()
	for _, sub := range all {
		sub.by.silence(sub)
	}
	if !insideHandler() {
		d.work.Wait()
	}
}
