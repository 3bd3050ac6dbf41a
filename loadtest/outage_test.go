package main

import (
	"testing"
	"time"
)

// struck is when the fault of outageCases was.
const struck = time.Second

func afterFault(ms int) time.Duration { return struck + time.Duration(ms)*time.Millisecond }

var outageCases = map[string]struct {
	events        func(w *watched)
	drain, probed bool
	length        time.Duration
	affected      bool
	never         bool
}{
	"a room that never paused": {
		events: func(w *watched) { w.answer(struck, afterFault(20), afterFault(22)) },
		probed: true,
	},
	"answers that were on their way are no life": {
		events: func(w *watched) {
			w.answer(struck, afterFault(-1), afterFault(1))
			w.answer(struck, afterFault(4), afterFault(6))
			w.notice(struck, "resumed", afterFault(300))
			w.answer(struck, afterFault(40), afterFault(310))
			w.answer(struck, afterFault(60), afterFault(311))
		},
		probed: true, affected: true, length: 310 * time.Millisecond,
	},
	"unprobed rooms are back with the notice": {
		events: func(w *watched) {
			w.notice(struck, "paused", afterFault(10))
			w.notice(struck, "resumed", afterFault(200))
			w.notice(struck, "resumed", afterFault(900))
			w.answer(struck, afterFault(800), afterFault(801))
		},
		affected: true, length: 200 * time.Millisecond,
	},
	"unprobed rooms are back with an answer before it": {
		events: func(w *watched) {
			w.answer(struck, afterFault(100), afterFault(150))
			w.notice(struck, "resumed", afterFault(200))
		},
		affected: true, length: 150 * time.Millisecond,
	},
	"a long wait shows a pause that nobody told of": {
		events:   func(w *watched) { w.answer(struck, afterFault(10), afterFault(400)) },
		affected: true, probed: true, length: 400 * time.Millisecond,
	},
	"a wait long after the fault is another matter": {
		events: func(w *watched) {
			w.answer(struck, afterFault(10), afterFault(12))
			w.answer(struck, afterFault(1000), afterFault(1400))
		},
		probed: true,
	},
	"so is a wait during a drain, without a notice": {
		events: func(w *watched) { w.answer(struck, afterFault(10), afterFault(400)) },
		drain:  true, probed: true,
	},
	"nobody is answered any more": {
		events: func(*watched) {}, probed: true, affected: true, never: true,
	},
	"a drain costs what a command waited": {
		events: func(w *watched) {
			w.answer(struck, afterFault(20), afterFault(21))
			w.notice(struck, "resumed", afterFault(550))
			w.answer(struck, afterFault(500), afterFault(551))
		},
		drain: true, affected: true, probed: true, length: 51 * time.Millisecond,
	},
	"a drain costs what the notices say": {
		events: func(w *watched) {
			w.notice(struck, "paused", afterFault(500))
			w.notice(struck, "resumed", afterFault(570))
		},
		drain: true, affected: true, length: 70 * time.Millisecond,
	},
	"a room that does not come back": {
		events: func(w *watched) { w.notice(struck, "paused", afterFault(10)) },
		probed: true, affected: true, never: true,
	},
	"a room that does not come back from a drain": {
		events: func(w *watched) {
			w.answer(struck, afterFault(20), afterFault(21))
			w.notice(struck, "paused", afterFault(500))
		},
		drain: true, affected: true, never: true,
	},
}

func TestOutageLastsFromFaultToFirstAnswer(t *testing.T) {
	for name, c := range outageCases {
		var w watched
		c.events(&w)
		o := w.outage(struck, c.drain, c.probed)
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
