package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"roomd/client"
	"roomd/loadtest/report"
	"roomd/loadtest/target"
)

// A test is one run, from the server's start to its verdict.
type test struct {
	o        *options
	s        *scenario
	ctx      context.Context // ends with Ctrl-C, or when the server ends
	server   *target.Server
	fleet    *fleet
	progress *progress
	report   report.Report
	own      result // of scenarios with a result of their own; nil: report is it
	rss      int64  // of the server before anybody connected; 0: unknown
}

func (t *test) do(ctx context.Context) error {
	if t.s.do != nil {
		return t.s.do(t, ctx)
	}
	return t.onServer(ctx, t.o.clients, func() error {
		return t.withFleet(func() error { return t.s.run(t) })
	})
}

// onServer finds or starts the server and has body run against it, with room for
// so many clients.
func (t *test) onServer(ctx context.Context, clients int, body func() error) (err error) {
	if err := target.RoomForClients(clients); err != nil {
		return err
	}
	t.progress.say("starting")
	if t.server, err = openServer(ctx, t.o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.server.Stop()) }()
	if err := t.o.pin(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { t.watchServer(ctx, cancel) })
	defer watching.Wait()
	defer cancel(nil)
	t.ctx = ctx
	return body()
}

// withFleet connects the clients, has body run with them, and ends them.
func (t *test) withFleet(body func() error) (err error) {
	aim, err := client.ParseTarget(t.server.URL)
	if err != nil {
		return err
	}
	if t.fleet, err = newFleet(t.ctx, t.o, aim, t.s.work); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.fleet.stop()) }()
	if err := t.connect(); err != nil {
		return err
	}
	return body()
}

// watchServer ends the test when a server that we started ends under it.
func (t *test) watchServer(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-t.server.Ended():
		cancel(errors.New("the server ended during the test"))
	case <-ctx.Done():
	}
}

// connect brings everybody into their rooms and notes what that took.
func (t *test) connect() error {
	r := &t.report
	r.Scenario, r.Kind, r.Clients, r.Rooms, r.Size = t.s.name, t.o.kind, t.o.clients, t.o.rooms, t.o.size
	r.Latency, r.SlowClients = "latency", t.o.slow
	if t.server.Admin != "" {
		if err := t.server.CollectGarbage(t.ctx); err != nil {
			return fmt.Errorf("ask the server for a garbage collection: %w", err)
		}
	}
	before := t.server.Usage(t.ctx)
	t.rss = before.RSS
	t.progress.say(fmt.Sprintf("connecting %d clients", t.o.clients))
	took, err := t.fleet.connect(t.ctx)
	if err != nil {
		return err
	}
	after := t.server.Usage(t.ctx)
	r.ConnectSeconds = took.Seconds()
	r.JoinsPerS = float64(t.o.clients) / took.Seconds()
	if !after.Process || !before.Process {
		return nil
	}
	if cpu := (after.CPU - before.CPU).Seconds(); cpu > 0 {
		r.JoinsPerCPUS = ptr(float64(t.o.clients) / cpu)
	}
	r.RSSPerConnBeforeGC = ptr(float64(after.RSS-before.RSS) / float64(t.o.clients))
	if err := t.server.CollectGarbage(t.ctx); err != nil {
		return fmt.Errorf("ask the server for a garbage collection: %w", err)
	}
	after = t.server.Usage(t.ctx)
	r.RSSPerConn = ptr(float64(after.RSS-before.RSS) / float64(t.o.clients))
	return nil
}

func ptr[T any](v T) *T { return &v }

// runSteady measures clients that say nothing.
func runSteady(t *test) error {
	_, err := t.measure(0, t.o.warmup, t.o.length)
	return errors.Join(err, t.conclude())
}

// runLoad measures one rate, or looks for the highest.
func runLoad(t *test) error {
	if t.o.find {
		return t.findRate()
	}
	_, err := t.measure(t.o.rate, t.o.warmup, t.o.length)
	return errors.Join(err, t.conclude())
}

// An account is the state of the world at one moment, to take differences.
type account struct {
	server target.Usage
	own    time.Duration
	at     time.Duration
	idle   []time.Duration
	bytes  uint64
	tally  tally
}

func (t *test) account() (a account, err error) {
	a.server = t.server.Usage(t.ctx)
	a.own = target.OwnCPU()
	a.at = time.Since(t.fleet.base)
	if a.tally, err = t.fleet.totals(t.ctx); err != nil {
		return a, err
	}
	err = t.fleet.each(t.ctx, func(sh *shard) {
		a.idle = append(a.idle, sh.loop.Idle())
		a.bytes += sh.bytesIn()
	})
	return a, err
}

// A measurement is what one window told.
type measurement struct {
	rate    float64
	seconds float64
	latency *hdr.Histogram
	before  account
	after   account // tallies are those after the drain
}

// measure runs the workload at rate: warm-up, window, drain. The report gets the
// figures of the last measurement.
func (t *test) measure(rate float64, warmup, length time.Duration) (*measurement, error) {
	w, err := t.begin(rate, warmup, length)
	if err != nil {
		return nil, err
	}
	return t.observe(rate, w)
}

// observe measures the window w of a load that goes on already, and drains.
func (t *test) observe(rate float64, w window) (m *measurement, err error) {
	m = &measurement{rate: rate, seconds: (w.to - w.from).Seconds(), latency: newHistogram()}
	if err := t.watch(w.from, "warming up", nil); err != nil {
		return nil, err
	}
	if m.before, err = t.account(); err != nil {
		return nil, err
	}
	t.report.Timeline = t.report.Timeline[:0]
	if err := t.watch(w.to, "measuring", &t.report.Timeline); err != nil {
		return nil, err
	}
	if m.after, err = t.account(); err != nil {
		return nil, err
	}
	t.progress.say("waiting for the rest")
	if err := t.fleet.drain(t.ctx); err != nil {
		return nil, err
	}
	if m.after.tally, err = t.fleet.totals(t.ctx); err != nil {
		return nil, err
	}
	lag := newHistogram()
	err = t.fleet.each(t.ctx, func(sh *shard) {
		m.latency.Merge(sh.latency)
		lag.Merge(sh.lag)
	})
	t.fill(m, lag)
	return m, err
}

// begin sets the schedule going on every shard.
func (t *test) begin(rate float64, warmup, length time.Duration) (w window, err error) {
	senders := 0
	if err := t.fleet.each(t.ctx, func(sh *shard) { senders += len(sh.senders) }); err != nil {
		return w, err
	}
	start := time.Since(t.fleet.base) + 10*time.Millisecond
	w = window{from: start + warmup, to: start + warmup + length}
	err = t.fleet.each(t.ctx, func(sh *shard) {
		sh.latency.Reset()
		sh.recent.Reset()
		sh.lag.Reset()
		sh.deliveries, sh.sends = 0, 0
		sh.resetUpdates()
		sh.window = w
		sh.pace = pace{start: start, end: w.to}
		if rate > 0 && len(sh.senders) > 0 {
			sh.pace.every = float64(time.Second) / (rate * float64(len(sh.senders)) / float64(senders))
		}
	})
	return w, err
}

// watch waits until the given time, shows progress and notes a point of the
// timeline every second.
func (t *test) watch(until time.Duration, what string, timeline *[]report.Point) error {
	begin := time.Since(t.fleet.base)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.NewTimer(until - begin)
	defer end.Stop()
	last, err := t.fleet.totals(t.ctx)
	if err != nil {
		return err
	}
	for {
		select {
		case <-end.C:
			return nil
		case <-t.ctx.Done():
			return context.Cause(t.ctx)
		case <-tick.C:
		}
		recent := newHistogram()
		if err := t.fleet.each(t.ctx, func(sh *shard) {
			recent.Merge(sh.recent)
			sh.recent.Reset()
		}); err != nil {
			return err
		}
		now, err := t.fleet.totals(t.ctx)
		if err != nil {
			return err
		}
		p := report.Point{
			X:   (time.Since(t.fleet.base) - begin).Seconds(),
			P50: millis(recent.ValueAtQuantile(50)), P99: millis(recent.ValueAtQuantile(99)),
			Deliveries: float64(now.delivered - last.delivered),
		}
		last = now
		if timeline != nil {
			*timeline = append(*timeline, p)
		}
		t.progress.step(what, p, (until - begin).Seconds())
	}
}

// millis turns a histogram's value into milliseconds.
func millis(v int64) float64 { return float64(v*latencyStep) / 1e6 }
