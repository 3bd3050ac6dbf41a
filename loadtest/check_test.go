package main

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a shard with one room, without connections.
func bench(members int) (*shard, *room) {
	o := &options{scenario: "chat", clients: members, rooms: 1, size: 64, loops: 1}
	sh := &shard{fleet: &fleet{o: o}, tally: tally{codes: make(map[string]uint64), closings: make(map[string]uint64)}}
	r := newRoom("r", members)
	for i := range members {
		m := &member{sh: sh, room: r, index: i, place: i, phase: phaseJoined}
		r.members = append(r.members, m)
	}
	sh.members, sh.rooms = r.members, []*room{r}
	return sh, r
}

// hears lets a member receive a sender's command at seq.
func hears(m *member, seq uint64, sender, number uint32) {
	if m.advance(seq) {
		m.room.hear(seq, heardOf(stamp{sender: sender, number: number}), &m.sh.v)
	}
}

func TestAllInOrderIsAccepted(t *testing.T) {
	sh, r := bench(2)
	r.members[0].sent = 3
	for _, m := range r.members {
		for n := range 3 {
			hears(m, uint64(n+1), 0, uint32(n+1))
		}
	}
	if sh.v != (verdicts{}) || !sh.quiet() {
		t.Errorf("verdicts %+v, quiet %v after a faultless run", sh.v, sh.quiet())
	}
}

func TestEveryFaultIsNoticed(t *testing.T) {
	type step struct {
		member         int
		seq            uint64
		sender, number uint32
	}
	cases := map[string]struct {
		steps []step
		want  verdicts
	}{
		"lost":           {[]step{{0, 1, 0, 1}, {0, 3, 0, 3}}, verdicts{lost: 1}},
		"twice":          {[]step{{0, 1, 0, 1}, {0, 1, 0, 1}}, verdicts{duplicates: 1}},
		"late":           {[]step{{0, 1, 0, 1}, {0, 3, 0, 3}, {0, 2, 0, 2}}, verdicts{reordered: 1}},
		"different":      {[]step{{0, 1, 0, 1}, {1, 1, 1, 1}}, verdicts{reordered: 1}},
		"applied twice":  {[]step{{0, 1, 0, 1}, {0, 2, 0, 1}}, verdicts{duplicates: 1}},
		"unknown sender": {[]step{{0, 1, 5, 1}}, verdicts{corrupt: 1}},
	}
	for name, c := range cases {
		sh, r := bench(2)
		for _, s := range c.steps {
			hears(r.members[s.member], s.seq, s.sender, s.number)
		}
		if sh.v != c.want {
			t.Errorf("%s: verdicts %+v, want %+v", name, sh.v, c.want)
		}
	}
}

func TestWhatNeverArrivesIsMissing(t *testing.T) {
	sh, r := bench(3)
	r.members[0].sent = 2
	hears(r.members[0], 1, 0, 1)
	hears(r.members[1], 1, 0, 1)
	if got := r.behind(); got != 1 {
		t.Errorf("behind() = %d, want 1: the third has heard nothing", got)
	}
	if got := r.missing(); got != 1 {
		t.Errorf("missing() = %d, want 1: nobody heard the second command", got)
	}
	if sh.quiet() {
		t.Error("quiet() while something is missing")
	}
	hears(r.members[2], 1, 0, 1)
	sh.refuse("rate_limited")
	if !sh.quiet() {
		t.Error("not quiet() though the server refused what is missing")
	}
}

func TestPassedOverCommandIsMissing(t *testing.T) {
	_, r := bench(1)
	r.members[0].sent = 3
	hears(r.members[0], 1, 0, 1)
	hears(r.members[0], 2, 0, 3)
	if got := r.missing(); got != 1 {
		t.Errorf("missing() = %d, want 1", got)
	}
}

func TestCommandLostWithItsConnectionIsNoFault(t *testing.T) {
	_, r := bench(1)
	m := r.members[0]
	m.sent, m.unnumbered = 3, 3
	hears(m, 1, 0, 1)
	m.doubt()
	m.sent = 5
	if got := r.missing(); got != 2 {
		t.Errorf("missing() = %d, want the 2 sent on the next connection", got)
	}
	hears(m, 2, 0, 5)
	if got := r.missing(); got != 1 {
		t.Errorf("missing() = %d, want the 1 that was passed over", got)
	}
}

func TestLogIsCutBehindTheSlowest(t *testing.T) {
	sh, r := bench(2)
	const n = 100_000
	for i := uint32(1); i <= n; i++ {
		hears(r.members[0], uint64(i), 0, i)
		if i > 10 {
			hears(r.members[1], uint64(i-10), 0, i-10)
		}
	}
	if len(r.log) > 1<<15 {
		t.Errorf("the log holds %d entries of %d", len(r.log), n)
	}
	if sh.v != (verdicts{}) || r.end() != n {
		t.Errorf("verdicts %+v, end %d", sh.v, r.end())
	}
}

func TestPayloadSurvivesOnlyUnchanged(t *testing.T) {
	s := stamp{sender: 7, number: 300, intended: 5 * time.Second}
	var scratch []byte
	for _, size := range []int{payloadHead, 64, 128, 5000} {
		data := appendPayload(nil, &scratch, s, size)
		if got, ok := parsePayload(data, size); !ok || got != s {
			t.Errorf("size %d: parsePayload = %+v, %v", size, got, ok)
		}
		for i := range data {
			changed := append([]byte(nil), data...)
			changed[i] ^= 1
			if got, ok := parsePayload(changed, size); ok {
				t.Fatalf("size %d: parsePayload takes a payload with byte %d changed as %+v", size, i, got)
			}
		}
	}
}

func TestMissedWithNoticeIsNotLost(t *testing.T) {
	sh, r := bench(1)
	m := r.members[0]
	m.id, m.pos = 1, client.Position{Epoch: 1, Seq: 10}
	m.take(&client.Joined{Room: 1, Position: client.Position{Epoch: 1, Seq: 15}, Resumed: true})
	if sh.v.lost != 0 || sh.unrecovered != 5 {
		t.Errorf("lost %d, unrecovered %d; want 0 and 5", sh.v.lost, sh.unrecovered)
	}
	m.take(&client.Joined{Room: 1, Position: client.Position{Epoch: 1, Seq: 18}, Resumed: true, Recovered: true})
	if sh.v.lost != 3 {
		t.Errorf("lost %d after a recovery that skips 3, want 3", sh.v.lost)
	}
}

func TestScheduleKeepsItsRate(t *testing.T) {
	p := pace{start: time.Second, end: 2 * time.Second, every: float64(time.Second) / 3000}
	for {
		if _, more := p.due(); !more {
			break
		}
		p.done++
	}
	if p.done != 3000 {
		t.Errorf("%d acts in a second at 3000/s", p.done)
	}
}
