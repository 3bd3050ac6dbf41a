package edge

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// A wireCase is what a client sends and what it must get, on a real socket.
type wireCase struct {
	name  string
	send  []string // frames, raw
	want  []wireFrame
	close uint16 // code of the server's close frame; zero: it doesn't close
}

type wireFrame struct {
	op      ws.OpCode
	payload string
}

const (
	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10
)

// f is a masked frame.
func f(first byte, payload string) string {
	return string(maskedFrame(nil, first, [4]byte{7, 0, 0xFF, 0x80}, []byte(payload)))
}

func text(s string) wireFrame { return wireFrame{ws.OpText, s} }
func bin(s string) wireFrame  { return wireFrame{ws.OpBinary, s} }
func pong(s string) wireFrame { return wireFrame{ws.OpPong, s} }

// framingCases: every length at which the header's form changes.
func framingCases() (cases []wireCase) {
	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536} {
		s := strings.Repeat("*", n)
		cases = append(cases,
			wireCase{fmt.Sprintf("text of %d", n), []string{f(fin|opText, s)}, []wireFrame{text(s)}, 0},
			wireCase{fmt.Sprintf("binary of %d", n), []string{f(fin|opBinary, s)}, []wireFrame{bin(s)}, 0})
	}
	return append(cases,
		wireCase{"mask of zeros", []string{string(maskedFrame(nil, fin|opText, [4]byte{}, []byte("plain")))}, []wireFrame{text("plain")}, 0},
		wireCase{"many in one segment", []string{f(fin|opText, "a") + f(fin|opBinary, "b") + f(fin|opPing, "c") + f(fin|opText, "")},
			[]wireFrame{text("a"), bin("b"), pong("c"), text("")}, 0},
		wireCase{"not masked", []string{"\x81\x01a"}, nil, closeProtocol},
		wireCase{"not masked, empty", []string{"\x81\x00"}, nil, closeProtocol},
		wireCase{"16-bit length of 125", []string{"\x82\xfe\x00\x7d\x00\x00\x00\x00"}, nil, closeProtocol},
		wireCase{"64-bit length of 65535", []string{"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00"}, nil, closeProtocol},
		wireCase{"64-bit length with top bit", []string{"\x82\xff\x80\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"}, nil, closeProtocol},
		wireCase{"64-bit length of 2^62", []string{"\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}, nil, closeTooBig},
	)
}

func controlCases() []wireCase {
	long := strings.Repeat("p", 125)
	var ten string
	var tenPongs []wireFrame
	for i := range 10 {
		ten += f(fin|opPing, fmt.Sprint(i))
		tenPongs = append(tenPongs, pong(fmt.Sprint(i)))
	}
	return []wireCase{
		{"ping", []string{f(fin|opPing, "")}, []wireFrame{pong("")}, 0},
		{"ping with payload", []string{f(fin|opPing, "hi\x00\xff")}, []wireFrame{pong("hi\x00\xff")}, 0},
		{"ping of 125", []string{f(fin|opPing, long)}, []wireFrame{pong(long)}, 0},
		{"ping of 126", []string{f(fin|opPing, long+"p")}, nil, closeProtocol},
		{"ten pings", []string{ten}, tenPongs, 0},
		{"pong unasked", []string{f(fin|opPong, "x"), f(fin|opPing, "y")}, []wireFrame{pong("y")}, 0},
		{"ping in fragments", []string{f(opPing, "a"), f(fin|opContinuation, "b")}, nil, closeProtocol},
		{"close in fragments", []string{f(opClose, closePayload(1000, ""))}, nil, closeProtocol},
		{"pong of 126", []string{f(fin|opPong, long+"p")}, nil, closeProtocol},
	}
}

// reservedCases: bits and opcodes that mean nothing yet.
func reservedCases() (cases []wireCase) {
	for _, rsv := range []byte{rsv1, rsv2, rsv3, rsv1 | rsv2, rsv1 | rsv2 | rsv3} {
		for _, op := range []byte{opText, opBinary, opPing, opClose} {
			cases = append(cases, wireCase{fmt.Sprintf("rsv %02x opcode %x", rsv, op),
				[]string{f(fin|opText, "before"), f(fin|rsv|op, "")}, []wireFrame{text("before")}, closeProtocol})
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		cases = append(cases, wireCase{fmt.Sprintf("opcode %x", op), []string{f(fin|op, "")}, nil, closeProtocol})
	}
	return cases
}

func fragmentCases() []wireCase {
	return []wireCase{
		{"two", []string{f(opText, "frag"), f(fin|opContinuation, "ment")}, []wireFrame{text("fragment")}, 0},
		{"three, binary", []string{f(opBinary, "a"), f(opContinuation, "b"), f(fin|opContinuation, "c")}, []wireFrame{bin("abc")}, 0},
		{"all empty", []string{f(opText, ""), f(opContinuation, ""), f(fin|opContinuation, "")}, []wireFrame{text("")}, 0},
		{"empty first and last", []string{f(opText, ""), f(opContinuation, "x"), f(fin|opContinuation, "")}, []wireFrame{text("x")}, 0},
		{"two messages", []string{f(opText, "a"), f(fin|opContinuation, "b"), f(opBinary, "c"), f(fin|opContinuation, "d")},
			[]wireFrame{text("ab"), bin("cd")}, 0},
		{"ping between", []string{f(opText, "a"), f(fin|opPing, "p"), f(fin|opContinuation, "b")}, []wireFrame{pong("p"), text("ab")}, 0},
		{"pings between", []string{f(opText, "a"), f(fin|opPing, "p"), f(opContinuation, "b"), f(fin|opPing, "q"), f(fin|opContinuation, "c")},
			[]wireFrame{pong("p"), pong("q"), text("abc")}, 0},
		{"close between", []string{f(opText, "a"), f(fin|opClose, closePayload(1000, ""))}, nil, closeNormal},
		{"continuation of nothing", []string{f(fin|opContinuation, "a")}, nil, closeProtocol},
		{"open continuation of nothing", []string{f(opContinuation, "a")}, nil, closeProtocol},
		{"continuation after the end", []string{f(opText, "a"), f(fin|opContinuation, "b"), f(fin|opContinuation, "c")}, []wireFrame{text("ab")}, closeProtocol},
		{"text inside text", []string{f(opText, "a"), f(fin|opText, "b")}, nil, closeProtocol},
		{"binary fragment inside text", []string{f(opText, "a"), f(opBinary, "b")}, nil, closeProtocol},
		{"fragments of 64 KiB", []string{f(opBinary, strings.Repeat("a", 40000)), f(opContinuation, strings.Repeat("b", 20000)), f(fin|opContinuation, strings.Repeat("c", 5536))},
			[]wireFrame{bin(strings.Repeat("a", 40000) + strings.Repeat("b", 20000) + strings.Repeat("c", 5536))}, 0},
	}
}

func limitCases() []wireCase {
	most := strings.Repeat("m", 65536)
	header := func(length uint64) string {
		return string(binary.BigEndian.AppendUint64([]byte{fin | opBinary, 0xFF}, length)) + "mask"
	}
	return []wireCase{
		{"the longest", []string{f(fin|opBinary, most)}, []wireFrame{bin(most)}, 0},
		{"one byte more", []string{header(65537)}, nil, closeTooBig}, // said before a byte of it is sent
		{"far more", []string{header(1 << 40)}, nil, closeTooBig},
		{"more in fragments", []string{f(opBinary, most), f(opContinuation, ""), f(fin|opContinuation, "m")}, nil, closeTooBig},
	}
}

// utf8Cases: from Autobahn's section 6, the rule and its edges.
func utf8Cases() (cases []wireCase) {
	const kosme = "κόσμε, 水, 🂡"
	valid := map[string]string{
		"greek, han, cards": kosme, "U+0080": "\u0080", "U+07FF": "\u07FF", "U+0800": "\u0800", "U+FFFF": "\uFFFF",
		"U+10000": "\U00010000", "U+10FFFF": "\U0010FFFF", "U+D7FF": "\uD7FF", "U+E000": "\uE000", "NUL": "\x00",
	}
	for name, s := range valid {
		cases = append(cases, wireCase{"valid " + name, []string{f(fin|opText, s)}, []wireFrame{text(s)}, 0})
	}
	invalid := map[string]string{
		"lone continuation": "\x80", "lone lead": "a\xC3", "overlong slash": "\xC0\xAF", "overlong NUL": "\xC0\x80",
		"overlong 3": "\xE0\x80\xAF", "overlong 4": "\xF0\x80\x80\xAF", "surrogate": "\xED\xA0\x80", "surrogate pair": "\xED\xA0\x80\xED\xB0\x80",
		"above U+10FFFF": "\xF4\x90\x80\x80", "5 bytes": "\xF8\x88\x80\x80\x80", "FE": "\xFE", "FF": "ab\xFFcd", "cut at the end": kosme[:len(kosme)-1],
	}
	for name, s := range invalid {
		cases = append(cases,
			wireCase{"invalid " + name, []string{f(fin|opText, s)}, nil, closeBadUTF8},
			wireCase{"invalid in fragments " + name, []string{f(opText, "ok"), f(fin|opContinuation, s)}, nil, closeBadUTF8},
			wireCase{"binary " + name, []string{f(fin|opBinary, s)}, []wireFrame{bin(s)}, 0})
	}
	var bytewise []string
	for i := range len(kosme) {
		first := byte(opContinuation)
		if i == 0 {
			first = opText
		}
		bytewise = append(bytewise, f(first, kosme[i:i+1]))
	}
	return append(cases, wireCase{"code points split over fragments", append(bytewise, f(fin|opContinuation, "")), []wireFrame{text(kosme)}, 0})
}

func closeCases() (cases []wireCase) {
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, wireCase{fmt.Sprintf("code %d", code), []string{f(fin|opClose, closePayload(code, "bye"))}, nil, code})
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases = append(cases, wireCase{fmt.Sprintf("bad code %d", code), []string{f(fin|opClose, closePayload(code, ""))}, nil, closeProtocol})
	}
	return append(cases,
		wireCase{"one byte", []string{f(fin|opClose, "\x03")}, nil, closeProtocol},
		wireCase{"reason of 123", []string{f(fin|opClose, closePayload(1000, strings.Repeat("r", 123)))}, nil, closeNormal},
		wireCase{"reason of 124", []string{f(fin|opClose, closePayload(1000, strings.Repeat("r", 124)))}, nil, closeProtocol},
		wireCase{"reason not UTF-8", []string{f(fin|opClose, closePayload(1000, "\xC3\x28"))}, nil, closeBadUTF8},
		wireCase{"message, then close", []string{f(fin|opText, "last") + f(fin|opClose, closePayload(1001, ""))}, []wireFrame{text("last")}, 1001},
	)
}

// TestConformsToRFC6455 plays every case three times: as few segments as
// possible, a segment per frame, and in tiny pieces.
func TestConformsToRFC6455(t *testing.T) {
	s := newServer(t, Config{}, nil)
	sections := []struct {
		name  string
		cases []wireCase
	}{
		{"framing", framingCases()}, {"control", controlCases()}, {"reserved", reservedCases()}, {"fragments", fragmentCases()},
		{"limits", limitCases()}, {"utf8", utf8Cases()}, {"close", closeCases()},
	}
	for _, section := range sections {
		for _, c := range section.cases {
			t.Run(section.name+"/"+c.name, func(t *testing.T) {
				all := strings.Join(c.send, "")
				c.play(t, s, []string{all})
				c.play(t, s, c.send)
				c.play(t, s, pieces(all, 1+len(all)/500))
			})
		}
	}
}

func pieces(s string, n int) (list []string) {
	for ; len(s) > n; s = s[n:] {
		list = append(list, s[:n])
	}
	return append(list, s)
}

func (wc *wireCase) play(t *testing.T, s *testServer, writes []string) {
	t.Helper()
	on := *s
	on.t = t
	c := on.open()
	defer c.Close()
	for _, w := range writes {
		if _, err := c.Write([]byte(w)); err != nil {
			break // it may have closed on us, rightly; what comes back tells
		}
	}
	for _, want := range wc.want {
		c.want(want.op, want.payload)
	}
	if wc.close != 0 {
		c.wantClose(wc.close)
		c.wantEnd()
		return
	}
	c.pings("still there")
	c.want(ws.OpPong, "still there")
}

func TestCloseWithoutCodeIsAnsweredWithout(t *testing.T) {
	s := newServer(t, Config{}, nil)
	c := s.open()
	c.write(c.frame(fin|opClose, ""))
	c.wantClose(0)
	c.wantEnd()
	s.await("closed", func() bool { return s.stats().open == 0 })
	s.on(func(h *testHooks) {
		if h.closes[closeNoStatus] != 1 {
			t.Errorf("closes = %v, want one %d", h.closes, closeNoStatus)
		}
	})
}

func TestNothingAfterACloseCounts(t *testing.T) {
	s := newServer(t, Config{}, nil)
	c := s.open()
	c.write(f(fin|opClose, closePayload(1000, "")) + f(fin|opText, "late") + f(fin|opPing, "late"))
	c.wantClose(1000)
	c.wantEnd()
	if got := s.stats().messagesIn; got != 0 {
		t.Errorf("%d messages came in after a close, want 0", got)
	}
}
