package main

import (
	"math/rand/v2"
	"strconv"
	"time"

	"roomd/client"
)

// maxInFlight is the server's limit of commands without a reply, per member.
const maxInFlight = 64

// maxWaiting bounds what a member holds back because of maxInFlight; what comes
// on top is counted as unsent.
const maxWaiting = 4096

// maxNotedGaps bounds what a member remembers of what it lacks, to tell late
// from twice.
const maxNotedGaps = 1000

// slowBytes is what a slow reader takes a second.
const slowBytes = 1000

// A member is one simulated client with a seat in one room. It follows
// PROTOCOL.md: it remembers its position, resumes, and resends numbered commands
// that have no reply. It belongs to its shard's loop.
type member struct {
	sh    *shard
	room  *room
	index int // among all clients
	place int // in the room; names the sender in payloads
	slow  bool

	conn   *client.Conn
	phase  phase
	resume string
	number uint32 // of the room on this connection
	pos    client.Position
	id     uint32 // the seat's number in the room; 0: no seat yet
	gaps   map[uint64]bool

	sent       uint32 // numbers given out, see stamp
	n          uint64 // last command number
	doubtful   uint32 // numbers up to this one may be lost without a fault, see doubt
	unnumbered uint32 // highest number sent as a command without a reply
	resent     uint64 // commands up to this number were sent more than once
	forgotten  uint64 // commands up to this number were given up, and may be answered all the same
	unanswered []command
	waiting    []held // due, but maxInFlight holds them back
	again      bool   // unanswered commands are to be sent again soon, see postpone

	attempt  int           // failed tries to come back
	returnAt time.Duration // when the way back into the room was due to begin
	since    time.Duration // in the room without a break
	bytes    uint64        // received on earlier connections
	settled  bool          // has been in the room at least once
	stateful bool          // pos.Ver counts: a state has come
}

// A command awaits its reply.
type command struct {
	n     uint64
	event string
	stamp stamp
}

// A held command waits for one before it to be answered.
type held struct {
	event string
	due   time.Duration
}

type phase uint8

const (
	phaseAway    phase = iota // not connected, and maybe waiting to come back
	phaseOpening              // connecting, or waiting for welcome or joined
	phaseJoined
	phaseLeaving // asked to leave
	phaseGone    // closed for good
)

func (m *member) dial() {
	m.phase = phaseOpening
	if m.conn != nil {
		m.bytes += m.conn.BytesIn
	}
	m.conn = m.sh.loop.Dial(m.sh.fleet.target, source(m.index), m)
}

// Opened is called when the WebSocket is up. The join goes with the hello, as
// the protocol allows: nobody has to wait for the welcome.
func (m *member) Opened(c *client.Conn) {
	h := client.Hello{Resume: m.resume}
	if m.resume == "" {
		h.User = "load" + strconv.Itoa(m.index)
	}
	var since *client.Position
	if m.id != 0 {
		since = &m.pos
	}
	c.Send(client.AppendJoin(client.AppendHello(nil, h), 1, m.sh.fleet.o.kind, m.room.id, nil, since, m.id))
}

// Received is called for each frame.
func (m *member) Received(c *client.Conn, f *client.Frame) {
	if c != m.conn {
		return
	}
	switch f.Type {
	case client.FrameMessage:
		if m.advance(f.Seq) {
			m.room.hear(f.Seq, m.sh.work.message(m, f), &m.sh.v)
		}
	case client.FramePresence:
		if m.advance(f.Seq) {
			m.room.hear(f.Seq, heardPresence, &m.sh.v)
		}
	case client.FramePrivate:
		m.private(f.Count)
	case client.FrameSend:
		m.reply(f)
	case client.FrameState, client.FramePatch:
		m.update(f)
	case client.FrameHello:
		m.welcome(f)
	case client.FrameJoin:
		m.joined(f)
	case client.FrameLeave:
		m.left(f)
	case client.FrameNotice:
		m.notice(f)
	case client.FrameError:
		m.sh.refuse(string(f.Code))
	}
}

// advance checks that seq continues what the member has; false: it has it.
func (m *member) advance(seq uint64) bool {
	next := m.pos.Seq + 1
	if seq == next {
		m.pos.Seq = seq
		return true
	}
	if seq < next {
		if m.gaps[seq] {
			delete(m.gaps, seq)
			m.sh.v.lost--
			m.sh.v.reordered++
		} else {
			m.sh.v.duplicates++
		}
		return false
	}
	m.sh.v.lost += seq - next
	if m.gaps == nil {
		m.gaps = make(map[uint64]bool)
	}
	for ; next < seq && len(m.gaps) < maxNotedGaps; next++ {
		m.gaps[next] = true
	}
	m.pos.Seq = seq
	return true
}

func (m *member) private(count uint64) {
	switch next := m.pos.Count + 1; {
	case count < next:
		m.sh.v.duplicates++
	default:
		m.sh.v.lost += count - next
		m.pos.Count = count
	}
}

// update checks ver: a patch continues the last one, or is one to ignore until a
// state comes; a state always counts.
func (m *member) update(f *client.Frame) {
	switch {
	case f.Type == client.FrameState:
		m.sh.states++
	case !m.stateful || f.Ver != m.pos.Ver+1:
		m.sh.skippedPatches++
		m.stateful = false
		return
	default:
		m.sh.patches++
	}
	m.pos.Ver, m.stateful = f.Ver, true
	m.sh.work.updated(m, f)
}

func (m *member) welcome(f *client.Frame) {
	w, err := client.ParseWelcome(f.Data)
	if err != nil {
		m.sh.refuse("bad welcome")
		return
	}
	m.resume = w.Resume
}

func (m *member) joined(f *client.Frame) {
	if len(f.Code) > 0 {
		m.sh.refuse("join " + string(f.Code))
		m.conn.Drop()
		m.comeBack(&client.CloseError{Code: client.CloseAbnormal})
		return
	}
	j, err := client.ParseJoined(f.Data)
	if err != nil {
		m.sh.refuse("bad joined")
		return
	}
	m.take(&j)
	m.number, m.id = j.Room, j.Member
	m.phase, m.attempt = phaseJoined, 0
	m.sh.arrived(m)
	m.resend()
	if m.slow {
		m.conn.ReadSlowly(slowBytes)
	}
}

// take moves to the position that joined tells and counts what that means for
// one who had been in the room before.
func (m *member) take(j *client.Joined) {
	if m.id != 0 {
		m.sh.returned++
		if j.Resumed {
			m.sh.resumed++
		}
		if j.Recovered {
			m.sh.recovered++
			if j.Position.Seq > m.pos.Seq { // recovered, yet not from where we stopped
				m.sh.v.lost += j.Position.Seq - m.pos.Seq
			}
		} else if j.Epoch == m.pos.Epoch && j.Seq > m.pos.Seq {
			m.sh.unrecovered += j.Seq - m.pos.Seq
		}
	}
	if !j.Resumed {
		m.forget(j.N)
	}
	if j.Epoch != m.pos.Epoch {
		m.gaps = nil
	}
	m.room.restart(j.Epoch)
	m.stateful = len(j.State) > 0 || (j.Recovered && m.stateful)
	m.pos = j.Position
	if len(j.State) > 0 {
		m.sh.updates.begin(m, j.State, j.Ver)
	}
}

// resend sends the commands again that have no reply, with their old numbers.
func (m *member) resend() {
	for _, c := range m.unanswered {
		m.resent = max(m.resent, c.n)
		m.sh.transmit(m, c)
	}
}

func (m *member) left(f *client.Frame) {
	asked := m.phase == phaseLeaving
	if !asked {
		m.sh.refuse("left " + string(f.Code))
	}
	m.id, m.pos, m.resume = 0, client.Position{}, ""
	m.forget(0)
	m.conn.Close(client.CloseNormal, "")
	m.phase = phaseAway
	m.sh.after(m.sh.pause(), m)
}

func (m *member) notice(f *client.Frame) {
	if w, ok := m.sh.work.(attentive); ok {
		w.noticed(m, string(f.Event))
	}
	switch string(f.Event) {
	case "resumed":
		m.pos.Epoch = f.Epoch // positions go on
		m.room.moved(f.Epoch)
		return
	case "reset":
	default:
		return
	}
	m.sh.resets++
	m.room.restart(f.Epoch)
	m.pos = client.Position{Epoch: f.Epoch, Seq: f.Seq, Count: f.Count}
	m.gaps, m.stateful = nil, false
	m.forget(f.N)
}

// forget gives up the commands without a reply: the seat that would get it is
// gone. Commands go on from number n.
func (m *member) forget(n uint64) {
	if len(m.unanswered) > 0 {
		m.sh.unknown += uint64(len(m.unanswered))
		m.doubtful = m.sent
	}
	m.unanswered = m.unanswered[:0]
	m.forgotten = m.n
	m.n, m.resent = n, n
}

// doubt notes that the connection is gone, and with it, maybe, commands that want
// no reply. Numbered ones are sent again.
func (m *member) doubt() { m.doubtful = max(m.doubtful, m.unnumbered) }

// Closed is called when the connection ended, unless we dropped it.
func (m *member) Closed(c *client.Conn, err *client.CloseError) {
	if c != m.conn || m.phase == phaseAway {
		return
	}
	m.sh.closed(err)
	if m.slow && m.phase == phaseJoined {
		m.sh.slowClosed++
		m.phase = phaseGone
		return
	}
	m.comeBack(err)
}

// comeBack schedules the next try: at once or as the bye said at first, then
// with growing random pauses.
func (m *member) comeBack(err *client.CloseError) {
	was := m.phase
	m.phase = phaseAway
	m.doubt()
	if was == phaseOpening {
		m.sh.dialing--
	}
	if err.Final() {
		m.sh.refuse("closed for good")
		m.phase = phaseGone
		return
	}
	limit := min(5*time.Second, 500*time.Millisecond<<min(m.attempt, 6))
	pause := rand.N(limit)
	if m.attempt == 0 && err.Bye != "" && err.Retry >= 0 {
		pause = err.Retry
	}
	if m.attempt++; m.attempt == 1 && was == phaseJoined {
		m.returnAt = m.sh.loop.Now() + pause
	}
	if m.attempt > 1 && !m.settled {
		m.sh.failed = err // never got in: the test cannot begin
	}
	m.sh.after(pause, m)
}

// drop cuts the connection as a lost network would.
func (m *member) drop() {
	if m.phase == phaseOpening {
		m.sh.dialing--
	}
	m.phase = phaseAway
	m.doubt()
	m.conn.Drop()
}

// command sends the member's next command, or holds it back when too many have no
// reply. numbered commands get a reply.
func (m *member) command(event string, due time.Duration, numbered bool) {
	if numbered && len(m.unanswered) >= maxInFlight {
		if len(m.waiting) >= maxWaiting {
			m.sh.unsent++
			return
		}
		m.waiting = append(m.waiting, held{event, due})
		return
	}
	c := command{event: event, stamp: stamp{sender: uint32(m.place), intended: due}}
	if !asks(event) {
		m.sent++
		c.stamp.number = m.sent
	}
	if numbered {
		m.n++
		c.n = m.n
		m.unanswered = append(m.unanswered, c)
	} else {
		m.unnumbered = m.sent
	}
	m.sh.transmit(m, c)
}

// acked is the highest command number up to which every reply has come.
func (m *member) acked() uint64 {
	if len(m.unanswered) > 0 {
		return m.unanswered[0].n - 1
	}
	return m.n
}

func (m *member) reply(f *client.Frame) {
	at := -1
	for i := range m.unanswered {
		if m.unanswered[i].n == f.N {
			at = i
			break
		}
	}
	if at < 0 {
		if f.N > m.resent && f.N > m.forgotten {
			m.sh.v.duplicates++ // one reply too many, and not because we asked twice
		}
		return
	}
	if m.postpone(at, string(f.Code)) {
		return
	}
	if at > 0 {
		m.sh.v.reordered++
	}
	c := m.unanswered[at]
	m.unanswered = append(m.unanswered[:at], m.unanswered[at+1:]...)
	if len(f.Code) > 0 {
		m.sh.refuse(string(f.Code))
	} else {
		m.sh.work.replied(m, c, f)
	}
	if len(m.waiting) > 0 {
		next := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.command(next.event, next.due, true)
	}
}
