package edge

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// What clients may do that nobody honest does, and who pays for it.

// TestWhoHoldsMostPaysWhenBuffersRunOut: a few who never end their messages
// would otherwise have everyone closed whose message comes in two parts.
func TestWhoHoldsMostPaysWhenBuffersRunOut(t *testing.T) {
	s := newServer(t, Config{BufferBytes: 256 << 10}, nil)
	honest := s.open()
	for range 4 {
		c := s.open()
		c.write(c.frame(opBinary, string(make([]byte, 60<<10)))) // takes a buffer of 64 KiB
	}
	s.await("all buffers are taken", func() bool {
		lent := 0
		s.on(func(h *testHooks) { lent = h.l.pool.lent })
		return lent >= 256<<10
	})
	message := honest.frame(0x80|opText, "in two parts")
	honest.write(message[:8])
	s.await("one of the greedy is closed", func() bool { return s.stats().overloads == 1 })
	honest.write(message[8:])
	honest.want(ws.OpText, "in two parts")
	s.on(func(h *testHooks) {
		if h.l.pool.lent > 256<<10 {
			t.Errorf("%d bytes are out, bound is %d", h.l.pool.lent, 256<<10)
		}
	})
}

// TestFramesWithoutMessagesAreLimited: they cost the edge work, and no other
// limit counts them.
func TestFramesWithoutMessagesAreLimited(t *testing.T) {
	for name, first := range map[string]byte{"pings": 0x80 | opPing, "pongs": 0x80 | opPong, "empty fragments": opContinuation} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, Config{}, nil)
			c := s.open()
			if first == opContinuation {
				c.write(c.frame(opText, "begin"))
			}
			for range maxIdleTalk / 2 { // few enough
				c.write(c.frame(first, ""))
			}
			s.await("they are taken", func() bool { return s.stats().framesIn >= maxIdleTalk/2 })
			s.on(func(h *testHooks) {
				if len(h.conns) != 1 {
					t.Error("closed for less than the limit")
				}
			})
			c.write(strings.Repeat(c.frame(first, ""), 8*maxIdleTalk)) // several sweeps may come between
			f := c.next()
			for f.Header.OpCode == ws.OpPong {
				f = c.next()
			}
			if code, _ := ws.ParseCloseFrameData(f.Payload); f.Header.OpCode != ws.OpClose || code != closeAbuse {
				t.Errorf("got frame %x %q, want close %d", f.Header.OpCode, f.Payload, closeAbuse)
			}
		})
	}
}

// TestSocketsAreBoundedInAnyState: those that are no conns use up descriptors
// too, and the process needs some for itself.
func TestSocketsAreBoundedInAnyState(t *testing.T) {
	const most = 4
	s := newServer(t, Config{maxSockets: most}, nil)
	var waiting []*client
	for i := range most {
		c := s.dial()
		c.write("GET /ws HTTP/1.1\r\n")
		waiting = append(waiting, c)
		s.await("the request begins", func() bool { return s.stats().halfOpen == int64(i+1) })
	}
	var open []*client
	for i := range most { // each in the place of the oldest that gets nowhere
		open = append(open, s.open())
		waiting[i].wantReset()
	}
	s.wantTurnedAway()
	if got := s.stats(); got.refused[refusedHalfOpen] != most || got.refused[refusedSockets] != 1 || got.open != most {
		t.Errorf("dropped %d, turned away %d, open %d; want %d, 1, %d",
			got.refused[refusedHalfOpen], got.refused[refusedSockets], got.open, most, most)
	}
	open[0].closes(1000, "")
	open[0].wantClose(1000)
	s.await("a place is free", func() bool { return s.tr.taken() == most-1 })
	s.open()
	s.stop()
	if n := s.tr.taken(); n != 0 {
		t.Errorf("%d sockets are still counted at the end", n)
	}
}

// wantTurnedAway sends a request and wants a reset, which may come as early as
// in the middle of connecting.
func (s *testServer) wantTurnedAway() {
	s.t.Helper()
	sock, err := net.Dial("tcp", s.addr)
	if err == nil {
		defer sock.Close()
		if _, err = io.WriteString(sock, upgradeRequest(s.addr, "")); err == nil {
			_, err = io.Copy(io.Discard, sock)
		}
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		s.t.Errorf("one socket too many ends with %v, want a reset", err)
	}
}

// TestRefusedDoNotLingerWhenSocketsAreScarce: else they would hold for seconds
// what others need.
func TestRefusedDoNotLingerWhenSocketsAreScarce(t *testing.T) {
	s := newServer(t, Config{maxSockets: 4}, nil)
	for range 3 {
		s.open()
	}
	c := s.dial()
	c.write("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := c.response(); got != 426 {
		t.Errorf("status %d, want 426", got)
	}
	s.await("the socket is closed by our side alone", func() bool { return s.tr.taken() == 3 })
}

// TestWhoTalksOnAfterTheEndIsCut: what is sent after our close frame is thrown
// away, which is work too.
func TestWhoTalksOnAfterTheEndIsCut(t *testing.T) {
	for name, end := range map[string]func(s *testServer, c *client){
		"after a protocol error": func(_ *testServer, c *client) { c.write("\xFF\xFF") },
		"after our close": func(s *testServer, _ *client) {
			s.on(func(h *testHooks) { h.l.eachConn(func(c *conn) { c.close(1000, "") }) })
		},
		"after a refusal": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, Config{CloseTimeout: time.Hour, IdleTimeout: time.Hour}, nil)
			var c *client
			if end == nil {
				c = s.dial()
				c.write("no request\r\n\r\n")
				c.response()
			} else {
				c = s.open()
				end(s, c)
				c.next()
			}
			frame := c.frame(0x80|opBinary, string(make([]byte, 60<<10)))
			for err := error(nil); err == nil; { // until the deadline, if nobody cuts it
				_, err = c.Write([]byte(frame))
			}
			if n := s.stats(); n.open+n.halfOpen != 0 {
				t.Error("the connection was not cut")
			}
		})
	}
}

// TestSlowBodiesDoNotKeepPagesFromOthers: half of the places are for requests
// that are whole when they are handed over.
func TestSlowBodiesDoNotKeepPagesFromOthers(t *testing.T) {
	s := newServer(t, Config{maxSockets: 32, HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = r.Body.Read(make([]byte, 1)) // until it comes
	})}, nil)
	const post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
	var slow []*client
	for range s.tr.front.most / 2 {
		c := s.dial()
		c.write(post)
		slow = append(slow, c)
	}
	s.await("all are handed over", func() bool { return s.stats().handedOff == uint64(len(slow)) })
	over, page := s.dial(), s.dial()
	over.write(post)
	if got := over.response(); got != 503 {
		t.Errorf("one body too many got %d, want 503", got)
	}
	page.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := page.response(); got != 200 {
		t.Errorf("a page got %d, want 200", got)
	}
	for _, c := range slow {
		c.write("x")
		if got := c.response(); got != 200 {
			t.Errorf("a slow body got %d, want 200", got)
		}
	}
	s.await("all places are free", func() bool { return s.tr.front.held.Load()+s.tr.front.bodies.Load() == 0 })
}
