package edge

import "encoding/binary"

// Frames of RFC 6455, as bytes. Nothing here knows a socket.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R| opcode|M| length (7)  | length (16 or 64)             |
//	|I|S|S|S|  (4)  |A| 126: 16 bit |                               |
//	|N|V|V|V|       |S| 127: 64 bit |                               |
//	| |1|2|3|       |K|             |                               |
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	| mask (4 bytes, client to server only)   | payload ...         |
//	+-----------------------------------------+---------------------+

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	maxControlBytes = 125 // longest payload of a control frame
	maxHeaderBytes  = 14  // longest header of a masked frame
)

// A frameHeader is the header of one frame from a client.
type frameHeader struct {
	fin    bool
	op     byte
	mask   [4]byte
	size   int // bytes of the header itself
	length int // bytes of the payload
}

// control says whether the frame is a control frame: never fragmented, and
// allowed between the fragments of a message.
func (h *frameHeader) control() bool { return h.op >= opClose }

// parseHeader reads the header at the start of b. It says ok false as soon as
// the bytes can't begin a frame that a client may send: a reserved bit or
// opcode, no mask, a length not written in the fewest bytes, a control frame
// that is fragmented or too long. Until the header is whole, size is zero and
// need is how many bytes must be there before it is worth trying again.
func parseHeader(b []byte) (h frameHeader, need int, ok bool) {
	if len(b) < 2 {
		return h, 2, len(b) == 0 || b[0]&0x70 == 0 && knownOp(b[0]&0x0F)
	}
	h.fin, h.op = b[0]&0x80 != 0, b[0]&0x0F
	length, masked := int(b[1]&0x7F), b[1]&0x80 != 0
	if b[0]&0x70 != 0 || !masked || !knownOp(h.op) {
		return h, 0, false
	}
	if h.control() && (!h.fin || length > maxControlBytes) {
		return h, 0, false
	}
	size := 6
	switch length {
	case 126:
		size = 8
	case 127:
		size = 14
	}
	if len(b) < size {
		return h, size, true
	}
	switch length {
	case 126:
		length = int(binary.BigEndian.Uint16(b[2:]))
		ok = length > maxControlBytes
	case 127:
		wide := binary.BigEndian.Uint64(b[2:])
		ok = wide > 0xFFFF && wide>>63 == 0
		length = int(min(wide, 1<<31-1-maxHeaderBytes)) // far beyond any limit, and an int everywhere
	default:
		ok = true
	}
	if !ok {
		return h, 0, false
	}
	copy(h.mask[:], b[size-4:size])
	h.size, h.length = size, length
	return h, size + length, true
}

func knownOp(op byte) bool { return op <= opBinary || op >= opClose && op <= opPong }

// appendFrame appends a whole frame from the server: header and payload.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	return append(appendFrameHeader(dst, op, len(payload)), payload...)
}

// appendFrameHeader appends the header of a final frame from the server, for
// whoever appends the n bytes of payload next.
func appendFrameHeader(dst []byte, op byte, n int) []byte {
	switch {
	case n <= maxControlBytes:
		return append(dst, 0x80|op, byte(n))
	case n <= 0xFFFF:
		return append(dst, 0x80|op, 126, byte(n>>8), byte(n))
	}
	dst = append(dst, 0x80|op, 127)
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}

// frameRoom is what to leave free before a payload whose length is not known
// yet; sealFrame then puts the header there.
const frameRoom = 10

// sealFrame writes the header of a final frame right before the payload
// buf[frameRoom:] and returns the frame, a slice of buf.
func sealFrame(buf []byte, op byte) []byte {
	var head [frameRoom]byte
	h := appendFrameHeader(head[:0], op, len(buf)-frameRoom)
	start := frameRoom - len(h)
	copy(buf[start:], h)
	return buf[start:]
}

// appendClose appends a close frame. A reason that is too long is cut; the
// caller gives valid UTF-8.
func appendClose(dst []byte, code uint16, reason string) []byte {
	const most = maxControlBytes - 2
	for cut := most; len(reason) > most; cut-- {
		if cut == 0 || reason[cut]&0xC0 != 0x80 { // not in the middle of a rune
			reason = reason[:cut]
		}
	}
	dst = appendFrameHeader(dst, opClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// Frames that are the same for everyone.
var (
	pingFrame       = []byte{0x80 | opPing, 0}
	emptyPongFrame  = []byte{0x80 | opPong, 0}
	emptyCloseFrame = []byte{0x80 | opClose, 0}
)
