package edge

import (
	"errors"

	"roomd/bus"
)

// A protocol is how one sort of client talks. Sessions and rooms deal in
// frames and never see their bytes; a protocol turns a client's messages into
// frames, and frames for the client into its messages.
//
// The native encoding (native.go) is also the form in which frames for clients
// are made, once for all members of a room; other protocols translate it.
type protocol interface {
	// text says whether messages are text, and otherwise binary.
	text() bool

	// next reads the first frame of a message into f and returns what follows
	// it. The message may be overwritten; f is valid until the next call.
	next(message []byte, f *frame) (rest []byte, err error)

	// add appends frames in native encoding, one or several back to back, as
	// the payload of one message.
	add(payload, native []byte) []byte
}

// Types of frames. Numbers are shared by requests and their answers.
const (
	typeError    = 0
	typeHello    = 1 // and welcome
	typeJoin     = 2
	typeLeave    = 3 // and left
	typeSend     = 4 // and reply
	typePing     = 5
	typeList     = 6
	typeMessage  = 7
	typePrivate  = 8
	typePresence = 9
	typeState    = 10
	typePatch    = 11
	typeNotice   = 12
	typeBye      = 13
)

// A frame is one from a client. Which fields count depends on its type. Byte
// slices alias the message.
type frame struct {
	typ     uint8
	ref     uint64
	room    uint64
	n       uint64
	acked   uint64
	limit   uint64
	kind    []byte
	id      []byte
	event   []byte
	data    []byte // send: data; join: options; ping: x; in msgpack, nil if absent
	user    []byte
	token   []byte
	resume  []byte
	since   bus.Position
	was     uint32 // join: the seat that the client had, with since; 0: it did not say
	isSince bool   // join: since is there
}

// errFrame is what every malformed message comes to. Its text is for clients.
var errFrame = errors.New("not a frame of this protocol")
