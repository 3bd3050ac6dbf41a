package cluster

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Throttle holds a process to about a tenth of the CPU that it would use, until
// Release. With a quota the kernel does so; with slices the process is stopped for
// 90 ms of every 100, as on a machine that runs others most of the time.
type Throttle struct {
	p     *Process
	life  *life
	began time.Time
	cpu   time.Duration // that the process had used before

	group *cpuGroup // nil: slices

	quit   chan struct{} // closed by Release: slices end
	slices sync.WaitGroup
	stops  time.Duration // of slices; valid when they have ended
	failed error         // of slices
}

// A ThrottleEffect is what a throttle has done.
type ThrottleEffect struct {
	How     string        // quota or slices
	Lasted  time.Duration // from Throttle to Release
	Used    time.Duration // CPU, by all threads; zero where it can't be told
	Stopped time.Duration // how long it was kept from running
}

const (
	slicePeriod = 100 * time.Millisecond
	sliceRuns   = slicePeriod / 10
	leastQuota  = time.Millisecond // in a period: less the kernel does not take
	watchedFor  = time.Second      // to know what a process uses
)

// Slice throttles the process by stopping it.
func (p *Process) Slice() (*Throttle, error) {
	t, err := p.newThrottle()
	if err != nil {
		return nil, err
	}
	t.quit = make(chan struct{})
	t.slices.Go(t.slice)
	return t, nil
}

// Quota throttles the process by a quota of the kernel's, where this one may set
// such: it takes a second to see how much the process uses.
func (p *Process) Quota() (*Throttle, error) {
	t, err := p.newThrottle()
	if err != nil {
		return nil, err
	}
	pid := t.life.cmd.Process.Pid
	timer := time.NewTimer(watchedFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.life.ended:
		return nil, fmt.Errorf("%s: %w", p.Name, ErrNotRunning)
	}
	now, err := cpuTime(pid)
	if err != nil {
		return nil, err
	}
	share := (now - t.cpu) * slicePeriod / watchedFor / 10
	t.began, t.cpu = time.Now(), now
	t.group, err = newCPUGroup(fmt.Sprintf("roomd-%d-%s", os.Getpid(), p.Name), pid, max(share, leastQuota))
	return t, err
}

func (p *Process) newThrottle() (*Throttle, error) {
	l, err := p.current()
	if err != nil {
		return nil, err
	}
	t := &Throttle{p: p, life: l, began: time.Now()}
	t.cpu, err = cpuTime(l.cmd.Process.Pid)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return t, err
}

// slice stops the process and lets it go on, in turns, until Release. It ends with
// a process that goes on.
func (t *Throttle) slice() {
	turn := time.NewTimer(0)
	defer turn.Stop()
	for {
		stopped := time.Now()
		if t.failed = t.life.cmd.Process.Signal(syscall.SIGSTOP); t.failed != nil {
			return
		}
		turn.Reset(slicePeriod - sliceRuns)
		over := t.over(turn)
		t.stops += time.Since(stopped)
		if t.failed = t.life.cmd.Process.Signal(syscall.SIGCONT); t.failed != nil || over {
			return
		}
		turn.Reset(sliceRuns)
		if t.over(turn) {
			return
		}
	}
}

// over waits for a turn's end, and reports whether the slices are to end.
func (t *Throttle) over(turn *time.Timer) bool {
	select {
	case <-turn.C:
		return false
	case <-t.quit:
		return true
	}
}

// Release lets the process run as it likes. It is called once.
func (t *Throttle) Release() (ThrottleEffect, error) {
	did := ThrottleEffect{How: "slices"}
	pid := t.life.cmd.Process.Pid
	var err error
	if t.group != nil {
		did.How = "quota"
		did.Stopped, err = t.group.leave(pid)
	} else {
		close(t.quit)
		t.slices.Wait()
		did.Stopped, err = t.stops, t.failed
	}
	did.Lasted = time.Since(t.began)
	if used, cpuErr := cpuTime(pid); cpuErr == nil {
		did.Used = used - t.cpu
	}
	if err != nil {
		err = fmt.Errorf("throttle %s: %w", t.p.Name, err)
	}
	return did, err
}
