package rooms

import (
	"fmt"
	"time"

	"roomd/bus"

	"github.com/vmihailenco/msgpack/v5"
)

// A Handler is the logic of one room. Its methods are the room's callbacks:
// they never overlap, so a Handler needs no locks. They must not block; what
// waits (a database, an HTTP request) belongs into [Room.Go].
//
// A panic in a callback closes the room with code internal, and only the room.
type Handler interface {
	// Join is called when a session gets its seat. An error refuses the seat,
	// and its code (see Errorf) goes to the client. Join is not called when a
	// member comes back to a seat that was kept.
	Join(r *Room, m *Member) error

	// Leave is called when a member has lost its seat. Sends to it go nowhere.
	Leave(r *Room, m *Member, why Reason)

	// Receive is called for each command of a member. An error becomes the
	// reply; the room goes on. msg is valid until Receive returns.
	Receive(r *Room, m *Member, msg *Message) error
}

// A Stater is a Handler with state. State returns a pointer, mostly to a
// struct, that msgpack can encode and decode. What it points to is filled in
// before the first callback when the room comes back, stored as Kind.Durability
// says, and sent to members if Kind.Sync is set. State must have no side
// effects: it is called whenever the room wants to know what has changed.
//
// A state that is synced or has Commit durability is at most 64 levels deep and
// has integers or strings as map keys. Encoded, a synced state has at most 768
// KiB, any other 8 MiB; a room whose state grows beyond that is closed as if
// its code had panicked.
type Stater interface{ State() any }

// A Ticker is a Handler that is called Kind.TickRate times a second while
// somebody has a seat. dt is the real time since the last tick, at most a
// second: ticks that came too late are not made up for.
type Ticker interface {
	Tick(r *Room, dt time.Duration) error
}

// A Timer is a Handler that uses Room.SetTimer.
type Timer interface {
	Timer(r *Room, name string) error
}

// An Opener is a Handler that wants to be called once when the room has come
// into memory, new or restored, before any other callback. An error keeps the
// room closed; its code goes to those who want to join.
type Opener interface{ Open(r *Room) error }

// A Reason says why a member lost its seat.
type Reason uint8

const (
	Left   Reason = 1 + iota // the client asked to
	Lost                     // it was away for longer than Kind.Linger
	Kicked                   // Member.Kick
	Closed                   // the room closed
)

func (why Reason) String() string {
	switch why {
	case Left:
		return "left"
	case Lost:
		return "lost"
	case Kicked:
		return "kicked"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("Reason(%d)", uint8(why))
}

// Raw is msgpack that is passed on as it is, without being encoded or looked
// at: as data of a broadcast, a message or a reply. Empty stands for nil.
type Raw []byte

// A Message is a command from a member, or the options of a join. It is valid
// only during the callback it is given to.
type Message struct {
	Event string // as the client called it

	data     []byte
	code     bus.Code // of a Decode that does not fit
	reply    []byte
	replyBuf []byte
	enc      *encoder
}

// Raw returns the data as msgpack, nil if there is none. It aliases a buffer
// that is used again after the callback.
func (msg *Message) Raw() Raw { return msg.data }

// Decode decodes the data into v, a pointer. No data decodes as nil, which
// leaves most values as they are. An error has a code for the client:
// bad_data, or bad_options for a join's options.
func (msg *Message) Decode(v any) error { return decode(msg.data, v, msg.code) }

// Reply sets the result that the client gets if Receive returns nil. Without
// Reply it is nil. The value is encoded at once, unless it is Raw: that must
// not change before Receive returns.
func (msg *Message) Reply(v any) {
	if raw, ok := v.(Raw); ok {
		msg.reply = raw
		return
	}
	b := msg.enc.mustEncode("reply", v)
	msg.replyBuf = append(msg.replyBuf[:0], b...)
	msg.reply = msg.replyBuf
}

// set makes msg a new message.
func (msg *Message) set(event string, data []byte, code bus.Code) {
	msg.Event, msg.data, msg.code, msg.reply = event, data, code, nil
}

// On decodes the message's data into a T and calls f with it:
//
//	case "say":
//		return rooms.On(msg, func(text string) error { … })
func On[T any](msg *Message, f func(T) error) error {
	var v T
	if err := msg.Decode(&v); err != nil {
		return err
	}
	return f(v)
}

// Errorf returns an error with a code and a text, both for clients. Codes are
// [a-z0-9_.-]{1,64}; PROTOCOL.md lists those that roomd itself uses, and which of
// them are reserved, as clients act on them. Errors without a code, or with a
// reserved one, reach clients as a bare internal, and the log in full.
func Errorf(code, format string, args ...any) error { return bus.Errorf(code, format, args...) }

// decode keeps bytes from outside away from everything but the given code: a
// decoder that panics on them must not cost the room.
func decode(data []byte, v any, code bus.Code) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = bus.Errorf(code, badShape)
		}
	}()
	if len(data) == 0 {
		data = []byte{0xc0} // nil
	}
	if msgpack.Unmarshal(data, v) != nil {
		return bus.Errorf(code, badShape) // the decoder's own text speaks of Go, to a client
	}
	return nil
}

const badShape = "the data is not of the expected shape"

// An encoder turns authors' values into msgpack, in one buffer that is used
// again and again.
type encoder struct {
	buf []byte
	enc *msgpack.Encoder
}

func (e *encoder) Write(b []byte) (int, error) {
	e.buf = append(e.buf, b...)
	return len(b), nil
}

func (e *encoder) WriteByte(b byte) error {
	e.buf = append(e.buf, b)
	return nil
}

// encode returns v as msgpack; the bytes are valid until the next call.
func (e *encoder) encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case Raw:
		return v, nil
	case nil:
		return nil, nil
	}
	if e.enc == nil {
		e.enc = msgpack.NewEncoder(e)
	}
	e.buf = e.buf[:0]
	e.enc.Reset(e)
	e.enc.UseCompactInts(true)
	if err := e.enc.Encode(v); err != nil {
		return nil, err
	}
	return e.buf, nil
}

// maxItemBytes bounds what authors send in one piece: a message, a reply, a
// state. An envelope must pass NATS, whose limit is 1 MiB by default.
const maxItemBytes = 768 << 10

// mustEncode encodes what cannot be refused, since the caller is told nothing:
// a value that is no data is a fault in the room's code and panics like one.
func (e *encoder) mustEncode(what string, v any) []byte {
	return e.mustEncodeUpTo(maxItemBytes, what, v)
}

func (e *encoder) mustEncodeUpTo(limit int, what string, v any) []byte {
	b, err := e.encode(v)
	if err != nil {
		panic(fmt.Errorf("rooms: encode %s: %w", what, err))
	}
	if len(b) > limit {
		panic(fmt.Errorf("rooms: %s has %d bytes, the limit is %d", what, len(b), limit))
	}
	return b
}
