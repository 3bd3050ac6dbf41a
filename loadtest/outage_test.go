package main

import (
	"testing"
	"time"
)

func TestOutageLastsFromFaultToFirstAnswer(t *testing.T) {
	const fault = time.Second
	at := func(ms int) time.Duration { return fault + time.Duration(ms)*time.Millisecond }
	for name, c := range map[string]struct {
		events        func(w *watched)
		drain, probed bool
		length        time.Duration
		affected      bool
		never         bool
	}{
		"a room that never paused": {
			events: func(w *watched) { w.answer(fault, at(20), at(22)) },
			probed: true,
		},
		"answers that were on their way are no life": {
			events: func(w *watched) {
				w.answer(fault, at(-1), at(1))
				w.answer(fault, at(4), at(6))
				w.notice(fault, "resumed", at(300))
				w.answer(fault, at(40), at(310))
				w.answer(fault, at(60), at(311))
			},
			probed: true, affected: true, length: 310 * time.Millisecond,
		},
		"unprobed rooms are back with the notice": {
			events: func(w *watched) {
				w.notice(fault, "paused", at(10))
				w.notice(fault, "resumed", at(200))
				w.notice(fault, "resumed", at(900))
				w.answer(fault, at(800), at(801))
			},
			affected: true, length: 200 * time.Millisecond,
		},
		"unprobed rooms are back with an answer before it": {
			events: func(w *watched) {
				w.answer(fault, at(100), at(150))
				w.notice(fault, "resumed", at(200))
			},
			affected: true, length: 150 * time.Millisecond,
		},
		"a long wait shows a pause that nobody told of": {
			events:   func(w *watched) { w.answer(fault, at(10), at(400)) },
			affected: true, probed: true, length: 400 * time.Millisecond,
		},
		"a wait long after the fault is another matter": {
			events: func(w *watched) {
				w.answer(fault, at(10), at(12))
				w.answer(fault, at(1000), at(1400))
			},
			probed: true,
		},
		"so is a wait during a drain, without a notice": {
			events: func(w *watched) { w.answer(fault, at(10), at(400)) },
			drain:  true, probed: true,
		},
		"nobody is answered any more": {
			events: func(*watched) {}, probed: true, affected: true, never: true,
		},
		"a drain costs what a command waited": {
			events: func(w *watched) {
				w.answer(fault, at(20), at(21))
				w.notice(fault, "resumed", at(550))
				w.answer(fault, at(500), at(551))
			},
			drain: true, affected: true, probed: true, length: 51 * time.Millisecond,
		},
		"a drain costs what the notices say": {
			events: func(w *watched) {
				w.notice(fault, "paused", at(500))
				w.notice(fault, "resumed", at(570))
			},
			drain: true, affected: true, length: 70 * time.Millisecond,
		},
		"a room that does not come back": {
			events: func(w *watched) { w.notice(fault, "paused", at(10)) },
			probed: true, affected: true, never: true,
		},
		"a room that does not come back from a drain": {
			events: func(w *watched) {
				w.answer(fault, at(20), at(21))
				w.notice(fault, "paused", at(500))
			},
			drain: true, affected: true, never: true,
		},
	} {
		var w watched
		c.events(&w)
		o := w.outage(fault, c.drain, c.probed)
		if o.Wait != w.maxWait || o.Affected != c.affected || o.Never != c.never || !o.Never && o.Length != c.length {
			t.Errorf("%s: outage = %+v", name, o)
		}
	}
}

func TestNothingIsNotedBeforeTheFault(t *testing.T) {
	var w watched
	w.answer(0, time.Second, 9*time.Second)
	w.notice(0, "paused", time.Second)
	if w != (watched{}) {
		t.Errorf("noted without a fault: %+v", w)
	}
}

func TestAnswersBeforeTheFaultsRealDateDontCount(t *testing.T) {
	const armed, fault = time.Second, time.Second + 20*time.Millisecond
	var w watched
	w.answer(armed, armed+faultGuard, armed+faultGuard+time.Millisecond)
	w.date(fault)
	w.answer(fault, fault+300*time.Millisecond, fault+400*time.Millisecond)
	if w.answered != fault+400*time.Millisecond {
		t.Errorf("answered = %v", w.answered)
	}
}
