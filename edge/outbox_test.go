//lint:file-ignore SA1019 ws.ReadFrame is fine for frames of our own making

package edge

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// onlyConn is the only conn of a server with one.
func onlyConn(h *testHooks) *conn {
	for c := range h.conns {
		return c
	}
	return nil
}

// numbered is a binary frame of n bytes of payload that begins with i.
func numbered(i uint64, n int) []byte {
	payload := make([]byte, n)
	binary.BigEndian.PutUint64(payload, i)
	return appendFrame(nil, opBinary, payload)
}

func TestOneTurnIsOneWrite(t *testing.T) {
	s := newServer(t, Config{}, nil)
	c := s.open()
	before := s.stats()
	s.on(func(h *testHooks) {
		conn := onlyConn(h)
		for range 5 {
			conn.send(appendFrame(nil, opText, []byte("x")), false)
		}
		if conn.queued() != 15 {
			t.Errorf("queued = %d, want 15", conn.queued())
		}
	})
	for range 5 {
		c.want(ws.OpText, "x")
	}
	after := s.stats()
	if writes, frames := after.writes-before.writes, after.framesOut-before.framesOut; writes != 1 || frames != 5 {
		t.Errorf("%d frames in %d writes, want 5 in 1", frames, writes)
	}
	s.on(func(h *testHooks) {
		if conn := onlyConn(h); conn.out != nil || conn.in != nil {
			t.Error("an idle conn holds buffers")
		}
	})
}

func TestFramesArriveInOrderAndWholeWhateverTheSocketTakes(t *testing.T) {
	const frames, size = 3000, 1000 // 3 MB in all, through a 64 KiB socket
	s := newServer(t, Config{OutboxBytes: 4 << 20}, nil)
	c := s.open()
	s.on(func(h *testHooks) {
		conn := onlyConn(h)
		for i := range frames / 2 {
			conn.send(numbered(uint64(i), size), false)
		}
	})
	s.await("the socket is full", func() bool {
		full := false
		s.on(func(h *testHooks) { full = onlyConn(h).out != nil && onlyConn(h).out.waiting })
		return full
	})
	s.on(func(h *testHooks) {
		for i := frames / 2; i < frames; i++ {
			onlyConn(h).send(numbered(uint64(i), size), false)
		}
		onlyConn(h).send(numbered(frames, 200<<10), false) // larger than the scratch
	})
	for i := range uint64(frames + 1) {
		if got := binary.BigEndian.Uint64(c.next().Payload); got != i {
			t.Fatalf("frame %d came when %d was due", got, i)
		}
	}
	s.await("everything is given back", func() bool {
		idle := false
		s.on(func(h *testHooks) { idle = onlyConn(h).out == nil && h.l.pool.lent == 0 })
		return idle
	})
}

func TestSlowReaderIsClosedAndOthersGetEverything(t *testing.T) {
	const broadcasts, size = 4000, 512
	const outbox = 64 << 10
	s := newServer(t, Config{OutboxBytes: outbox}, nil)
	slow := s.open()
	var slowConn *conn
	s.on(func(h *testHooks) { slowConn = onlyConn(h) })
	healthy := s.open()
	received := make(chan int)
	go func() {
		n := 0
		for f, err := ws.ReadFrame(healthy.br); err == nil; f, err = ws.ReadFrame(healthy.br) {
			if binary.BigEndian.Uint64(f.Payload) == uint64(n) {
				n++
			}
			if n == broadcasts {
				break
			}
		}
		received <- n
	}()
	most := 0
	for i := range uint64(broadcasts) {
		frame := numbered(i, size)
		s.await("the healthy one has taken its share", func() bool {
			ready := false
			s.on(func(h *testHooks) {
				ready = true
				for c := range h.conns {
					most = max(most, c.queued())
					ready = ready && (c == slowConn || c.queued() < outbox/2)
				}
			})
			return ready
		})
		s.on(func(h *testHooks) {
			for c := range h.conns {
				c.send(frame, false)
			}
		})
	}
	if n := <-received; n != broadcasts {
		t.Errorf("the healthy client got %d of %d", n, broadcasts)
	}
	slow.wantReset()
	if most > outbox {
		t.Errorf("%d bytes were queued, bound is %d", most, outbox)
	}
	st := s.stats()
	if st.slowCloses != 1 || st.open != 1 {
		t.Errorf("slow closes %d, open %d, want 1, 1", st.slowCloses, st.open)
	}
	s.on(func(h *testHooks) {
		if h.closes[closeSlow] != 1 {
			t.Errorf("closes = %v, want one %d", h.closes, closeSlow)
		}
		if h.l.pool.lent != 0 {
			t.Errorf("%d bytes of buffers are still out", h.l.pool.lent)
		}
	})
}

func TestStalledReaderIsClosedAtTheDeadline(t *testing.T) {
	s := newServer(t, Config{SlowTimeout: 50 * time.Millisecond, OutboxBytes: 16 << 20}, nil)
	c := s.open()
	s.on(func(h *testHooks) { onlyConn(h).send(numbered(0, 8<<20), false) })
	s.await("closed as slow", func() bool { return s.stats().slowCloses == 1 })
	c.wantReset()
}

func TestDroppableIsRefusedWhenBehindAndDrainedTellsWhenToSendAgain(t *testing.T) {
	const drop = 32 << 10
	drained := make(chan bool, 1)
	s := newServer(t, Config{DropBytes: drop, OutboxBytes: 64 << 20}, func(h *testHooks) {
		h.onDrained = func(c *conn) {
			drained <- c.queued() == 0
			c.send(appendFrame(nil, opText, []byte("fresh")), true)
		}
	})
	c := s.open()
	s.on(func(h *testHooks) { onlyConn(h).send(numbered(0, 8<<20), false) })
	s.on(func(h *testHooks) {
		conn := onlyConn(h)
		for range 3 {
			if conn.send(numbered(1, 100), true) {
				t.Error("a droppable frame was queued behind 8 MB")
			}
		}
		if !conn.send(numbered(2, 100), false) {
			t.Error("a frame that may not be dropped was refused")
		}
	})
	for _, want := range []uint64{0, 2} {
		if got := binary.BigEndian.Uint64(c.next().Payload); got != want {
			t.Errorf("frame %d came, want %d", got, want)
		}
	}
	c.want(ws.OpText, "fresh")
	if !<-drained {
		t.Error("drained was called with something queued")
	}
	if got := s.stats().drops; got != 3 {
		t.Errorf("drops = %d, want 3", got)
	}
}

func TestMuchInOneTurnIsNotSlow(t *testing.T) {
	s := newServer(t, Config{OutboxBytes: 8 << 10, DropBytes: 8 << 10}, nil)
	c := s.open()
	s.on(func(h *testHooks) {
		for i := range uint64(40) {
			if !onlyConn(h).send(numbered(i, 1000), i%2 == 0) {
				t.Errorf("frame %d was refused though the socket takes it", i)
			}
		}
	})
	for i := range uint64(40) {
		if got := binary.BigEndian.Uint64(c.next().Payload); got != i {
			t.Fatalf("frame %d came, want %d", got, i)
		}
	}
}

func TestBuffersOfAllConnsAreBounded(t *testing.T) {
	s := newServer(t, Config{BufferBytes: 256 << 10, OutboxBytes: 1 << 20}, nil)
	var half []*client
	for range 8 {
		c := s.open()
		c.write(f(opBinary, string(make([]byte, 60<<10)))) // a fragment of 60 KiB takes a buffer of 64
		half = append(half, c)
	}
	s.await("those beyond the bound are closed", func() bool { return s.stats().overloads == 4 })
	s.on(func(h *testHooks) {
		if h.l.pool.lent > 256<<10 {
			t.Errorf("%d bytes are out, bound is %d", h.l.pool.lent, 256<<10)
		}
		for c := range h.conns {
			c.abort()
		}
	})
	for _, c := range half {
		c.wantReset()
	}
	s.on(func(h *testHooks) {
		if h.l.pool.lent != 0 {
			t.Errorf("%d bytes are still out", h.l.pool.lent)
		}
	})
}

func TestHugeRoomIsFlushedOverSeveralTurns(t *testing.T) {
	const conns = flushesPerTurn + 200
	s := newServer(t, Config{}, nil)
	var all []*client
	for range conns {
		all = append(all, s.open())
	}
	frame := appendFrame(nil, opText, bytes.Repeat([]byte("r"), 100))
	turns := 0
	s.on(func(h *testHooks) {
		turns = h.turns
		for c := range h.conns {
			c.send(frame, false)
		}
	})
	for _, c := range all {
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(c.br, got); err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("read %q, %v", got, err)
		}
		c.Close()
	}
	s.on(func(h *testHooks) {
		if h.turns < turns+2 {
			t.Errorf("%d turns, want at least 2", h.turns-turns)
		}
	})
}
