package client

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gobwas/ws"
)

// maxMessage bounds one WebSocket message from the edge, so that a broken or
// hostile one cannot make us allocate without end. A joined frame with a large
// state is the biggest thing an edge sends.
const maxMessage = 16 << 20

// WebSocket opcodes.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// A stream cuts the bytes of a connection into WebSocket messages, in place.
// It keeps only what is incomplete: an idle stream holds no memory.
type stream struct {
	partial  []byte // an incomplete frame from the end of the last read
	message  []byte // fragments of an unfinished message
	opcode   byte   // of that message; 0: none is unfinished
	wantText bool   // messages are text (JSON) and not binary
}

// A wireFrame is one WebSocket frame; payload aliases the read buffer.
type wireFrame struct {
	fin     bool
	opcode  byte
	payload []byte
}

// cutFrame takes the first WebSocket frame off b. ok is false while b holds no
// whole frame.
func cutFrame(b []byte) (f wireFrame, rest []byte, ok bool, err error) {
	if len(b) < 2 {
		return f, b, false, nil
	}
	if b[0]&0x70 != 0 {
		return f, nil, false, errors.New("reserved bits set in a WebSocket frame")
	}
	if b[1]&0x80 != 0 {
		return f, nil, false, errors.New("masked WebSocket frame from a server")
	}
	f.fin, f.opcode = b[0]&0x80 != 0, b[0]&0x0f
	head, size := 2, uint64(b[1])
	switch size {
	case 126:
		if head = 4; len(b) < head {
			return f, b, false, nil
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if head = 10; len(b) < head {
			return f, b, false, nil
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	if f.opcode >= opClose && (size > 125 || !f.fin) {
		return f, nil, false, errors.New("fragmented or oversized WebSocket control frame")
	}
	if size > maxMessage {
		return f, nil, false, fmt.Errorf("WebSocket frame of %d bytes is over the limit of %d", size, maxMessage)
	}
	end := head + int(size)
	if len(b) < end {
		return f, b, false, nil
	}
	f.payload = b[head:end:end]
	return f, b[end:], true, nil
}

// A sink takes what a stream cuts out. A false return stops the stream: the
// connection is over and the rest of the bytes doesn't matter.
type sink interface {
	onMessage(payload []byte) bool
	onControl(opcode byte, payload []byte) bool
}

// feed hands the whole messages in b to out and keeps the rest for later.
// After an error the connection must be closed.
func (s *stream) feed(b []byte, out sink) error {
	if len(s.partial) > 0 {
		s.partial = append(s.partial, b...)
		b = s.partial
	}
	for {
		f, rest, ok, err := cutFrame(b)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		b = rest
		more, err := s.frame(f, out)
		if err != nil || !more {
			s.partial = nil
			return err
		}
	}
	switch {
	case len(b) == 0:
		s.partial = nil
		return nil
	case len(b) == len(s.partial):
		return nil // nothing was cut out: all is kept already
	}
	// b may lie in s.partial itself, behind what has been consumed; append
	// copies forward, which is safe for overlapping slices.
	s.partial = append(s.partial[:0], b...)
	return nil
}

func (s *stream) frame(f wireFrame, out sink) (more bool, err error) {
	if f.opcode >= opClose {
		return out.onControl(f.opcode, f.payload), nil
	}
	if s.opcode == 0 {
		if err := s.start(f.opcode); err != nil {
			return false, err
		}
		if f.fin {
			s.opcode = 0
			return out.onMessage(f.payload), nil
		}
		s.message = append([]byte(nil), f.payload...)
		return true, nil
	}
	if f.opcode != opContinuation {
		return false, errors.New("WebSocket message inside another")
	}
	if len(s.message)+len(f.payload) > maxMessage {
		return false, fmt.Errorf("WebSocket message over the limit of %d bytes", maxMessage)
	}
	s.message = append(s.message, f.payload...)
	if !f.fin {
		return true, nil
	}
	message := s.message
	s.message, s.opcode = nil, 0
	return out.onMessage(message), nil
}

// start checks the opcode that begins a message.
func (s *stream) start(opcode byte) error {
	want := byte(opBinary)
	if s.wantText {
		want = opText
	}
	if opcode != want {
		return fmt.Errorf("WebSocket message with opcode %d where %d is due", opcode, want)
	}
	s.opcode = opcode
	return nil
}

// beginFrame appends a masked WebSocket frame's head with room for any length;
// the payload follows, then endFrame. The mask is mask's four bytes.
func beginFrame(b []byte, opcode byte, mask uint32) []byte {
	b = append(b, 0x80|opcode, 0x80|127, 0, 0, 0, 0, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, mask)
}

const wideHead = 14 // bytes that beginFrame appends

// endFrame finishes the frame that began at start: it masks the payload, writes
// the shortest head in front of it and tells where the frame begins now.
func endFrame(b []byte, start int) int {
	var mask [4]byte
	copy(mask[:], b[start+wideHead-4:])
	payload := b[start+wideHead:]
	ws.Cipher(payload, mask, 0)
	head, opcode := start, b[start]
	switch n := len(payload); {
	case n <= 125:
		head += 8
		b[head+1] = 0x80 | byte(n)
	case n <= 0xffff:
		head += 6
		b[head+1] = 0x80 | 126
		binary.BigEndian.PutUint16(b[head+2:], uint16(n))
	default:
		b[head+1] = 0x80 | 127
		binary.BigEndian.PutUint64(b[head+2:], uint64(n))
	}
	b[head] = opcode
	return head
}

// closePayload is the body of a close frame.
func closePayload(b []byte, code int, reason string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, reason[:min(len(reason), 123)]...)
}

// parseClose reads the body of a close frame; an empty one means 1005.
func parseClose(payload []byte) (code int, reason string) {
	if len(payload) < 2 {
		return 1005, ""
	}
	return int(binary.BigEndian.Uint16(payload)), string(payload[2:])
}
