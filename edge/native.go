package edge

import (
	"math"

	"roomd/bus"
)

// The native protocol: PROTOCOL.md in MessagePack. Reading works in place on
// the client's message and allocates nothing; writing appends.

// nativeName is the subprotocol's name.
const nativeName = "roomd.v1.msgpack"

type nativeProtocol struct{}

func (nativeProtocol) text() bool                              { return false }
func (nativeProtocol) add(payload, native []byte) []byte       { return append(payload, native...) }
func (nativeProtocol) next(b []byte, f *frame) ([]byte, error) { return parseFrame(b, f) }

// parseFrame reads one frame:
//
//	[type, fields…]
//
// Fields at the end may be missing or nil. More fields than are known, and
// unknown keys of hello, are passed over.
func parseFrame(b []byte, f *frame) (rest []byte, err error) {
	*f = frame{}
	h, ok := readMpHead(b)
	if !ok || h.sort != sortArray || h.n == 0 || b[h.size] > typeList {
		return nil, errFrame // a type is one byte, as all that clients may send are below 128
	}
	f.typ = b[h.size]
	r := mpReader{b: b[h.size+1:], left: h.n - 1}
	switch f.typ {
	case typeSend: // first, as it is by far the most frequent
		f.room, f.n, f.event, f.data, f.acked = r.uint(), r.uint(), r.text(), r.value(), r.uint()
	case typeHello:
		r.hello(f)
	case typeJoin:
		f.ref, f.kind, f.id, f.data = r.uint(), r.text(), r.text(), r.value()
		r.array(func(in *mpReader) {
			f.isSince = true
			f.since = bus.Position{Epoch: in.uint(), Seq: in.uint(), Count: in.uint(), Ver: in.uint()}
			f.was = uint32(min(in.uint(), math.MaxUint32))
		})
	case typeLeave:
		f.ref, f.room = r.uint(), r.uint()
	case typePing:
		f.data = r.value()
	case typeList:
		f.ref, f.kind, f.limit = r.uint(), r.text(), r.uint()
	default:
		return nil, errFrame
	}
	r.skip()
	if r.bad {
		return nil, errFrame
	}
	return r.b, nil
}

// hello reads {user?, token?, resume?}.
func (r *mpReader) hello(f *frame) {
	if !r.more() {
		return
	}
	h := r.head()
	if h.sort != sortMap {
		r.bad = true
		return
	}
	in := mpReader{b: r.b[h.size:]}
	for range h.n {
		in.left = 2
		switch string(in.key()) {
		case "user":
			f.user = in.text()
		case "token":
			f.token = in.text()
		case "resume":
			f.resume = in.text()
		}
		in.skip()
	}
	r.left--
	r.b, r.bad = in.b, in.bad
}

// key reads a key of a map: the string, or nil if it is an integer.
func (r *mpReader) key() []byte {
	switch h := r.head(); h.sort {
	case sortStr:
		return r.text()
	case sortInt:
		r.left--
		r.b = r.b[h.size:]
	default:
		r.bad = true
	}
	return nil
}

// Frames for clients. Trailing fields that are nil, empty or 0 are left out
// where that is easy to tell.

func appendError(b []byte, code, text string, typ uint8, room uint64) []byte {
	n := 5
	if room == 0 {
		n = 4
	}
	b = append(appendArrayHead(b, n), typeError)
	b = append(appendMpStr(appendMpStr(b, code), text), typ)
	if room != 0 {
		b = appendMpUint(b, room)
	}
	return b
}

func appendWelcome(b []byte, session, resume, user string, pingSeconds int) []byte {
	b = append(appendArrayHead(b, 2), typeHello)
	b = appendMapHead(b, 4)
	b = appendMpStr(appendMpStr(b, "session"), session)
	b = appendMpStr(appendMpStr(b, "resume"), resume)
	b = appendMpStr(appendMpStr(b, "user"), user)
	return appendMpUint(appendMpStr(b, "ping"), uint64(pingSeconds))
}

// appendRefusal appends what answers a question by ref (join, list) with a code.
func appendRefusal(b []byte, typ uint8, ref uint64, code, text string) []byte {
	b = append(appendArrayHead(b, 4), typ)
	b = append(appendMpUint(b, ref), mpNil)
	return appendCoded(b, code, text)
}

// appendCoded appends [code] or [code, text].
func appendCoded(b []byte, code, text string) []byte {
	if text == "" {
		return appendMpStr(appendArrayHead(b, 1), code)
	}
	return appendMpStr(appendMpStr(appendArrayHead(b, 2), code), text)
}

func appendLeft(b []byte, room uint64, code, text string, ref uint64) []byte {
	n := 5
	if ref == 0 {
		if n = 4; text == "" {
			n = 3
		}
	}
	b = append(appendArrayHead(b, n), typeLeave)
	b = appendMpStr(appendMpUint(b, room), code)
	if n > 3 {
		b = appendMpStr(b, text)
	}
	if n > 4 {
		b = appendMpUint(b, ref)
	}
	return b
}

// appendReply appends the answer to command n: a result, or a code.
func appendReply(b []byte, room, n uint64, result []byte, code, text string) []byte {
	if code == "" {
		b = append(appendArrayHead(b, 4), typeSend)
		return appendMpRaw(appendMpUint(appendMpUint(b, room), n), result)
	}
	b = append(appendArrayHead(b, 5), typeSend)
	b = append(appendMpUint(appendMpUint(b, room), n), mpNil)
	return appendCoded(b, code, text)
}

func appendPong(b []byte, x []byte, millis int64) []byte {
	b = append(appendArrayHead(b, 3), typePing)
	return appendMpInt(appendMpRaw(b, x), millis)
}

func appendRooms(b []byte, ref uint64, rows []byte) []byte {
	b = append(appendArrayHead(b, 3), typeList)
	return appendMpRaw(appendMpUint(b, ref), rows)
}

func appendMessage(b []byte, room, seq uint64, event, data []byte) []byte {
	b = append(appendArrayHead(b, 5), typeMessage)
	b = appendMpUint(appendMpUint(b, room), seq)
	return appendMpRaw(appendMpStr(b, event), data)
}

func appendPrivate(b []byte, room, seq, count uint64, event, data []byte) []byte {
	b = append(appendArrayHead(b, 6), typePrivate)
	b = appendMpUint(appendMpUint(appendMpUint(b, room), seq), count)
	return appendMpRaw(appendMpStr(b, event), data)
}

func appendPresence(b []byte, room, seq uint64, p *bus.Presence) []byte {
	b = append(appendArrayHead(b, 8), typePresence)
	b = appendMpUint(appendMpUint(appendMpUint(b, room), seq), uint64(p.Size))
	b = appendArrayHead(b, len(p.Joined))
	for _, s := range p.Joined {
		b = appendMpStr(appendMpUint(appendArrayHead(b, 2), uint64(s.Member)), s.User)
	}
	for _, list := range [...][]uint32{p.Left, p.Away, p.Back} {
		b = appendArrayHead(b, len(list))
		for _, m := range list {
			b = appendMpUint(b, uint64(m))
		}
	}
	return b
}

// appendState appends a whole state or a patch, by typ.
func appendState(b []byte, typ uint8, room, ver uint64, data []byte) []byte {
	b = append(appendArrayHead(b, 4), typ)
	return appendMpRaw(appendMpUint(appendMpUint(b, room), ver), data)
}

func appendNotice(b []byte, room uint64, notice string) []byte {
	b = append(appendArrayHead(b, 3), typeNotice)
	return appendMpStr(appendMpUint(b, room), notice)
}

// appendResumed says under which epoch positions go on.
func appendResumed(b []byte, room, epoch uint64) []byte {
	b = append(appendArrayHead(b, 4), typeNotice)
	return appendMpUint(appendMpStr(appendMpUint(b, room), "resumed"), epoch)
}

// appendReset says where the room has gone back to. Behind the fields of
// PROTOCOL.md it tells member, size and members, which may have changed too, up to
// which number commands happened, and whether the seat is the old one.
func appendReset(b []byte, room uint64, member uint32, j *bus.Joined) []byte {
	b = append(appendArrayHead(b, 12), typeNotice)
	b = appendMpStr(appendMpUint(b, room), "reset")
	for _, v := range [...]uint64{j.At.Epoch, j.At.Seq, j.At.Count, j.N, uint64(member), uint64(j.Size)} {
		b = appendMpUint(b, v)
	}
	return appendMpBool(appendMpUint(appendSeats(b, j.Members), j.Applied), j.Resumed)
}

func appendSeats(b []byte, seats []bus.Seat) []byte {
	b = appendArrayHead(b, len(seats))
	for _, s := range seats {
		b = appendMpUint(appendArrayHead(b, 3), uint64(s.Member))
		b = appendMpBool(appendMpStr(b, s.User), s.Away)
	}
	return b
}

func appendBye(b []byte, code, text string, retryMillis int64) []byte {
	b = append(appendArrayHead(b, 4), typeBye)
	return appendMpInt(appendMpStr(appendMpStr(b, code), text), retryMillis)
}

// appendJoined appends the answer to a join.
func appendJoined(b []byte, ref, room uint64, kind, id string, it *bus.Item) []byte {
	j := &it.Joined
	b = append(appendArrayHead(b, 3), typeJoin)
	b = appendMpUint(b, ref)
	pairs := 13
	if j.HasState {
		pairs++
	}
	if len(j.Members) > 0 {
		pairs++
	}
	if j.Applied != j.N {
		pairs++
	}
	b = appendMapHead(b, pairs)
	b = appendMpUint(appendMpStr(b, "room"), room)
	b = appendMpStr(appendMpStr(b, "kind"), kind)
	b = appendMpStr(appendMpStr(b, "id"), id)
	for _, f := range [...]struct {
		key string
		v   uint64
	}{
		{"member", uint64(it.To)}, {"epoch", j.At.Epoch}, {"seq", j.At.Seq}, {"count", j.At.Count},
		{"ver", j.At.Ver}, {"n", j.N}, {"seats", uint64(j.Seats)}, {"size", uint64(j.Size)},
	} {
		b = appendMpUint(appendMpStr(b, f.key), f.v)
	}
	if j.Applied != j.N {
		b = appendMpUint(appendMpStr(b, "applied"), j.Applied)
	}
	b = appendMpBool(appendMpStr(b, "resumed"), j.Resumed)
	b = appendMpBool(appendMpStr(b, "recovered"), j.Recovered)
	if len(j.Members) > 0 {
		b = appendSeats(appendMpStr(b, "members"), j.Members)
	}
	if j.HasState {
		b = appendMpRaw(appendMpStr(b, "state"), it.Data)
	}
	return b
}
