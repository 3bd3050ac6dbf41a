package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/loadtest/kvspeed"
	"roomd/loadtest/target"
)

// How fast roomd is as a Redis, beside the real one. Package kvspeed measures;
// this file has the command line, and starts the servers.

type kvOptions struct {
	addr    string // of a server that runs; "": start some
	servers []string
	ops     []string
	sizes   []int
	depth   int
	keys    int
	size    int
	redis   string // a redis-server
}

// kvServers are those that can be started. The first that is chosen is what the
// others are compared with.
var kvServers = []string{"redis-everysec", "redis-memory", "roomd", "roomd-memory"}

func kvFlags(o *options, f *flag.FlagSet) {
	o.length, o.warmup = 3*time.Second, 300*time.Millisecond
	for name, value := range map[string]string{"for": "3s", "warmup": "300ms"} { // of each measurement, and there are many
		f.Lookup(name).DefValue = value
	}
	o.rooms, o.rate = 1, 1 // for the common checks
	k := &o.kv
	k.servers, k.sizes = kvServers, []int{10, 1000, 100_000}
	f.StringVar(&k.addr, "redis", "", "`address` of a server that runs; it alone is measured, under keys that begin with loadtest:")
	f.Func("servers", "which to start, with commas between (default "+strings.Join(kvServers, ",")+")", func(s string) error {
		k.servers = strings.Split(s, ",")
		return nil
	})
	f.StringVar(&k.redis, "redis-server", "redis-server", "the redis-server to start")
	f.Func("server-cpus", "cores of the servers, as 0 or 0,2 or 0-3", cpuList(&o.serverCPUs))
	f.IntVar(&o.clients, "clients", 64, "connections")
	f.IntVar(&k.depth, "pipeline", 1, "commands that each connection keeps under way")
	f.IntVar(&k.size, "size", 100, "bytes of a value")
	f.IntVar(&k.keys, "keys", 10_000, "keys that GET, SET and INCR are spread over")
	f.Func("ops", "what to measure, with commas between: "+strings.Join(kvspeed.Names(), ",")+"; beginnings will do (default all)", func(s string) error {
		k.ops = strings.Split(s, ",")
		return nil
	})
	f.Func("sizes", "elements in the structures whose growth is measured (default 10,1000,100000)", func(s string) error {
		k.sizes = nil
		for part := range strings.SplitSeq(s, ",") {
			n, err := strconv.Atoi(part)
			if err != nil || n < 1 || n > 10e6 {
				return errors.New("numbers from 1 to 10 million, as 10,1000,100000")
			}
			k.sizes = append(k.sizes, n)
		}
		return nil
	})
	f.IntVar(&o.rounds, "rounds", 1, "measurements of each operation on each server; medians are reported")
}

func (o *options) checkKV() error {
	k := &o.kv
	for _, s := range k.servers {
		if !slices.Contains(kvServers, s) {
			return fmt.Errorf("-servers: there is no %q, only %s", s, strings.Join(kvServers, ", "))
		}
	}
	for _, op := range k.ops {
		begin, _, _ := strings.Cut(strings.ToLower(op), " at")
		if !slices.ContainsFunc(kvspeed.Names(), func(name string) bool { return strings.HasPrefix(strings.ToLower(name), begin) }) {
			return fmt.Errorf("-ops: there is no %q, only %s", op, strings.Join(kvspeed.Names(), ", "))
		}
	}
	switch {
	case k.addr != "" && target.LoopbackAddr(k.addr) != nil:
		return fmt.Errorf("-redis: %w", target.LoopbackAddr(k.addr))
	case o.clients < 1 || o.clients > 1024 || k.depth < 1 || k.depth > 1024:
		return errors.New("-clients and -pipeline must be 1 to 1024")
	case k.size < 1 || k.size > 1<<20:
		return errors.New("-size must be 1 to 1 MiB")
	case k.keys < 1 || k.keys > 10e6:
		return errors.New("-keys must be 1 to 10 million")
	case o.rounds < 1 || o.rounds > 1000:
		return errors.New("-rounds must be 1 to 1000")
	}
	return nil
}

func doKV(t *test, ctx context.Context) (err error) {
	k := &t.o.kv
	if err := target.RoomForClients(t.o.clients); err != nil {
		return err
	}
	servers := []kvspeed.Server{{Name: k.addr, Addr: k.addr}}
	if k.addr == "" {
		t.progress.say("starting the servers")
		started, stop, err2 := t.startKV(ctx)
		defer func() { err = errors.Join(err, stop()) }()
		if err2 != nil {
			return err2
		}
		servers = started
	}
	if err := t.o.pin(); err != nil {
		return err
	}
	r, err := kvspeed.Run(ctx, kvspeed.Config{
		Servers: servers, Conns: t.o.clients, Depth: k.depth, Size: k.size, Keys: k.keys, Sizes: k.sizes, Ops: k.ops,
		For: t.o.length, Warmup: t.o.warmup, Rounds: t.o.rounds, Say: t.progress.count,
	})
	if err != nil {
		return err
	}
	t.own = r
	return nil
}

// startKV starts the servers that were asked for. stop is there after an error too.
func (t *test) startKV(ctx context.Context) (servers []kvspeed.Server, stop func() error, err error) {
	var stops []func() error
	stop = func() error {
		var errs []error
		for _, s := range slices.Backward(stops) {
			errs = append(errs, s())
		}
		return errors.Join(errs...)
	}
	binary := t.o.binary
	for _, name := range t.o.kv.servers {
		if strings.HasPrefix(name, "redis") {
			args := []string{"--save", "", "--appendonly", "no"}
			if name == "redis-everysec" {
				args = []string{"--save", "", "--appendonly", "yes", "--appendfsync", "everysec"}
			}
			r, err := target.SpawnRedis(ctx, t.o.kv.redis, t.o.serverCPUs, args...)
			if err != nil {
				return nil, stop, fmt.Errorf("start %s: %w", name, err)
			}
			stops = append(stops, r.Stop)
			servers = append(servers, kvspeed.Server{Name: name, Addr: r.Addr, CPU: r.CPU})
			continue
		}
		if binary == "" {
			dir, err := os.MkdirTemp("", "loadtest")
			if err != nil {
				return nil, stop, err
			}
			stops = append(stops, func() error { return os.RemoveAll(dir) })
			binary = filepath.Join(dir, "roomd")
			if err := target.Build(ctx, binary); err != nil {
				return nil, stop, err
			}
		}
		s, err := target.Spawn(ctx, target.SpawnConfig{Binary: binary, CPUs: t.o.serverCPUs, File: name == "roomd", Redis: true})
		if err != nil {
			return nil, stop, fmt.Errorf("start %s: %w", name, err)
		}
		stops = append(stops, s.Stop)
		servers = append(servers, kvspeed.Server{Name: name, Addr: s.Redis, CPU: s.CPU})
	}
	return servers, stop, nil
}
