package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"roomd/client"
	"roomd/loadtest/target"
)

// A fleet is all clients of a test, on one shard per core they may use.
type fleet struct {
	o      *options
	target *client.Target
	base   time.Time
	shards []*shard
	cancel context.CancelFunc
	loops  sync.WaitGroup
	mu     sync.Mutex // guards err
	err    error      // of a loop
}

// newFleet makes the clients and runs their loops; nobody connects yet. The
// loops end with ctx or stop.
func newFleet(ctx context.Context, o *options, t *client.Target, work func(*shard) workload) (*fleet, error) {
	f := &fleet{o: o, target: t, base: time.Now()}
	for range o.loops {
		sh, err := f.newShard()
		if err != nil {
			return nil, errors.Join(err, f.stop())
		}
		sh.work = work(sh)
		f.shards = append(f.shards, sh)
	}
	f.settle()
	ctx, f.cancel = context.WithCancel(ctx)
	for _, sh := range f.shards {
		f.loops.Go(func() {
			// A thread of its own keeps the schedule free of hand-overs.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			target.FineTimers()
			if err := sh.loop.Run(ctx); err != nil {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.err = errors.Join(f.err, err)
			}
		})
	}
	return f, nil
}

// settle deals the clients out to rooms, and whole rooms to shards. Room names are
// new in every run, so that an earlier run's rooms don't take part.
func (f *fleet) settle() {
	run := fmt.Sprintf("%08x", rand.Uint32())
	rooms := make([]*room, f.o.rooms)
	for i := range rooms {
		rooms[i] = newRoom(fmt.Sprintf("lt-%s-%d", run, i), f.o.clients/f.o.rooms+1)
		sh := f.shards[i%len(f.shards)]
		sh.rooms = append(sh.rooms, rooms[i])
	}
	for i := range f.o.clients {
		at := i * len(rooms) / f.o.clients // room after room, as people fill games and chats
		r := rooms[at]
		sh := f.shards[at%len(f.shards)]
		m := &member{sh: sh, room: r, index: i, place: len(r.members), slow: i >= f.o.clients-f.o.slow}
		r.members = append(r.members, m)
		sh.members = append(sh.members, m)
		if !m.slow {
			sh.senders = append(sh.senders, m)
		}
	}
	for _, sh := range f.shards {
		rand.Shuffle(len(sh.senders), func(i, j int) { sh.senders[i], sh.senders[j] = sh.senders[j], sh.senders[i] })
	}
}

// stop ends all connections and loops.
func (f *fleet) stop() error {
	if f.cancel != nil {
		f.cancel()
	}
	f.loops.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// each runs do on every shard's loop, one after the other.
func (f *fleet) each(ctx context.Context, do func(*shard)) error {
	for _, sh := range f.shards {
		if err := sh.loop.Do(ctx, func() { do(sh) }); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			return errors.Join(fmt.Errorf("the load generator stopped: %w", err), f.err)
		}
	}
	return nil
}

// await looks every 10 ms until done says so on all shards. It fails when ctx
// ends, when clients cannot get in, or with late after nothing changed for patience.
func (f *fleet) await(ctx context.Context, patience time.Duration, done func(*shard) bool, progress func(*shard) uint64, late error) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	var last uint64
	changed := time.Now()
	for {
		all, sum := true, uint64(0)
		var failed error
		if err := f.each(ctx, func(sh *shard) {
			all = done(sh) && all
			sum += progress(sh)
			failed = errors.Join(failed, sh.failed)
		}); err != nil {
			return err
		}
		switch {
		case all:
			return nil
		case failed != nil:
			return fmt.Errorf("a client cannot get into its room: %w", failed)
		case sum != last:
			last, changed = sum, time.Now()
		case time.Since(changed) > patience:
			return late
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

const (
	joinPatience  = 10 * time.Second
	drainPatience = 2 * time.Second
	drainLimit    = 30 * time.Second
)

// connect brings all clients into their rooms and tells how long that took.
func (f *fleet) connect(ctx context.Context) (took time.Duration, err error) {
	start := time.Now()
	err = f.each(ctx, func(sh *shard) { sh.toDial = append(sh.toDial, sh.members...) })
	if err != nil {
		return 0, err
	}
	err = f.allJoined(ctx)
	var last time.Duration
	eachErr := f.each(ctx, func(sh *shard) { last = max(last, sh.lastArrival) })
	return f.base.Add(last).Sub(start), errors.Join(err, eachErr)
}

// allJoined waits until everybody is in their room, but for slow readers that
// the server has closed.
func (f *fleet) allJoined(ctx context.Context) error {
	return f.await(ctx, joinPatience,
		func(sh *shard) bool { return sh.joined() == len(sh.members) },
		func(sh *shard) uint64 { return uint64(sh.joined()) },
		fmt.Errorf("not all clients came into their rooms: nothing moved for %v", joinPatience))
}

func (sh *shard) joined() (n int) {
	for _, m := range sh.members {
		if m.phase == phaseJoined || m.phase == phaseGone {
			n++
		}
	}
	return n
}

// drain waits until everything that was sent has arrived everywhere. What does
// not come within bounds is for the verdict.
func (f *fleet) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, drainLimit, errStillDraining)
	defer cancel()
	late := errors.New("late")
	err := f.await(ctx, drainPatience, (*shard).quiet, func(sh *shard) uint64 { return sh.delivered + sh.refused }, late)
	if errors.Is(err, late) || errors.Is(err, errStillDraining) {
		return nil
	}
	return err
}

var errStillDraining = errors.New("still draining")

// quiet reports whether nothing is under way.
func (sh *shard) quiet() bool {
	missing := uint64(0)
	for _, m := range sh.members {
		if len(m.unanswered)+len(m.waiting) > 0 && m.phase != phaseGone {
			return false
		}
	}
	for _, r := range sh.rooms {
		if r.behind() > 0 {
			return false
		}
		if sh.fleet.o.broadcasts() {
			missing += r.missing()
		}
	}
	return missing <= sh.refused
}

// totals adds the shards up.
func (f *fleet) totals(ctx context.Context) (t tally, err error) {
	t.codes, t.closings = make(map[string]uint64), make(map[string]uint64)
	err = f.each(ctx, func(sh *shard) { t.add(&sh.tally) })
	return t, err
}

func (t *tally) add(o *tally) {
	t.v.add(o.v)
	t.deliveries += o.deliveries
	t.delivered += o.delivered
	t.sends += o.sends
	t.refused += o.refused
	t.unsent += o.unsent
	t.unknown += o.unknown
	t.unrecovered += o.unrecovered
	t.returned += o.returned
	t.resumed += o.resumed
	t.recovered += o.recovered
	t.resets += o.resets
	t.slowClosed += o.slowClosed
	t.slowDelivered += o.slowDelivered
	t.states += o.states
	t.patches += o.patches
	t.skippedPatches += o.skippedPatches
	t.compared += o.compared
	t.settled += o.settled
	t.lastArrival = max(t.lastArrival, o.lastArrival)
	for code, n := range o.codes {
		t.codes[code] += n
	}
	for code, n := range o.closings {
		t.closings[code] += n
	}
}

// missing is what never arrived, after a drain: deliveries that members lack, and
// commands that nobody heard of though the server refused none of them.
func (f *fleet) missing(ctx context.Context) (lost uint64, err error) {
	err = f.each(ctx, func(sh *shard) {
		commands := uint64(0)
		perCommand := uint64(1)
		for _, r := range sh.rooms {
			lost += r.behind()
			if f.o.broadcasts() {
				commands += r.missing()
				perCommand = max(perCommand, uint64(len(r.members)))
			}
		}
		if commands > sh.refused {
			lost += (commands - sh.refused) * perCommand
		}
		for _, m := range sh.members {
			if m.phase != phaseGone && !f.o.broadcasts() {
				lost += uint64(len(m.unanswered))
			}
		}
	})
	return lost, err
}

// bytesIn is what all clients have received, on all their connections.
func (sh *shard) bytesIn() (n uint64) {
	for _, m := range sh.members {
		n += m.bytes
		if m.conn != nil {
			n += m.conn.BytesIn
		}
	}
	return n
}
