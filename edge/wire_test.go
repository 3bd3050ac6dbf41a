//lint:file-ignore SA1019 ws.ReadFrame is fine for frames of our own making

package edge

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// What the transport's tests are made of: a server whose hooks are functions,
// and a client that writes any bytes it likes.

// patience bounds waiting for what must happen; it is never waited out by a
// test that passes.
const patience = 20 * time.Second

// testHooks echo messages unless told otherwise. All of it runs on the loop.
type testHooks struct {
	l         *loop
	onOpened  func(c *conn)
	onMessage func(c *conn, text bool, payload []byte)
	onClosed  func(c *conn)
	onDrained func(c *conn)
	onLeaving func()
	onBus     func(in []*busMsg)

	conns   map[*conn]bool
	closes  map[uint16]int // by code
	reasons []string
	turns   int
	seconds int
}

func (h *testHooks) opened(c *conn) {
	if h.conns[c] {
		panic("opened twice")
	}
	h.conns[c] = true
	if h.onOpened != nil {
		h.onOpened(c)
	}
}

func (h *testHooks) message(c *conn, text bool, payload []byte) {
	if !h.conns[c] {
		panic("message of a conn that isn't open")
	}
	if h.onMessage != nil {
		h.onMessage(c, text, payload)
		return
	}
	c.send(appendFrame(nil, opcode(text), payload), false)
}

func (h *testHooks) closed(c *conn) {
	if !h.conns[c] {
		panic("closed without opened")
	}
	delete(h.conns, c)
	h.closes[c.closeCode]++
	h.reasons = append(h.reasons, c.closeReason())
	if h.onClosed != nil {
		h.onClosed(c)
	}
}

func (h *testHooks) drained(c *conn) {
	if h.onDrained != nil {
		h.onDrained(c)
	}
}

func (h *testHooks) envelopes(in []*busMsg) {
	if h.onBus != nil {
		h.onBus(in)
	}
}

func (h *testHooks) draining(time.Time) {
	if h.onLeaving != nil {
		h.onLeaving()
	}
}

func (h *testHooks) turn(time.Time)   { h.turns++ }
func (h *testHooks) second(time.Time) { h.seconds++ }

func opcode(text bool) byte {
	if text {
		return opText
	}
	return opBinary
}

type testServer struct {
	t     testing.TB
	tr    *transport
	hooks []*testHooks
	addr  string
	stop  func() // and wait until serve has returned
}

// newServer serves until the test ends. It has one loop unless cfg says
// otherwise; prepare sees each loop's hooks before it runs.
func newServer(t testing.TB, cfg Config, prepare func(h *testHooks)) *testServer {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	cfg.Loops = max(cfg.Loops, 1)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	tr, err := listen(cfg, "test", "test2")
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{t: t, tr: tr, addr: tr.addr.String()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	ready := make(chan struct{})
	running.Go(func() {
		err := tr.serve(ctx, func(l *loop) hooks {
			h := &testHooks{l: l, conns: make(map[*conn]bool), closes: make(map[uint16]int)}
			if prepare != nil {
				prepare(h)
			}
			if s.hooks = append(s.hooks, h); len(s.hooks) == len(tr.loops) {
				close(ready)
			}
			return h
		})
		if err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	<-ready
	s.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(s.stop)
	return s
}

// on runs fn on every loop and waits for it.
func (s *testServer) on(fn func(h *testHooks)) {
	s.t.Helper()
	for _, h := range s.hooks {
		done := make(chan struct{})
		h.l.do(func() { fn(h); close(done) })
		select {
		case <-done:
		case <-h.l.done:
			fn(h)
		case <-time.After(patience):
			s.t.Fatal("a loop is stuck")
		}
	}
}

// stats are exact: asked of the loops.
func (s *testServer) stats() (sum stats) {
	s.on(func(h *testHooks) { sum.add(&h.l.stats) })
	return sum
}

// await polls for what has no event to wait for.
func (s *testServer) await(what string, ok func() bool) {
	s.t.Helper()
	await(s.t, what, ok)
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// upgradeRequest is one that succeeds; more are header lines with CRLF.
func upgradeRequest(addr, more string) string {
	return "GET /ws HTTP/1.1\r\nHost: " + addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Protocol: test\r\n" + more + "\r\n"
}

type client struct {
	t testing.TB
	net.Conn
	br   *bufio.Reader
	mask [4]byte
}

// dial connects without sending anything.
func (s *testServer) dial() *client {
	s.t.Helper()
	sock, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = sock.Close() })
	if err := sock.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	return &client{t: s.t, Conn: sock, br: bufio.NewReader(sock), mask: [4]byte{0x11, 0xFE, 0x5A, 0x03}}
}

// open connects and upgrades.
func (s *testServer) open() *client {
	s.t.Helper()
	c := s.dial()
	c.write(upgradeRequest(s.addr, ""))
	if status := c.response(); status != 101 {
		s.t.Fatalf("upgrade = %d, want 101", status)
	}
	return c
}

func (c *client) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// response reads the head of an HTTP response and returns its status.
func (c *client) response() int {
	c.t.Helper()
	line, err := c.br.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read status line: %v (got %q)", err, line)
	}
	var status int
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d ", &status); err != nil {
		c.t.Fatalf("status line %q: %v", line, err)
	}
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if line == "\r\n" {
			return status
		}
	}
}

// frame is a masked frame; first is the whole first byte.
func (c *client) frame(first byte, payload string) string {
	return string(maskedFrame(nil, first, c.mask, []byte(payload)))
}

func maskedFrame(dst []byte, first byte, mask [4]byte, payload []byte) []byte {
	dst = append(dst, first)
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, 0x80|byte(n))
	case n <= 0xFFFF:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, mask[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	for i := range payload {
		dst[at+i] ^= mask[i%4]
	}
	return dst
}

func (c *client) text(s string)  { c.t.Helper(); c.write(c.frame(0x80|opText, s)) }
func (c *client) pings(s string) { c.t.Helper(); c.write(c.frame(0x80|opPing, s)) }

func (c *client) closes(code uint16, reason string) {
	c.t.Helper()
	c.write(c.frame(0x80|opClose, closePayload(code, reason)))
}

func closePayload(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// next reads one frame.
func (c *client) next() ws.Frame {
	c.t.Helper()
	f, err := ws.ReadFrame(c.br)
	if err != nil {
		c.t.Fatalf("read frame: %v", err)
	}
	if err := ws.CheckHeader(f.Header, ws.StateClientSide); err != nil {
		c.t.Fatalf("the server sent a bad frame %+v: %v", f.Header, err)
	}
	return f
}

func (c *client) want(op ws.OpCode, payload string) {
	c.t.Helper()
	f := c.next()
	if f.Header.OpCode != op || string(f.Payload) != payload {
		c.t.Fatalf("got frame %x %s, want %x %s", f.Header.OpCode, brief(string(f.Payload)), op, brief(payload))
	}
}

// wantClose reads a close frame (zero: one without a code).
func (c *client) wantClose(code uint16) {
	c.t.Helper()
	f := c.next()
	got := uint16(0)
	if len(f.Payload) >= 2 {
		got = binary.BigEndian.Uint16(f.Payload)
	}
	if f.Header.OpCode != ws.OpClose || got != code {
		c.t.Fatalf("got frame %x, code %d %q, want close %d", f.Header.OpCode, got, f.Payload, code)
	}
}

// wantEnd expects an orderly end of the stream.
func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := c.br.ReadByte(); err != io.EOF {
		c.t.Fatalf("read = %x, %v, want EOF", b, err)
	}
}

// wantReset reads until the connection is reset.
func (c *client) wantReset() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.br); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("read to the end: %v, want a reset", err)
	}
}

func brief(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q... (%d bytes)", s[:40], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// openFiles counts the process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	dir := "/proc/self/fd"
	if runtime.GOOS != "linux" {
		dir = "/dev/fd"
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
