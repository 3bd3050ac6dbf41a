package kvchaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roomd/kv/resp"
)

// What there is at the end, read once all is well again.

const (
	readWithin   = 60 * time.Second
	settleWithin = 40 * time.Second
	drainedAfter = waitAtMost // with nothing popped and nothing in the queues
)

// must asks until there is an answer. The command must be one that may happen
// twice.
func (r *run) must(ctx context.Context, c *client, args ...string) (resp.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	for {
		v, fate := c.do(ctx, args...)
		if fate == Acked {
			return v, nil
		}
		if !sleep(ctx, firstAgain) {
			return v, fmt.Errorf("%s %s: no answer in %v", args[0], args[1], readWithin)
		}
	}
}

// reader is a client for such questions.
func (r *run) reader() *client {
	return newClient(r.addrs, 0, r.cfg.Seed+3, &tally{errors: make(map[string]int)})
}

// clear removes what an earlier run left.
func (r *run) clear(ctx context.Context) (err error) {
	c := r.reader()
	defer func() { err = errors.Join(err, c.close()) }()
	v, err := r.must(ctx, c, "KEYS", "kvchaos:*")
	if err != nil {
		return err
	}
	var keys []string
	for _, e := range v.Elems {
		keys = append(keys, string(e.Text))
	}
	for _, key := range keys {
		if _, err := r.must(ctx, c, "DEL", key); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the consumers have had all there is.
func (r *run) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	c := r.reader()
	defer c.close()
	for still, last := r.now(), -1; r.now()-still < drainedAfter; {
		n := r.pool.popped()
		for _, key := range queueKeys() {
			v, err := r.must(ctx, c, "LLEN", key)
			if err != nil {
				return // the check says what is missing
			}
			if v.Int > 0 {
				still = r.now()
			}
		}
		if n != last {
			still, last = r.now(), n
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// history collects what everybody noted, and what the servers hold.
func (r *run) history(ctx context.Context) (h *History, err error) {
	h = &History{Counters: make(map[string]int64)}
	for _, a := range r.actors {
		h.Adds = append(h.Adds, a.adds...)
		h.Touches = append(h.Touches, a.touches...)
		h.Odd = append(h.Odd, a.odd...)
		h.Members = append(h.Members, a.retired...)
		for _, m := range a.members {
			if m.Name != "" {
				h.Members = append(h.Members, m)
			}
		}
	}
	for _, p := range r.producers {
		h.Pushes = append(h.Pushes, p.pushes...)
	}
	for _, c := range r.pool.gone {
		h.Pops = append(h.Pops, c.pops...)
		h.Breaks = append(h.Breaks, c.breaks...)
		h.Failed = append(h.Failed, c.errors...)
	}
	for _, l := range r.lanes {
		h.Quiets = append(h.Quiets, l.quiets...)
	}
	c := r.reader()
	defer func() { err = errors.Join(err, c.close()) }()
	return h, r.finals(ctx, c, h)
}

func (r *run) finals(ctx context.Context, c *client, h *History) error {
	for _, key := range []string{counterKey, byKey} {
		v, err := r.must(ctx, c, "GET", key)
		if err != nil {
			return err
		}
		h.Counters[counterName(key, "")] = number(v.Text)
	}
	for i := range fields {
		field := fmt.Sprintf("f%d", i)
		v, err := r.must(ctx, c, "HGET", statsKey, field)
		if err != nil {
			return err
		}
		h.Counters[counterName(statsKey, field)] = number(v.Text)
	}
	v, err := r.must(ctx, c, "SMEMBERS", setKey)
	if err != nil {
		return err
	}
	h.InSet = texts(v)
	if v, err = r.must(ctx, c, "SCARD", setKey); err != nil {
		return err
	}
	h.SetSize = int(v.Int)
	for _, key := range queueKeys() {
		if v, err = r.must(ctx, c, "LRANGE", key, "0", "-1"); err != nil {
			return err
		}
		h.Remaining = append(h.Remaining, texts(v)...)
	}
	return r.lastTouches(ctx, c, h)
}

func texts(v resp.Value) (list []string) {
	for _, e := range v.Elems {
		list = append(list, string(e.Text))
	}
	return list
}

// lastTouches reads every register and pair once more: what was acknowledged last
// must be there.
func (r *run) lastTouches(ctx context.Context, c *client, h *History) error {
	keys := make(map[string]bool)
	for _, t := range h.Touches {
		keys[t.Key] = true
	}
	for key := range keys {
		name := key
		if pair := len(key) > len(pairKey) && key[:len(pairKey)] == pairKey; pair {
			name = key + ":a"
		}
		t := Touch{Key: key, Event: "get", Client: len(r.actors), Fate: Acked, Sent: r.now()}
		v, err := r.must(ctx, c, "GET", name)
		if err != nil {
			return err
		}
		t.Got, t.Done = number(v.Text), r.now()
		h.Touches = append(h.Touches, t)
	}
	return nil
}

func (r *run) closeAll() {
	for _, a := range r.actors {
		_ = a.close() // nothing is under way, here and below
	}
	for _, p := range r.producers {
		_ = p.close()
	}
	for _, l := range r.lanes {
		_ = l.close()
	}
}
