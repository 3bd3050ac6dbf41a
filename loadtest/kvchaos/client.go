package kvchaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"roomd/kv/resp"
	"roomd/loadtest/wire"
)

// A Fate is what is known of a command.
type Fate int

const (
	Refused Fate = iota // it did not happen
	Acked               // it did, and this is the answer
	Unknown             // it may happen, once, now or later
)

const (
	patience   = 20 * time.Second // for one answer; elections take up to 9 s
	firstAgain = 20 * time.Millisecond
	lastAgain  = 500 * time.Millisecond
)

// refusals begin answers that say that nothing happened. Other errors leave it
// open: a server that has lost touch with its data answers them too.
var refusals = []string{"UNAVAILABLE", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY", "EXECABORT", "BUSY", "NOAUTH", "WRONGTYPE"}

// A client is one of Redis's, that goes to another server when it loses one. It is
// for one goroutine.
type client struct {
	addrs []string
	at    int // of addrs
	conn  *wire.Conn
	again time.Duration // next pause before it connects
	rng   *rand.Rand
	tally *tally
}

// A tally is what the clients together went through.
type tally struct {
	mu       sync.Mutex // guards what follows
	fates    [3]int
	errors   map[string]int // answers that were errors, by their first words
	connects int
	waits    []time.Duration // for answers
}

func newClient(addrs []string, id int, seed uint64, t *tally) *client {
	return &client{addrs: addrs, at: id % len(addrs), again: firstAgain, rng: rand.New(rand.NewPCG(seed, uint64(id)+100)), tally: t}
}

func (c *client) close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn = nil
	return err
}

// ready connects if need be. It fails after one try, some time later each time.
func (c *client) ready(ctx context.Context) bool {
	if c.conn != nil {
		return true
	}
	conn, err := wire.Dial(ctx, c.addrs[c.at], patience)
	if err != nil {
		c.at = (c.at + 1) % len(c.addrs)
		sleep(ctx, c.again/2+time.Duration(c.rng.Int64N(int64(c.again))))
		c.again = min(2*c.again, lastAgain)
		return false
	}
	c.conn, c.again = conn, firstAgain
	c.tally.mu.Lock()
	c.tally.connects++
	c.tally.mu.Unlock()
	return true
}

// do sends one command. A connection that fails is given up.
func (c *client) do(ctx context.Context, args ...string) (resp.Value, Fate) {
	return c.doWithin(ctx, patience, args...)
}

func (c *client) doWithin(ctx context.Context, patience time.Duration, args ...string) (resp.Value, Fate) {
	if !c.ready(ctx) {
		return resp.Value{}, c.note(Refused, nil, 0)
	}
	began := time.Now()
	v, err := c.conn.DoWithin(patience, args...)
	return v, c.note(c.fateOf(err), err, time.Since(began))
}

// exec runs commands as a transaction, on the connection that watches. done is
// false if a watched key was changed.
func (c *client) exec(commands ...[]string) (done bool, fate Fate) {
	batch := append([][]string{{"MULTI"}}, commands...)
	batch = append(batch, []string{"EXEC"})
	began := time.Now()
	err := c.conn.Batch(batch, func(i int, v resp.Value) {
		if i == len(batch)-1 {
			done = !v.Null()
		}
	})
	fate = c.fateOf(err)
	if err != nil { // whatever it still watches
		_ = c.close() // what it was good for is over
	}
	return done, c.note(fate, err, time.Since(began))
}

func (c *client) fateOf(err error) Fate {
	var refusal wire.Refusal
	switch {
	case err == nil:
		return Acked
	case errors.As(err, &refusal):
		for _, word := range refusals {
			if strings.HasPrefix(string(refusal), word) {
				return Refused
			}
		}
		return Unknown
	}
	_ = c.close() // it is of no use any more
	c.at = (c.at + 1) % len(c.addrs)
	return Unknown
}

func (c *client) note(fate Fate, err error, took time.Duration) Fate {
	t := c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fates[fate]++
	if fate == Acked {
		t.waits = append(t.waits, took)
	}
	var refusal wire.Refusal
	if errors.As(err, &refusal) {
		words := strings.SplitN(string(refusal), " ", 6)
		t.errors[strings.Join(words[:min(5, len(words))], " ")]++
	}
	return fate
}

// sleep waits and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
