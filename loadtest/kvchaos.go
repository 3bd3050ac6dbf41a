package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"roomd/loadtest/chaos"
	"roomd/loadtest/kvchaos"
	"roomd/loadtest/target"
)

// Shared data while everything is killed. Package kvchaos does it; this file has
// its command line.

type kvChaosOptions struct {
	addrs  []string
	pushes float64
	kills  time.Duration
}

func kvChaosFlags(o *options, f *flag.FlagSet) {
	o.chaosClusterFlags(f)
	c, k := &o.chaos, &o.kvChaos
	o.rooms = 1 // for the common checks
	f.Func("redis", "addresses of servers that run, with commas between; instead of a cluster, and only clients are killed. Keys begin with kvchaos:", func(s string) error {
		k.addrs = strings.Split(s, ",")
		return nil
	})
	f.Func("faults", faultsHelp()+" (default "+strings.Join(kvchaos.DefaultFaults, ",")+"; not lose-store: a client of Redis's protocol is not told what was lost)", func(s string) error {
		c.faults = strings.Split(s, ",")
		return nil
	})
	f.DurationVar(&k.kills, "kills", 1500*time.Millisecond, "time between two kills of a process of consumers, on average; 0: none, and then no element may be missing unless an edge is killed")
	f.IntVar(&c.edges, "edges", 4, "edges, which clients connect to")
	f.IntVar(&c.workers, "workers", 2, "workers")
	f.IntVar(&o.clients, "clients", 64, "clients, and half as many producers")
	f.Float64Var(&o.rate, "rate", 1500, "commands a second, of all clients")
	f.Float64Var(&k.pushes, "pushes", 400, "elements a second, of all producers")
}

func (o *options) checkKVChaos() error {
	c, k := &o.chaos, &o.kvChaos
	if _, err := chaos.ParseFaults(c.faults, false); err != nil {
		return err
	}
	for _, addr := range k.addrs {
		if err := target.LoopbackAddr(addr); err != nil {
			return fmt.Errorf("-redis: %w", err)
		}
	}
	switch {
	case o.clients < 2 || o.clients > 1024:
		return errors.New("-clients must be 2 to 1024")
	case k.kills != 0 && k.kills < 100*time.Millisecond:
		return errors.New("-kills must be 0 or at least 100ms")
	case k.pushes <= 0 || k.pushes > 1e6:
		return errors.New("-pushes must be above 0 and at most 1 million")
	}
	return o.checkChaosCluster()
}

func doKVChaos(t *test, ctx context.Context) error {
	c := &t.o.chaos
	if err := t.o.pin(); err != nil {
		return err
	}
	result, err := kvchaos.Run(ctx, kvchaos.Config{
		Seed: c.seed, For: t.o.length, Clients: t.o.clients, Producers: t.o.clients / 2, Rate: t.o.rate, Pushes: t.o.kvChaos.pushes,
		Kills: t.o.kvChaos.kills, Addrs: t.o.kvChaos.addrs, Faults: c.faults,
		Cluster: c.cluster(t.o.binary),
		Keep:    c.keep,
		Say:     t.sayer(),
	})
	if err != nil {
		return fmt.Errorf("seed %d: %w", c.seed, err)
	}
	t.own = result
	return nil
}
