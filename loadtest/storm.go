package main

import (
	"errors"
	"math/rand/v2"
	"time"
)

// runStorm cuts all clients off at once, several times, and times their return:
// from the moment the first may try to the moment the last is in its room.
func runStorm(t *test) error {
	t.report.Latency = "a client is back after"
	if _, err := t.begin(0, 0, time.Hour); err != nil {
		return err
	}
	before, err := t.account()
	if err != nil {
		return err
	}
	began := time.Now()
	for round := range t.o.rounds {
		t.progress.count("storm", round, t.o.rounds)
		took, err := t.storm()
		if err != nil {
			return err
		}
		t.report.StormMS = append(t.report.StormMS, float64(took.Microseconds())/1e3)
	}
	m := &measurement{seconds: time.Since(began).Seconds(), latency: newHistogram(), before: before}
	if m.after, err = t.account(); err != nil {
		return err
	}
	err = t.fleet.each(t.ctx, func(sh *shard) { m.latency.Merge(sh.latency) })
	t.fill(m, newHistogram())
	return errors.Join(err, t.conclude())
}

// storm is one round.
func (t *test) storm() (took time.Duration, err error) {
	var first time.Duration
	// All are cut before the first comes back.
	err = t.fleet.each(t.ctx, func(sh *shard) {
		for _, m := range sh.members {
			m.drop()
		}
		first = sh.loop.Clock()
	})
	if err != nil {
		return 0, err
	}
	err = t.fleet.each(t.ctx, func(sh *shard) {
		for _, m := range sh.members {
			m.returnAt = first
			if t.o.spread == 0 {
				sh.toDial = append(sh.toDial, m)
				continue
			}
			pause := rand.N(t.o.spread)
			m.returnAt += pause
			sh.after(pause, m)
		}
	})
	if err != nil {
		return 0, err
	}
	if err := t.fleet.allJoined(t.ctx); err != nil {
		return 0, err
	}
	last := first
	err = t.fleet.each(t.ctx, func(sh *shard) { last = max(last, sh.lastArrival) })
	return last - first, err
}
