package kv

import (
	"context"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
)

// How far the handlers of one subscriber may fall behind.
const (
	maxWaitingMessages = 65536
	maxWaitingBytes    = 64 << 20
)

var errSubscriberClosed = &told{"subscriber is closed", ErrClosed}

// A subscriber calls the handlers of its subscriptions, on a goroutine that it
// has only while there are messages. Messages wait in a queue of bounded length
// and size; when that is full, further ones are dropped and counted.
type subscriber struct {
	d    *dispatcher
	lost atomic.Uint64

	subs   map[*subscription]struct{} // guarded by d.mu; nil before the first
	closed bool                       // guarded by d.mu

	mu      sync.Mutex // guards what follows; never held over a handler
	queue   []delivery // what has been pushed since run last took all
	running bool       // run has a goroutine
	waiting int        // messages not yet handled, in queue and in what run has taken
	bytes   int        // of those
	calling *subscription
	called  *sync.Cond // calling has changed; nil until somebody waits for that
}

// A subscription is one handler, for one channel or pattern.
type subscription struct {
	by   *subscriber
	to   *topic
	call func(Message)
	told chan error // gets the outcome when upstream knows; nil without one

	// begun is closed when since is known, or is not going to be: the subscription
	// has failed or was stopped. Both are nothing without an upstream.
	begun  chan struct{}
	since  moment // what was published up to then is not for it; zero: not known
	settle func() // closes begun, once

	prev, next *subscription // of the same topic, in the order they came; guarded by d.mu
	left       chan struct{} // closed when upstream knows that it went; nil while it is there; guarded by d.mu
	silent     bool          // stopped: call is not called again; guarded by by.mu
}

// A delivery is a message on its way to one handler.
type delivery struct {
	to            *subscription
	at            moment
	channel, text string
}

// size is what a delivery counts for maxWaitingBytes: texts are counted for each
// subscriber, though all share them.
func (v *delivery) size() int { return len(v.channel) + len(v.text) + 64 }

// Subscribe implements [Subscriber]. If upstream fails, or ctx ends before it
// has answered, there is no subscription; f may have been called only if ctx ended
// as upstream answered.
func (s *subscriber) Subscribe(ctx context.Context, channel string, f func(Message)) (stop func(), err error) {
	return s.subscribe(ctx, channel, false, f)
}

// PSubscribe implements [Subscriber], as Subscribe does.
func (s *subscriber) PSubscribe(ctx context.Context, pattern string, f func(Message)) (stop func(), err error) {
	return s.subscribe(ctx, pattern, true, f)
}

func (s *subscriber) subscribe(ctx context.Context, name string, pattern bool, f func(Message)) (stop func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sub := &subscription{by: s, call: f}
	if s.d.up != nil {
		sub.told, sub.begun = make(chan error, 1), make(chan struct{})
		sub.settle = sync.OnceFunc(func() { close(sub.begun) })
	}
	s.d.mu.Lock()
	if err := s.over(); err != nil {
		s.d.mu.Unlock()
		return nil, err
	}
	if s.subs == nil {
		s.subs = map[*subscription]struct{}{}
	}
	s.subs[sub] = struct{}{}
	s.d.link(sub, name, pattern)
	s.d.mu.Unlock()
	if sub.told != nil {
		select {
		case err = <-sub.told:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		sub.end() // upstream has just failed, or ctx has ended: nothing is waited for
		return nil, err
	}
	return sub.stop, nil
}

// over returns why nothing can be subscribed to any more, if so. d.mu is held.
func (s *subscriber) over() error {
	switch {
	case s.d.closed:
		return errStoreClosed
	case s.closed:
		return errSubscriberClosed
	}
	return nil
}

// stop ends the subscription. When it returns its handler neither runs nor will
// be called, with one exception, and upstream does not count it any more, if it
// could be told within one attempt. Called from inside a handler, be it this one or
// any other of the process, stop does not wait for a call that has begun: that
// call may be the caller itself, or may be about to wait for it in turn.
//
// A handler must not wait for another goroutine that calls stop, nor stop be
// called with a lock that the handler takes: they would wait for each other.
func (sub *subscription) stop() { <-sub.end() }

// end is stop without waiting for upstream, which it returns the channel for.
func (sub *subscription) end() (left <-chan struct{}) {
	d := sub.by.d
	d.mu.Lock()
	left = d.unlink(sub)
	d.mu.Unlock()
	sub.by.silence(sub)
	return left
}

// Lost implements [Subscriber]. A message that two handlers miss counts twice.
func (s *subscriber) Lost() uint64 { return s.lost.Load() }

// Close implements [Subscriber]. It waits as stop does.
func (s *subscriber) Close() {
	s.d.mu.Lock()
	s.closed = true
	all := make([]*subscription, 0, len(s.subs))
	for sub := range s.subs {
		all = append(all, sub)
	}
	for _, sub := range all {
		s.d.unlink(sub)
	}
	s.d.mu.Unlock()
	for _, sub := range all {
		s.silence(sub)
	}
	s.await(nil)
}

// silence has a subscription's handler not called any more.
func (s *subscriber) silence(sub *subscription) {
	s.mu.Lock()
	sub.silent = true
	s.mu.Unlock()
	if sub.settle != nil {
		sub.settle()
	}
	s.await(sub)
}

// await waits until the handler of a subscription, or any if sub is nil, does not
// run; inside a handler it does not wait.
func (s *subscriber) await(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := func() bool { return s.calling != nil && (sub == nil || s.calling == sub) }
	if !runs() || insideHandler() {
		return
	}
	if s.called == nil {
		s.called = sync.NewCond(&s.mu)
	}
	for runs() {
		s.called.Wait()
	}
}

// push adds a message for one of the handlers, if there is room. d.mu is held,
// and d is not closed.
func (s *subscriber) push(v delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= maxWaitingMessages || s.bytes+v.size() > maxWaitingBytes {
		s.lost.Add(1)
		return
	}
	s.queue = append(s.queue, v)
	s.waiting++
	s.bytes += v.size()
	if !s.running {
		s.running = true
		s.d.work.Add(1)
		go s.run()
	}
}

// run hands out what there is, then ends. All memory of the queue goes with it,
// so that a subscriber to which nothing happens costs little.
func (s *subscriber) run() {
	defer s.d.work.Done()
	var batch []delivery
	for {
		s.mu.Lock()
		batch, s.queue = s.queue, batch[:0]
		if len(batch) == 0 {
			s.running, s.queue = false, nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for i := range batch {
			s.hand(&batch[i])
		}
	}
}

// hand calls the handler that a message is for, unless it was stopped or began
// after the message. While it is being made nobody knows, and those behind wait,
// so that all come in order: for as long as upstream takes to answer at most.
func (s *subscriber) hand(v *delivery) {
	sub := v.to
	if sub.begun != nil {
		<-sub.begun
	}
	s.mu.Lock()
	silent := sub.silent || sub.since != (moment{}) && !sub.since.before(v.at)
	if !silent {
		s.calling = sub
	}
	s.mu.Unlock()
	if !silent {
		m := Message{Channel: v.channel, Text: v.text}
		if sub.to.glob != nil {
			m.Pattern = sub.to.name
		}
		callHandler(sub.call, m)
	}
	s.mu.Lock()
	s.waiting--
	s.bytes -= v.size()
	s.calling = nil
	if s.called != nil {
		s.called.Broadcast()
	}
	s.mu.Unlock()
	*v = delivery{} // a batch can be long: what was handed out is free at once
}

// callHandler is what every handler is called by: insideHandler looks for it.
//
//go:noinline
func callHandler(f func(Message), m Message) { f(m) }

// insideHandler tells whether the caller was called by a handler. Nobody but its
// own stack knows that: a handler gets nothing that it could hand to stop. It
// costs a microsecond or so, and is asked only when there is something to wait for.
func insideHandler() bool {
	entry := reflect.ValueOf(callHandler).Pointer()
	pcs := make([]uintptr, 64)
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		frames := runtime.CallersFrames(pcs[:n])
		for n > 0 {
			frame, more := frames.Next()
			if frame.Entry == entry {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}
