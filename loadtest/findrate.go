package main

import (
	"fmt"
	"time"

	"roomd/loadtest/report"
)

// Looking for the highest rate that holds: up, doubling while the limit is far and
// in steps of a quarter near it, until one fails; then halving the distance until
// it is below a twentieth. A rate that fails while the generator itself was short
// of CPU gets a second chance: on a busy machine that was somebody else's fault.

const (
	findFar      = 0.25 // of the limit: below, the rate doubles
	findLeap     = 2.0
	findUp       = 1.25
	findDown     = 0.5
	findEnough   = 1.05
	findMaxSteps = 40
)

// findRate leaves the measurement of the best rate in the report.
func (t *test) findRate() error {
	low, high := 0.0, 0.0 // highest rate that held, lowest that did not
	var best report.Report
	var steps []report.Step
	rate := t.o.rate
	for range findMaxSteps {
		step, err := t.try(rate)
		if err != nil {
			return err
		}
		if !step.Held && t.report.GeneratorSaturated {
			t.progress.note(sentence(step) + "; again")
			if step, err = t.try(rate); err != nil {
				return err
			}
		}
		steps = append(steps, step)
		t.progress.note(sentence(step))
		if step.Held {
			low, best = rate, t.report
			// The timeline's memory is used again by the next measurement.
			best.Timeline = append([]report.Point(nil), t.report.Timeline...)
		} else {
			high = rate
		}
		switch {
		case low > 0 && high > 0 && high/low <= findEnough:
			return t.found(best, steps)
		case high == 0 && step.P99 < findFar*millisOf(t.o.limit):
			rate = low * findLeap
		case high == 0:
			rate = low * findUp
		case low == 0:
			rate = high * findDown
		default:
			rate = (low + high) / 2
		}
		if low == 0 && rate < 1 {
			return fmt.Errorf("no rate holds a p99 of %v, not even %.1f a second", t.o.limit, high)
		}
	}
	return t.found(best, steps)
}

func (t *test) found(best report.Report, steps []report.Step) error {
	t.report = best
	t.report.Steps = steps
	return t.conclude()
}

// try measures one rate, once everybody is in their room.
func (t *test) try(rate float64) (report.Step, error) {
	if err := t.fleet.allJoined(t.ctx); err != nil {
		return report.Step{}, err
	}
	before, err := t.fleet.missing(t.ctx) // of earlier rates
	if err != nil {
		return report.Step{}, err
	}
	m, err := t.measure(rate, min(t.o.warmup, t.o.step), t.o.step)
	if err != nil {
		return report.Step{}, err
	}
	return t.judge(m, before)
}

func millisOf(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// judge says whether a rate held: what was due was done, in time.
func (t *test) judge(m *measurement, missed uint64) (report.Step, error) {
	r := &t.report
	missing, err := t.fleet.missing(t.ctx)
	s := report.Step{OfferedPerS: m.rate, DeliveriesPerS: r.DeliveriesPerS, P99: r.P99}
	a, b := &m.before.tally, &m.after.tally
	switch {
	case missing > missed:
		s.Why = fmt.Sprintf("%d deliveries did not arrive", missing-missed)
	case closings(b) > closings(a):
		s.Why = "the server closed connections"
	case b.refused > a.refused:
		s.Why = "the server refused commands"
	case b.unsent > a.unsent:
		s.Why = "clients fell too far behind"
	case r.AchievedPerS < 0.98*m.rate:
		s.Why = fmt.Sprintf("only %.0f a second came through", r.AchievedPerS)
	case r.P99 > millisOf(t.o.limit):
		s.Why = "p99 too high"
	default:
		s.Held = true
	}
	if !s.Held && r.GeneratorSaturated {
		s.Why += "; the load generator was the bottleneck"
	}
	return s, err
}

// closings counts connections that the server closed, but for slow readers.
func closings(t *tally) (n uint64) {
	for _, k := range t.closings {
		n += k
	}
	return n - t.slowClosed
}

func sentence(s report.Step) string {
	text := fmt.Sprintf("%8.0f/s: %9.0f deliveries/s, p99 %7.2f ms", s.OfferedPerS, s.DeliveriesPerS, s.P99)
	if s.Held {
		return text + "  held"
	}
	return text + "  " + s.Why
}
