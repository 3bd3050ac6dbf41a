package bus

import (
	"bytes"
	"testing"
	"time"
)

// What travels between nodes is read by hand. Whatever arrives, nothing panics,
// and what is accepted comes back as it was when it is written again.

func FuzzAnswer(f *testing.F) {
	f.Add(appendResult(nil, []byte("body"), nil))
	f.Add(appendResult(nil, nil, &Error{RoomFull, "seats: 4"}))
	f.Add([]byte(`{"stream":"everything","seq":7}`))
	f.Add([]byte{answerMark, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err, ours := parseAnswer(b)
		if !ours {
			return
		}
		var refusal *Error
		if err != nil {
			refusal = AsError(err)
		}
		body2, err2, ours := parseAnswer(appendResult(nil, body, refusal))
		if !ours || !bytes.Equal(body, body2) || (err == nil) != (err2 == nil) || err != nil && *AsError(err2) != *refusal {
			t.Errorf("%q, %v came back as %q, %v", body, err, body2, err2)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add(append(appendHead(nil, time.UnixMilli(1e12), 7), "body"...))
	f.Add(noRequest)
	f.Fuzz(func(t *testing.T, b []byte) {
		deadline, from, body, ok := parseRequest(b)
		if !ok {
			return
		}
		deadline2, from2, body2, ok := parseRequest(append(appendHead(nil, deadline, from), body...))
		if !ok || !deadline.Equal(deadline2) || from != from2 || !bytes.Equal(body, body2) {
			t.Errorf("%v of %d, %q came back as %v of %d, %q", deadline, from, body, deadline2, from2, body2)
		}
	})
}

func FuzzHeartbeat(f *testing.F) {
	for _, h := range []heartbeat{{role: "edge", load: 7, time: time.UnixMilli(1e12)}, {role: "worker", leaving: true, gone: "w-1"}} {
		f.Add(h.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeartbeat(b)
		if err != nil {
			return
		}
		if again, err := parseHeartbeat(h.append(nil)); err != nil || again != h {
			t.Errorf("%+v came back as %+v, %v", h, again, err)
		}
	})
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte(`{"hops":1,"request":{"header":{"Nats-Trace-Hop":["1"]}},"events":[{"type":"in"},{"type":"eg","sub":"r.x"}]}`))
	f.Add([]byte(`{"stream":"everything","seq":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rep, ok := parseTrace(b)
		if !ok {
			return
		}
		tr := &trace{subject: "r.x"}
		tr.add(rep)
		if tr.reports != 1 || tr.hops < 0 || tr.hops > maxHops {
			t.Errorf("a report of %d servers counts as %d", rep.Hops, tr.hops)
		}
	})
}
