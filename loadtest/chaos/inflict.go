package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"roomd/loadtest/cluster"
)

// A Done is a fault as it was carried out.
type Done struct {
	Fault
	Target  string        // names of the processes it hit; "bus" if it hit none
	Began   time.Duration // just before the signal
	Ended   time.Duration // when the process was ready again, or the link healed
	Skipped string        // why it was not done, "" if it was
	Took    bool          // it made a difference to what it hit: see Effect
	Effect  string        // what it did, in words: processes gone, bytes held

	hit []*cluster.Process
}

// An inflictor carries out a schedule on a cluster.
type inflictor struct {
	c    *cluster.Cluster
	now  func() time.Duration
	note func(string)

	mu       sync.Mutex // guards what follows
	busy     map[*cluster.Process]*sort
	freed    chan struct{} // closed when a process is not busy any more
	done     []Done
	mistakes []error // processes that did not end or start as asked
}

func newInflictor(c *cluster.Cluster, now func() time.Duration, note func(string)) *inflictor {
	return &inflictor{c: c, now: now, note: note, busy: make(map[*cluster.Process]*sort), freed: make(chan struct{})}
}

// system counts what can be hit.
func (in *inflictor) system() system {
	if in.single() {
		return system{"server": 1}
	}
	return system{"worker": len(in.c.Workers), "edge": len(in.c.Edges), "nats": len(in.c.NATS), "every": len(in.c.All())}
}

func (in *inflictor) single() bool { return len(in.c.NATS) == 0 }

func (in *inflictor) processes(role string) []*cluster.Process {
	switch role {
	case "worker":
		return in.c.Workers
	case "nats":
		return in.c.NATS
	case "every":
		return in.c.All()
	}
	return in.c.Edges // edge, and server
}

// run carries the schedule out and returns when everything is mended. When ctx
// ends, what lasts is mended at once and the rest left out.
func (in *inflictor) run(ctx context.Context, faults []Fault) {
	var going sync.WaitGroup
	defer going.Wait()
	for _, f := range faults {
		if !sleep(ctx, f.At-in.now()) {
			return
		}
		going.Go(func() { in.inflict(ctx, f) })
	}
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

// patience is how long a fault waits for an earlier one that is mended late.
const patience = 5 * time.Second

// inflict does one fault and mends it.
func (in *inflictor) inflict(ctx context.Context, f Fault) {
	d := Done{Fault: f, hit: in.targets(ctx, f)}
	d.Target = namesOf(d.hit)
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !in.take(wait, f.sort(), d.hit) {
		d.Began, d.Ended, d.Skipped = in.now(), in.now(), "others were still in trouble"
		in.finish(d, nil)
		return
	}
	d.Began = in.now()
	in.note(fmt.Sprintf("%6.2f s  %s %s", d.Began.Seconds(), f.verb(), d.Target))
	s := strike{inflictor: in, ctx: ctx, Fault: f, hit: d.hit}
	err := acts[f.verb()](&s)
	d.Ended = in.now()
	d.Took, d.Effect, d.Skipped = s.took, s.effect, s.skipped
	in.release(d.hit)
	in.finish(d, err)
}

// targets are the processes that a fault is to hit.
func (in *inflictor) targets(ctx context.Context, f Fault) (hit []*cluster.Process) {
	if f.role() == "" {
		return nil
	}
	if f.Sort == killLeader {
		if leader, err := in.c.Leader(ctx); err == nil { // else they are electing one, and any will do
			return []*cluster.Process{leader}
		}
	}
	for _, i := range in.system().targets(&f) {
		hit = append(hit, in.processes(f.role())[i])
	}
	return hit
}

// namesOf lists the processes that were hit.
func namesOf(hit []*cluster.Process) string {
	if len(hit) == 0 {
		return "bus"
	}
	list := make([]string, len(hit))
	for i, p := range hit {
		list[i] = p.Name
	}
	return strings.Join(list, " ")
}

func (in *inflictor) finish(d Done, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.done = append(in.done, d)
	if err != nil {
		in.mistakes = append(in.mistakes, fmt.Errorf("%s of %s: %w", d.verb(), d.Target, err))
	}
}

// take waits until all of hit may be hit: they are well, and so are enough others
// of their role.
func (in *inflictor) take(ctx context.Context, k *sort, hit []*cluster.Process) bool {
	for {
		in.mu.Lock()
		if in.may(k, hit) {
			for _, p := range hit {
				in.busy[p] = k
			}
			in.mu.Unlock()
			return true
		}
		freed := in.freed
		in.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

// may reports whether a fault may hit these now. mu is held.
func (in *inflictor) may(k *sort, hit []*cluster.Process) bool {
	busy, s := 0, in.system()
	for _, p := range in.processes(k.of) {
		other := in.busy[p]
		if other == nil || k.of == "" {
			continue
		}
		if slices.Contains(hit, p) || s.exceeds(other) {
			return false
		}
		busy++
	}
	if k.of == "" || k.of == "every" || s.exceeds(k) {
		return busy == 0
	}
	return busy+len(hit) <= s.mayFail(k.of)
}

func (in *inflictor) release(hit []*cluster.Process) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, p := range hit {
		delete(in.busy, p)
	}
	close(in.freed)
	in.freed = make(chan struct{})
}

// atEach does something to all processes at once.
func atEach(list []*cluster.Process, do func(*cluster.Process) error) error {
	errs := make([]error, len(list))
	var working sync.WaitGroup
	for i, p := range list {
		working.Go(func() { errs[i] = do(p) })
	}
	working.Wait()
	return errors.Join(errs...)
}
