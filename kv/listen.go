package kv

import (
	"context"
	"time"
)

// upstream is told which channels and patterns this process has subscriptions
// to. It brings their messages to the dispatcher's deliver.
type upstream interface {
	// listen says that the process now has n subscriptions to a name. When it
	// returns no error, whatever is published from now on arrives, the n are
	// counted, and no message after since was published before that. It is called
	// for one name at a time, and gives up by itself when the other side does not
	// answer.
	listen(ctx context.Context, name string, pattern bool, n int) (since moment, err error)
}

const (
	maxTellings   = 64                    // listens under way at the same time
	firstRelisten = 50 * time.Millisecond // wait after a listen that failed; doubles
	lastRelisten  = 5 * time.Second
)

// telling is what upstream is being told about a topic. While it may not know
// how many subscriptions there are, one goroutine sees to it; several changes at
// the same time become one.
type telling struct {
	active  bool
	waiting []*subscription // those that wait for upstream to know of them
	leaving []chan struct{} // closed when upstream was told of those that went, or could not be
	hurry   chan struct{}   // has one if waiting or leaving has grown; nil before the first time
}

// changed has upstream told about a topic whose count has changed: sub is the
// subscription that came, left has to be closed if one went. d.mu is held.
func (d *dispatcher) changed(t *topic, sub *subscription, left chan struct{}) {
	if d.up == nil {
		d.forget(t)
	}
	if left != nil && (d.up == nil || d.closed) {
		close(left)
	}
	if d.up == nil || d.closed {
		return // tell, if it runs, is about to end
	}
	if sub != nil {
		t.waiting = append(t.waiting, sub)
	} else {
		t.leaving = append(t.leaving, left)
	}
	if !t.active {
		t.active = true
		if t.hurry == nil {
			t.hurry = make(chan struct{}, 1)
		}
		d.work.Add(1)
		go d.tell(t)
		return
	}
	select {
	case t.hurry <- struct{}{}:
	default: // it has one
	}
}

// tell repeats the count of a topic to upstream until that has taken it, and it
// is still right.
func (d *dispatcher) tell(t *topic) {
	defer d.work.Done()
	wait := firstRelisten
	for {
		settled, err := d.tellOnce(t)
		switch {
		case settled:
			return
		case err == nil:
			wait = firstRelisten
		default:
			d.pause(t, wait)
			wait = min(2*wait, lastRelisten)
		}
	}
}

// tellOnce makes one attempt. If it fails, so do those who waited for it; they undo
// their subscriptions, and upstream has to hear that as well, for it may have got
// the message. Those who leave do not wait for a second attempt. settled says that
// there is nothing to tell any more.
func (d *dispatcher) tellOnce(t *topic) (settled bool, err error) {
	d.slots <- struct{}{}
	defer func() { <-d.slots }()

	d.mu.Lock()
	n, waiting, leaving, closed := t.count, t.waiting, t.leaving, d.closed
	t.waiting, t.leaving = nil, nil
	select {
	case <-t.hurry: // was for those just taken
	default:
	}
	d.mu.Unlock()

	var since moment
	if !closed {
		since, err = d.up.listen(d.ctx, t.name, t.glob != nil, n)
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		err = errStoreClosed
	}
	for _, sub := range waiting {
		sub.since = since
		sub.settle()
		sub.told <- err // has room: it is told once
	}
	for _, left := range leaving {
		close(left)
	}
	if len(t.waiting)+len(t.leaving) > 0 || !closed && (err != nil || t.count != n) {
		return false, err
	}
	t.active, t.hurry = false, nil
	d.forget(t)
	return true, nil
}

// pause waits before the next attempt, not at all if a new subscription or one
// that ends waits, or the dispatcher is closed.
func (d *dispatcher) pause(t *topic, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.hurry:
	case <-d.ctx.Done():
	}
}
