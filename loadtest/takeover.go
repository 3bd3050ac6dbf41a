package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"roomd/client"
	"roomd/loadtest/cluster"
	"roomd/loadtest/report"
	"roomd/loadtest/target"
)

// How long rooms are away when one worker of a cluster dies, hangs or drains, and
// whether anybody loses anything by it: sockets, messages, acknowledged writes.

type takeoverOptions struct {
	fault   string
	nats    int
	workers int
	adds    float64       // a second, over all rooms
	probe   time.Duration // between two commands to a room; 0: no more commands than adds
	times   int
	alone   bool
}

const (
	faultKill  = "kill"
	faultPause = "pause"
	faultDrain = "drain"

	wokenPatience = 10 * time.Second // for a worker that was paused to give its rooms up
	afterPause    = 2 * time.Second  // of load with the paused worker awake again
)

func takeoverFlags(o *options, f *flag.FlagSet) {
	o.length, o.warmup = 8*time.Second, 2*time.Second
	for name, text := range map[string][2]string{
		"for": {"8s", "how long to watch after each fault"}, "warmup": {"2s", "how long to run before each fault"},
	} {
		f.Lookup(name).DefValue, f.Lookup(name).Usage = text[0], text[1]
	}
	t := &o.takeover
	f.StringVar(&t.fault, "fault", faultKill, "what happens to the worker with the most rooms: kill (SIGKILL), pause (SIGSTOP) or drain (SIGTERM)")
	f.IntVar(&t.times, "times", 1, "how many faults, one after the other")
	f.IntVar(&t.nats, "nats", 1, "NATS servers: 1 or 3; records and logs have as many replicas")
	f.IntVar(&t.workers, "workers", 3, "workers")
	f.BoolVar(&t.alone, "alone", false, "open all rooms on one worker; the others start when it has them")
	f.IntVar(&o.clients, "clients", 1000, "clients")
	f.IntVar(&o.rooms, "rooms", 200, "rooms they are spread over")
	f.StringVar(&o.kind, "kind", o.kind, "kind of the rooms: a ledger, or an echo")
	f.Float64Var(&t.adds, "rate", 1000, "writes a second, over all rooms")
	f.DurationVar(&t.probe, "probe", 25*time.Millisecond, "ask each room this often at least; 0: not at all, and go by notices too")
}

// keepsBooks reports whether the rooms are ledgers.
func (o *options) keepsBooks() bool { return strings.HasPrefix(o.kind, "ledger") }

// durable reports whether the kind promises to lose nothing that it acknowledged.
func (o *options) durable() bool { return o.kind == "ledger" || strings.HasSuffix(o.kind, "-commit") }

func (o *options) checkTakeover() error {
	t := &o.takeover
	o.size = payloadHead // of echoes
	o.rate = t.adds
	if t.probe > 0 {
		o.rate = max(o.rate, float64(o.rooms)/t.probe.Seconds())
	}
	switch {
	case t.fault != faultKill && t.fault != faultPause && t.fault != faultDrain:
		return errors.New("-fault must be kill, pause or drain")
	case t.times < 1 || t.times > 100:
		return errors.New("-times must be 1 to 100")
	case t.nats != 1 && t.nats != 3:
		return errors.New("-nats must be 1 or 3")
	case t.workers < 2 || t.workers > 16:
		return errors.New("-workers must be 2 to 16: somebody has to take over")
	case !o.keepsBooks() && !strings.HasPrefix(o.kind, "echo"):
		return errors.New("-kind must be a ledger or an echo, for others know none of the commands")
	case t.adds < 0:
		return errors.New("-rate must not be below 0")
	case t.probe < 0 || t.probe > 0 && t.probe < time.Millisecond:
		return errors.New("-probe must be 0 or at least 1ms")
	}
	return nil
}

// A takeover is one run of the scenario.
type takeover struct {
	*test
	cluster  *cluster.Cluster
	result   *report.Takeover
	faultAt  time.Duration  // the last one, since the fleet's base
	draining sync.WaitGroup // a worker's orderly end
}

func doTakeover(t *test, ctx context.Context) (err error) {
	o := t.o
	r := &report.Takeover{
		Scenario: t.s.name, Kind: o.kind, Fault: o.takeover.fault, NATS: o.takeover.nats, Workers: o.takeover.workers,
		Clients: o.clients, Rooms: o.rooms, AddsPerS: o.takeover.adds, ProbeMS: millisOf(o.takeover.probe), Durable: o.durable(),
	}
	t.own, t.ctx = r, ctx
	if err := target.RoomForClients(o.clients); err != nil {
		return err
	}
	t.progress.say("starting the cluster")
	c, err := cluster.Start(ctx, cluster.Config{NATS: o.takeover.nats, Edges: 1, Workers: o.takeover.workers, Roomd: o.binary})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := o.pin(); err != nil {
		return err
	}
	aim, err := client.ParseTarget(c.URLs()[0])
	if err != nil {
		return err
	}
	work := func(sh *shard) workload {
		return &booking{silent: silent{sh}, ledger: o.keepsBooks(), adds: o.takeover.adds / o.rate}
	}
	if t.fleet, err = newFleet(ctx, o, aim, work); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.fleet.stop()) }()
	k := &takeover{test: t, cluster: c, result: r}
	defer k.draining.Wait()
	return k.run()
}

func (k *takeover) run() error {
	if err := k.settle(); err != nil {
		return k.crashes(err)
	}
	if err := k.fleet.each(k.ctx, (*shard).takeTurnsByRoom); err != nil {
		return err
	}
	for i := range k.o.takeover.times {
		if err := k.round(i); err != nil {
			return k.crashes(err)
		}
	}
	return k.crashes(k.conclude())
}

// settle brings everybody into their rooms.
func (k *takeover) settle() error {
	others := k.cluster.Workers[1:]
	if !k.o.takeover.alone {
		others = nil
	}
	for _, w := range others {
		if err := w.Term(); err != nil {
			return err
		}
	}
	k.progress.say(fmt.Sprintf("connecting %d clients", k.o.clients))
	if _, err := k.fleet.connect(k.ctx); err != nil {
		return err
	}
	for _, w := range others {
		if err := w.Start(k.ctx); err != nil {
			return err
		}
	}
	return nil
}

// crashes adds to err what processes ended by themselves.
func (k *takeover) crashes(err error) error {
	for _, text := range k.cluster.Crashes() {
		err = errors.Join(err, errors.New(text))
	}
	return err
}

// takeTurnsByRoom has the schedule visit one room after the other, with another
// member at each visit, so that each room is asked at equal times.
func (sh *shard) takeTurnsByRoom() {
	sh.senders = slices.Clone(sh.members)
	slices.SortStableFunc(sh.senders, func(a, b *member) int { return a.place - b.place })
}

// round strikes one worker and watches.
func (k *takeover) round(i int) error {
	victim, rooms, err := k.victim()
	if err != nil {
		return err
	}
	w, err := k.begin(k.o.rate, k.o.warmup, k.o.length)
	if err != nil {
		return err
	}
	if err := k.watch(w.from, "before the fault", nil); err != nil {
		return err
	}
	k.progress.note(fmt.Sprintf("%s %d of %d: %s, which has %d rooms", k.o.takeover.fault, i+1, k.o.takeover.times, victim.Name, rooms))
	ended, err := k.strike(victim)
	if err != nil {
		return err
	}
	if err := errors.Join(k.watch(w.to, "after the fault", nil), <-ended); err != nil {
		return err
	}
	k.progress.say("waiting for the rest")
	if err := k.fleet.drain(k.ctx); err != nil {
		return err
	}
	r := report.TakeoverRound{Worker: victim.Name, WorkerRooms: rooms}
	if r.Each, err = k.outages(); err != nil {
		return err
	}
	if k.o.takeover.fault == faultPause {
		r.KeptRooms, err = k.wake(victim)
	} else if i+1 < k.o.takeover.times {
		err = victim.Start(k.ctx)
	}
	k.result.Rounds = append(k.result.Rounds, r)
	s := report.NewOutages(r.Each)
	k.progress.note(fmt.Sprintf("  %d rooms affected: outage p50 %.0f ms, p99 %.0f ms, max %.0f ms", s.Affected, s.P50, s.P99, s.Max))
	return err
}

// victim is the worker with the most rooms.
func (k *takeover) victim() (victim *cluster.Process, rooms int, err error) {
	for _, w := range k.cluster.Workers {
		n, err := k.live(w)
		if err != nil {
			return nil, 0, err
		}
		if victim == nil || n > rooms {
			victim, rooms = w, n
		}
	}
	return victim, rooms, nil
}

// live is the number of rooms that a worker has in memory.
func (k *takeover) live(w *cluster.Process) (int, error) {
	m, err := w.Metrics(k.ctx)
	if err != nil {
		return 0, fmt.Errorf("ask %s for its rooms: %w", w.Name, err)
	}
	return int(m["roomd_rooms_live"]), nil
}

// strike does the fault. What comes of an orderly end arrives on ended.
func (k *takeover) strike(victim *cluster.Process) (ended <-chan error, err error) {
	over := make(chan error, 1)
	armed := time.Since(k.fleet.base)
	if err := k.fleet.each(k.ctx, func(sh *shard) { sh.arm(armed) }); err != nil {
		return nil, err
	}
	k.faultAt = time.Since(k.fleet.base)
	switch k.o.takeover.fault {
	case faultKill:
		over <- victim.Kill()
	case faultPause:
		over <- victim.Pause()
	case faultDrain:
		k.draining.Go(func() { over <- victim.Term() })
	}
	return over, k.fleet.each(k.ctx, func(sh *shard) { sh.date(k.faultAt) })
}

// arm has the shard note what happens to its rooms from now on.
func (sh *shard) arm(now time.Duration) {
	sh.faultAt = now
	for _, r := range sh.rooms {
		r.book.watched = watched{}
	}
}

// date tells the shard when the fault really was: a little after arm.
func (sh *shard) date(fault time.Duration) {
	sh.faultAt = fault
	for _, r := range sh.rooms {
		r.book.watched.date(fault)
	}
}

// outages asks the shards what the fault meant to each room.
func (k *takeover) outages() (each []report.Outage, err error) {
	o := &k.o.takeover
	err = k.fleet.each(k.ctx, func(sh *shard) {
		sh.faultAt = 0
		for _, r := range sh.rooms {
			each = append(each, r.book.watched.outage(k.faultAt, o.fault == faultDrain, o.probe > 0))
		}
	})
	return each, err
}

// wake lets a paused worker go on, under load, and tells how many rooms it has
// not given up.
func (k *takeover) wake(victim *cluster.Process) (kept int, err error) {
	if err := victim.Resume(); err != nil {
		return 0, err
	}
	w, err := k.begin(k.o.rate, 0, afterPause)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(k.watch(w.to, "after the pause", nil), k.fleet.drain(k.ctx)); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(k.ctx, wokenPatience)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		// All its rooms were opened elsewhere, and nobody opens new ones.
		if kept, err = k.live(victim); err != nil || kept == 0 {
			return kept, err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return kept, k.ctx.Err()
		}
	}
}
