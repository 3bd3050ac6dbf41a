// Package kvchaos checks the shared data of a whole system while its processes
// and its clients are killed: what was acknowledged is there, and nothing twice.
//
// 64 clients over all fronts count, keep sets, swap registers and transfer; 32
// producers push elements that 32 consumers pop, four to a process; lanes kill
// waiters while nobody pushes. Each client notes what it sent and what was
// answered, and [Check] judges by that alone. A command without an answer may have
// happened, so counters have bounds, and an element may have been on its way to a
// consumer that was killed: each wait that breaks excuses one. The Redis protocol
// has no acknowledgement that would tell more.
package kvchaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"roomd/loadtest/chaos"
	"roomd/loadtest/cluster"
	"roomd/loadtest/report"
)

// Config says what a run does.
type Config struct {
	Seed      uint64
	For       time.Duration
	Clients   int
	Producers int
	Rate      float64       // commands a second of the clients together
	Pushes    float64       // a second, of the producers together
	Kills     time.Duration // between two kills of consumers, on average; 0: none, and then nothing is excused but what edges take with them
	Addrs     []string      // servers that run; then there is no cluster, and only consumers are killed
	Faults    []string      // for the cluster, see chaos.ParseFaults; nil: kill-worker, kill-edge, kill-leader
	Cluster   cluster.Config
	Keep      bool

	Say func(string) // called by several goroutines at once
}

const lanes = 2

// DefaultFaults are those of the issue: SIGKILL for all.
var DefaultFaults = []string{"kill-worker", "kill-edge", "kill-leader"}

// A run is one under way.
type run struct {
	cfg       *Config
	addrs     []string
	base      time.Time
	tally     *tally
	actors    []*actor
	producers []*producer
	pool      *pool
	lanes     []*lane
	faults    []chaos.Done
	mistakes  []error
}

func (r *run) now() time.Duration { return time.Since(r.base) }

// Run does a whole run. An error means that it could not be done; what is wrong
// with the servers is in the result.
func Run(ctx context.Context, cfg Config) (*report.KVChaos, error) {
	if cfg.Faults == nil {
		cfg.Faults = DefaultFaults
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("kvchaos-%d-", cfg.Seed))
	if err != nil {
		return nil, err
	}
	result, h, err := cfg.inDir(ctx, dir)
	if err != nil {
		if ctx.Err() != nil && !cfg.Keep {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		return nil, fmt.Errorf("%w (data and logs: %s)", err, dir)
	}
	if result.Violated == 0 && !cfg.Keep {
		return result, os.RemoveAll(dir)
	}
	result.Dump = dir
	return result, dump(filepath.Join(dir, "history.json"), result, h)
}

// inDir starts the cluster if there is to be one, and runs against it.
func (cfg *Config) inDir(ctx context.Context, dir string) (*report.KVChaos, *History, error) {
	r := &run{cfg: cfg, addrs: cfg.Addrs, base: time.Now(), tally: &tally{errors: make(map[string]int)}}
	if len(r.addrs) > 0 {
		return r.do(ctx, nil)
	}
	sorts, err := chaos.ParseFaults(cfg.Faults, false)
	if err != nil {
		return nil, nil, err
	}
	// Of what is lost with the store the protocol tells no client.
	sorts = slices.DeleteFunc(sorts, func(sort string) bool { return sort == chaos.LoseStore })
	if len(sorts) == 0 {
		return nil, nil, errors.New("no fault is left that kvchaos can judge")
	}
	cfg.Say("starting the cluster")
	cfg.Cluster.Dir, cfg.Cluster.Redis = dir, true
	chaos.Prepare(&cfg.Cluster, sorts)
	c, err := cluster.Start(ctx, cfg.Cluster)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range c.Edges {
		r.addrs = append(r.addrs, e.Redis)
	}
	r.base = time.Now()
	result, h, err := r.do(ctx, func(ctx context.Context) {
		r.faults, r.mistakes = chaos.Inflict(ctx, c, cfg.Seed, cfg.For, sorts, r.now, cfg.Say)
	})
	stopped := c.Stop()
	if result == nil {
		return nil, nil, errors.Join(err, stopped)
	}
	for _, text := range c.Crashes() {
		result.Add(RuleProcess, text)
	}
	if stopped != nil {
		result.Add(RuleProcess, stopped.Error())
	}
	return result, h, err
}

// do is the run on servers that stand. inflict may be nil.
func (r *run) do(ctx context.Context, inflict func(context.Context)) (*report.KVChaos, *History, error) {
	for i := range r.cfg.Clients {
		r.actors = append(r.actors, &actor{client: newClient(r.addrs, i, r.cfg.Seed, r.tally), id: i, now: r.now})
	}
	for i := range r.cfg.Producers {
		r.producers = append(r.producers, &producer{client: newClient(r.addrs, i, r.cfg.Seed+1, r.tally), id: i, now: r.now})
	}
	for i := range lanes {
		r.lanes = append(r.lanes, &lane{client: newClient(r.addrs, i, r.cfg.Seed+2, r.tally), id: i, now: r.now})
	}
	if err := r.clear(ctx); err != nil {
		return nil, nil, err
	}
	r.pool = &pool{addrs: r.addrs, now: r.now}
	err := r.load(ctx, inflict)
	if err == nil {
		err = ctx.Err()
	}
	var h *History
	if err == nil {
		r.cfg.Say("waiting until the queues are empty")
		r.settle(ctx)
	}
	err = errors.Join(err, r.pool.stop())
	if err == nil {
		h, err = r.history(ctx)
	}
	r.closeAll()
	if err != nil {
		return nil, nil, err
	}
	result := r.result()
	Check(h, result)
	for _, err := range r.mistakes {
		result.Add(RuleProcess, err.Error())
	}
	return result, h, nil
}

// load has everybody act until the time is up.
func (r *run) load(ctx context.Context, inflict func(context.Context)) error {
	for i := range consumers {
		if err := r.pool.start(i); err != nil {
			return err
		}
	}
	r.cfg.Say(fmt.Sprintf("%d clients, %d producers, %d consumers on %d servers, seed %d",
		len(r.actors), len(r.producers), consumers*each, len(r.addrs), r.cfg.Seed))
	until, cancel := context.WithTimeout(ctx, r.cfg.For)
	defer cancel()
	quiet, hush := context.WithTimeout(ctx, r.cfg.For*3/4) // consumers may come back before the end
	defer hush()
	var loading sync.WaitGroup
	errs := make([]error, lanes+1)
	pace := func(id, n int, rate float64, act func(context.Context, *rand.Rand)) {
		rng := rand.New(rand.NewPCG(r.cfg.Seed, uint64(id)))
		every := time.Duration(float64(n) / rate * float64(time.Second))
		for sleep(until, time.Duration(rng.Int64N(int64(2*every)))) {
			act(ctx, rng)
		}
	}
	for i, a := range r.actors {
		loading.Go(func() { pace(i, len(r.actors), r.cfg.Rate, a.act) })
	}
	for i, p := range r.producers {
		loading.Go(func() { pace(1000+i, len(r.producers), r.cfg.Pushes, p.push) })
	}
	for i, l := range r.lanes {
		loading.Go(func() { errs[i] = l.run(until) })
	}
	loading.Go(func() { errs[lanes] = r.pool.run(quiet, rand.New(rand.NewPCG(r.cfg.Seed, 999)), r.cfg.Kills) })
	if inflict != nil {
		loading.Go(func() { inflict(ctx) })
	}
	loading.Wait()
	return errors.Join(errs...)
}

// result is what can be told without a check.
func (r *run) result() *report.KVChaos {
	t := r.tally
	k := &report.KVChaos{
		Scenario: "kvchaos", Seed: r.cfg.Seed, Seconds: r.cfg.For.Seconds(), Clients: r.cfg.Clients, Fronts: len(r.addrs),
		Killed: r.pool.killed, Connects: t.connects, Acked: t.fates[Acked], Refused: t.fates[Refused], Unknown: t.fates[Unknown], Errors: t.errors,
	}
	slices.Sort(t.waits)
	at := func(q float64) float64 {
		if len(t.waits) == 0 {
			return 0
		}
		return float64(t.waits[int(q*float64(len(t.waits)-1))].Microseconds()) / 1000
	}
	k.AnswerP50, k.AnswerP99, k.AnswerMax = at(0.5), at(0.99), at(1)
	for _, a := range r.actors {
		k.Reads += a.reads
	}
	for _, d := range r.faults {
		k.Faults = append(k.Faults, report.KVFault{
			At: d.Began.Seconds(), Until: d.Ended.Seconds(), What: d.Sort + " " + d.Target, Skipped: d.Skipped, Took: d.Took, Effect: d.Effect,
		})
	}
	return k
}

func dump(file string, result *report.KVChaos, h *History) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(f).Encode(map[string]any{"result": result, "history": h}), f.Close())
}
