package client

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/gobwas/ws"
)

// collector keeps what a stream cuts out.
type collector struct{ got []string }

func (c *collector) onMessage(p []byte) bool {
	c.got = append(c.got, "message "+string(p))
	return true
}

func (c *collector) onControl(op byte, p []byte) bool {
	c.got = append(c.got, fmt.Sprintf("control %x %s", op, p))
	return true
}

func TestStreamCutsTheSameHoweverBytesArrive(t *testing.T) {
	var b bytes.Buffer
	long := bytes.Repeat([]byte("long "), 20_000)
	for _, f := range []ws.Frame{
		ws.NewBinaryFrame([]byte("one")),
		ws.NewFrame(ws.OpBinary, false, []byte("frag")),
		ws.NewPingFrame([]byte("between")),
		ws.NewFrame(ws.OpContinuation, false, []byte("men")),
		ws.NewFrame(ws.OpContinuation, true, []byte("ted")),
		ws.NewBinaryFrame(long[:300]),
		ws.NewBinaryFrame(long),
		ws.NewBinaryFrame(nil),
	} {
		if err := ws.WriteFrame(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"message one", "control 9 between", "message fragmented", "message " + string(long[:300]), "message " + string(long), "message "}
	for _, piece := range []int{1, 2, 3, 7, 100, 4096, b.Len()} {
		var s stream
		var c collector
		for chunk := range slices.Chunk(b.Bytes(), piece) {
			if err := s.feed(slices.Clone(chunk), &c); err != nil {
				t.Fatalf("pieces of %d: %v", piece, err)
			}
		}
		if !slices.Equal(c.got, want) {
			t.Errorf("pieces of %d: got %.100q", piece, c.got)
		}
		if s.partial != nil || s.message != nil {
			t.Errorf("pieces of %d: an idle stream keeps memory", piece)
		}
	}
}

func TestStreamRefusesWhatAServerMayNotSend(t *testing.T) {
	for name, b := range map[string][]byte{
		"text":                     {0x81, 1, 'x'},
		"masked":                   {0x82, 0x81, 1, 2, 3, 4, 5},
		"reserved bit":             {0xc2, 0},
		"reserved opcode":          {0x83, 0},
		"continuation of nothing":  {0x80, 0},
		"message within a message": {0x02, 1, 'x', 0x82, 0},
		"fragmented ping":          {0x09, 0},
		"long ping":                {0x89, 126, 0, 126},
		"endless":                  {0x82, 127, 0x7f, 0, 0, 0, 0, 0, 0, 0},
	} {
		var s stream
		if err := s.feed(b, &collector{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFramesGoOutMaskedWithTheShortestHead(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 0xffff, 0x10000} {
		payload := bytes.Repeat([]byte("p"), n)
		b := append(beginFrame([]byte("before"), opBinary, 0x01020304), payload...)
		head := endFrame(b, len("before"))
		h, err := ws.ReadHeader(bytes.NewReader(b[head:]))
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if want := ws.HeaderSize(h) + n; len(b)-head != want || !h.Masked || h.Length != int64(n) {
			t.Errorf("%d bytes take %d on the wire, want %d", n, len(b)-head, want)
		}
		got := b[len(b)-n:]
		ws.Cipher(got, h.Mask, 0)
		if !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: payload changed", n)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte{0x02, 1, 'a', 0x89, 0, 0x80, 1, 'b'}, 3)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		var whole, pieces collector
		var s1, s2 stream
		err1 := s1.feed(slices.Clone(b), &whole)
		var err2 error
		for chunk := range slices.Chunk(b, 1+(piece&0xff)) {
			if err2 = s2.feed(slices.Clone(chunk), &pieces); err2 != nil {
				break
			}
		}
		if (err1 == nil) != (err2 == nil) || !slices.Equal(whole.got, pieces.got) {
			t.Errorf("whole: %q, %v; in pieces: %q, %v", whole.got, err1, pieces.got, err2)
		}
	})
}
