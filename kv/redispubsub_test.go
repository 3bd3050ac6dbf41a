package kv_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"

	"roomd/kv"

	"github.com/redis/go-redis/v9"
)

func (s *redisStore) Publish(ctx context.Context, channel, message string) (int, error) {
	return count(s.client.Publish(ctx, channel, message).Result())
}

func (s *redisStore) Channels(ctx context.Context, pattern string) ([]string, error) {
	if pattern == "" {
		pattern = "*"
	}
	return result(s.client.PubSubChannels(ctx, pattern).Result())
}

func (s *redisStore) NumSub(ctx context.Context, channels ...string) ([]int, error) {
	found, err := s.client.PubSubNumSub(ctx, channels...).Result()
	counts := make([]int, len(channels))
	for i, channel := range channels {
		counts[i] = int(found[channel])
	}
	return counts, asOurs(err)
}

func (s *redisStore) NumPat(ctx context.Context) (int, error) {
	return count(s.client.PubSubNumPat(ctx).Result())
}

// A redisSubscriber has one connection for all its subscriptions. One goroutine
// reads, so that a handler may subscribe; another calls handlers.
type redisSubscriber struct {
	conn  *redis.PubSub
	ended context.Context

	mu        sync.Mutex // guards what follows, and the order of requests
	more      *sync.Cond // of arrived, or calling has ended
	calling   *redisHandler
	arrived   []kv.Message
	over      bool
	handlers  map[topic][]*redisHandler
	confirmed []chan struct{} // a channel for each request that was sent, in that order
}

type topic struct {
	name    string
	pattern bool
}

func topicOf(m kv.Message) topic {
	if m.Pattern != "" {
		return topic{m.Pattern, true}
	}
	return topic{m.Channel, false}
}

type redisHandler struct {
	f       func(kv.Message)
	stopped bool
}

func (s *redisStore) NewSubscriber() kv.Subscriber {
	sub := &redisSubscriber{
		conn: s.client.Subscribe(context.Background()), ended: s.ended, handlers: map[topic][]*redisHandler{},
	}
	sub.more = sync.NewCond(&sub.mu)
	closed := context.AfterFunc(s.ended, sub.Close)
	s.others.Go(sub.read)
	s.others.Go(func() {
		sub.dispatch()
		closed()
	})
	return sub
}

func (sub *redisSubscriber) read() {
	for {
		received, err := sub.conn.Receive(sub.ended)
		sub.mu.Lock()
		if err != nil || sub.over {
			sub.over = true
			for _, waiting := range sub.confirmed {
				close(waiting)
			}
			sub.confirmed = nil
			sub.more.Broadcast()
			sub.mu.Unlock()
			return
		}
		switch received := received.(type) {
		case *redis.Subscription:
			close(sub.confirmed[0])
			sub.confirmed = sub.confirmed[1:]
		case *redis.Message:
			message := kv.Message{Pattern: received.Pattern, Channel: received.Channel, Text: received.Payload}
			sub.arrived = append(sub.arrived, message)
			sub.more.Broadcast()
		}
		sub.mu.Unlock()
	}
}

func (sub *redisSubscriber) dispatch() {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for {
		for len(sub.arrived) == 0 && !sub.over {
			sub.more.Wait()
		}
		if sub.over {
			return
		}
		message := sub.arrived[0]
		sub.arrived = sub.arrived[1:]
		for _, h := range slices.Clone(sub.handlers[topicOf(message)]) {
			if h.stopped || sub.over {
				continue
			}
			sub.calling = h
			sub.mu.Unlock()
			h.f(message)
			sub.mu.Lock()
			sub.calling = nil
			sub.more.Broadcast()
		}
	}
}

func (sub *redisSubscriber) Subscribe(ctx context.Context, channel string, f func(kv.Message)) (func(), error) {
	return sub.listen(ctx, topic{channel, false}, f)
}

func (sub *redisSubscriber) PSubscribe(ctx context.Context, pattern string, f func(kv.Message)) (func(), error) {
	return sub.listen(ctx, topic{pattern, true}, f)
}

func (sub *redisSubscriber) listen(ctx context.Context, to topic, f func(kv.Message)) (func(), error) {
	sub.mu.Lock()
	if sub.over {
		sub.mu.Unlock()
		return nil, redis.ErrClosed
	}
	h := &redisHandler{f: f}
	sub.handlers[to] = append(sub.handlers[to], h)
	confirmed, err := sub.request(ctx, to, true)
	sub.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-confirmed:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return func() {
		if ended := sub.stop(to, h); ended != nil {
			<-ended
			sub.forget(to)
		}
	}, nil
}

// stop has a handler not called any more. If it was the last of its topic it
// returns what is closed when Redis has confirmed that, or is gone.
func (sub *redisSubscriber) stop(to topic, h *redisHandler) (ended <-chan struct{}) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if h.stopped || sub.over {
		return nil
	}
	h.stopped = true
	for sub.calling == h && !insideDispatch() {
		sub.more.Wait()
	}
	rest := slices.DeleteFunc(slices.Clone(sub.handlers[to]), func(other *redisHandler) bool { return other == h })
	if sub.handlers[to] = rest; len(rest) > 0 {
		return nil
	}
	delete(sub.handlers, to)
	ended, err := sub.request(sub.ended, to, false)
	if err != nil {
		sub.over = true
		sub.more.Broadcast()
		return nil
	}
	return ended
}

// insideDispatch reports whether the caller was called by a handler, which can't
// wait for its own end.
func insideDispatch() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if strings.HasSuffix(frame.Function, "(*redisSubscriber).dispatch") {
			return true
		}
	}
	return false
}

// forget drops what has come to a topic that nobody had at its end: handlers that
// come later must not get it.
func (sub *redisSubscriber) forget(to topic) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if len(sub.handlers[to]) == 0 {
		sub.arrived = slices.DeleteFunc(sub.arrived, func(m kv.Message) bool { return topicOf(m) == to })
	}
}

// request asks for a subscription, or for its end, and is called with mu held.
func (sub *redisSubscriber) request(ctx context.Context, to topic, on bool) (<-chan struct{}, error) {
	confirmed := make(chan struct{})
	sub.confirmed = append(sub.confirmed, confirmed)
	switch {
	case on && to.pattern:
		return confirmed, sub.conn.PSubscribe(ctx, to.name)
	case on:
		return confirmed, sub.conn.Subscribe(ctx, to.name)
	case to.pattern:
		return confirmed, sub.conn.PUnsubscribe(ctx, to.name)
	}
	return confirmed, sub.conn.Unsubscribe(ctx, to.name)
}

func (sub *redisSubscriber) Lost() uint64 { return 0 }

// Close does not wait for a handler that runs; closing the store does.
func (sub *redisSubscriber) Close() {
	sub.mu.Lock()
	sub.over = true
	sub.more.Broadcast()
	sub.mu.Unlock()
	sub.conn.Close()
}
