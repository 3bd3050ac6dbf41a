package front

import (
	"context"
	"maps"
	"slices"
	"sync"

	"roomd/kv"
	"roomd/kv/resp"
)

// subscriptions are those of one client.
type subscriptions struct {
	sub      kv.Subscriber
	channels map[string]*subscription
	patterns map[string]*subscription
}

type subscription struct {
	by        kv.Subscriber
	patterned bool
	stop      func()
	confirmed bool // the client knows of it; guarded by the conn's mu
}

// count returns how many there are. There are none in nil.
func (s *subscriptions) count() int {
	if s == nil {
		return 0
	}
	return len(s.channels) + len(s.patterns)
}

// topics are what there is to know of channels or of patterns.
type topics struct {
	began, ended string // the words of the confirmations
	patterned    bool
	of           func(*subscriptions) map[string]*subscription
	subscribe    func(kv.Subscriber, context.Context, string, func(kv.Message)) (stop func(), err error)
}

var (
	channels = topics{
		"subscribe", "unsubscribe", false,
		func(s *subscriptions) map[string]*subscription { return s.channels }, kv.Subscriber.Subscribe,
	}
	patterns = topics{
		"psubscribe", "punsubscribe", true,
		func(s *subscriptions) map[string]*subscription { return s.patterns }, kv.Subscriber.PSubscribe,
	}
)

func (c *conn) subscribe(b []byte, argv [][]byte) []byte    { return c.begins(b, channels, argv[1:]) }
func (c *conn) psubscribe(b []byte, argv [][]byte) []byte   { return c.begins(b, patterns, argv[1:]) }
func (c *conn) unsubscribe(b []byte, argv [][]byte) []byte  { return c.ends(b, channels, argv[1:]) }
func (c *conn) punsubscribe(b []byte, argv [][]byte) []byte { return c.ends(b, patterns, argv[1:]) }

// begins subscribes to topics, and confirms each as it is in force: nothing is
// left for the caller to answer.
func (c *conn) begins(b []byte, kind topics, names [][]byte) []byte {
	c.drain() // so that no reply is between a confirmation and its messages
	if c.subs == nil {
		c.subs = &subscriptions{c.s.store.NewSubscriber(), map[string]*subscription{}, map[string]*subscription{}}
	}
	of := kind.of(c.subs)
	for _, name := range names {
		sn := of[string(name)]
		if sn == nil {
			sn = &subscription{by: c.subs.sub, patterned: kind.patterned}
			c.mu.Lock()
			c.subscribing = true // what comes before the confirmation goes out behind it
			c.mu.Unlock()
			stop, err := kind.subscribe(c.subs.sub, c.ctx, string(name), func(m kv.Message) { c.message(sn, m) })
			if err != nil {
				c.answer(appendFailure(b, err), resp.Plain)
				c.mu.Lock()
				c.letGo()
				c.mu.Unlock()
				continue
			}
			sn.stop = stop
			of[string(name)] = sn
		}
		c.confirm(b, kind.began, name, func() {
			sn.confirmed = true
			c.letGo()
		})
	}
	return b
}

// ends gives up subscriptions, all if no names are given.
func (c *conn) ends(b []byte, kind topics, names [][]byte) []byte {
	c.drain()
	var of map[string]*subscription
	if c.subs != nil {
		of = kind.of(c.subs)
	}
	if len(names) == 0 {
		for _, name := range slices.Sorted(maps.Keys(of)) {
			names = append(names, []byte(name))
		}
		if len(names) == 0 {
			c.confirm(b, kind.ended, nil, func() {})
		}
	}
	for names := range slices.Chunk(names, maxStopping) {
		var stopping sync.WaitGroup
		for _, name := range names {
			if sn := of[string(name)]; sn != nil {
				stopping.Go(sn.stop) // twice does no harm
			}
		}
		stopping.Wait()
		for _, name := range names {
			delete(of, string(name))
			c.confirm(b, kind.ended, name, func() {})
		}
	}
	return b
}

// maxStopping is how many subscriptions one command gives up at the same time:
// each takes as long as the store needs not to count it any more.
const maxStopping = 64

// confirm tells the client that something began or ended; then runs before any
// message can come after it.
func (c *conn) confirm(b []byte, word string, name []byte, then func()) {
	b = resp.AppendPush(b, 3)
	b = resp.AppendBulk(b, word)
	if name == nil {
		b = resp.AppendNull(b)
	} else {
		b = resp.AppendBulk(b, name)
	}
	b = resp.AppendInt(b, int64(c.subs.count()))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom()
	c.emit(b, nil, resp.Plain, c.resp3)
	then()
}

// An earlyMessage came while a subscription was being made.
type earlyMessage struct {
	to *subscription
	m  kv.Message
}

// maxEarly is how many messages may come in that time.
const maxEarly = 65536

// letGo sends what came early; c.mu is held.
func (c *conn) letGo() {
	early := c.early
	c.subscribing, c.early = false, nil
	for _, h := range early {
		c.pass(h.to, h.m)
	}
}

// message has what was published sent. It is called by the subscriber's
// goroutine, and never waits.
func (c *conn) message(sn *subscription, m kv.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.dead:
	case c.subscribing && len(c.early) >= maxEarly:
		c.s.counts.slow.Add(1)
		c.failLocked()
	case c.subscribing:
		c.early = append(c.early, earlyMessage{sn, m})
	default:
		c.pass(sn, m)
	}
}

// pass is message for what is not held up; c.mu is held.
func (c *conn) pass(sn *subscription, m kv.Message) {
	if !sn.confirmed || c.dead {
		return
	}
	out := c.outBuffer()
	before := len(out.b)
	out.b = appendMessage(out.b, m, sn.patterned, c.resp3)
	c.unsent += len(out.b) - before
	c.s.counts.messages.Add(1)
	if c.unsent > maxMessages || sn.by.Lost() > 0 {
		c.s.counts.slow.Add(1)
		c.failLocked()
		return
	}
	if !c.busy {
		c.sendSoon()
	}
}

func appendMessage(b []byte, m kv.Message, patterned, resp3 bool) []byte {
	word, n := "message", 3
	if patterned {
		word, n = "pmessage", 4
	}
	if resp3 {
		b = resp.AppendPush(b, n)
	} else {
		b = resp.AppendArray(b, n)
	}
	b = resp.AppendBulk(b, word)
	if patterned {
		b = resp.AppendBulk(b, m.Pattern)
	}
	b = resp.AppendBulk(b, m.Channel)
	return resp.AppendBulk(b, m.Text)
}
