// Package kvspeed measures how fast servers of Redis's protocol are: the same
// commands from the same client, on one server after the other.
//
// The load is a closed loop, as redis-benchmark's: every connection has a fixed
// number of commands under way and sends the next when one is answered. A
// server that stalls gets less to do meanwhile; its worst times are in the
// percentiles once, and not as often as an open loop would count them.
package kvspeed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"roomd/loadtest/report"
	"roomd/loadtest/wire"
)

// A Server is one of those to compare. The first is what others are compared with.
type Server struct {
	Name string
	Addr string
	CPU  func() (used time.Duration, ok bool) // nil: unknown
}

// Config says what to measure.
type Config struct {
	Servers     []Server
	Conns       int
	Depth       int // commands that each connection keeps under way
	Size        int // bytes of a value
	Keys        int // that GET, SET and INCR are spread over
	Sizes       []int
	Ops         []string // names or beginnings of names; nil: all
	For, Warmup time.Duration
	Rounds      int

	Say func(what string, done, total int) // told before each round of an operation
}

const patience = 30 * time.Second // for an answer of the preparation

// Names are those of the operations.
func Names() []string {
	var names []string
	for _, o := range ops(&Config{Keys: 1, Sizes: []int{1}}) {
		name, _, _ := strings.Cut(o.name, " at")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Run measures everything. Servers take turns at each operation and round, each
// time beginning with another.
func Run(ctx context.Context, cfg Config) (*report.KV, error) {
	k := &report.KV{
		Scenario: "kv", Conns: cfg.Conns, Pipeline: cfg.Depth, Size: cfg.Size, Seconds: cfg.For.Seconds(), Rounds: cfg.Rounds,
	}
	for _, s := range cfg.Servers {
		version, err := s.version(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s at %s: %w", s.Name, s.Addr, err)
		}
		k.Servers = append(k.Servers, report.KVServer{Name: s.Name, Version: version})
	}
	chosen := slices.DeleteFunc(ops(&cfg), func(o op) bool { return !cfg.wants(o.name) })
	for n, o := range chosen {
		rounds := make([][]report.KVResult, len(cfg.Servers))
		for round := range cfg.Rounds {
			cfg.Say(o.name, n*cfg.Rounds+round, len(chosen)*cfg.Rounds)
			for turn := range cfg.Servers {
				i := (turn + n + round) % len(cfg.Servers)
				r, err := cfg.measure(ctx, &cfg.Servers[i], &o)
				if err != nil {
					return nil, fmt.Errorf("%s on %s: %w", o.name, cfg.Servers[i].Name, err)
				}
				rounds[i] = append(rounds[i], r)
			}
		}
		row := report.KVOp{Name: o.name, Size: o.size, Paced: o.paced}
		for _, r := range rounds {
			row.Results = append(row.Results, report.MedianKV(r))
		}
		row.Compare()
		k.Ops = append(k.Ops, row)
	}
	return k, nil
}

func (cfg *Config) wants(name string) bool {
	return len(cfg.Ops) == 0 || slices.ContainsFunc(cfg.Ops, func(o string) bool {
		return strings.HasPrefix(strings.ToLower(name), strings.ToLower(o))
	})
}

// version asks a server what it is.
func (s *Server) version(ctx context.Context) (string, error) {
	c, err := wire.Dial(ctx, s.Addr, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	v, err := c.Do("INFO", "server")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(v.Text)) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return version, nil
		}
	}
	return "", nil
}

// measure prepares one server, measures one operation and cleans up.
func (cfg *Config) measure(ctx context.Context, s *Server, o *op) (r report.KVResult, err error) {
	c, err := wire.Dial(ctx, s.Addr, patience)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := o.clean(c); err != nil {
		return r, fmt.Errorf("clean up: %w", err)
	}
	if o.prepare != nil {
		if err := o.prepare(c); err != nil {
			return r, fmt.Errorf("prepare: %w", err)
		}
	}
	l, err := newLoop(ctx, s.Addr, cfg.Depth, o.roles(cfg.Conns))
	if err != nil {
		return r, err
	}
	before, known := s.cpu()
	err = l.run(ctx, cfg.Warmup, cfg.For)
	after, _ := s.cpu()
	if err := errors.Join(err, l.close()); err != nil {
		return r, err
	}
	if o.verify != nil {
		if err := o.verify(c, l); err != nil {
			return r, err
		}
	}
	if err := o.clean(c); err != nil {
		return r, fmt.Errorf("clean up: %w", err)
	}
	r = report.KVResult{
		PerS: float64(l.answers) / cfg.For.Seconds(),
		P50:  l.millis(50), P99: l.millis(99), Max: l.millis(100),
		Busy: max(0, 1-l.sleeping.Seconds()/cfg.For.Seconds()), Lost: l.unheard(),
	}
	if known && l.total > 0 {
		r.CPU = float64((after - before).Microseconds()) / float64(l.total)
	}
	return r, nil
}

func (l *loop) millis(q float64) float64 { return float64(l.latency.ValueAtQuantile(q)) / 1000 }

func (s *Server) cpu() (time.Duration, bool) {
	if s.CPU == nil {
		return 0, false
	}
	return s.CPU()
}

// clean removes the operation's keys.
func (o *op) clean(c *wire.Conn) error {
	const atOnce = 500
	words := []string{"DEL"}
	var batch [][]string
	o.keys(func(key string) {
		if words = append(words, key); len(words) > atOnce {
			batch, words = append(batch, words), []string{"DEL"}
		}
	})
	if len(words) > 1 {
		batch = append(batch, words)
	}
	if len(batch) == 0 {
		return nil
	}
	return c.Batch(batch, nil)
}
