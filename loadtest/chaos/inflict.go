package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"roomd/loadtest/cluster"
)

// A Done is a fault as it was carried out.
type Done struct {
	Fault
	Target  string
	Began   time.Duration // just before the signal
	Ended   time.Duration // when the process was ready again, or the link healed
	Skipped string        // why it was not done, "" if it was
}

// An inflictor carries out a schedule on a cluster.
type inflictor struct {
	c    *cluster.Cluster
	now  func() time.Duration
	note func(string)

	mu       sync.Mutex // guards what follows
	busy     map[*cluster.Process]bool
	freed    chan struct{} // closed when somebody is not busy any more
	done     []Done
	mistakes []error // processes that did not end or start as asked
}

func newInflictor(c *cluster.Cluster, now func() time.Duration, note func(string)) *inflictor {
	return &inflictor{c: c, now: now, note: note, busy: make(map[*cluster.Process]bool), freed: make(chan struct{})}
}

// system counts who can be hit.
func (in *inflictor) system() system {
	if in.single() {
		return system{"server": 1}
	}
	return system{"worker": len(in.c.Workers), "edge": len(in.c.Edges), "nats": len(in.c.NATS)}
}

func (in *inflictor) single() bool { return len(in.c.NATS) == 0 }

func (in *inflictor) processes(role string) []*cluster.Process {
	switch role {
	case "worker":
		return in.c.Workers
	case "nats", "leader":
		return in.c.NATS
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
	p := in.processes(f.role())[f.Index]
	if f.role() == "leader" {
		if leader, err := in.c.Leader(ctx); err == nil { // else they are electing one, and any will do
			p = leader
		}
	}
	d := Done{Fault: f, Target: p.Name}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !in.take(wait, f.role(), p) {
		d.Began, d.Ended, d.Skipped = in.now(), in.now(), "others were still in trouble"
		in.finish(d, nil)
		return
	}
	d.Began = in.now()
	in.note(fmt.Sprintf("%6.2f s  %s %s", d.Began.Seconds(), f.verb(), p.Name))
	err := in.act(ctx, f, p)
	d.Ended = in.now()
	in.release(p)
	in.finish(d, err)
}

func (in *inflictor) finish(d Done, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.done = append(in.done, d)
	if err != nil {
		in.mistakes = append(in.mistakes, fmt.Errorf("%s of %s: %w", d.verb(), d.Target, err))
	}
}

// act breaks and mends. Mending outlives ctx: the system is to be whole at the end.
func (in *inflictor) act(ctx context.Context, f Fault, p *cluster.Process) error {
	mend := context.WithoutCancel(ctx)
	switch f.verb() {
	case "kill", "restart":
		if err := p.Kill(); err != nil {
			return err
		}
		sleep(ctx, f.Length)
		return p.Start(mend)
	case "drain":
		return errors.Join(p.Term(), p.Start(mend))
	case "pause":
		if err := p.Pause(); err != nil {
			return err
		}
		sleep(ctx, f.Length)
		return p.Resume()
	case "cut":
		p.Link.Cut()
	case "stall":
		p.Link.Stall()
	}
	sleep(ctx, f.Length)
	p.Link.Heal()
	return nil
}

// take waits until p may be hit: it is well, and so are enough others of its role.
func (in *inflictor) take(ctx context.Context, role string, p *cluster.Process) bool {
	for {
		in.mu.Lock()
		hit := 0
		for _, other := range in.processes(role) {
			if in.busy[other] {
				hit++
			}
		}
		if !in.busy[p] && hit < in.system().mayFail(role) {
			in.busy[p] = true
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

func (in *inflictor) release(p *cluster.Process) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.busy, p)
	close(in.freed)
	in.freed = make(chan struct{})
}
