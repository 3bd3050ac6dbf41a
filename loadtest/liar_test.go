package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/vmihailenco/msgpack/v5"

	"roomd/client"
)

// A liar is a server that casts to a single room and may do it wrong. It exists
// to see that loadtest notices.
type liar struct {
	// lie makes of a faultless broadcast, for one member, what is really sent.
	lie func(member int, seq uint64, frame []any) [][]any

	mu    sync.Mutex // guards the rest
	conns []net.Conn
	seq   uint64
}

// serve runs the liar until the test ends and tells its URL.
func (l *liar) serve(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				l.listen(conn)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	return "ws://" + ln.Addr().String() + "/ws"
}

func (l *liar) listen(conn net.Conn) {
	u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == client.ProtocolMsgpack }}
	if _, err := u.Upgrade(conn); err != nil {
		return
	}
	for {
		h, err := ws.ReadHeader(conn)
		if err != nil {
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(conn, payload); err != nil {
			return
		}
		ws.Cipher(payload, h.Mask, 0)
		if h.OpCode != ws.OpBinary {
			return
		}
		frames := msgpack.NewDecoder(bytes.NewReader(payload))
		for { // a message may hold several
			var f []msgpack.RawMessage
			if err := frames.Decode(&f); err == io.EOF {
				break
			} else if err != nil {
				return
			}
			l.frame(conn, f)
		}
	}
}

func (l *liar) frame(conn net.Conn, f []msgpack.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch f[0][0] {
	case client.FrameHello:
		send(conn, []any{client.FrameHello, map[string]any{"session": "s", "resume": "r"}})
	case client.FrameJoin:
		l.conns = append(l.conns, conn)
		send(conn, []any{client.FrameJoin, 1, map[string]any{"room": 1, "member": len(l.conns), "epoch": 1, "seq": l.seq}})
	case client.FrameSend:
		l.seq++
		for i, other := range l.conns {
			for _, frame := range l.lie(i, l.seq, []any{client.FrameMessage, 1, l.seq, "cast", f[4]}) {
				send(other, frame)
			}
		}
	}
}

func send(conn net.Conn, frame []any) {
	b, err := msgpack.Marshal(frame)
	if err != nil {
		panic(err) // a fault of this test
	}
	// A conn that is gone is noticed by its reader.
	_ = ws.WriteFrame(conn, ws.NewBinaryFrame(b))
}

func TestLyingServerIsConvicted(t *testing.T) {
	var held []any // a frame that comes too late
	cases := map[string]struct {
		lie     func(member int, seq uint64, frame []any) [][]any
		verdict string
	}{
		"honest": {func(_ int, _ uint64, f []any) [][]any { return [][]any{f} }, ""},
		"loses one": {func(member int, seq uint64, f []any) [][]any {
			if member == 1 && seq == 20 {
				return nil
			}
			return [][]any{f}
		}, "1 lost"},
		"loses the last ones": {func(member int, seq uint64, f []any) [][]any {
			if member == 1 && seq > 30 {
				return nil
			}
			return [][]any{f}
		}, "lost"},
		"says one twice": {func(member int, seq uint64, f []any) [][]any {
			if member == 2 && seq == 20 {
				return [][]any{f, f}
			}
			return [][]any{f}
		}, "1 delivered or applied twice"},
		"swaps two": {func(member int, seq uint64, f []any) [][]any {
			if member != 0 {
				return [][]any{f}
			}
			switch seq {
			case 20:
				held = f
				return nil
			case 21:
				return [][]any{f, held}
			}
			return [][]any{f}
		}, "1 out of order"},
		"changes a byte": {func(member int, seq uint64, f []any) [][]any {
			if member == 0 && seq == 20 {
				changed := append(msgpack.RawMessage(nil), f[4].(msgpack.RawMessage)...)
				changed[40] ^= 1
				return [][]any{{f[0], f[1], f[2], f[3], changed}}
			}
			return [][]any{f}
		}, "1 not what was sent"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := &liar{lie: c.lie}
			var out, errs strings.Builder
			code := run(strings.Fields("chat -clients 4 -rooms 1 -rate 100 -warmup 0s -for 400ms -json -admin= -url "+l.serve(t)), &out, &errs)
			if convicted := code == 1 && strings.Contains(errs.String(), c.verdict); convicted != (c.verdict != "") {
				t.Errorf("exit %d, want verdict %q:\n%s%s", code, c.verdict, errs.String(), out.String())
			}
			var r struct {
				Deliveries uint64   `json:"deliveries"`
				P99        float64  `json:"p99_ms"`
				CPU        *float64 `json:"server_cpu_s"`
			}
			if err := json.Unmarshal([]byte(out.String()), &r); err != nil || r.Deliveries < 50 || r.P99 <= 0 || r.CPU != nil {
				t.Errorf("JSON: %v\n%s", err, out.String())
			}
		})
	}
}
