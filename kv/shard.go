package kv

import (
	"fmt"
	"math"
	"slices"
	"time"

	"roomd/bus"
	"roomd/kv/engine"
)

// A Shard is a part of the shared data at its owner's: the data itself, the
// sessions of those who use it, and how far both are kept. It does no I/O and
// has no clock and no goroutine; a worker drives it as it drives a room:
//
//	s.Serve(now, request, inbox)   // for all that has come
//	s.Tick(now)
//	entry := s.AppendEntry(nil)    // what that has changed, for the log
//	s.Committed(pos)               // when the log has it,
//	s.Answers(publish)             // and not before, everybody hears
//
// A blocking pop is handed over in two steps, so that nobody takes an element
// with him who has died while he waited: whoever asked confirms that the reply
// has arrived, and gives it to his caller when that is committed too. Until then
// the element goes back to where it was if he is not heard of.
type Shard struct {
	epoch    uint64
	subjects bus.Subjects
	isLate   func(of bus.ClockID, deadline, now time.Time) bool // nil: all clocks are one
	engine   *engine.Engine
	now      int64  // milliseconds since 1970; of what is being served
	number   uint64 // of the last entry
	pages    [allPages]page
	batch    [allPages]bool // pages that the last entry has changed

	sessions map[uint64]*session
	changed  []*session // since the last entry, each once
	gone     []uint64   // sessions that ended since
	nextLook int64      // when sessions are looked through

	listeners listeners
	told      uint64 // number of the last news
	outs      []outgoing
	turn      uint64   // +1 with each Answers, 1 for the first
	runs      bool     // a command was run since
	writes    bool     // and one that might have changed something
	waits     int      // commands that wait
	said      int      // bytes of replies since Answers
	spare     [][]byte // buffers for outs
	scratch   []byte
	argv      [][]byte
}

// The pages of a shard: the engine's, and one with the sessions.
const (
	sessionsPage = engine.Pages
	allPages     = engine.Pages + 1
)

// An outgoing is what is to be published once the entry is committed.
type outgoing struct {
	subject string
	b       []byte
}

// NewShard returns an empty shard for an owner with the given epoch.
func NewShard(epoch uint64, subjects bus.Subjects) *Shard {
	s := &Shard{epoch: epoch, subjects: subjects, turn: 1, sessions: make(map[uint64]*session)}
	s.listeners = listeners{shard: s, channels: make(map[string]int), patterns: make(map[string]int)}
	// A shard that begins with a late epoch, since the one before was lost, has
	// later holds too: on a page they would have to be more than 1,000 a second to
	// get ahead of that.
	s.engine = engine.New(epoch<<41>>1, &s.listeners) // 63 bits: different ones for millions of owners
	s.engine.HoldsFrom(epoch)
	return s
}

// ReadDeadlines has the shard read deadlines of requests as isLate does; without,
// those who ask and the shard go by one clock.
func (s *Shard) ReadDeadlines(isLate func(of bus.ClockID, deadline, now time.Time) bool) {
	s.isLate = isLate
}

// late reports whether nobody waits for the answer to a request any more.
func (s *Shard) late(q request, now time.Time) bool {
	deadline := time.UnixMilli(q.deadline)
	if s.isLate == nil {
		return now.After(deadline)
	}
	return s.isLate(q.clock, deadline, now)
}

// maxSessions bounds what clients that come and go can make a shard remember.
const maxSessions = 10_000

// Serve runs a request; answers go to inbox. A malformed one is passed over, as
// nobody of ours has sent it, and reported.
func (s *Shard) Serve(now time.Time, b []byte, inbox string) error {
	s.setTime(now)
	q, ok := parseRequest(b)
	if !ok || !s.subjects.IsStoreInbox(inbox) {
		return fmt.Errorf("malformed request from %.80q", inbox)
	}
	if s.late(q, now) {
		return nil // this process was stopped; whoever asked has asked again
	}
	c := s.sessions[q.session]
	if c == nil {
		stranger := &session{inbox: inbox, tenure: s.tenure()}
		switch {
		case !q.hello:
			s.say(stranger, 0, itemUnknown, nil)
			return nil
		case len(s.sessions) >= maxSessions:
			s.say(stranger, 0, itemFull, nil)
			return nil
		}
		c = s.newSession(q.session)
		s.mark(c)
	}
	c.heard(s.now, inbox)
	s.over(c, q.over)
	for range q.rd.Count() {
		n := q.rd.Uint()
		s.endWait(c, n)
		s.drop(c, n, n)
	}
	s.answer(c) // also if there is nothing to say: it lives and wants to know that we do
	for o := (op{argv: s.argv}); q.next(&o); s.argv = o.argv {
		s.serve(c, &o)
	}
	if q.rd.Err() != nil || q.rd.More() {
		return fmt.Errorf("malformed op from %.80q", inbox)
	}
	return nil
}

func (s *Shard) serve(c *session, o *op) {
	switch o.kind {
	case opRun:
		if len(o.argv) > 0 {
			s.run(c, o)
		}
	case opCancel:
		s.cancel(c, o.number)
	case opConfirm:
		s.confirm(c, o.number)
	case opDecline:
		s.decline(c, o.number)
	case opListen:
		s.listeners.set(c, o.pattern, string(o.name), o.count)
		s.say(c, o.number, itemReply, appendMoment(nil, moment{s.epoch, s.told}))
	}
}

func (s *Shard) setTime(now time.Time) { s.now = max(s.now, now.UnixMilli()) }

// run runs a command, once.
func (s *Shard) run(c *session, o *op) {
	n := o.number
	if n <= c.over || c.waiting[n] != nil {
		return
	}
	if k := c.find(n); k != nil {
		s.say(c, n, k.item(), k.reply)
		return
	}
	if s.said > refuseAt {
		s.say(c, n, itemReply, replyTooMuch)
		return
	}
	spec := engine.Lookup(o.argv[0])
	s.runs, s.writes = true, s.writes || spec != nil && spec.Write
	before := len(s.engine.Effects())
	told := s.told
	reply, blocked := s.engine.Do(s.now, o.argv, s.scratch[:0])
	s.scratch = reply
	if blocked {
		s.wait(c, n, o.argv)
		return
	}
	s.ran(c, n, o.argv[0], reply, len(s.engine.Effects()) > before, s.told > told)
}

// ran sees to the reply of a command. One that has changed something is kept, in
// case it does not arrive; one that has only published is kept by this owner.
func (s *Shard) ran(c *session, n uint64, name, reply []byte, changed, told bool) {
	kind := keptReply
	if changed {
		kind = keptAs(name)
	}
	if changed || told {
		k := c.keep(n, kind, slices.Clone(reply))
		k.said = s.now
		if changed {
			k.unlogged = true
			s.mark(c)
		}
	}
	s.say(c, n, kind.item(), reply)
}

// wait has a command wait for what it needs.
func (s *Shard) wait(c *session, n uint64, argv [][]byte) {
	own := make([][]byte, len(argv))
	for i, arg := range argv {
		own[i] = slices.Clone(arg)
	}
	w := &engine.Waiter{Argv: own}
	w.Served = func(reply []byte, _ engine.Taken) {
		s.waitOver(c, n)
		s.ran(c, n, own[0], reply, true, false)
	}
	if c.waiting == nil {
		c.waiting = make(map[uint64]*engine.Waiter)
	}
	c.waiting[n] = w
	s.waits++
	s.engine.Wait(w)
}

func (s *Shard) waitOver(c *session, n uint64) {
	delete(c.waiting, n)
	s.waits--
}

// endWait ends the wait of a command, if it waits.
func (s *Shard) endWait(c *session, n uint64) bool {
	w := c.waiting[n]
	if w == nil {
		return false
	}
	s.engine.Cancel(w)
	s.waitOver(c, n)
	return true
}

// cancel ends the wait of a command, with null for an answer. One that has been
// served meanwhile has its answer under way.
func (s *Shard) cancel(c *session, n uint64) {
	if s.endWait(c, n) {
		s.say(c, n, itemReply, nullReply)
		return
	}
	if k := c.find(n); k != nil {
		s.say(c, n, k.item(), k.reply)
	} else if n > c.over {
		s.say(c, n, itemReply, nullReply) // it has not come yet, and will not
	}
}

var nullReply = []byte("_\r\n")

func (s *Shard) confirm(c *session, n uint64) {
	k := c.find(n)
	if k == nil {
		return // confirmed before, and the answer has arrived
	}
	if k.kind == keptWithdrawn {
		s.say(c, n, itemWithdrawn, nil)
		return
	}
	if k.kind != keptReply {
		k.kind, k.reply, k.unlogged = keptReply, nil, true
		s.mark(c)
	}
	s.say(c, n, itemConfirmed, nil)
}

// decline ends a command whose caller has gone: nothing was handed over.
func (s *Shard) decline(c *session, n uint64) {
	s.endWait(c, n)
	if k := c.find(n); k != nil {
		s.withdraw(c, k)
	}
}

// withdraw gives back what was handed over. If it does not fit there any more,
// because the key has become something else, that is tried again later.
func (s *Shard) withdraw(c *session, k *kept) {
	if !k.handed() {
		return
	}
	argv, ok := k.giveBack()
	if !ok {
		return
	}
	reply, _ := s.engine.Do(s.now, argv, nil)
	if len(reply) == 0 || reply[0] == '-' {
		return
	}
	k.kind, k.reply, k.unlogged = keptWithdrawn, nil, true
	s.mark(c)
}

// over forgets the replies up to a number. What waits still has been given up.
func (s *Shard) over(c *session, n uint64) {
	if n <= c.over {
		return
	}
	c.over = n
	for waiting := range c.waiting {
		if waiting <= n {
			s.endWait(c, waiting)
		}
	}
	s.drop(c, 0, n)
}

// drop forgets the replies to some numbers. What was handed over and is done with
// unconfirmed was not wanted: that stays, as withdrawn, until the log has it.
func (s *Shard) drop(c *session, first, last uint64) {
	s.withdrawAll(c, first, last)
	from, to := c.place(first), c.behind(last)
	stay := from
	for _, k := range c.kept[from:to] {
		if k.handed() || k.unlogged {
			c.kept[stay] = k
			stay++
		}
	}
	c.kept = slices.Delete(c.kept, stay, to)
}

// withdrawAll gives back what was handed over, the last first: so what was taken
// from a list is in its order again.
func (s *Shard) withdrawAll(c *session, first, last uint64) {
	var handed []*kept // apart, as giving back may serve what else the session waits for
	for _, k := range c.kept[c.place(first):c.behind(last)] {
		if k.handed() {
			handed = append(handed, k)
		}
	}
	for _, k := range slices.Backward(handed) {
		s.withdraw(c, k)
	}
}

// tenure is what sessions see of the ownership; they add to it as they lapse.
func (s *Shard) tenure() uint64 { return s.epoch << 20 }

// mark notes that the next entry has something of a session.
func (s *Shard) mark(c *session) {
	if !c.marked {
		c.marked = true
		s.changed = append(s.changed, c)
	}
}

// When sessions are looked through, and what becomes of silent ones.
const (
	lookEvery   = 500 // milliseconds
	remindAfter = int64(time.Second / 1e6)
	silentAfter = int64(2 * time.Second / 1e6)          // it is taken for dead: others get what it waited for
	graceAfter  = int64(2 * time.Second / 1e6)          // more after a takeover: it must find the new owner
	gapAfter    = int64(time.Second / time.Millisecond) // of looks: this process was stopped, so nothing was heard
	endAfter    = int64(2 * time.Minute / 1e6)          // what it asked is forgotten, so it may not ask it again
)

// Tick does what is due by itself: expiry, and an eye on silent sessions.
func (s *Shard) Tick(now time.Time) {
	s.setTime(now)
	s.engine.Sweep(s.now, sweepAtOnce)
	if s.now < s.nextLook {
		return
	}
	if gap := s.now - s.nextLook; s.nextLook != 0 && gap > gapAfter {
		for _, c := range s.sessions {
			c.seen += gap
		}
	}
	s.nextLook = s.now + lookEvery
	for _, c := range s.sessions {
		silent := s.now - c.seen
		if silent > silentAfter {
			s.lapse(c)
		} else {
			s.remind(c)
		}
		if silent > endAfter && !c.holds() {
			delete(s.sessions, c.id)
			s.gone = append(s.gone, c.id)
		}
	}
}

// sweepAtOnce is how many expired keys are removed in one turn.
const sweepAtOnce = 1000

// Next returns when Tick has something to do.
func (s *Shard) Next() time.Time {
	next := s.engine.NextEvent()
	if len(s.sessions) > 0 && (next == 0 || s.nextLook < next) {
		next = s.nextLook
	}
	if next == 0 {
		return time.Time{}
	}
	return time.UnixMilli(next)
}

// remind says again what was handed over a while ago: that, or what was said to
// it, has not arrived.
func (s *Shard) remind(c *session) {
	for _, k := range c.kept {
		if k.handed() && s.now-k.said > remindAfter {
			k.said = s.now
			s.say(c, k.number, itemHanded, k.reply)
		}
	}
}

// lapse ends what a silent session waits for. If it lives it hears of it by its
// tenure, and asks again.
func (s *Shard) lapse(c *session) {
	if len(c.waiting)+len(c.listens) > 0 {
		c.tenure++
	}
	for n := range c.waiting {
		s.endWait(c, n)
	}
	s.listeners.drop(c)
	s.withdrawAll(c, 0, math.MaxUint64)
}

// How much may be said at once. A turn ends when it has said fullAt; a request
// that asks for more than refuseAt has the rest of its commands refused.
const (
	fullAt   = 8 << 20
	refuseAt = 64 << 20
)

var replyTooMuch = []byte("-OVERLOADED too much is asked for at once\r\n")

// Full reports whether there is so much to be said that no more requests should
// be served before Answers.
func (s *Shard) Full() bool { return s.said > fullAt }

// maxAnswer is how large an answer gets before the rest goes into another.
const maxAnswer = 256 << 10

// answer returns the answer that is being made for a session.
func (s *Shard) answer(c *session) *outgoing {
	if c.turn == s.turn && len(s.outs[c.out].b) < maxAnswer {
		return &s.outs[c.out]
	}
	out := s.out(c.inbox)
	c.turn, c.out = s.turn, len(s.outs)-1
	out.b = appendAnswer(out.b, c.tenure)
	return out
}

func (s *Shard) out(subject string) *outgoing {
	var b []byte
	if last := len(s.spare) - 1; last >= 0 {
		b, s.spare = s.spare[last], s.spare[:last]
	}
	s.outs = append(s.outs, outgoing{subject, b})
	return &s.outs[len(s.outs)-1]
}

// say adds an item to a session's answer, a large one in parts.
func (s *Shard) say(c *session, n uint64, kind byte, reply []byte) {
	if c.inbox == "" {
		return // not heard of since this owner began: it will ask
	}
	s.said += len(reply)
	if len(reply) > maxAnswer {
		for from := 0; from < len(reply); from += maxAnswer {
			out := s.answer(c)
			out.b = appendPart(out.b, n, reply, from, min(from+maxAnswer, len(reply)))
		}
		reply = nil
	}
	out := s.answer(c)
	out.b = appendItem(out.b, n, kind, reply)
}

// Answers publishes what is to be said, in order, and forgets it.
func (s *Shard) Answers(publish func(subject string, b []byte)) {
	for _, out := range s.outs {
		publish(out.subject, out.b)
		if cap(out.b) <= maxAnswer && len(s.spare) < 64 {
			s.spare = append(s.spare, out.b[:0])
		}
	}
	clear(s.outs)
	s.outs = s.outs[:0]
	s.turn++
	s.runs, s.writes, s.said = false, false, 0
}

// Ran reports whether a command was run since Answers, and whether one could
// have changed something. If nothing was changed, their answers count only while
// the owner has not been replaced.
func (s *Shard) Ran() (any, writes bool) { return s.runs, s.writes }
