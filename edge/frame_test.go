//lint:file-ignore SA1019 ws.ReadFrame is fine for frames of our own making

package edge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

func TestAppendFrameWritesWhatOthersRead(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		payload := bytes.Repeat([]byte{0xA5}, n)
		frame := appendFrame([]byte("before"), opBinary, payload)[len("before"):]
		got, err := ws.ReadFrame(bytes.NewReader(frame))
		if err != nil || !got.Header.Fin || got.Header.OpCode != ws.OpBinary || got.Header.Masked || !bytes.Equal(got.Payload, payload) {
			t.Errorf("frame of %d bytes reads back as %+v, %v", n, got.Header, err)
		}
		sealed := sealFrame(append(make([]byte, frameRoom), payload...), opBinary)
		if !bytes.Equal(sealed, frame) {
			t.Errorf("sealFrame of %d bytes differs from appendFrame", n)
		}
	}
}

func TestCloseReasonIsCutBetweenRunes(t *testing.T) {
	for _, reason := range []string{"", "bye", strings.Repeat("r", 123), strings.Repeat("r", 200), strings.Repeat("水", 100), "a" + strings.Repeat("🂡", 100)} {
		frame := appendClose(nil, 4000, reason)
		got, err := ws.ReadFrame(bytes.NewReader(frame))
		if err != nil || len(got.Payload) > maxControlBytes || len(reason) > 123 && len(got.Payload) < 122 {
			t.Errorf("close with reason of %d bytes: payload of %d, %v", len(reason), len(got.Payload), err)
			continue
		}
		if kept := string(got.Payload[2:]); !utf8.ValidString(kept) || !strings.HasPrefix(reason, kept) {
			t.Errorf("reason %q was cut to %q", reason, kept)
		}
	}
}

func TestHeaderIsRefusedAtItsFirstBadByte(t *testing.T) {
	for _, b := range []string{"\xC1", "\x83", "\x81\x01", "\x09\x80", "\x89\xfe"} {
		if _, _, ok := parseHeader([]byte(b)); ok {
			t.Errorf("parseHeader(%x) waits for more", b)
		}
	}
}

// The fuzz target below compares the transport with this: the same rules over
// gobwas/ws's reader, simply put. It returns what a client must see for a
// stream of bytes: e for each echo and pong, and the close code.
func expectedOutcome(stream []byte, limit int) (out []string, code uint16) {
	r := bytes.NewReader(stream)
	state := ws.StateServerSide
	var op ws.OpCode
	var message []byte
	for {
		at := len(stream) - r.Len()
		h, err := ws.ReadHeader(r)
		if err != nil {
			return out, partialOutcome(stream[at:])
		}
		size := len(stream) - r.Len() - at
		var minimal bytes.Buffer
		if ws.CheckHeader(h, state) != nil || ws.WriteHeader(&minimal, h) != nil || minimal.Len() != size {
			return out, closeProtocol
		}
		if !h.OpCode.IsControl() && h.Length > int64(limit-len(message)) {
			return out, closeTooBig
		}
		if h.Length > int64(r.Len()) {
			return out, 0
		}
		payload := make([]byte, h.Length)
		_, _ = r.Read(payload)
		ws.Cipher(payload, h.Mask, 0)
		switch {
		case h.OpCode == ws.OpPing:
			out = append(out, fmt.Sprintf("a%x", payload))
		case h.OpCode == ws.OpPong:
		case h.OpCode == ws.OpClose:
			return out, expectedClose(payload)
		default:
			if h.OpCode != ws.OpContinuation {
				op = h.OpCode
			}
			message = append(message, payload...)
			if state = state.Set(ws.StateFragmented); h.Fin {
				if op == ws.OpText && !utf8.Valid(message) {
					return out, closeBadUTF8
				}
				out = append(out, fmt.Sprintf("%x%x", byte(op), message))
				message, state = nil, state.Clear(ws.StateFragmented)
			}
		}
	}
}

// partialOutcome is for a stream that ends inside a header: the bytes there
// may be bad already.
func partialOutcome(b []byte) uint16 {
	if _, _, ok := parseHeader(b); !ok {
		return closeProtocol
	}
	return 0
}

func expectedClose(payload []byte) uint16 {
	if len(payload) == 0 {
		return closeNoStatus
	}
	if len(payload) == 1 {
		return closeProtocol
	}
	code := ws.StatusCode(binary.BigEndian.Uint16(payload))
	registered := code >= 1012 && code <= 1014
	switch err := ws.CheckCloseFrameData(code, string(payload[2:])); {
	case code > 4999:
		return closeProtocol
	case err == ws.ErrProtocolInvalidUTF8 || registered && !utf8.Valid(payload[2:]):
		return closeBadUTF8
	case err != nil && !registered:
		return closeProtocol
	}
	return uint16(code)
}

// FuzzFrames feeds a stream to a conn in pieces and compares what comes of it
// with expectedOutcome.
func FuzzFrames(f *testing.F) {
	const limit = 300
	for _, section := range [][]wireCase{framingCases()[:12], controlCases(), reservedCases(), fragmentCases()[:13], utf8Cases(), closeCases()} {
		for i, c := range section {
			f.Add([]byte(strings.Join(c.send, "")), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		if len(stream) > 4096 {
			return
		}
		want, wantCode := expectedOutcome(stream, limit)
		l, h := bareLoop(t, Config{MaxMessageBytes: limit, BufferBytes: 1 << 20, OutboxBytes: 1 << 20})
		c := h.bareConn()
		for _, b := range pieces(string(stream), int(piece)%17+1) {
			l.readFrames(c, []byte(b))
		}
		var got []string
		if c.out != nil {
			for _, ref := range c.out.refs {
				frame, err := ws.ReadFrame(bytes.NewReader(ref))
				if err != nil {
					t.Fatalf("sent %x: %v", ref, err)
				}
				if frame.Header.OpCode != ws.OpClose {
					got = append(got, fmt.Sprintf("%x%x", byte(frame.Header.OpCode), frame.Payload))
				}
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || c.closeCode != wantCode {
			t.Fatalf("stream %x in pieces of %d:\n got %s, code %d\nwant %s, code %d", stream, int(piece)%17+1, got, c.closeCode, want, wantCode)
		}
		l.lose(c, closeAbnormal)
		if l.giveInbox(c); l.pool.lent != 0 {
			t.Fatalf("stream %x: %d bytes of buffers are out", stream, l.pool.lent)
		}
	})
}
