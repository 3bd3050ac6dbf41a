package edge

import (
	"roomd/bus"
)

// From a room to its members here. An envelope is read once. What is for all is
// encoded once, in native encoding, back to back; each protocol makes of a run
// of it one WebSocket message, which all its conns share. Only a member that
// the envelope has something for alone, a special, gets bytes of its own, with
// everything in its order.

// A fan is the work on one envelope.
type fan struct {
	native   []byte // what is for all, so far
	frames   int    // in native
	runs     []run
	specials []special
}

// A run is a stretch of native that is one message to a client: all of it may
// be dropped for clients that are behind, or nothing.
type run struct {
	start, end int
	frames     int
	droppable  bool
	shared     [2][]byte // as framed for conns of each protocol, once made
}

// A special is a member with something of its own in the envelope.
type special struct {
	m    *membership
	buf  []byte // frames to be sent as one message
	from int    // how much of fan.native is in buf, or sent
	done bool   // gets nothing more of this envelope
}

// arenaChunk is what outgoing frames are cut from. What conns have not sent at
// the end of a turn is copied to their backlogs, so a chunk is soon free.
const arenaChunk = 32 << 10

// pack makes frames one WebSocket message to conns of a protocol. The result
// is never written again.
func (lp *sessions) pack(protocol uint8, native []byte) []byte {
	p := lp.protocols[protocol]
	op := byte(opBinary)
	if p.text() {
		op = opText
	}
	need := frameRoom + len(native)
	buf, own := lp.arena, need > arenaChunk/4
	switch {
	case own:
		buf = make([]byte, 0, need)
	case cap(buf) < need:
		buf = make([]byte, 0, arenaChunk)
	}
	payload := p.add(buf[frameRoom:frameRoom], native)
	if cap(payload) != cap(buf)-frameRoom { // it has outgrown buf and moved
		return append(appendFrameHeader(make([]byte, 0, need), op, len(payload)), payload...)
	}
	buf = buf[:frameRoom+len(payload)]
	if !own {
		lp.arena = buf[len(buf):]
	}
	return sealFrame(buf, op)
}

// send packs frames for one client, and sends them. It reports whether they
// were queued.
func (lp *sessions) send(s *session, native []byte, droppable bool) bool {
	return s.c.send(lp.pack(s.c.protocol, native), droppable)
}

// sendTo sends frames to a member, behind what the envelope at hand has for it.
func (lp *sessions) sendTo(m *membership, native []byte) {
	lp.finishSpecial(m)
	m.c.send(lp.pack(m.c.protocol, native), false)
}

// output takes an envelope of a room.
func (lp *sessions) output(b []byte) {
	o, err := bus.ParseOutput(b)
	if err != nil {
		lp.counts.malformed++
		return
	}
	r := lp.rooms[string(o.Key)]
	if r == nil {
		lp.stray(&o)
		return
	}
	if o.Epoch < r.epoch {
		lp.counts.stale++
		return
	}
	lp.heardOf(r)
	lp.follow(r, &o)
	f := &lp.fan
	for o.Next(&lp.item) {
		lp.take(r, &lp.item)
	}
	if o.Err() != nil {
		lp.counts.malformed++ // the rest is lost, and the next envelope shows it
	}
	lp.deliver(r)
	f.native, f.frames = keepSmall(f.native), 0
	clear(f.runs)
	f.runs = f.runs[:0]
}

// follow compares the place of an envelope with where r's output was.
func (lp *sessions) follow(r *room, o *bus.Output) {
	switch {
	case o.Epoch > r.epoch:
		if !r.opened && (r.epoch != 0 || !o.More()) {
			// Who waits to be let in has asked the old owner, for all we know. The
			// first that is heard of a room is no reason to ask again, unless it is
			// an announcement: more often than not it is the answer.
			r.askAgain()
		}
		r.opened = false
		if r.epoch != 0 {
			lp.publish(r) // what it was meant for is gone, but nothing for the new owner may be among it
			lp.gap(r)
		}
		r.epoch, r.owner = o.Epoch, o.Epoch
		r.seq, r.ver = o.Seq, o.Ver
		lp.alive(r)
		lp.enterAll(r)
	case o.Seq != r.seq || o.Ver != r.ver:
		lp.gap(r)
		r.seq, r.ver = o.Seq, o.Ver
		lp.enterAll(r)
	}
}

// take acts on one item.
func (lp *sessions) take(r *room, it *bus.Item) {
	f := &lp.fan
	switch it.Op {
	case bus.ItemMessage:
		r.seq++
		f.native = appendMessage(f.native, r.no, r.seq, it.Event, it.Data)
		f.grow(false)
	case bus.ItemPresence:
		r.seq++
		f.native = appendPresence(f.native, r.no, r.seq, &it.Presence)
		f.grow(false)
	case bus.ItemPatch:
		r.ver++
		f.native = appendState(f.native, typePatch, r.no, r.ver, it.Data)
		f.grow(true)
	case bus.ItemClosed:
		lp.roomClosed(r, it)
	case bus.ItemJoined:
		lp.joined(r, it)
	case bus.ItemRefused:
		lp.refused(r, it)
	default:
		if m := r.find(it.To); m != nil {
			lp.takePrivate(r, m, it)
		}
	}
}

// takePrivate acts on an item for one member.
func (lp *sessions) takePrivate(r *room, m *membership, it *bus.Item) {
	if it.Op == bus.ItemLeft {
		lp.left(m, it)
		return
	}
	if m.flags&memberEntering != 0 && m.entry.since.Epoch != r.epoch {
		return // a new owner answers what was meant for the old one; it will be asked again
	}
	lp.counts.deliveries++
	switch it.Op {
	case bus.ItemReply, bus.ItemError:
		if lp.disowned(m, it) {
			return
		}
	}
	switch it.Op {
	case bus.ItemReply:
		if lp.reply(m, it) {
			sp := lp.special(m)
			sp.buf = appendReply(sp.buf, r.no, it.N, it.Data, it.Code, it.Text)
		}
	case bus.ItemPrivate:
		lp.private(m, it)
	case bus.ItemReplay, bus.ItemReplayed:
		lp.replay(m, it)
	case bus.ItemState:
		lp.state(m, it)
	case bus.ItemError:
		lp.counts.refuse(it.Code)
		sp := lp.special(m)
		sp.buf = appendError(sp.buf, it.Code, it.Text, typeSend, r.no)
	}
}

// replay passes on what a member has missed, if it was asked for.
func (lp *sessions) replay(m *membership, it *bus.Item) {
	if m.flags&memberDeaf != 0 {
		return
	}
	r, sp := m.room, lp.special(m)
	if it.Op == bus.ItemReplay {
		sp.buf = appendMessage(sp.buf, r.no, it.Seq, it.Event, it.Data)
		return
	}
	sp.buf = appendPresence(sp.buf, r.no, it.Seq, &it.Presence)
}

// private passes on a message to one member, unless one before it is missing.
// Who waits to get in has asked for all that come after the count it has named:
// the answer brings them, or ones that a new owner has said in their place.
func (lp *sessions) private(m *membership, it *bus.Item) {
	switch {
	case m.flags&memberEntering != 0, it.Count <= m.count:
		return
	case it.Count > m.count+1:
		lp.counts.gaps++
		lp.special(m) // what is for all is not missing
		lp.finishSpecial(m)
		lp.reenter(m)
		lp.sendJoin(m)
		return
	}
	m.count++
	sp := lp.special(m)
	sp.buf = appendPrivate(sp.buf, m.room.no, it.Seq, it.Count, it.Event, it.Data)
}

// state passes on a whole state. It may be dropped like a patch, and is then
// asked for again when the client has caught up.
func (lp *sessions) state(m *membership, it *bus.Item) {
	sp := lp.special(m)
	lp.flushSpecial(sp)
	lp.wire = appendState(lp.wire[:0], typeState, m.room.no, it.Ver, it.Data)
	sent := lp.send(m.session(), lp.wire, true)
	lp.wire = keepSmall(lp.wire)
	if sent {
		lp.fresh(m)
	} else {
		lp.missed(m)
	}
}

// left takes ItemLeft: the seat is gone.
func (lp *sessions) left(m *membership, it *bus.Item) {
	if m.session().id != it.Session && (it.Session != 0 || it.Ref == 0 || lp.leaving[m].ref != it.Ref) {
		return // about a member of that number who is here no more; a refused leave names no session
	}
	if it.Code == bus.Replaced {
		lp.replaced(m)
		return
	}
	sp := lp.special(m)
	sp.buf = appendLeft(sp.buf, m.room.no, it.Code, it.Text, it.Ref)
	lp.finishSpecial(m)
	lp.drop(m)
}

// roomClosed takes ItemClosed.
func (lp *sessions) roomClosed(r *room, it *bus.Item) {
	for len(r.members) > 0 {
		m := r.members[len(r.members)-1]
		sp := lp.special(m)
		sp.buf = appendLeft(sp.buf, r.no, it.Code, it.Text, 0)
		lp.finishSpecial(m)
		lp.drop(m)
	}
	if !r.empty() {
		lp.lost(r) // who was on the way in comes into the next one
	}
}

// grow ends a frame in native: it belongs to the last run, or to a new one.
func (f *fan) grow(droppable bool) {
	f.frames++
	if n := len(f.runs); n > 0 && f.runs[n-1].droppable == droppable {
		f.runs[n-1].end = len(f.native)
		f.runs[n-1].frames++
		return
	}
	start := 0
	if n := len(f.runs); n > 0 {
		start = f.runs[n-1].end
	}
	f.runs = append(f.runs, run{start: start, end: len(f.native), frames: 1, droppable: droppable})
}

// deliver sends what the envelope had for all to everyone in r, and to specials
// what is left for them.
func (lp *sessions) deliver(r *room) {
	f := &lp.fan
	if len(f.runs) > 0 {
		for _, m := range r.members {
			if m.flags&(memberEntering|memberSpecial) == 0 {
				lp.sendRuns(m)
			}
		}
	}
	for i := range f.specials {
		if m := f.specials[i].m; m != nil {
			lp.finishSpecial(m)
			m.flags &^= memberSpecial
		}
	}
	f.specials = f.specials[:0]
}

// sendRuns sends the shared messages to one member.
func (lp *sessions) sendRuns(m *membership) {
	f := &lp.fan
	for i := range f.runs {
		run := &f.runs[i]
		if run.droppable && m.flags&memberStale != 0 {
			continue
		}
		b := run.shared[m.flags&memberJSON]
		if b == nil {
			b = lp.pack(m.c.protocol, f.native[run.start:run.end])
			run.shared[m.flags&memberJSON] = b
		}
		if !m.c.send(b, run.droppable) {
			if run.droppable {
				lp.missed(m)
			}
			continue
		}
		lp.counts.deliveries += uint64(run.frames)
	}
}

// special returns m's own part of the envelope at hand, up to here. Who waits
// to get in has nothing of what is for all.
func (lp *sessions) special(m *membership) *special {
	if m.flags&memberSpecial == 0 {
		from := 0
		if m.flags&memberEntering != 0 {
			from = len(lp.fan.native)
		}
		return lp.newSpecial(m, from)
	}
	sp := &lp.fan.specials[m.special]
	lp.catchUp(sp)
	return sp
}

// startSpecial is special for who gets in just here.
func (lp *sessions) startSpecial(m *membership) *special {
	if m.flags&memberSpecial == 0 {
		return lp.newSpecial(m, len(lp.fan.native))
	}
	sp := &lp.fan.specials[m.special]
	sp.from, sp.done = len(lp.fan.native), false
	return sp
}

func (lp *sessions) newSpecial(m *membership, from int) *special {
	f := &lp.fan
	n := len(f.specials)
	if n < cap(f.specials) {
		f.specials = f.specials[:n+1] // its buf is used again
	} else {
		f.specials = append(f.specials, special{})
	}
	sp := &f.specials[n]
	*sp = special{m: m, buf: keepSmall(sp.buf), from: from}
	m.special = int32(n)
	m.flags |= memberSpecial
	lp.catchUp(sp)
	return sp
}

// catchUp adds to a special what was for all since it was last looked at.
func (lp *sessions) catchUp(sp *special) {
	f := &lp.fan
	if sp.done || sp.m.flags&memberEntering != 0 || sp.from == len(f.native) {
		return
	}
	for i := range f.runs {
		run := &f.runs[i]
		start, end := max(run.start, sp.from), run.end
		if start >= end {
			continue
		}
		lp.counts.deliveries++
		if !run.droppable {
			sp.buf = append(sp.buf, f.native[start:end]...)
			continue
		}
		if sp.m.flags&memberStale != 0 {
			continue
		}
		lp.flushSpecial(sp)
		if !sp.m.c.send(lp.pack(sp.m.c.protocol, f.native[start:end]), true) {
			lp.missed(sp.m)
		}
	}
	sp.from = len(f.native)
}

func (lp *sessions) flushSpecial(sp *special) {
	if len(sp.buf) > 0 {
		sp.m.c.send(lp.pack(sp.m.c.protocol, sp.buf), false)
		sp.buf = keepSmall(sp.buf)
	}
}

// finishSpecial sends what m has to get of the envelope up to here, and ends
// its part in it: for the end of the envelope, or of the membership.
func (lp *sessions) finishSpecial(m *membership) {
	if m.flags&memberSpecial == 0 {
		return
	}
	sp := &lp.fan.specials[m.special]
	lp.catchUp(sp)
	lp.flushSpecial(sp)
	sp.done = true
}

// missed notes that a patch was not queued for m.
func (lp *sessions) missed(m *membership) {
	m.flags |= memberStale
	lp.stale[m] = 0
}

// fresh notes that m has the state again.
func (lp *sessions) fresh(m *membership) {
	if m.flags&memberStale != 0 {
		m.flags &^= memberStale
		delete(lp.stale, m)
	}
}

// askState asks the room for the whole state, for a client that has caught up.
func (lp *sessions) askState(m *membership) {
	if m.flags&memberEntering != 0 {
		return // it comes with the answer to OpJoin
	}
	lp.stale[m] = max(lp.l.ms, 1)
	lp.command(m.room, &bus.Command{Op: bus.OpState, Member: m.member})
}

// askStates asks again where no answer came.
func (lp *sessions) askStates() {
	for m, at := range lp.stale {
		if at != 0 && lp.after(at+resendAfter) {
			lp.askState(m)
		}
	}
}
