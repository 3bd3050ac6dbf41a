package edge

import (
	"time"

	"roomd/bus"
)

// sessions is the session half of one loop: who is connected, which rooms they
// are in, and what travels between the two. All of it belongs to the loop's
// goroutine; nothing is locked. It implements hooks.
type sessions struct {
	l        *loop
	srv      *Server
	cfg      *Config
	conn     *bus.Conn
	subjects bus.Subjects
	addr     bus.Address
	out      string // where rooms send to addr
	announce string // where rooms tell all edges of their new owners

	protocols []protocol // as conn.protocol counts them
	tokens    *tokens

	rooms  map[string]*room // by key
	byNo   map[uint64]*room // the same by number
	lastNo uint64
	dirty  []*room  // have pending commands
	spare  [][]byte // free buffers for them

	greeting []greeting             // conns that may owe a hello, oldest first
	held     map[*session][][]byte  // messages that wait for Config.Auth
	flights  []*flight              // commands without a reply, one entry a member that has some
	landed   []*flight              // free
	entries  []*entry               // members on their way in
	lastTry  uint64                 // of the last entry
	putOffs  []*entry               // returns that rooms refused for now; some may wait no more
	putOffAt uint32                 // loop's milliseconds when they are looked at
	stale    map[*membership]uint32 // members that missed a patch, and when the state was asked for
	leaving  map[*membership]leave  // members that asked to leave
	retries  []*room                // rooms to be opened again later; some may have no need any more
	retryAt  uint32                 // loop's milliseconds when the first of them is due
	doubted  []uint64               // numbers of rooms whose members are to go back in
	doubtAt  uint32                 // loop's milliseconds when to go on with them
	missing  bool                   // a worker took this edge for lost, and all rooms will be doubted
	missedAt uint32                 // loop's milliseconds when
	aways    []away                 // what rooms could not be told as NATS was gone
	silent   []expected             // rooms that are to say something, oldest first; each once
	lookedAt uint32                 // loop's milliseconds when the window of looks began
	looked   int                    // looks in it
	wild     bool                   // something besides rooms' owners was found to listen, at wildAt
	wildAt   uint32                 // loop's milliseconds
	pokes    int                    // how often rooms are still to be asked for their owners
	opens    int                    // requests out
	asked    map[*answer]struct{}   // those of them that open a room
	waiting  requestQueue           // requests that wait for their turn
	pace     opensPace              // of requests
	early    []func()               // answers that came before their requests had returned

	flightBytes int // in flights

	fan   fan
	arena []byte // what is left of the current chunk for outgoing frames
	wire  []byte // scratch: one frame in native encoding
	f     frame  // scratch: the frame being handled
	cmd   bus.Command
	item  bus.Item

	heard  time.Time // of the last second
	counts counters
	board  board
}

// A greeting is a conn that has until the given time to be welcomed.
type greeting struct {
	s     *session
	until uint32 // loop's milliseconds
}

// protocolNames are the subprotocols in the order of sessions.protocols.
func protocolNames() []string { return []string{nativeName, jsonName} }

func newSessions(srv *Server, l *loop) *sessions {
	cfg := &srv.cfg
	lp := &sessions{
		l: l, srv: srv, cfg: cfg, conn: srv.conn, subjects: srv.conn.Subjects(),
		addr:      bus.NewAddress(srv.conn.Name(), l.index),
		protocols: []protocol{nativeProtocol{}, &jsonProtocol{}},
		tokens:    newTokens(cfg.Secret, cfg.SessionTTL),
		rooms:     make(map[string]*room),
		byNo:      make(map[uint64]*room),
		held:      make(map[*session][][]byte),
		stale:     make(map[*membership]uint32),
		leaving:   make(map[*membership]leave),
		asked:     make(map[*answer]struct{}),
		wire:      make([]byte, 0, 4096),
	}
	lp.out, lp.announce = lp.subjects.Out(lp.addr), lp.subjects.Announce()
	return lp
}

func (lp *sessions) opened(c *conn) {
	s := &session{c: c}
	s.budget = budget{tokens: float32(lp.cfg.CommandBurst), at: lp.l.ms}
	c.user = s
	lp.greeting = append(lp.greeting, greeting{s, lp.l.ms + millis(lp.cfg.HelloTimeout)})
}

func (lp *sessions) message(c *conn, text bool, payload []byte) {
	s := c.user.(*session)
	p := lp.protocols[c.protocol]
	if text != p.text() {
		c.close(closeWrongSort, "wrong sort of message")
		return
	}
	if len(payload) == 0 {
		lp.badFrame(s)
	}
	for len(payload) > 0 && c.isOpen() {
		if s.state == sessionAsking {
			lp.hold(s, payload)
			return
		}
		rest, err := p.next(payload, &lp.f)
		if err != nil {
			lp.badFrame(s)
			return
		}
		payload = rest
		lp.counts.framesIn++
		lp.frame(s, &lp.f)
	}
}

func (lp *sessions) badFrame(s *session) {
	lp.counts.refuse(bus.BadFrame)
	lp.bye(s, closeBadFrame, bus.BadFrame, errFrame.Error(), -1)
}

func (lp *sessions) closed(c *conn) {
	s := c.user.(*session)
	lp.counts.closeWith(c.closeCode)
	if s.state == sessionWelcome {
		lp.counts.sessions--
	}
	s.state = sessionGone
	for s.first != nil {
		lp.away(s.first)
	}
	delete(lp.held, s)
}

func (lp *sessions) drained(c *conn) {
	s := c.user.(*session)
	for m := s.first; m != nil; m = m.next {
		if m.flags&memberStale != 0 {
			lp.askState(m)
		}
	}
}

func (lp *sessions) envelopes(in []*busMsg) {
	lp.counts.envelopes += uint64(len(in))
	for _, m := range in {
		if m.Subject == lp.out || m.Subject == lp.announce {
			lp.output(m.Data)
			continue
		}
		if no, ok := lp.subjects.NoRespondersOf(m.Subject); ok && bus.NoResponders(m) {
			lp.noResponders(no)
		}
	}
}

func (lp *sessions) turn(now time.Time) {
	lp.retry()
	lp.rejoin()
	lp.askPutOffs()
	lp.lookForSilent()
	for len(lp.dirty)+len(lp.early) > 0 { // each may lead to more of the other
		early := lp.early
		lp.early = nil
		for _, answered := range early {
			answered()
		}
		for i := 0; i < len(lp.dirty); i++ { // in the order in which they were begun
			lp.publish(lp.dirty[i])
		}
		clear(lp.dirty)
		lp.dirty = lp.dirty[:0]
	}
	lp.counts.turn(time.Since(now))
}

func (lp *sessions) second(now time.Time) {
	if !lp.heard.IsZero() && now.Sub(lp.heard) > max(minAway, lp.conn.LostAfter()*4/5) {
		lp.reconnected()
	}
	lp.heard = now
	lp.endGreetings()
	lp.endFlights()
	lp.endEntries()
	lp.shed()
	lp.endLeaves()
	lp.askStates()
	lp.tellAways()
	if lp.pokes > 0 {
		lp.pokes--
		lp.poke()
	}
	lp.publishCounts()
}

// A loop that was away (a stopped process, a machine that sleeps) for less than
// four fifths of LostAfter, which is five heartbeats, is sure that nobody has
// declared its edge lost for it. But as it looks once a second, and is a little
// late at times, it can't tell less than minAway from nothing. Where LostAfter is
// shorter than that, a peer that has missed the edge tells it (takenForLost).
const minAway = 1500 * time.Millisecond

func (lp *sessions) draining(time.Time) {
	spread := min(maxSpread, max(minSpread, lp.counts.sessions*spreadEach))
	lp.l.eachConn(func(c *conn) {
		s, ok := c.user.(*session)
		if ok && c.isOpen() {
			lp.send(s, appendBye(lp.wire[:0], bus.Shutdown, "the edge leaves service", random(spread)), false)
		}
	})
	lp.publishCounts()
}

// How long clients of a server that leaves are told to wait, in milliseconds: a
// random time, up to more the more they are.
const (
	minSpread  = 500
	maxSpread  = 10_000
	spreadEach = 1
)

// after reports whether the loop's clock has reached t.
func (lp *sessions) after(t uint32) bool { return int32(lp.l.ms-t) >= 0 }

func millis(d time.Duration) uint32 { return uint32(min(d, maxMillis) / time.Millisecond) }

// maxMillis is as far ahead as the loop's clock can look.
//
//lint:ignore ST1011 it is the most that millis takes
const maxMillis = (1<<31 - 1) * time.Millisecond

// publish sends what was gathered for a room, with an address for the answer
// that nobody listens there.
func (lp *sessions) publish(r *room) {
	if len(r.pending) == 0 {
		return // it went already
	}
	err := lp.conn.PublishReply(r.in, r.nr, r.pending)
	lp.counts.envelopesOut++
	if err != nil {
		lp.unsent(r)
	}
	lp.spareBuffer(r.pending)
	r.pending = nil
	if err != nil {
		lp.lost(r)
		return
	}
	lp.expect(r)
}

const (
	maxPending = 256 << 10 // bytes of commands in one envelope; NATS carries 1 MiB
	keptSpare  = 1024      // buffers
)

// pend makes room for one more command to a room; the caller appends it to
// r.pending.
func (lp *sessions) pend(r *room) {
	if len(r.pending) > maxPending {
		lp.publish(r)
	}
	if len(r.pending) == 0 {
		if n := len(lp.spare); n > 0 {
			r.pending = lp.spare[n-1]
			lp.spare = lp.spare[:n-1]
		}
		r.pending = bus.AppendCommands(r.pending[:0], lp.addr, r.owner, lp.conn.Deadline(lp.l.now, lp.cfg.CommandTimeout))
		lp.dirty = append(lp.dirty, r)
	}
}

func (lp *sessions) spareBuffer(b []byte) {
	if cap(b) <= 4<<10 && len(lp.spare) < keptSpare {
		lp.spare = append(lp.spare, b[:0])
	}
}

// command appends one to what goes to its room at the end of the turn.
func (lp *sessions) command(r *room, c *bus.Command) {
	lp.pend(r)
	r.pending = c.Append(r.pending)
}
