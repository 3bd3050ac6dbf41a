package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// How long a client waits before a try to come back, as PROTOCOL.md has it. A
// longer pause would spread the clients of a server that was away for some seconds
// over more time than it needs to take them in.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 5 * time.Second
	steady       = 2 * time.Second // a connection that lasted so long was a success
)

// run serves the connection and makes the next, until the client ends.
func (c *Client) run(w *wire) {
	defer close(c.done)
	defer c.cancel()
	var b backoff
	for {
		began := time.Now()
		err := c.serve(w)
		b.served(time.Since(began))
		if c.lost(err) {
			break
		}
		c.changed(err)
		var again error
		if w, again = c.comeBack(err, &b); again != nil {
			c.finish(again)
			break
		}
		c.changed(nil)
	}
	c.dismiss()
}

// serve handles frames until the connection ends.
func (c *Client) serve(w *wire) error {
	defer w.writer.Wait()
	defer w.cut()
	defer context.AfterFunc(c.ctx, w.cut)()
	w.handle = func(f *Frame) bool {
		c.frame(w, f)
		return true
	}
	err := w.read()
	w.sayGoodbye()
	return err
}

// lost forgets the connection and reports whether the client is over.
func (c *Client) lost(err error) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
	clear(c.numbers)
	clear(c.joins)
	for r := range c.rooms {
		r.number = 0
		r.hurry()
	}
	for _, wait := range c.lists {
		offer(wait, answer{err: ErrNotConnected})
	}
	var closed *CloseError
	if c.err == nil && errors.As(err, &closed) && closed.Final() {
		c.err = err
	}
	return c.err != nil
}

func (c *Client) changed(err error) {
	if c.cfg.Changed != nil {
		c.cfg.Changed(err)
	}
}

// comeBack makes a new connection for the session and asks for all seats again.
// It gives up only when the client is closed or the server refuses it for good.
func (c *Client) comeBack(err error, b *backoff) (*wire, error) {
	var closed *CloseError
	errors.As(err, &closed)
	for {
		if err := c.sleep(b.pause(closed)); err != nil {
			return nil, err
		}
		c.mu.Lock()
		h := Hello{Resume: c.welcome.Resume}
		c.mu.Unlock()
		url := c.next()
		w, welcome, err := openWire(c.ctx, &c.cfg, url, h)
		if Code(err) == "bad_token" { // the session is forgotten: begin a new one
			w, welcome, err = openWire(c.ctx, &c.cfg, url, Hello{User: c.cfg.User, Token: c.cfg.Token})
		}
		if err == nil {
			c.adopt(w, welcome)
			return w, nil
		}
		if closed = nil; errors.As(err, &closed) && closed.Final() {
			return nil, err
		}
	}
}

// A backoff counts tries to come back since a connection lasted.
type backoff struct{ tries int }

// served takes note of a connection that has ended after so long.
func (b *backoff) served(lasted time.Duration) {
	if lasted >= steady {
		b.tries = 0
	}
}

// pause is how long to wait before the next try: what the server asked for, or
// else a random time, longer with every try.
func (b *backoff) pause(closed *CloseError) time.Duration {
	tries := b.tries
	b.tries++
	if closed != nil && closed.Bye != "" && closed.Retry >= 0 {
		return closed.Retry
	}
	return rand.N(min(longestPause, firstPause<<min(tries, 10)))
}

func (c *Client) sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// adopt makes w the client's connection.
func (c *Client) adopt(w *wire, welcome Welcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if welcome.Session != c.welcome.Session {
		for r := range c.rooms {
			r.forget() // another session has none of our seats
		}
	}
	c.welcome, c.link = welcome, w
	if c.err != nil { // closed meanwhile
		w.close(CloseNormal)
		return
	}
	for r := range c.rooms {
		c.sendJoin(r)
	}
}

// finish notes why the client is over, if that is not known yet.
func (c *Client) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// dismiss ends all rooms and whoever waits for them.
func (c *Client) dismiss() {
	c.mu.Lock()
	err := c.err
	rooms := c.rooms
	c.rooms = make(map[*Room]bool)
	for r := range rooms {
		r.end(err)
	}
	c.mu.Unlock()
	for r := range rooms {
		if r.events.Left != nil {
			r.events.Left(err)
		}
	}
}

// offer gives a to whoever waits; each waits for one answer, and takes the first.
func offer(wait chan answer, a answer) {
	select {
	case wait <- a:
	default:
	}
}

// frame handles one frame, then runs the callback that it causes.
func (c *Client) frame(w *wire, f *Frame) {
	if call := c.handle(w, f); call != nil {
		call()
	}
}

// handle changes the client's state and returns the callback, if any.
func (c *Client) handle(w *wire, f *Frame) (call func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f.Type {
	case FrameJoin:
		r := c.joins[f.Ref]
		delete(c.joins, f.Ref)
		if r == nil {
			return nil
		}
		return c.joinedFrame(r, f)
	case FrameList:
		if wait := c.lists[f.Ref]; wait != nil {
			offer(wait, answer{data: append([]byte(nil), f.Data...), err: f.Err()})
		}
		return nil
	case FrameHello, FramePing, FrameBye:
		return nil
	}
	r := c.numbers[f.Room]
	if r == nil {
		return nil
	}
	call, ok := r.frame(f)
	if !ok {
		w.cut() // a gap: resuming fills it
	}
	return call
}
