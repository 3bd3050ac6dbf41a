package main

import (
	"math"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"roomd/loadtest/report"
)

// From counters to the report.

const (
	busyLimit = 0.95                 // above it the generator has no time left
	lagLimit  = 5 * time.Millisecond // sends this late at p99 are late
)

// fill writes a measurement into the report.
func (t *test) fill(m *measurement, lag *hdr.Histogram) {
	r := &t.report
	a, b := &m.before, &m.after
	n := float64(t.o.clients)
	r.Seconds, r.OfferedPerS = m.seconds, m.rate
	r.Deliveries = b.tally.deliveries
	r.DeliveriesPerS = float64(r.Deliveries) / m.seconds
	r.AchievedPerS = t.achieved(m)
	elapsed := (b.at - a.at).Seconds()
	r.BytesPerClientPS = float64(b.bytes-a.bytes) / elapsed / n
	r.P50, r.P90, r.P99 = millis(m.latency.ValueAtQuantile(50)), millis(m.latency.ValueAtQuantile(90)), millis(m.latency.ValueAtQuantile(99))
	r.P999, r.Max = millis(m.latency.ValueAtQuantile(99.9)), millis(m.latency.Max())
	r.Curve = curve(m.latency)
	t.fillServer(m)

	r.GeneratorCPU = (b.own - a.own).Seconds() / elapsed
	r.GeneratorBusy = 0
	for i := range b.idle {
		r.GeneratorBusy = max(r.GeneratorBusy, 1-(b.idle[i]-a.idle[i]).Seconds()/elapsed)
	}
	r.GeneratorLagP99 = millis(lag.ValueAtQuantile(99))
	late := r.GeneratorLagP99 > max(float64(lagLimit.Milliseconds()), r.P99/10)
	r.GeneratorSaturated = r.GeneratorBusy > busyLimit || late
}

func (t *test) fillServer(m *measurement) {
	r := &t.report
	a, b := m.before.server, m.after.server
	r.ServerCPU, r.ServerCPUPerDelivery, r.ServerRSS, r.WritesPerDelivery = nil, nil, nil, nil
	if a.Process && b.Process {
		cpu := (b.CPU - a.CPU).Seconds()
		r.ServerCPU, r.ServerRSS = ptr(cpu), ptr(b.RSS)
		if r.Deliveries > 0 {
			r.ServerCPUPerDelivery = ptr(cpu * 1e6 / float64(r.Deliveries))
		}
		if t.s.name == "plaza" {
			r.CPUPerClient = cpu * 1e3 / m.seconds / float64(t.o.clients)
		}
	}
	if a.Metrics && b.Metrics && r.Deliveries > 0 { // by our own count: the server's counters are up to a second old, each by its own clock
		r.WritesPerDelivery = ptr((b.Writes - a.Writes) / float64(r.Deliveries))
	}
}

// achieved is the rate at which commands took full effect: each was answered, or
// reached a whole room.
func (t *test) achieved(m *measurement) float64 {
	switch t.s.name {
	case "echo":
		return float64(m.after.tally.deliveries) / m.seconds
	case "chat":
		return float64(m.after.tally.deliveries) / m.seconds * float64(t.o.rooms) / float64(t.o.clients-t.o.slow)
	}
	return float64(m.after.tally.sends) / m.seconds
}

// curve is the latency at percentiles 0 to 99.999, evenly spaced on the scale of
// nines: X is -log10(1 - p).
func curve(h *hdr.Histogram) []report.Point {
	if h.TotalCount() == 0 {
		return nil
	}
	var points []report.Point
	for nines := 0.0; nines <= 5.0001; nines += 0.05 {
		p := 1 - math.Pow(10, -nines)
		if float64(h.TotalCount())*(1-p) < 1 {
			break
		}
		points = append(points, report.Point{X: nines, P50: millis(h.ValueAtQuantile(100 * p))})
	}
	return append(points, report.Point{X: points[len(points)-1].X + 0.05, P50: millis(h.Max())})
}

// conclude notes what all rooms and clients have found by the end.
func (t *test) conclude() error {
	if err := t.fleet.allJoined(t.ctx); err != nil {
		return err
	}
	if err := t.fleet.drain(t.ctx); err != nil {
		return err
	}
	missing, err := t.fleet.missing(t.ctx)
	if err != nil {
		return err
	}
	s, err := t.fleet.totals(t.ctx)
	if err != nil {
		return err
	}
	r := &t.report
	r.Lost, r.Duplicates, r.Reordered, r.Corrupt = s.v.lost+missing, s.v.duplicates, s.v.reordered, s.v.corrupt
	r.Refused, r.Unsent, r.Codes, r.Closings = s.refused, s.unsent, s.codes, s.closings
	r.Returned, r.Resumed, r.Recovered = s.returned, s.resumed, s.recovered
	r.Unrecovered, r.Unknown, r.Resets = s.unrecovered, s.unknown, s.resets
	r.SlowClosed, r.SlowDeliveries = s.slowClosed, s.slowDelivered
	r.Patches, r.States, r.SkippedPatches = s.patches, s.states, s.skippedPatches
	r.Compared = s.compared
	return t.fillUpdates()
}
