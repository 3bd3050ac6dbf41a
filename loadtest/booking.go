package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"roomd/client"
)

// What clients do in a takeover: they write into the ledgers of their rooms and
// note what was acknowledged, and ask small things in between, so that every room
// is asked often enough to see when it is away. Kinds without a ledger echo.

const (
	readPage    = 5000 // entries asked for at once when a ledger is read back
	resendAfter = 100 * time.Millisecond
)

// asks reports whether a command changes nothing, and so gets no number that the
// others hear.
func asks(event string) bool { return event == "get" || event == "slice" }

// A book is what the members of a room know of its ledger.
type book struct {
	watched watched
	acked   []entry
	ids     []string // read back
	read    bool     // whole
}

// An entry is an add that was acknowledged.
type entry struct {
	place  int // in the ledger, from 1, as the reply said
	sender uint32
	number uint32
}

func entryID(sender, number uint32) string {
	return strconv.Itoa(int(sender)) + "." + strconv.Itoa(int(number))
}

func parseEntryID(id string) (sender, number uint32, ok bool) {
	a, b, found := strings.Cut(id, ".")
	x, err1 := strconv.ParseUint(a, 10, 32)
	y, err2 := strconv.ParseUint(b, 10, 32)
	return uint32(x), uint32(y), found && err1 == nil && err2 == nil
}

// A difference is what is wrong with a ledger.
type difference struct {
	lost    uint64 // acknowledged, and not where the reply said
	doubled uint64 // there more than once
}

// compare checks the ledger's ids against what was acknowledged.
func (b *book) compare() (d difference) {
	seen := make(map[string]bool, len(b.ids))
	for _, id := range b.ids {
		if seen[id] {
			d.doubled++
		}
		seen[id] = true
	}
	for _, e := range b.acked {
		if e.place < 1 || e.place > len(b.ids) || b.ids[e.place-1] != entryID(e.sender, e.number) {
			d.lost++
		}
	}
	return d
}

// booking is the workload. Every so many commands of the schedule is an add, the
// others ask.
type booking struct {
	silent
	ledger bool
	adds   float64 // share of the commands that add
	owed   float64 // adds that are due, in part; of this shard
}

func (w *booking) act(m *member, due time.Duration) {
	switch w.owed += w.adds; {
	case !w.ledger:
		m.command("echo", due, true)
	case w.owed >= 1:
		w.owed--
		m.command("add", due, true)
	default:
		m.command("get", due, true)
	}
}

func (w *booking) write(b []byte, m *member, c command) []byte {
	var v any
	switch c.event {
	case "echo":
		return appendPayload(b, &m.sh.scratch, c.stamp, m.sh.fleet.o.size)
	case "add":
		v = entryID(c.stamp.sender, c.stamp.number)
	case "get":
		v = 0
	case "slice":
		v = [2]int{len(m.room.book.ids), readPage}
	}
	data, err := msgpack.Marshal(v)
	if err != nil {
		m.sh.v.corrupt++ // ints and strings always encode
	}
	return append(b, data...)
}

// added is the broadcast that an add becomes.
type added struct {
	//lint:ignore U1000 msgpack reads its tag
	_msgpack struct{} `msgpack:",as_array"`
	Place    int
	ID       string
}

func (w *booking) message(m *member, f *client.Frame) heard {
	var a added
	if string(f.Event) != "added" {
		return heardOther
	}
	err := msgpack.Unmarshal(f.Data, &a)
	sender, number, ok := parseEntryID(a.ID)
	if err != nil || !ok {
		m.sh.v.corrupt++
		return heardOther
	}
	return heardOf(stamp{sender: sender, number: number})
}

func (w *booking) replied(m *member, c command, f *client.Frame) {
	sh, b := m.sh, &m.room.book
	b.watched.answer(sh.faultAt, c.stamp.intended, sh.loop.Now())
	sh.delivery(m, c.stamp.intended)
	var err error
	switch c.event {
	case "add":
		e := entry{sender: c.stamp.sender, number: c.stamp.number}
		if err = msgpack.Unmarshal(f.Data, &e.place); err == nil {
			b.acked = append(b.acked, e)
		}
	case "slice":
		var ids []string
		if err = msgpack.Unmarshal(f.Data, &ids); err == nil {
			b.ids = append(b.ids, ids...)
			if b.read = len(ids) < readPage; !b.read {
				m.command("slice", sh.loop.Now(), true)
			}
		}
	case "echo":
		if s, ok := parsePayload(f.Data, sh.fleet.o.size); !ok || s != c.stamp {
			err = errors.New("an echo of something else")
		}
	}
	if err != nil {
		sh.v.corrupt++
	}
}

func (w *booking) noticed(m *member, notice string) {
	m.room.book.watched.notice(m.sh.faultAt, notice, m.sh.loop.Now())
}

// postponed members send again at a time.
type postponed struct {
	at time.Duration
	m  *member
}

// postpone keeps the unanswered command at place at if it was refused only for
// now, as PROTOCOL.md says, and reports whether it was. In other scenarios a
// server that cannot serve is a finding.
func (m *member) postpone(at int, code string) bool {
	switch {
	case m.sh.fleet.o.scenario != "takeover":
		return false
	case code == "unavailable" || code == "timeout":
	case code == "out_of_order" && at > 0: // one before it was refused
	default:
		return false
	}
	if !m.again {
		m.again = true
		m.sh.codes[code]++
		m.sh.postponed = append(m.sh.postponed, postponed{m.sh.loop.Now() + resendAfter, m})
	}
	return true
}

// sendAgain sends what was postponed until now, and tells when more is due.
func (sh *shard) sendAgain(now time.Duration) (next time.Duration) {
	for len(sh.postponed) > 0 {
		p := sh.postponed[0]
		if p.at > now {
			return p.at
		}
		sh.postponed = sh.postponed[1:]
		p.m.again = false
		if p.m.phase == phaseJoined { // otherwise coming back does it
			p.m.resend()
		}
	}
	return now + time.Second
}
