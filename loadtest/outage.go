package main

import (
	"time"

	"roomd/loadtest/report"
)

// When a room was away, as its members saw it.

const (
	// A worker that is hit may still have answers on their way; commands due this
	// soon after the fault are no sign of life.
	faultGuard = 5 * time.Millisecond
	// A room was affected if its members were told so, or if this long after the
	// fault nobody had been answered yet. Longer waits later don't count: they are
	// short of CPU, and would make outages look short.
	gapAfter = 250 * time.Millisecond
)

// A watched room's times count from the fleet's base; 0: it did not happen. They
// are of one fault.
type watched struct {
	paused, back time.Duration // first notices: paused; resumed or reset
	answered     time.Duration // first answer to a command that was due after the fault,
	due          time.Duration // which was then
	maxWait      time.Duration // longest time from when a command was due to its answer
}

// answer notes the answer to a command that was due at due.
func (w *watched) answer(fault, due, now time.Duration) {
	if fault == 0 {
		return
	}
	w.maxWait = max(w.maxWait, now-due)
	if w.answered == 0 && due >= fault+faultGuard {
		w.answered, w.due = now, due
	}
}

// date moves the fault to a later moment: answers from before it don't count.
func (w *watched) date(fault time.Duration) {
	if w.due < fault+faultGuard {
		w.answered, w.due = 0, 0
	}
}

// notice notes what members were told.
func (w *watched) notice(fault time.Duration, notice string, now time.Duration) {
	switch {
	case fault == 0:
	case notice == "paused" && w.paused == 0:
		w.paused = now
	case notice != "paused" && w.back == 0:
		w.back = now
	}
}

func (w *watched) noticed() bool { return w.paused > 0 || w.back > 0 }

// outage tells how long the room was away. A worker that drains goes on for a
// while after it was told to, so what counts is how long the room kept anybody
// waiting; after other faults it is the time from the fault to the first answer,
// or if rooms are not probed to the first sign of life.
func (w *watched) outage(fault time.Duration, drain, probed bool) report.Outage {
	o := report.Outage{Affected: w.noticed(), Wait: w.maxWait}
	switch {
	case drain && o.Affected:
		o.Length = w.maxWait
		if w.paused > 0 && w.back > w.paused {
			o.Length = max(o.Length, w.back-w.paused)
		}
		o.Never = w.paused > 0 && w.back == 0 && w.answered < w.paused
	case drain:
	case probed:
		o.Length, o.Never = w.answered-fault, w.answered == 0
		o.Affected = o.Affected || o.Never || o.Length >= gapAfter
	case o.Affected:
		first := w.answered
		if w.back > 0 && (first == 0 || w.back < first) {
			first = w.back
		}
		o.Length, o.Never = first-fault, first == 0
	}
	if !o.Affected {
		o.Length = 0
	}
	return o
}
