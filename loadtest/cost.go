package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"roomd/client"
	"roomd/loadtest/report"
)

// What Commit costs: clients in rooms of a kind without durability and as many in
// rooms of a kind with Commit, on the same server at the same time. Only one half
// is ever busy. The halves take turns, so that what else the machine does meets
// both alike.
//
// Throughput is that of a closed loop: each client keeps a number of commands
// under way and sends the next when one is answered. A search for the highest rate
// that keeps a latency would take ten times as long and hinge on single hiccups.

type costOptions struct {
	commit string // kind with Commit; options.kind is the one without
	rooms  []int
	depth  int
}

const costMaxRooms = 100_000

func costFlags(o *options, f *flag.FlagSet) {
	o.length, o.warmup = 3*time.Second, 500*time.Millisecond
	for name, value := range map[string]string{"for": "3s", "warmup": "500ms"} { // of each measurement, and there are many
		f.Lookup(name).DefValue = value
	}
	f.IntVar(&o.clients, "clients", 1000, "clients of each kind")
	o.cost.rooms = []int{1, 100, 1000}
	f.Func("rooms", "numbers of rooms to compare at, with commas between (default 1,100,1000)", o.cost.parseRooms)
	f.StringVar(&o.kind, "kind", o.kind, "kind without durability; it must know echo")
	f.StringVar(&o.cost.commit, "commit", "echo-commit", "kind with Commit; it must know echo")
	f.Float64Var(&o.rate, "rate", 5000, "commands a second at which latencies are taken")
	f.IntVar(&o.cost.depth, "depth", 4, "commands that a client keeps under way at full load")
	f.IntVar(&o.rounds, "rounds", 3, "comparisons at each number of rooms; medians are reported")
	f.IntVar(&o.size, "size", 64, "bytes of a command's data")
}

func (c *costOptions) parseRooms(s string) error {
	c.rooms = nil
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > costMaxRooms {
			return fmt.Errorf("numbers from 1 to %d, as 1,100,1000", costMaxRooms)
		}
		c.rooms = append(c.rooms, n)
	}
	return nil
}

func (o *options) checkCost() error {
	for _, n := range o.cost.rooms {
		o.rooms = max(o.rooms, n) // the common check compares it with the clients
	}
	switch {
	case o.cost.depth < 1 || o.cost.depth > maxInFlight:
		return fmt.Errorf("-depth must be 1 to %d", maxInFlight)
	case o.rounds < 1 || o.rounds > 1000:
		return errors.New("-rounds must be 1 to 1000")
	case o.cost.commit == "" || o.kind == "":
		return errors.New("-kind and -commit must name kinds")
	}
	return nil
}

// flooding clients echo, and until floodUntil they send another command for each
// that was answered.
type flooding struct{ echoing }

func (w flooding) replied(m *member, c command, f *client.Frame) {
	w.echoing.replied(m, c, f)
	if now := w.sh.loop.Now(); now < w.sh.floodUntil {
		m.command("echo", now, true)
	}
}

// doCost compares at every number of rooms, each with clients of its own.
func doCost(t *test, ctx context.Context) error {
	o := t.o
	if o.spawn { // full load is more than a conn is meant to send
		o.serverFlags = append([]string{"-commands-per-second=1000000", "-command-burst=1000000"}, o.serverFlags...)
	}
	cost := &report.Cost{
		Scenario: t.s.name, None: o.kind, Commit: o.cost.commit, Clients: o.clients, Size: o.size,
		Depth: o.cost.depth, RatePerS: o.rate, Seconds: o.length.Seconds(),
	}
	t.own = cost
	return t.onServer(ctx, 2*o.clients, func() error {
		for _, rooms := range o.cost.rooms {
			none, commit := t.half(o.kind, rooms), t.half(o.cost.commit, rooms)
			err := none.withFleet(func() error {
				return commit.withFleet(func() error { return t.compare(cost, none, commit) })
			})
			if err != nil {
				return fmt.Errorf("%d rooms: %w", rooms, err)
			}
		}
		return nil
	})
}

// half is a test of one kind on t's server.
func (t *test) half(kind string, rooms int) *test {
	o := *t.o
	o.kind, o.rooms, o.loops = kind, rooms, min(t.o.loops, rooms)
	echo := &scenario{name: "echo", kind: kind, work: func(sh *shard) workload { return flooding{echoing{silent{sh}}} }}
	return &test{o: &o, s: echo, ctx: t.ctx, server: t.server, progress: t.progress}
}

// compare runs the rounds at one number of rooms.
func (t *test) compare(cost *report.Cost, none, commit *test) error {
	var rounds []report.CostRound
	for i := range t.o.rounds {
		var r report.CostRound
		var errs [2]error
		if i%2 == 0 { // who is first changes, so that a drift hits both alike
			r.None, errs[0] = none.side()
			r.Commit, errs[1] = commit.side()
		} else {
			r.Commit, errs[1] = commit.side()
			r.None, errs[0] = none.side()
		}
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		rounds = append(rounds, r)
		t.progress.note(fmt.Sprintf("%d rooms, round %d of %d: %.0f/s without, %.0f/s with Commit; p50 %.2f and %.2f ms",
			none.o.rooms, i+1, t.o.rounds, r.None.PerS, r.Commit.PerS, r.None.P50, r.Commit.P50))
	}
	if err := errors.Join(none.conclude(), commit.conclude()); err != nil {
		return err
	}
	cost.Add(&none.report)
	cost.Add(&commit.report)
	cost.Costs = append(cost.Costs, report.NewCosts(none.o.rooms, rounds))
	return nil
}

// side measures one kind: at full load, then at the fixed rate.
func (t *test) side() (s report.CostSide, err error) {
	if err := t.flood(); err != nil {
		return s, err
	}
	s.PerS, s.Saturated = t.report.DeliveriesPerS, t.report.GeneratorSaturated
	if cpu := t.report.ServerCPUPerDelivery; cpu != nil {
		s.CPU = *cpu
	}
	if _, err := t.measure(t.o.rate, t.o.warmup, t.o.length); err != nil {
		return s, err
	}
	s.P50, s.P99 = t.report.P50, t.report.P99
	return s, nil
}

// flood measures full load; the figures are in the report.
func (t *test) flood() error {
	w, err := t.begin(0, t.o.warmup, t.o.length)
	if err != nil {
		return err
	}
	err = t.fleet.each(t.ctx, func(sh *shard) {
		sh.floodUntil = w.to
		now := sh.loop.Clock()
		for _, m := range sh.members {
			for range t.o.cost.depth {
				m.command("echo", now, true)
			}
		}
	})
	if err != nil {
		return err
	}
	_, err = t.observe(0, w)
	return err
}
