package edge

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestServerClosesInOrder(t *testing.T) {
	s := newServer(t, Config{}, nil)
	c := s.open()
	s.on(func(h *testHooks) {
		conn := onlyConn(h)
		conn.send(appendFrame(nil, opText, []byte("last")), false)
		conn.close(4100, "because")
		conn.close(4101, "too late")
		if conn.send(appendFrame(nil, opText, []byte("no")), false) {
			t.Error("send after close said it was queued")
		}
	})
	c.want(ws.OpText, "last")
	c.wantClose(4100)
	c.text("still in flight") // and not delivered
	c.closes(4100, "")
	c.wantEnd()
	s.await("closed", func() bool { return s.stats().open == 0 })
	s.on(func(h *testHooks) {
		if h.closes[4100] != 1 || h.reasons[0] != "because" {
			t.Errorf("closes = %v, reasons %q, want 4100, because", h.closes, h.reasons)
		}
	})
	if got := s.stats().messagesIn; got != 0 {
		t.Errorf("%d messages were delivered after close", got)
	}
}

func TestClientThatIgnoresACloseIsCut(t *testing.T) {
	s := newServer(t, Config{CloseTimeout: 50 * time.Millisecond}, nil)
	c := s.open()
	s.on(func(h *testHooks) { onlyConn(h).close(4100, "") })
	c.wantClose(4100)
	c.wantReset()
	s.on(func(h *testHooks) {
		if h.closes[4100] != 1 {
			t.Errorf("closes = %v, want one 4100", h.closes)
		}
	})
}

func TestClientThatIgnoresAProtocolErrorIsCut(t *testing.T) {
	s := newServer(t, Config{CloseTimeout: 50 * time.Millisecond}, nil)
	c := s.open()
	c.write("\xff")
	c.wantClose(closeProtocol)
	c.wantEnd() // our side is shut, the client's isn't
	s.await("cut", func() bool { return s.stats().open == 0 })
	if got := s.stats().badFrames; got != 1 {
		t.Errorf("bad frames = %d, want 1", got)
	}
}

func TestVanishedClientIsClosedOnceAsAbnormal(t *testing.T) {
	s := newServer(t, Config{}, nil)
	s.open().Close()
	s.await("closed", func() bool { return s.stats().open == 0 })
	s.on(func(h *testHooks) {
		if len(h.closes) != 1 || h.closes[closeAbnormal] != 1 {
			t.Errorf("closes = %v, want one %d", h.closes, closeAbnormal)
		}
	})
}

func TestAbortResets(t *testing.T) {
	s := newServer(t, Config{}, func(h *testHooks) {
		h.onMessage = func(c *conn, _ bool, _ []byte) {
			c.abort()
			c.abort()
			c.close(1000, "")
		}
	})
	c := s.open()
	c.write(c.frame(fin|opText, "a") + c.frame(fin|opText, "b"))
	c.wantReset()
	if got := s.stats(); got.messagesIn != 1 || got.open != 0 {
		t.Errorf("messages %d, open %d, want 1, 0", got.messagesIn, got.open)
	}
}

func TestSilentClientIsPingedThenGivenUp(t *testing.T) {
	s := newServer(t, Config{PingInterval: 40 * time.Millisecond, IdleTimeout: 400 * time.Millisecond, CloseTimeout: 50 * time.Millisecond}, nil)
	c := s.open()
	pings := 0
	for f := c.next(); f.Header.OpCode != ws.OpClose; f = c.next() {
		if f.Header.OpCode != ws.OpPing || len(f.Payload) != 0 {
			t.Fatalf("got frame %x", f.Header.OpCode)
		}
		pings++
	}
	s.await("given up", func() bool { return s.stats().open == 0 })
	if st := s.stats(); pings == 0 || st.timeouts != 1 {
		t.Errorf("pings %d, timeouts %d, want some, 1", pings, st.timeouts)
	}
	s.on(func(h *testHooks) {
		if h.closes[closeIdle] != 1 {
			t.Errorf("closes = %v, want one %d", h.closes, closeIdle)
		}
	})
}

// bareLoop is a loop with no sockets: its methods are called by the test, and
// time is what the test says.
func bareLoop(t testing.TB, cfg Config) (*loop, *testHooks) {
	t.Helper()
	cfg.Loops = 1
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	l := newLoop(&transport{cfg: cfg}, 0, nil)
	h := &testHooks{l: l, conns: make(map[*conn]bool), closes: make(map[uint16]int)}
	l.hooks = h
	return l, h
}

// bareConn is an open conn without a socket.
func (h *testHooks) bareConn() *conn {
	c := h.l.slab.take(h.l)
	c.lastRead = h.l.ms
	c.enter(stateOpen)
	h.opened(c)
	return c
}

func TestPingsComeOnceAnIntervalOfSilenceUntilIdle(t *testing.T) {
	l, h := bareLoop(t, Config{PingInterval: 25 * time.Second, IdleTimeout: 60 * time.Second})
	silent, talking := h.bareConn(), h.bareConn()
	var pinged []int
	for second := range 60 {
		l.tellTime(l.began.Add(time.Duration(second) * time.Second))
		talking.lastRead = l.ms - l.ms%20_000 // heard every 20 s, but for what jitter takes off the interval
		before := l.stats.pings
		l.look(silent)
		if l.stats.pings != before {
			pinged = append(pinged, second)
		}
		l.look(talking)
	}
	if len(pinged) != 2 || pinged[0] < 18 || pinged[0] > 25 || pinged[1] != 2*pinged[0] && pinged[1] != 2*pinged[0]-1 {
		t.Errorf("the silent one was pinged at %v s", pinged)
	}
	l.tellTime(l.began.Add(60 * time.Second))
	l.look(silent)
	l.look(talking)
	if silent.closeCode != closeIdle || talking.closeCode != 0 || l.stats.timeouts != 1 {
		t.Errorf("after 60 s: silent closes with %d, talking with %d", silent.closeCode, talking.closeCode)
	}
}

func TestPingsOfThoseWhoCameTogetherAreSpread(t *testing.T) {
	const conns = 1000
	l, h := bareLoop(t, Config{PingInterval: 24 * time.Second})
	var all []*conn
	for range conns {
		all = append(all, h.bareConn())
	}
	most := uint64(0)
	for second := range 25 {
		before := l.stats.pings
		l.tellTime(l.began.Add(time.Duration(second) * time.Second))
		for _, c := range all {
			l.look(c)
		}
		most = max(most, l.stats.pings-before)
	}
	if l.stats.pings != conns || most > conns/3 {
		t.Errorf("%d pings, up to %d in a second, want %d over six seconds", l.stats.pings, most, conns)
	}
}

func TestDeadlinesHoldWhenTheClockOfMillisecondsWraps(t *testing.T) {
	l, h := bareLoop(t, Config{})
	l.tellTime(l.began.Add((1<<32 - 1000) * time.Millisecond))
	c := h.bareConn()
	l.tellTime(l.now.Add(10 * time.Second))
	l.look(c)
	if l.stats.pings != 0 || c.state != stateOpen {
		t.Errorf("10 s later: %d pings, state %d, want none, open", l.stats.pings, c.state)
	}
	l.tellTime(l.now.Add(50 * time.Second))
	l.look(c)
	if c.closeCode != closeIdle {
		t.Errorf("60 s later: close code %d, want %d", c.closeCode, closeIdle)
	}
}

func TestShutdownSaysGoodbyeAndWaits(t *testing.T) {
	s := newServer(t, Config{Loops: 2}, func(h *testHooks) {
		h.onLeaving = func() {
			for c := range h.conns {
				c.send(appendFrame(nil, opText, []byte("bye")), false)
			}
		}
	})
	var clients []*client
	for range 20 {
		clients = append(clients, s.open())
	}
	half := s.dial()
	half.write("GET /ws")
	s.await("the half request", func() bool { return s.stats().halfOpen == 1 })
	var stopped sync.WaitGroup
	stopped.Go(s.stop)
	for _, c := range clients {
		c.want(ws.OpText, "bye")
		c.wantClose(closeShutdown)
		c.closes(closeShutdown, "")
		c.wantEnd()
	}
	stopped.Wait()
	closed := 0
	for _, h := range s.hooks {
		closed += h.closes[closeShutdown]
		if len(h.conns) != 0 {
			t.Errorf("%d conns were not closed", len(h.conns))
		}
	}
	if st := s.tr.stats(); closed != 20 || st.open != 0 || st.halfOpen != 0 {
		t.Errorf("closed %d, open %d, half open %d, want 20, 0, 0", closed, st.open, st.halfOpen)
	}
}

func TestShutdownDoesNotWaitForeverForClients(t *testing.T) {
	s := newServer(t, Config{DrainTimeout: 50 * time.Millisecond}, nil)
	c := s.open()
	s.stop()
	c.wantClose(closeShutdown)
	if got := s.tr.stats().open; got != 0 {
		t.Errorf("open = %d after serve returned", got)
	}
}

func TestLoopsShareTheClients(t *testing.T) {
	s := newServer(t, Config{Loops: 2}, nil)
	for range 64 {
		s.open()
	}
	for i, h := range s.hooks {
		n := 0
		s.on(func(x *testHooks) {
			if x == h {
				n = len(x.conns)
			}
		})
		if n == 0 {
			t.Errorf("loop %d has none of 64 conns", i)
		}
	}
}

func TestBusMessagesArriveInOrderInBatches(t *testing.T) {
	const n = 5000
	bus := make(chan *busMsg, n)
	var got []string
	batches := 0
	all := make(chan struct{})
	for i := range n {
		bus <- &busMsg{Subject: string(rune('a' + i%26))}
	}
	s := newServer(t, Config{}, func(h *testHooks) {
		h.l.bus = bus
		h.onBus = func(in []*busMsg) {
			batches++
			for _, m := range in {
				got = append(got, m.Subject)
			}
			if len(got) == n {
				close(all)
			}
		}
	})
	<-all
	s.stop()
	want := strings.Repeat("abcdefghijklmnopqrstuvwxyz", n/26+1)[:n]
	if strings.Join(got, "") != want {
		t.Error("bus messages came in another order")
	}
	if batches > n/envelopesAtOnce+1 {
		t.Errorf("%d batches of what was queued, want at most %d", batches, n/envelopesAtOnce+1)
	}
}

func TestSecondComesOnceASecond(t *testing.T) {
	s := newServer(t, Config{}, nil)
	s.await("two seconds", func() bool {
		n := 0
		s.on(func(h *testHooks) { n = h.seconds })
		return n >= 2
	})
}

// TestNothingIsLeft opens and ends conns in every way there is, on several
// loops, and counts descriptors. TestMain counts goroutines.
func TestNothingIsLeft(t *testing.T) {
	before := openFiles(t)
	s := newServer(t, Config{Loops: 2, HandshakeTimeout: 50 * time.Millisecond, CloseTimeout: 50 * time.Millisecond}, nil)
	ways := []func(c *client){
		func(c *client) { c.Close() },
		func(c *client) { c.write("GET /ws"); c.Close() },
		func(c *client) { c.write("GET /ws"); _ = c.response() },
		func(c *client) { c.write("\x00\n"); _ = c.response() },
		func(c *client) { c.write("GET /x HTTP/1.1\r\n\r\n"); _ = c.response(); c.Close() },
		func(c *client) { c.write(upgradeRequest(s.addr, "")); c.Close() },
		func(c *client) {
			c.write(upgradeRequest(s.addr, ""))
			_ = c.response()
			c.closes(1000, "")
			c.wantClose(1000)
		},
		func(c *client) { c.write(upgradeRequest(s.addr, "") + "\xff\xff"); _ = c.response(); c.wantClose(1002) },
		func(c *client) { c.write(upgradeRequest(s.addr, "") + f(opText, "half")); _ = c.response(); c.Close() },
		func(c *client) { c.write(upgradeRequest(s.addr, "") + f(fin|opText, "whole")[:8]); c.Close() },
	}
	for i := range 20 * len(ways) {
		c := s.dial()
		ways[i%len(ways)](c)
		defer c.Close()
	}
	s.await("all are gone", func() bool { st := s.stats(); return st.open == 0 && st.halfOpen == 0 })
	s.on(func(h *testHooks) {
		if h.l.pool.lent != 0 {
			t.Errorf("%d bytes of buffers are still out", h.l.pool.lent)
		}
	})
	s.stop()
	clients := 20 * 5 // those of the ways that leave closing to the server
	await(t, "descriptors are closed", func() bool { return openFiles(t) <= before+clients })
}
