package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"roomd/client"
	"roomd/loadtest/cluster"
	"roomd/loadtest/report"
	"roomd/loadtest/target"
)

// Rooms that do not exist yet, all joined at the same moment: what a cluster does
// when it is asked for more at once than it can open.

type opensOptions struct {
	each    int
	nats    int
	edges   int
	workers int
}

// maxEach is how many rooms an edge lets one conn be in.
const maxEach = 32

func opensFlags(o *options, f *flag.FlagSet) {
	n := &o.opens
	o.rooms, o.rate = 1, 1 // for the common checks
	f.IntVar(&o.clients, "clients", 400, "clients")
	f.IntVar(&n.each, "each", 25, "new rooms that each client joins")
	f.IntVar(&n.nats, "nats", 3, "NATS servers: 1 or 3; records have as many replicas")
	f.IntVar(&n.edges, "edges", 2, "edges")
	f.IntVar(&n.workers, "workers", 3, "workers")
	f.StringVar(&o.kind, "kind", o.kind, "kind of the rooms")
}

func (o *options) checkOpens() error {
	n := &o.opens
	switch {
	case n.each < 1 || n.each > maxEach:
		return fmt.Errorf("-each must be 1 to %d", maxEach)
	case n.nats != 1 && n.nats != 3:
		return errors.New("-nats must be 1 or 3")
	case n.edges < 1 || n.edges > 16 || n.workers < 1 || n.workers > 16:
		return errors.New("-edges and -workers must be 1 to 16")
	}
	return nil
}

func doOpens(t *test, ctx context.Context) (err error) {
	o := t.o
	n := &o.opens
	r := report.NewOpens(t.s.name, o.kind, n.nats, n.edges, n.workers)
	t.own = r
	if err := target.RoomForClients(o.clients); err != nil {
		return err
	}
	t.progress.say("starting the cluster")
	c, err := cluster.Start(ctx, cluster.Config{NATS: n.nats, Edges: n.edges, Workers: n.workers, Roomd: o.binary})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := o.pin(); err != nil {
		return err
	}
	s := &opening{o: o, report: r}
	defer s.close()
	t.progress.say(fmt.Sprintf("connecting %d clients", o.clients))
	if err := s.connect(ctx, c.URLs()); err != nil {
		return err
	}
	t.progress.say(fmt.Sprintf("joining %d new rooms", o.clients*n.each))
	if err := s.join(ctx); err != nil {
		return err
	}
	r.Finish()
	for _, text := range c.Crashes() {
		err = errors.Join(err, errors.New(text))
	}
	return err
}

// An opening is one run of the scenario.
type opening struct {
	o       *options
	clients []*client.Client

	mu     sync.Mutex // guards report
	report *report.Opens
}

func (s *opening) connect(ctx context.Context, urls []string) error {
	for i := range s.o.clients {
		c, err := client.Dial(ctx, client.Config{URL: urls[i%len(urls)]})
		if err != nil {
			return err
		}
		s.clients = append(s.clients, c)
	}
	return nil
}

func (s *opening) close() {
	for _, c := range s.clients {
		_ = c.Close() // returns nil
	}
}

// join has all clients join all their rooms at once, and waits until they are in.
func (s *opening) join(ctx context.Context) error {
	run := rand.Uint32()
	var joining sync.WaitGroup
	errs := make(chan error, len(s.clients)*s.o.opens.each)
	began := time.Now()
	for i, c := range s.clients {
		for j := range s.o.opens.each {
			id := fmt.Sprintf("lt-%08x-%d-%d", run, i, j)
			joining.Go(func() { errs <- s.enter(ctx, c, id, began) })
		}
	}
	joining.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	openAgain    = 500 * time.Millisecond // first pause of a client that was refused, on average half of it
	longestAgain = 10 * time.Second
	openPatience = 2 * time.Minute // for a client to get in at all
)

// enter joins a room as PROTOCOL.md says: who is refused for now asks again
// after a pause.
func (s *opening) enter(ctx context.Context, c *client.Client, id string, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	for try := 0; ; try++ {
		asked := time.Now()
		_, err := c.Join(ctx, s.o.kind, id, nil, client.Events{})
		code := client.Code(err)
		if err != nil && code == "" {
			return err
		}
		s.mu.Lock()
		s.report.Answer(try, code, time.Since(asked), time.Since(began))
		s.mu.Unlock()
		switch code {
		case "":
			return nil
		case "overloaded", "unavailable", "timeout":
		default:
			return err
		}
		select {
		case <-time.After(rand.N(min(longestAgain, openAgain<<min(try, 10)))):
		case <-ctx.Done():
			return fmt.Errorf("room %s was not opened in %v: %w", id, openPatience, err)
		}
	}
}
