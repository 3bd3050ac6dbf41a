package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"roomd/loadtest/chaos"
	"roomd/loadtest/cluster"
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
	o.length, o.warmup = time.Minute, 0
	f.Lookup("for").DefValue, f.Lookup("for").Usage = "1m0s", "how long the load lasts: 3 s at first and 9 s at the end are without faults"
	c, k := &o.chaos, &o.kvChaos
	o.rooms = 1 // for the common checks
	f.Uint64Var(&c.seed, "seed", 0, "schedule and load follow from this; 0: a random one, which is printed")
	f.Func("redis", "addresses of servers that run, with commas between; instead of a cluster, and only clients are killed. Keys begin with kvchaos:", func(s string) error {
		k.addrs = strings.Split(s, ",")
		return nil
	})
	f.Func("faults", "what to do, with commas between: kill-leader (of the NATS servers), "+strings.Join(chaos.Sorts(false), ", ")+
		"; a verb or a role stands for all of its own (default "+strings.Join(kvchaos.DefaultFaults, ",")+")", func(s string) error {
		c.faults = strings.Split(s, ",")
		return nil
	})
	f.DurationVar(&k.kills, "kills", 1500*time.Millisecond, "time between two kills of a process of consumers, on average; 0: none, and then no element may be missing unless an edge is killed")
	f.IntVar(&c.nats, "nats", 3, "NATS servers: 1 or 3; records and logs have as many replicas")
	f.StringVar(&c.natsServer, "nats-server", "", "a built nats-server to start instead of building one")
	f.BoolVar(&c.keep, "keep", false, "keep histories, logs and data, also when nothing was wrong")
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
	case c.nats != 1 && c.nats != 3:
		return errors.New("-nats must be 1 or 3")
	case c.edges < 1 || c.workers < 1 || c.edges > 20 || c.workers > 20:
		return errors.New("-edges and -workers must be 1 to 20")
	case o.clients < 2 || o.clients > 1024:
		return errors.New("-clients must be 2 to 1024")
	case k.kills != 0 && k.kills < 100*time.Millisecond:
		return errors.New("-kills must be 0 or at least 100ms")
	case k.pushes <= 0 || k.pushes > 1e6:
		return errors.New("-pushes must be above 0 and at most 1 million")
	case o.length < 2*time.Second:
		return errors.New("-for must be at least 2s")
	}
	if c.seed == 0 {
		c.seed = rand.Uint64N(1e6) + 1
	}
	return nil
}

func doKVChaos(t *test, ctx context.Context) error {
	c := &t.o.chaos
	if len(t.o.clientCPUs) > 0 {
		if err := target.PinSelf(t.o.clientCPUs); err != nil {
			return err
		}
	}
	var mu sync.Mutex // guards progress: faults happen at the same time
	result, err := kvchaos.Run(ctx, kvchaos.Config{
		Seed: c.seed, For: t.o.length, Clients: t.o.clients, Producers: t.o.clients / 2, Rate: t.o.rate, Pushes: t.o.kvChaos.pushes,
		Kills: t.o.kvChaos.kills, Addrs: t.o.kvChaos.addrs, Faults: c.faults,
		Cluster: cluster.Config{NATS: c.nats, Edges: c.edges, Workers: c.workers, Roomd: t.o.binary, NATSServer: c.natsServer},
		Keep:    c.keep,
		Say: func(text string) {
			mu.Lock()
			defer mu.Unlock()
			t.progress.note(text)
		},
	})
	if err != nil {
		return fmt.Errorf("seed %d: %w", c.seed, err)
	}
	t.own = result
	return nil
}
