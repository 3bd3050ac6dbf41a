package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"roomd/loadtest/cluster"
)

// A strike is one fault under way: what it is, what it hits, and what came of it.
type strike struct {
	*inflictor
	Fault
	ctx context.Context // ends when what lasts is to be mended at once
	hit []*cluster.Process

	took    bool
	effect  string
	skipped string
}

// acts are what is done for each verb. Each breaks and mends, and returns when all
// is mended; an error is of a process that did not end or start as asked. Mending
// outlives ctx: the system is to be whole at the end.
var acts = map[string]func(*strike) error{
	"kill":    (*strike).kill,
	"restart": (*strike).kill,
	"chase":   (*strike).chase,
	"drain":   (*strike).drain,
	"abort":   (*strike).abort,
	"pause":   (*strike).pause,
	"starve":  (*strike).starve,
	"cut":     (*strike).links,
	"stall":   (*strike).links,
	"hold":    (*strike).links,
	"delay":   (*strike).links,
	"isolate": (*strike).links,
	"split":   (*strike).links,
	"lose":    (*strike).lose,
	"fill":    (*strike).fill,
	"listen":  (*strike).listen,
	"record":  (*strike).record,
}

// did says what came of the fault.
func (s *strike) did(took bool, format string, args ...any) {
	s.took, s.effect = took, fmt.Sprintf(format, args...)
}

func (s *strike) start(p *cluster.Process) error { return p.Start(context.WithoutCancel(s.ctx)) }

// roll returns a number below n that follows from the seed, another for each use.
func (s *strike) roll(n uint64) uint64 {
	rolled := s.Dice % n
	s.Dice /= n
	return rolled
}

func (s *strike) kill() error {
	running := 0
	for _, p := range s.hit {
		if p.Running() {
			running++
		}
	}
	if err := atEach(s.hit, (*cluster.Process).Kill); err != nil {
		return err
	}
	s.did(running == len(s.hit), "%d of %d were running and are killed", running, len(s.hit))
	sleep(s.ctx, s.Length)
	return atEach(s.hit, s.start)
}

// How long after a kill the rooms of a worker are taken over: the second is killed
// at some time of it.
const (
	chaseFrom = 50 * time.Millisecond
	chaseTo   = 700 * time.Millisecond
)

func (s *strike) chase() error {
	if err := s.hit[0].Kill(); err != nil {
		return err
	}
	after := chaseFrom + time.Duration(s.roll(uint64(chaseTo-chaseFrom)))
	sleep(s.ctx, after)
	running := s.hit[1].Running()
	if err := s.hit[1].Kill(); err != nil {
		return errors.Join(err, s.start(s.hit[0]))
	}
	s.did(running, "the second killed %d ms after the first", after.Milliseconds())
	sleep(s.ctx, s.Length)
	return atEach(s.hit, s.start)
}

func (s *strike) drain() error {
	began := s.now()
	err := s.hit[0].Term()
	s.did(err == nil, "drained in %d ms", (s.now() - began).Milliseconds())
	return errors.Join(err, s.start(s.hit[0]))
}

// abortWithin bounds how long a drain may go on before it is cut short: one of ten
// rooms was over within 90 ms.
const abortWithin = 60 * time.Millisecond

func (s *strike) abort() error {
	within := time.Duration(s.roll(uint64(abortWithin)))
	killed, err := s.hit[0].Abort(within)
	s.did(killed, "killed %d ms into its drain", within.Milliseconds())
	if !killed {
		s.did(false, "had drained before %d ms were over", within.Milliseconds())
	}
	return errors.Join(err, s.start(s.hit[0]))
}

func (s *strike) pause() error {
	if err := s.hit[0].Pause(); err != nil {
		return err
	}
	sleep(s.ctx, s.Length)
	err := s.hit[0].Resume()
	s.did(err == nil, "stopped for the whole time")
	return err
}

// starve throttles each process: by a quota where that can be had and the seed says
// so, else by slices.
func (s *strike) starve() error {
	quota := s.roll(2) == 0
	var mu sync.Mutex // guards sum and how
	var sum cluster.ThrottleEffect
	how := make(map[string]bool)
	err := atEach(s.hit, func(p *cluster.Process) error {
		t, err := throttle(p, quota)
		if err != nil {
			return err
		}
		sleep(s.ctx, s.Length)
		e, err := t.Release()
		mu.Lock()
		defer mu.Unlock()
		how[e.How] = true
		sum.Lasted, sum.Used, sum.Stopped = sum.Lasted+e.Lasted, sum.Used+e.Used, sum.Stopped+e.Stopped
		return err
	})
	method := "slices"
	if how["quota"] {
		method = "quota"
	}
	s.did(sum.Stopped > sum.Lasted/4, "by %s: had to wait for %.1f s of %.1f, used %.2f s of CPU", method, sum.Stopped.Seconds(), sum.Lasted.Seconds(), sum.Used.Seconds())
	return err
}

// throttle has a process starve by a quota if that is wanted and can be had, and by
// slices otherwise.
func throttle(p *cluster.Process, quota bool) (*cluster.Throttle, error) {
	if quota {
		if t, err := p.Quota(); err == nil {
			return t, nil
		}
	}
	return p.Slice()
}

// links does what its verb says to all links of what was hit.
func (s *strike) links() error {
	var links []*cluster.Link
	for _, p := range s.hit {
		if p.Link != nil {
			links = append(links, p.Link)
		}
		if s.verb() == "isolate" || s.verb() == "split" {
			links = append(links, p.Routes...)
		}
	}
	if len(links) == 0 {
		s.skipped = "the cluster has no links"
		return nil
	}
	how := s.breakLinks(links)
	sleep(s.ctx, s.Length)
	var sum cluster.LinkEffect
	for _, l := range links {
		e := l.Heal()
		sum.Broken, sum.Bytes = sum.Broken+e.Broken, sum.Bytes+e.Bytes
	}
	s.did(sum.Broken+sum.Bytes > 0, "%s: %d connections broken or refused, %d bytes held", how, sum.Broken, sum.Bytes)
	return nil
}

// delays are what a link is slowed by, one of them.
var delays = []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond}

// breakLinks does one thing to all links, and says what.
func (s *strike) breakLinks(links []*cluster.Link) (how string) {
	verb := s.verb()
	if verb == "isolate" || verb == "split" {
		verb = []string{"cut", "stall"}[s.roll(2)]
	}
	ways, name := []cluster.Way{cluster.There}, "to NATS"
	switch s.roll(3) {
	case 0:
		ways, name = []cluster.Way{cluster.Back}, "from NATS"
	case 1:
		if verb == "delay" {
			ways, name = []cluster.Way{cluster.There, cluster.Back}, "both ways"
		}
	}
	by := delays[s.roll(uint64(len(delays)))]
	for _, l := range links {
		switch verb {
		case "cut":
			l.Cut()
		case "stall":
			l.Stall()
		case "hold":
			l.Hold(ways...)
		case "delay":
			l.Delay(by, ways...)
		}
	}
	switch verb {
	case "hold":
		return "held " + name
	case "delay":
		return fmt.Sprintf("%d ms later %s", by.Milliseconds(), name)
	}
	return verb
}

// lose stops NATS, removes all that it has stored, and starts it again.
func (s *strike) lose() error {
	if err := atEach(s.hit, (*cluster.Process).Kill); err != nil {
		return errors.Join(err, atEach(s.hit, s.start))
	}
	sleep(s.ctx, s.Length)
	var mu sync.Mutex // guards bytes
	var bytes int64
	err := atEach(s.hit, func(p *cluster.Process) error {
		n, err := p.Wipe()
		mu.Lock()
		defer mu.Unlock()
		bytes += n
		return err
	})
	s.did(err == nil && bytes > 0, "%d bytes of %d servers removed", bytes, len(s.hit))
	return errors.Join(err, atEach(s.hit, s.start))
}

// fill leaves no room on the disks of what was hit. A NATS server that is one of
// several turns its JetStream off for good when it can't write what they agree on:
// then it is restarted, as by those who run it. One by itself has only streams that
// are broken, which is for the system to mend.
func (s *strike) fill() error {
	if s.hit[0].Disk == nil {
		s.skipped = "the cluster has no small disks"
		if s.c.NoDisks != nil {
			s.skipped = s.c.NoDisks.Error()
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.Length)
	defer cancel()
	var taken, complained, restarted atomic.Int64
	err := atEach(s.hit, func(p *cluster.Process) error {
		full, off := said(p, "no space left"), said(p, "will be disabled")
		n, err := p.Disk.Fill(ctx)
		taken.Add(n)
		complained.Add(int64(said(p, "no space left") - full))
		if err != nil || said(p, "will be disabled") == off {
			return err
		}
		restarted.Add(1)
		return errors.Join(p.Kill(), s.start(p))
	})
	s.did(complained.Load() > 0, "%d bytes of ballast; NATS complained %d times; %d servers turned JetStream off and were restarted",
		taken.Load(), complained.Load(), restarted.Load())
	return err
}

// said counts how often a text is in the log of a process, in any case.
func said(p *cluster.Process, text string) int {
	b, err := os.ReadFile(p.LogFile())
	if err != nil {
		return 0 // it has said nothing
	}
	return strings.Count(strings.ToLower(string(b)), text)
}

func (s *strike) listen() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.Length)
	defer cancel()
	heard, err := s.c.Listen(ctx)
	s.did(heard > 0, "heard %d messages", heard)
	if err != nil {
		s.skipped = err.Error() // NATS was away: nothing of ours is wrong
	}
	return nil
}

func (s *strike) record() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.Length)
	defer cancel()
	kept, err := s.c.Record(ctx)
	s.did(kept > 0, "kept %d messages", kept)
	if err != nil && kept == 0 {
		s.skipped = err.Error()
		return nil
	}
	return err
}
