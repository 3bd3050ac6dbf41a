package client

import (
	"errors"
	"fmt"
)

// Types of frames, as in PROTOCOL.md.
const (
	FrameError    = 0
	FrameHello    = 1 // welcome, from the edge
	FrameJoin     = 2
	FrameLeave    = 3 // left, from the edge
	FrameSend     = 4 // reply, from the edge
	FramePing     = 5
	FrameList     = 6
	FrameMessage  = 7
	FramePrivate  = 8
	FramePresence = 9
	FrameState    = 10
	FramePatch    = 11
	FrameNotice   = 12
	FrameBye      = 13
)

// A Frame is one frame from the edge, parsed in place: its slices alias the read
// buffer and hold until the callback that got it returns. Fields that the type
// of frame doesn't have are zero.
type Frame struct {
	Type   int
	Room   uint32 // the room's number on this connection
	Ref    uint64 // join, leave, list: the client's own reference
	N      uint64 // reply: number of the command; notice: number commands go on from
	Epoch  uint64 // notice
	Seq    uint64 // message, private, presence, notice
	Count  uint64 // private, notice
	Ver    uint64 // state, patch
	Size   int    // presence, notice: number of members now
	Member uint32 // notice: the seat's number from here on

	Applied uint64 // notice: number of the last command that was taken in
	Resumed bool   // notice: the seat was kept
	Time    int64  // pong: the edge's clock, ms since 1970; bye: retry, ms
	Event   []byte // message, private; notice: which

	// Data is raw msgpack: a message's data, a reply's result, a state, a patch,
	// a welcome's or joined's map, the list of rooms, a notice's members; in a
	// presence frame the four lists one after the other, as far as they were sent.
	Data []byte

	Code    []byte // refusals, error, left and bye; empty means success
	Message []byte // for people
}

var errFrame = errors.New("not a frame of the roomd protocol")

// ParseFrame parses the first frame in b into f and returns what follows it. It
// allocates nothing unless it fails.
func ParseFrame(f *Frame, b []byte) (rest []byte, err error) {
	*f = Frame{}
	c := cursor{b: b}
	left := c.array()
	if left == 0 || c.bad {
		return nil, errFrame
	}
	f.Type = int(c.int())
	e := elements{c: &c, left: left - 1}
	f.read(&e)
	for e.left > 0 && !c.bad { // trailing elements of a later version
		e.raw()
	}
	if c.bad {
		return nil, fmt.Errorf("frame of type %d: %w", f.Type, errShort)
	}
	return c.b, nil
}

func (f *Frame) read(e *elements) {
	switch f.Type {
	case FrameError:
		f.Code, f.Message = e.bytes(), e.bytes()
		e.uint() // the type it answers; only a send has no better place
		f.Room = uint32(e.uint())
	case FrameHello:
		f.Data = e.raw()
	case FrameJoin, FrameList:
		f.Ref, f.Data = e.uint(), e.raw()
		f.readRefusal(e)
	case FrameLeave:
		f.Room, f.Code, f.Message, f.Ref = uint32(e.uint()), e.bytes(), e.bytes(), e.uint()
	case FrameSend:
		f.Room, f.N, f.Data = uint32(e.uint()), e.uint(), e.raw()
		f.readRefusal(e)
	case FramePing:
		f.Data, f.Time = e.raw(), e.int()
	case FrameMessage:
		f.Room, f.Seq, f.Event, f.Data = uint32(e.uint()), e.uint(), e.bytes(), e.raw()
	case FramePrivate:
		f.Room, f.Seq, f.Count = uint32(e.uint()), e.uint(), e.uint()
		f.Event, f.Data = e.bytes(), e.raw()
	case FramePresence:
		f.Room, f.Seq, f.Size = uint32(e.uint()), e.uint(), int(e.uint())
		f.Data = e.rest(4)
	case FrameState, FramePatch:
		f.Room, f.Ver, f.Data = uint32(e.uint()), e.uint(), e.raw()
	case FrameNotice:
		f.Room, f.Event = uint32(e.uint()), e.bytes()
		f.Epoch, f.Seq, f.Count, f.N = e.uint(), e.uint(), e.uint(), e.uint()
		f.Member, f.Size, f.Data = uint32(e.uint()), int(e.uint()), e.raw()
		f.Applied, f.Resumed = e.uint(), e.bool()
	case FrameBye:
		f.Code, f.Message, f.Time = e.bytes(), e.bytes(), e.int()
	}
}

// readRefusal reads the [code, message] that takes the place of a result.
func (f *Frame) readRefusal(e *elements) {
	if e.left == 0 {
		return
	}
	e.left--
	inner := elements{c: e.c, left: e.c.array()}
	f.Code, f.Message = inner.bytes(), inner.bytes()
	for inner.left > 0 && !e.c.bad {
		inner.raw()
	}
}

// Err is the refusal that the frame carries, or nil.
func (f *Frame) Err() error {
	if len(f.Code) == 0 {
		return nil
	}
	return &Error{Code: string(f.Code), Message: string(f.Message)}
}

// elements reads what is left of an array whose trailing elements may be missing.
type elements struct {
	c    *cursor
	left int
}

func (e *elements) next() bool {
	if e.left == 0 {
		return false
	}
	e.left--
	return true
}

func (e *elements) int() int64 {
	if !e.next() {
		return 0
	}
	return e.c.int()
}

func (e *elements) uint() uint64 {
	if !e.next() {
		return 0
	}
	return e.c.uint()
}

func (e *elements) bool() bool { return e.next() && e.c.bool() }

func (e *elements) bytes() []byte {
	if !e.next() {
		return nil
	}
	return e.c.bytes()
}

func (e *elements) raw() []byte {
	if !e.next() {
		return nil
	}
	return e.c.raw()
}

// rest reads up to n elements as one piece.
func (e *elements) rest(n int) []byte {
	start := e.c.b
	for ; n > 0 && e.next(); n-- {
		e.c.raw()
	}
	if e.c.bad {
		return nil
	}
	return start[:len(start)-len(e.c.b)]
}
