package edge

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"

	"roomd/bus"
)

// A session is one conn's client from opened to closed. What outlives the conn
// is in the resume token and in the rooms.
type session struct {
	c      *conn
	id     uint64
	user   string
	first  *membership // the rooms it is in or on its way to; linked by next
	budget budget
	rooms  uint16 // length of the list
	state  sessionState
	asked  bool // waits for a list of rooms
}

type sessionState uint8

const (
	sessionNew     sessionState = iota // no hello yet
	sessionAsking                      // Config.Auth is being asked
	sessionWelcome                     // may use everything
	sessionGone                        // said bye to, or closed
)

// frame handles one frame of a client.
func (lp *sessions) frame(s *session, f *frame) {
	if s.state == sessionNew {
		if f.typ != typeHello {
			lp.bye(s, closeUnauthorized, bus.Unauthorized, "the first frame must be a hello", -1)
			return
		}
		lp.hello(s, f)
		return
	}
	switch f.typ {
	case typeSend:
		lp.sendCommand(s, f)
		return
	case typeHello:
		lp.badFrame(s)
		return
	case typeJoin, typeLeave, typeList:
		if f.ref == 0 {
			lp.badFrame(s)
			return
		}
	}
	if !s.budget.take(lp.cfg, lp.l.ms) {
		lp.refuse(s, f, bus.RateLimited, "")
		return
	}
	switch f.typ {
	case typeJoin:
		lp.join(s, f)
	case typeLeave:
		lp.leave(s, f)
	case typeList:
		lp.list(s, f)
	case typePing:
		lp.ping(s, f)
	}
}

// refuse answers a frame that was not acted upon.
func (lp *sessions) refuse(s *session, f *frame, code bus.Code, text string) {
	lp.counts.refuse(code)
	b := lp.wire[:0]
	switch {
	case f.typ == typeJoin || f.typ == typeList:
		b = appendRefusal(b, f.typ, f.ref, code, text)
	case f.typ == typeSend && f.n != 0:
		b = appendReply(b, f.room, f.n, nil, code, text)
	case f.typ == typeLeave && code == bus.NotJoined:
		b = appendLeft(b, f.room, code, text, f.ref)
	default:
		b = appendError(b, code, text, f.typ, f.room)
	}
	lp.send(s, b, false)
	if s.budget.abuse(lp.cfg) {
		lp.bye(s, closeAbuse, bus.Abuse, "limits ignored for too long", -1)
	}
}

// bye tells the client why, and after how many milliseconds to come back (-1:
// not at all), and closes.
func (lp *sessions) bye(s *session, closeCode uint16, code bus.Code, text string, retry int64) {
	if !s.c.isOpen() {
		return
	}
	lp.send(s, appendBye(lp.wire[:0], code, text, retry), false)
	s.c.close(closeCode, code)
}

func (lp *sessions) hello(s *session, f *frame) {
	switch {
	case f.resume != nil:
		id, user, ok := lp.tokens.check(f.resume, lp.l.now)
		if !ok {
			const text = "the resume token is not valid any more"
			lp.refuse(s, f, bus.BadToken, text)
			lp.bye(s, closeUnauthorized, bus.BadToken, text, 0)
			return
		}
		s.id, s.user = id, user
		lp.counts.resumes++
		lp.welcome(s)
	case lp.cfg.Auth != nil:
		select {
		case lp.srv.auths <- authRequest{lp, s, string(f.token), lp.l.now.Add(lp.cfg.HelloTimeout)}:
			s.state = sessionAsking
		default:
			lp.comeLater(s, bus.Overloaded)
		}
	case f.user == nil:
		lp.begin(s, guestName())
	case !bus.ValidUser(string(f.user)):
		lp.refuse(s, f, bus.BadName, "user: 1 to 64 bytes of UTF-8 without control characters")
		lp.bye(s, closeUnauthorized, bus.BadName, "", -1)
	default:
		lp.begin(s, string(f.user))
	}
}

// authenticated is Config.Auth's answer.
func (lp *sessions) authenticated(s *session, user string, err error) {
	if s.state != sessionAsking || !s.c.isOpen() {
		return
	}
	var coded *bus.Error
	switch {
	case errors.As(err, &coded) && !passing(coded.Code):
		lp.counts.refuse(coded.Code)
		lp.bye(s, closeUnauthorized, coded.Code, coded.Message, -1)
		return
	case err != nil:
		if coded == nil && !errors.Is(err, context.DeadlineExceeded) {
			lp.cfg.Log.Error("authenticate", "node", lp.conn.Name(), "err", err)
		}
		lp.comeLater(s, bus.Unavailable)
		return
	case !bus.ValidUser(user):
		lp.cfg.Log.Error("authenticate: Auth gave a user that is no valid name", "node", lp.conn.Name(), "user", user)
		lp.bye(s, closeUnauthorized, bus.BadName, "", -1)
		return
	}
	lp.begin(s, user)
	held := lp.held[s]
	delete(lp.held, s)
	for _, message := range held {
		if s.c.isOpen() {
			lp.message(s.c, lp.protocols[s.c.protocol].text(), message)
		}
	}
}

// passing reports whether the same may go well a little later.
func passing(code bus.Code) bool {
	return code == bus.Unavailable || code == bus.Overloaded || code == bus.Timeout
}

// comeLater sends a client away that cannot be served now.
func (lp *sessions) comeLater(s *session, code bus.Code) {
	lp.counts.refuse(code)
	lp.bye(s, closeLater, code, "", 500+random(4500))
}

// begin welcomes a new session.
func (lp *sessions) begin(s *session, user string) {
	for s.id == 0 {
		s.id = rand.Uint64()
	}
	s.user = user
	lp.welcome(s)
}

func (lp *sessions) welcome(s *session) {
	s.state = sessionWelcome
	lp.counts.sessions++
	lp.counts.welcomes++
	resume := lp.tokens.issue(s.id, s.user, lp.l.now)
	lp.send(s, appendWelcome(lp.wire[:0], sessionName(s.id), resume, s.user, int(lp.cfg.PingInterval.Seconds())), false)
}

// hold keeps what comes while Config.Auth is asked.
func (lp *sessions) hold(s *session, message []byte) {
	held, bytes := lp.held[s], len(message)
	for _, m := range held {
		bytes += len(m)
	}
	if bytes > lp.cfg.MaxMessageBytes || len(held) >= maxHeld {
		lp.bye(s, closeUnauthorized, bus.Unauthorized, "too much before the welcome", -1)
		return
	}
	lp.held[s] = append(held, slices.Clone(message))
}

const maxHeld = 64 // messages

// endGreetings ends conns that were not welcomed in time.
func (lp *sessions) endGreetings() {
	done := 0
	for _, g := range lp.greeting {
		if !lp.after(g.until) {
			break
		}
		done++
		if g.s.state == sessionNew || g.s.state == sessionAsking {
			lp.bye(g.s, closeUnauthorized, bus.Unauthorized, "no hello in time", -1)
		}
	}
	lp.greeting = slices.Delete(lp.greeting, 0, done)
	if len(lp.greeting) == 0 {
		lp.greeting = nil // it grew with a storm; an idle edge keeps nothing of it
	}
}

func (lp *sessions) ping(s *session, f *frame) {
	if len(f.data) > maxPingBytes {
		lp.badFrame(s)
		return
	}
	lp.send(s, appendPong(lp.wire[:0], f.data, lp.l.now.UnixMilli()), false)
}

const maxPingBytes = 128

func guestName() string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789"
	b := []byte("guest-....")
	for i := len("guest-"); i < len(b); i++ {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}

// random is a number of milliseconds from 0 to below n.
func random(n int64) int64 { return rand.Int64N(max(n, 1)) }
