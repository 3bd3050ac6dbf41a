package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
)

// Config says what to start. The zero Config is 3 NATS servers, 2 edges and 3
// workers, built from the module around.
type Config struct {
	Single  bool // one roomd process with everything inside; NATS, Edges and Workers don't count
	NATS    int  // servers, 1 or 3; zero means 3. Records have as many replicas
	Edges   int  // zero means 2
	Workers int  // zero means 3
	Links   bool // edges and workers reach NATS through a Link each, and NATS servers each other
	Redis   bool // edges take Redis's clients

	// SmallDisks gives each NATS server a file system of its own in memory, of
	// [DiskBytes], that can be filled. Where that can't be had, the servers have none,
	// and Cluster.NoDisks says why.
	SmallDisks bool

	Roomd      string   // a built roomd; empty: build roomd/cmd/roomd
	NATSServer string   // a built nats-server; empty: build that of the module's requirements
	Flags      []string // more flags for every roomd
	Env        []string // more environment for every roomd, as NAME=value
	Dir        string   // for data and logs, kept afterwards; empty: a temporary one, removed by Stop
}

// A Cluster is the running system. Its fields don't change after Start; the
// methods of a Process may be called by any goroutine.
type Cluster struct {
	NATS    []*Process // none in a single process
	Edges   []*Process
	Workers []*Process // the same Process as Edges[0] in a single process
	Dir     string     // holds data and the logs, NAME.log
	NoDisks error      // why there are no small disks although they were asked for

	cfg   Config
	temp  bool // Dir goes with Stop
	forks *forker

	mu          sync.Mutex // guards what follows
	crashes     []string
	falseStarts []string
}

// Start builds what is to be built, starts all processes and returns when each
// is ready. After an error nothing is left.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg.NATS, cfg.Edges, cfg.Workers = orDefault(cfg.NATS, 3), orDefault(cfg.Edges, 2), orDefault(cfg.Workers, 3)
	if cfg.NATS != 1 && cfg.NATS != 3 {
		return nil, fmt.Errorf("%d NATS servers: want 1 or 3", cfg.NATS)
	}
	c := &Cluster{cfg: cfg, Dir: cfg.Dir, forks: newForker()}
	err := c.prepare(ctx)
	if err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func orDefault(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

// prepare makes the directory and the binaries, and plans the processes.
func (c *Cluster) prepare(ctx context.Context) (err error) {
	if c.Dir == "" {
		c.temp = true
		if c.Dir, err = os.MkdirTemp("", "cluster"); err != nil {
			return err
		}
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	if err := c.build(ctx); err != nil {
		return err
	}
	if c.cfg.Single {
		return c.planSingle()
	}
	if err := c.planNATS(); err != nil {
		return err
	}
	return c.planNodes()
}

// planSingle plans the one process.
func (c *Cluster) planSingle() error {
	p, err := c.newNode("roomd", true)
	if err != nil {
		return err
	}
	p.args = append(p.args, "-data", filepath.Join(c.Dir, "data"))
	c.Edges, c.Workers = []*Process{p}, []*Process{p}
	return nil
}

func (c *Cluster) planNodes() error {
	for _, role := range []struct {
		name string
		n    int
		list *[]*Process
	}{{"edge", c.cfg.Edges, &c.Edges}, {"worker", c.cfg.Workers, &c.Workers}} {
		for i := range role.n {
			p, err := c.newNode(fmt.Sprintf("%s-%d", role.name, i+1), role.name == "edge", role.name)
			if err != nil {
				return err
			}
			*role.list = append(*role.list, p) // from here on Stop knows of it, and of its link
			nats := c.natsAddrs()
			if c.cfg.Links {
				if p.Link, err = newLink(nats); err != nil {
					return err
				}
				nats = p.Link.addrs
			}
			p.args = append(p.args, "-nats", natsURLs(nats), "-replicas", strconv.Itoa(c.cfg.NATS))
		}
	}
	return nil
}

// newNode plans a roomd process. Edges take clients.
func (c *Cluster) newNode(name string, edge bool, args ...string) (*Process, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	p := c.newProcess(name, c.cfg.Roomd)
	p.env = c.cfg.Env
	p.admin = "http://" + ports[0]
	p.ready = p.admin + "/readyz"
	p.args = append(args, "-name", name, "-admin", ports[0])
	if edge {
		p.URL = "ws://" + ports[1] + "/ws"
		p.args = append(p.args, "-addr", ports[1])
	}
	if edge && c.cfg.Redis {
		redis, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		p.Redis = redis[0]
		p.args = append(p.args, "-redis", p.Redis)
	}
	p.args = append(p.args, c.cfg.Flags...)
	return p, nil
}

// start brings NATS up, then the rest at once.
func (c *Cluster) start(ctx context.Context) error {
	if err := each(c.NATS, func(p *Process) error { return p.Start(ctx) }); err != nil {
		return err
	}
	return each(c.Nodes(), func(p *Process) error { return p.Start(ctx) })
}

// Nodes are the roomd processes, each once.
func (c *Cluster) Nodes() []*Process {
	if c.cfg.Single {
		return c.Edges
	}
	return slices.Concat(c.Edges, c.Workers)
}

// All are all processes, each once.
func (c *Cluster) All() []*Process { return slices.Concat(c.Nodes(), c.NATS) }

// URLs is where clients connect, one an edge.
func (c *Cluster) URLs() []string {
	urls := make([]string, len(c.Edges))
	for i, e := range c.Edges {
		urls[i] = e.URL
	}
	return urls
}

// Crashes tells of processes that ended without being asked once they were
// ready, with their last words.
func (c *Cluster) Crashes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.crashes)
}

// FalseStarts tells of processes that ended before they were ready, as a node
// may that doesn't find NATS, with their last words.
func (c *Cluster) FalseStarts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.falseStarts)
}

func (c *Cluster) ended(what string, ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ready {
		c.crashes = append(c.crashes, what)
	} else {
		c.falseStarts = append(c.falseStarts, what)
	}
}

// Stop ends all processes, nodes before NATS, and removes what was temporary. It
// returns an error if a node had to be killed or ended badly.
func (c *Cluster) Stop() error {
	err := each(c.Nodes(), (*Process).Term)
	// NATS has nothing to save that a kill would lose, and its orderly end waits.
	err = errors.Join(err, each(c.NATS, (*Process).Kill))
	for _, p := range c.All() {
		if p.Link != nil {
			p.Link.close()
		}
		for _, route := range p.Routes {
			route.close() // the second of two closes nothing any more
		}
	}
	c.forks.close()
	if c.temp {
		err = errors.Join(err, os.RemoveAll(c.Dir))
	}
	return err
}

// each does something with all processes at the same time.
func each(list []*Process, do func(*Process) error) error {
	errs := make([]error, len(list))
	var working sync.WaitGroup
	for i, p := range list {
		working.Go(func() { errs[i] = do(p) })
	}
	working.Wait()
	return errors.Join(errs...)
}

// A forker starts processes from one thread that lives as long as it does: on
// Linux a child is told of its parent's death when the thread that forked it ends.
type forker struct {
	jobs chan func()
	done chan struct{}
}

func newForker() *forker {
	f := &forker{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		runtime.LockOSThread()
		for job := range f.jobs {
			job()
		}
	}()
	return f
}

// do runs job on the thread and returns when it has.
func (f *forker) do(job func() error) error {
	result := make(chan error, 1)
	f.jobs <- func() { result <- job() }
	return <-result
}

func (f *forker) close() {
	close(f.jobs)
	<-f.done
}
