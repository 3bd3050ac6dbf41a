package kv

import (
	"roomd/bus"
)

// What a store and a shard say to each other.
//
// A store has a session at each shard: a random id under which it numbers what
// it asks for, so that a shard runs everything once however often it is sent. A
// request, to the shard's subject, with the session's inbox for the answers:
//
//	version  byte
//	session  uint
//	flags    byte    requestHello: begin the session if there is none
//	deadline uint    milliseconds since 1970; afterwards nobody wants it
//	clock    uint    whose time that is, see bus.ClockID
//	over     uint    everything up to this number has its answer or needs none,
//	done     count   and these, each a number
//	ops to the end, each an op byte and
//
//	opRun     number, count of arguments, the arguments   a command
//	opCancel  number                                      do not wait any longer
//	opConfirm number                                      what was handed over has arrived
//	opDecline number                                      or nobody wants it any more
//	opListen  number, pattern bool, name, count           this many subscriptions the session has; replied to with a moment
//
// An answer:
//
//	version byte
//	tenure  uint    differs from the last one: the shard has forgotten what the session waits for and listens to
//	items to the end, each a number, a kind byte and
//
//	itemReply     bytes   the command's reply; none: what its parts say
//	itemPart      offset uint, of uint, bytes   a part of a large reply; they come before it, in order
//	itemHanded    bytes   as itemReply, to be confirmed: see Shard
//	itemConfirmed         it may be given to the caller
//	itemWithdrawn         somebody else has it by now
//	itemUnknown           no session (number 0): it was idle for too long
//	itemFull              none, and there are too many to begin one (number 0)
const wireVersion = 1

const requestHello byte = 1

const (
	opRun byte = 1 + iota
	opCancel
	opConfirm
	opDecline
	opListen
)

const (
	itemReply byte = 1 + iota
	itemPart
	itemHanded
	itemConfirmed
	itemWithdrawn
	itemUnknown
	itemFull
)

// A request is the head of what a store asks, and a reader of the ops.
type request struct {
	session  uint64
	hello    bool
	deadline int64
	clock    bus.ClockID
	over     uint64
	done     []uint64 // only to append
	rd       bus.Reader
}

func appendRequest(b []byte, q request) []byte {
	b = bus.AppendUint(append(b, wireVersion), q.session)
	flags := byte(0)
	if q.hello {
		flags = requestHello
	}
	b = append(b, flags)
	b = bus.AppendUint(bus.AppendUint(b, uint64(q.deadline)), uint64(q.clock))
	b = bus.AppendUint(b, q.over)
	b = bus.AppendUint(b, uint64(len(q.done)))
	for _, n := range q.done {
		b = bus.AppendUint(b, n)
	}
	return b
}

func parseRequest(b []byte) (q request, ok bool) {
	q.rd = *bus.NewReader(b)
	version := q.rd.Byte()
	q.session = q.rd.Uint()
	q.hello = q.rd.Byte()&requestHello != 0
	q.deadline, q.clock = int64(q.rd.Uint()), bus.ClockID(q.rd.Uint32())
	q.over = q.rd.Uint()
	return q, q.rd.Err() == nil && version == wireVersion && q.session != 0
}

// An op is one thing that a store asks for. Name and what argv holds alias the
// request.
type op struct {
	kind    byte
	number  uint64
	argv    [][]byte
	pattern bool
	name    []byte
	count   int
}

// appendArgs appends what follows the number of an opRun.
func appendArgs(b []byte, argv [][]byte) []byte {
	b = bus.AppendUint(b, uint64(len(argv)))
	for _, arg := range argv {
		b = bus.AppendString(b, arg)
	}
	return b
}

// appendListen appends what follows the number of an opListen.
func appendListen(b []byte, what listened, count int) []byte {
	b = bus.AppendString(bus.AppendBool(b, what.pattern), what.name)
	return bus.AppendUint(b, uint64(count))
}

// next reads the next op. It reports false at the end and when there is
// something that is none.
func (q *request) next(o *op) bool {
	if !q.rd.More() {
		return false
	}
	*o = op{kind: q.rd.Byte(), argv: o.argv[:0]}
	switch o.kind {
	case opRun:
		o.number = q.rd.Uint()
		for range q.rd.Count() {
			arg := q.rd.Bytes()
			if arg == nil { // empty is not the same as not there
				arg = []byte{}
			}
			o.argv = append(o.argv, arg)
		}
	case opCancel, opConfirm, opDecline:
		o.number = q.rd.Uint()
	case opListen:
		o.number = q.rd.Uint()
		o.pattern, o.name, o.count = q.rd.Bool(), q.rd.Bytes(), int(q.rd.Uint32())
	default:
		return false
	}
	return q.rd.Err() == nil
}

func appendAnswer(b []byte, tenure uint64) []byte {
	return bus.AppendUint(append(b, wireVersion), tenure)
}

func appendItem(b []byte, number uint64, kind byte, reply []byte) []byte {
	b = append(bus.AppendUint(b, number), kind)
	switch kind {
	case itemReply, itemHanded:
		b = bus.AppendString(b, reply)
	}
	return b
}

// appendPart appends the part of a large reply that is from one offset to another.
func appendPart(b []byte, number uint64, reply []byte, from, to int) []byte {
	b = append(bus.AppendUint(b, number), itemPart)
	b = bus.AppendUint(bus.AppendUint(b, uint64(from)), uint64(len(reply)))
	return bus.AppendString(b, reply[from:to])
}

// An item is one thing that a shard says. Reply aliases the answer.
type item struct {
	number uint64
	kind   byte
	reply  []byte
	offset uint64 // of an itemPart, as is what follows
	size   uint64 // of the whole reply
}

// parseAnswer reads an answer and calls each for its items, unless wanted says
// of the tenure that they are not.
func parseAnswer(b []byte, wanted func(tenure uint64) bool, each func(item)) (tenure uint64, ok bool) {
	rd := bus.NewReader(b)
	version := rd.Byte()
	tenure = rd.Uint()
	if rd.Err() != nil || version != wireVersion || !wanted(tenure) {
		return 0, false
	}
	for rd.More() {
		it := item{number: rd.Uint(), kind: rd.Byte()}
		switch it.kind {
		case itemPart:
			it.offset, it.size = rd.Uint(), rd.Uint()
			it.reply = rd.Bytes()
		case itemReply, itemHanded:
			it.reply = rd.Bytes()
		case itemConfirmed, itemWithdrawn, itemUnknown, itemFull:
		default:
			return tenure, false
		}
		if rd.Err() != nil {
			return tenure, false
		}
		each(it)
	}
	return tenure, true
}

// A moment is a place in the order of all messages: behind the one with its
// number. The zero moment is before all. As a reply:
//
//	tenure  uint    of the owner that counts the messages
//	number  uint    of the last message there was
type moment struct{ tenure, number uint64 }

// before reports whether m is earlier than another moment.
func (m moment) before(other moment) bool {
	return m.tenure < other.tenure || m.tenure == other.tenure && m.number < other.number
}

func appendMoment(b []byte, m moment) []byte {
	return bus.AppendUint(bus.AppendUint(b, m.tenure), m.number)
}

// parseMoment reads a moment. It reports false if b is none.
func parseMoment(b []byte) (m moment, ok bool) {
	rd := bus.NewReader(b)
	m.tenure, m.number = rd.Uint(), rd.Uint()
	if rd.Err() != nil || rd.More() {
		return moment{}, false
	}
	return m, true
}

// A news is what a shard publishes for subscribers:
//
//	version byte
//	tenure  uint    of whoever publishes
//	number  uint    +1 each
//	channel string
//	text    to the end
type news struct {
	moment
	channel, text []byte
}

func appendNews(b []byte, n news) []byte {
	b = bus.AppendUint(bus.AppendUint(append(b, wireVersion), n.tenure), n.number)
	return append(bus.AppendString(b, n.channel), n.text...)
}

func parseNews(b []byte) (n news, ok bool) {
	rd := bus.NewReader(b)
	version := rd.Byte()
	n.tenure, n.number, n.channel = rd.Uint(), rd.Uint(), rd.Bytes()
	ok = rd.Err() == nil && version == wireVersion
	n.text = rd.Rest()
	return n, ok
}
