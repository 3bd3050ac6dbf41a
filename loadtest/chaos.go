package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"roomd/loadtest/chaos"
	"roomd/loadtest/cluster"
	"roomd/loadtest/target"
)

// Everything is killed, hung, drained and cut off, and all promises are checked.
// Package chaos does it; this file has its command line.

type chaosOptions struct {
	seed                 uint64
	kinds                []string // none: all
	faults               []string
	single               bool
	nats, edges, workers int
	natsServer           string
	keep                 bool
}

// chaosClusterFlags are what all tests have that kill a cluster.
func (o *options) chaosClusterFlags(f *flag.FlagSet) {
	o.length, o.warmup = time.Minute, 0
	f.Lookup("for").DefValue, f.Lookup("for").Usage = "1m0s", "how long the load lasts: 3 s at first and 9 s at the end are without faults"
	c := &o.chaos
	f.Uint64Var(&c.seed, "seed", 0, "schedule and load follow from this; 0: a random one, which is printed")
	f.IntVar(&c.nats, "nats", 3, "NATS servers: 1 or 3; records and logs have as many replicas")
	f.StringVar(&c.natsServer, "nats-server", "", "a built nats-server to start instead of building one")
	f.BoolVar(&c.keep, "keep", false, "keep histories, logs and data, also when nothing was wrong")
}

func chaosFlags(o *options, f *flag.FlagSet) {
	c := &o.chaos
	o.chaosClusterFlags(f)
	f.Func("faults", faultsHelp()+"; with -single "+strings.Join(chaos.Sorts(true), ", ")+" (default all but those by name)", func(s string) error {
		c.faults = strings.Split(s, ",")
		return nil
	})
	f.BoolVar(&c.single, "single", false, "one roomd with everything inside instead of a cluster")
	f.IntVar(&c.edges, "edges", 2, "edges")
	f.IntVar(&c.workers, "workers", 3, "workers")
	f.IntVar(&o.clients, "clients", 100, "clients")
	f.IntVar(&o.rooms, "rooms", 20, "rooms they are spread over")
	f.Float64Var(&o.rate, "rate", 400, "commands a second, over all rooms")
	f.Func("kind", "kinds of the rooms, with commas between: "+strings.Join(chaos.Kinds(), ", ")+
		"; which room is of which follows from the seed (default all, mixed)", func(s string) error {
		c.kinds = strings.Split(s, ",")
		return nil
	})
}

// faultsHelp lists what can be done to a cluster.
func faultsHelp() string {
	byName := slices.DeleteFunc(chaos.Named(false), func(s string) bool { return slices.Contains(chaos.Sorts(false), s) })
	return "what to do, with commas between: " + strings.Join(chaos.Sorts(false), ", ") + "; by name only: " + strings.Join(byName, ", ") +
		"; a verb or a role stands for all of its own but those, all for everything"
}

func (o *options) checkChaos() error {
	c := &o.chaos
	if _, err := chaos.ParseFaults(c.faults, c.single); err != nil {
		return err
	}
	if _, err := chaos.ParseKinds(c.kinds); err != nil {
		return fmt.Errorf("-kind: %w", err)
	}
	return o.checkChaosCluster()
}

// checkChaosCluster checks what all tests have that kill a cluster, and picks the
// seed if none was given.
func (o *options) checkChaosCluster() error {
	c := &o.chaos
	switch {
	case c.nats != 1 && c.nats != 3:
		return errors.New("-nats must be 1 or 3")
	case c.edges < 1 || c.workers < 1 || c.edges > 20 || c.workers > 20:
		return errors.New("-edges and -workers must be 1 to 20")
	case o.length < 2*time.Second:
		return errors.New("-for must be at least 2s")
	}
	if c.seed == 0 {
		c.seed = rand.Uint64N(1e6) + 1
	}
	return nil
}

// cluster is what is started and killed.
func (c *chaosOptions) cluster(binary string) cluster.Config {
	return cluster.Config{Single: c.single, NATS: c.nats, Edges: c.edges, Workers: c.workers, Roomd: binary, NATSServer: c.natsServer}
}

// sayer returns what writes lines that may come at the same time, as faults do.
func (t *test) sayer() func(text string) {
	var mu sync.Mutex // guards progress
	return func(text string) {
		mu.Lock()
		defer mu.Unlock()
		t.progress.note(text)
	}
}

func doChaos(t *test, ctx context.Context) error {
	if err := target.RoomForClients(t.o.clients); err != nil {
		return err
	}
	if err := t.o.pin(); err != nil {
		return err
	}
	c := &t.o.chaos
	result, err := chaos.Run(ctx, chaos.Config{
		Seed: c.seed, For: t.o.length, Kinds: c.kinds, Clients: t.o.clients, Rooms: t.o.rooms, Rate: t.o.rate, Faults: c.faults,
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
