package main

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"roomd/client"
)

// What the clients of each scenario say. A workload belongs to one shard.

// silent clients only listen: idle and storm.
type silent struct{ sh *shard }

func (silent) act(*member, time.Duration)              {}
func (silent) message(*member, *client.Frame) heard    { return heardOther }
func (silent) replied(*member, command, *client.Frame) {}
func (silent) updated(*member, *client.Frame)          {}

// casting clients broadcast: chat.
type casting struct {
	silent
	numbered bool
}

func (w casting) act(m *member, due time.Duration) { m.command("cast", due, w.numbered) }

func (w casting) message(m *member, f *client.Frame) heard {
	s, ok := parsePayload(f.Data, w.sh.fleet.o.size)
	if !ok || string(f.Event) != "cast" {
		w.sh.v.corrupt++
		return heardOther
	}
	w.sh.delivery(m, s.intended)
	return heardOf(s)
}

// echoing clients ask and are answered.
type echoing struct{ silent }

func (w echoing) act(m *member, due time.Duration) { m.command("echo", due, true) }

func (w echoing) replied(m *member, c command, f *client.Frame) {
	s, ok := parsePayload(f.Data, w.sh.fleet.o.size)
	if !ok || s != c.stamp {
		w.sh.v.corrupt++
		return
	}
	w.sh.delivery(m, s.intended)
}

// churning clients say something, or lose their connection, or leave for good and
// come back as somebody else.
type churning struct{ casting }

func (w churning) act(m *member, due time.Duration) {
	switch p := rand.Float64(); {
	case p < 0.5:
		m.command("cast", due, true)
	case p < 0.8:
		m.drop()
		pause := w.sh.pause()
		m.returnAt = w.sh.loop.Now() + pause
		w.sh.after(pause, m)
	case len(m.unanswered)+len(m.waiting) > 0: // its fate would be nobody's to tell
		m.command("cast", due, true)
	default:
		m.phase = phaseLeaving
		m.conn.Send(client.AppendLeave(nil, 2, m.number))
	}
}

// strolling clients walk about on the plaza, and one in a room speaks now and then.
type strolling struct{ silent }

const (
	plazaWidth, plazaHeight = 1600, 900 // as in the kind
	speakEvery              = 25        // walks between two speeches in the same shard
)

func (w strolling) act(m *member, due time.Duration) {
	sh := w.sh
	at, err := msgpack.Marshal([]int{rand.IntN(plazaWidth), rand.IntN(plazaHeight)})
	if err != nil {
		sh.v.corrupt++ // ints always encode
		return
	}
	sh.frame = client.AppendSend(sh.frame[:0], m.number, 0, "walk", at, 0)
	if r := m.room; r.speaker == nil && sh.pace.done%speakEvery == 0 {
		r.speaker, r.said = m, due
		m.sent++
		m.unnumbered = m.sent
		text, err := msgpack.Marshal(strconv.Itoa(int(m.sent)))
		if err != nil {
			sh.v.corrupt++
			return
		}
		sh.frame = client.AppendSend(sh.frame, m.number, 0, "speak", text, 0)
	}
	m.conn.Send(sh.frame)
}

// spoke is the broadcast that a speech becomes.
type spoke struct {
	Member uint32 `msgpack:"member"`
	Text   string `msgpack:"text"`
}

func (w strolling) message(m *member, f *client.Frame) heard {
	var s spoke
	if string(f.Event) != "spoke" {
		return heardOther
	}
	number := 0
	err := msgpack.Unmarshal(f.Data, &s)
	if err == nil {
		number, err = strconv.Atoi(s.Text)
	}
	r := m.room
	switch {
	case err != nil:
		w.sh.v.corrupt++
		return heardOther
	case r.speaker != nil && r.speaker.id == s.Member && r.speaker.sent == uint32(number):
		w.sh.delivery(m, r.said)
		h := heardOf(stamp{sender: uint32(r.speaker.place), number: uint32(number)})
		r.heardBy++
		if r.heardBy == len(r.members) {
			r.speaker, r.heardBy = nil, 0
		}
		return h
	}
	w.sh.v.corrupt++
	return heardOther
}

func (w strolling) updated(m *member, f *client.Frame) { w.sh.update(m, f) }
