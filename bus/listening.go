package bus

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Who listens to a subject. NATS says "no responders" only while nothing at all
// listens there: an operator's subscription to ">", or a stream on all subjects,
// ends that. So where an answer is late NATS is asked by a message trace (since
// 2.11): a message that is delivered to nobody, whose way each server on it
// reports:
//
//	{"hops": 1, "request": {"header": {…}}, "events": [{"type": "eg", "sub": "r.room.chat.a.in"}, …]}
//
// The first server's report has no hop header and says how many servers there
// are behind it; so does each of theirs.

// A Listening is what NATS knows of a subject's subscribers.
type Listening struct {
	Known bool // NATS has said so; else the rest means nothing
	There bool // there is a subscription to this very subject
	Other bool // something else gets all that is published there: a wildcard, a stream
}

// Bounds of traces.
const (
	traceTimeout = 200 * time.Millisecond // NATS answers in one or two; older servers never
	traceShared  = 5 * time.Millisecond   // who asks about a subject within that shares one trace
	maxTraces    = 4096                   // under way; more are not known
	tracePrefix  = "t"                    // of the last token of a reply subject: a trace's, not a request's
)

// A trace is a question of who listens that has no full answer yet.
type trace struct {
	subject string
	began   time.Time
	timer   *time.Timer
	origin  bool // the first server has answered
	reports int  // so far
	hops    int  // servers that the reports speak of
	unsure  bool // some server can't tell
	found   Listening
	done    []func(Listening)
}

// traces is the table of one Conn.
type traces struct {
	mu        sync.Mutex // guards what follows; never held while a done runs
	last      uint64
	waiting   map[uint64]*trace
	bySubject map[string]*trace // the newest of each
}

// Listens asks NATS who listens to subject. done runs exactly once, on a goroutine
// of the Conn or a timer's, and must not block.
func (c *Conn) Listens(subject string, done func(Listening)) {
	t := &c.traces
	now := time.Now()
	t.mu.Lock()
	if tr := t.bySubject[subject]; tr != nil && now.Sub(tr.began) < traceShared {
		tr.done = append(tr.done, done)
		t.mu.Unlock()
		return
	}
	if len(t.waiting) >= maxTraces {
		t.mu.Unlock()
		time.AfterFunc(0, func() { done(Listening{}) })
		return
	}
	t.last++
	n := t.last
	tr := &trace{subject: subject, began: now, done: []func(Listening){done}}
	tr.timer = time.AfterFunc(traceTimeout, func() { t.finish(n) })
	t.waiting[n], t.bySubject[subject] = tr, tr
	t.mu.Unlock()
	msg := &nats.Msg{
		Subject: subject,
		Header: nats.Header{
			"Nats-Trace-Dest": {c.calls.inbox + "." + tracePrefix + strconv.FormatUint(n, 10)},
			"Nats-Trace-Only": {"true"},
		},
		Data: noRequest, // a server that knows no traces delivers it, and it is ignored
	}
	if err := c.nc.PublishMsg(msg); err != nil {
		time.AfterFunc(0, func() { t.finish(n) })
	}
}

// finish ends a trace with what is known.
func (t *traces) finish(n uint64) {
	t.mu.Lock()
	tr := t.waiting[n]
	if tr == nil {
		t.mu.Unlock()
		return
	}
	delete(t.waiting, n)
	if t.bySubject[tr.subject] == tr {
		delete(t.bySubject, tr.subject)
	}
	tr.timer.Stop()
	found, done := tr.found, tr.done
	found.Known = found.There || tr.complete()
	t.mu.Unlock()
	for _, f := range done {
		f(found)
	}
}

// close ends all traces.
func (t *traces) close() {
	t.mu.Lock()
	waiting := make([]uint64, 0, len(t.waiting))
	for n := range t.waiting {
		waiting = append(waiting, n)
	}
	t.mu.Unlock()
	for _, n := range waiting {
		t.finish(n)
	}
}

// complete reports whether every server has said all it knows.
func (tr *trace) complete() bool {
	return tr.origin && !tr.unsure && tr.reports == tr.hops+1
}

// reported takes one server's report.
func (t *traces) reported(token string, data []byte) {
	n, err := strconv.ParseUint(token, 10, 64)
	if err != nil {
		return
	}
	rep, ok := parseTrace(data)
	if !ok {
		return // something else that listens answers too
	}
	t.mu.Lock()
	tr := t.waiting[n]
	if tr != nil {
		tr.add(rep)
	}
	complete := tr != nil && tr.complete()
	t.mu.Unlock()
	if complete {
		t.finish(n)
	}
}

// add counts a report in. The caller holds mu.
func (tr *trace) add(rep traceReport) {
	tr.reports++
	tr.hops += rep.Hops
	tr.origin = tr.origin || len(rep.Request.Header[traceHop]) == 0
	for _, e := range rep.Events {
		switch {
		case e.Type == "eg" && e.Sub == tr.subject:
			tr.found.There = true
		case e.Type == "eg" && e.Sub != "", e.Type == "js", e.Type == "se", e.Type == "si":
			tr.found.Other = true
		case e.Type == "eg" && e.Error != "": // towards another server
			tr.unsure = true
		}
	}
}

const traceHop = "Nats-Trace-Hop"

// A traceReport is what is read of a server's report.
type traceReport struct {
	Hops    int `json:"hops"`
	Request struct {
		Header map[string][]string `json:"header"`
	} `json:"request"`
	Events []struct {
		Type  string `json:"type"`
		Sub   string `json:"sub"`
		Error string `json:"error"`
	} `json:"events"`
}

// maxHops bounds what a report may say of servers behind one.
const maxHops = 1 << 16

// parseTrace reads a report. Every report begins with how the message came in.
func parseTrace(b []byte) (rep traceReport, ok bool) {
	err := json.Unmarshal(b, &rep)
	return rep, err == nil && len(rep.Events) > 0 && rep.Events[0].Type == "in" && rep.Hops >= 0 && rep.Hops <= maxHops
}

// traceToken returns the number of the trace that an answer belongs to.
func traceToken(last string) (token string, ok bool) { return strings.CutPrefix(last, tracePrefix) }
