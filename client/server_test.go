package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A testServer speaks as much of the protocol as the client's own tests need, on
// real sockets: rooms with seats that survive a lost connection, numbered
// commands applied once, a history of broadcasts for those who come back.
//
// Commands: "echo" replies its data, "cast" broadcasts it, "whisper" sends it to
// the sender alone, "set" makes it the state, "patch" sends it as a patch.
type testServer struct {
	t   *testing.T
	url string

	mu       sync.Mutex // guards everything below and every write to a conn
	conns    map[*testConn]bool
	sessions int
	seats    map[string]*testSeat // by session and room
	rooms    map[string]*testRoom
	deaf     bool // commands are applied, but nothing is sent any more
	forget   bool // rooms forget their history: nobody is recovered
	refuse   bool // resume tokens are refused
	away     int  // so many commands and joins are refused as unavailable
}

type testConn struct {
	net.Conn
	session string
	rooms   []*testSeat // by number on this connection - 1
}

type testRoom struct {
	seq, ver uint64
	history  [][]any // message frames from seq 1 on, without the room number
	state    msgpack.RawMessage
	seats    []*testSeat
}

type testSeat struct {
	room    *testRoom
	conn    *testConn
	number  uint32 // of the room on conn
	count   uint64
	n       uint64
	replies map[uint64]msgpack.RawMessage
	private [][]any
}

func startServer(t *testing.T) *testServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{
		t: t, url: "ws://" + ln.Addr().String() + "/ws",
		conns: make(map[*testConn]bool), seats: make(map[string]*testSeat), rooms: make(map[string]*testRoom),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(&testConn{Conn: conn}) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.dropAll()
		serving.Wait()
	})
	return s
}

// dropAll cuts every connection without a word.
func (s *testServer) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// set changes the server's behaviour under its lock.
func (s *testServer) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// closeAll says bye and closes with code.
func (s *testServer) closeAll(code int, bye string, retryMillis int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		s.send(c, []any{FrameBye, bye, "", retryMillis})
		body := ws.NewCloseFrameBody(ws.StatusCode(code), bye)
		_ = ws.WriteFrame(c, ws.NewCloseFrame(body))
		c.Close()
	}
}

func (s *testServer) serve(c *testConn) {
	defer c.Close()
	u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == ProtocolMsgpack }}
	if _, err := u.Upgrade(c); err != nil {
		return
	}
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		for _, seat := range c.rooms {
			if seat != nil && seat.conn == c {
				seat.conn = nil
			}
		}
	}()
	for {
		opcode, payload, err := readFrame(c)
		if err != nil {
			return
		}
		switch opcode {
		case ws.OpClose:
			_ = ws.WriteFrame(c, ws.NewCloseFrame(payload))
			return
		case ws.OpBinary:
			if !s.message(c, payload) {
				return
			}
		}
	}
}

// readFrame reads one masked frame of a client.
func readFrame(r io.Reader) (ws.OpCode, []byte, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return 0, nil, err
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	ws.Cipher(payload, h.Mask, 0)
	return h.OpCode, payload, nil
}

func (s *testServer) message(c *testConn, payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := msgpack.NewDecoder(strings.NewReader(string(payload)))
	for {
		var f []msgpack.RawMessage
		if err := d.Decode(&f); err != nil {
			return true
		}
		s.frame(c, f)
	}
}

func decode[T any](f []msgpack.RawMessage, i int) (v T) {
	if i < len(f) {
		_ = msgpack.Unmarshal(f[i], &v)
	}
	return v
}

func (s *testServer) frame(c *testConn, f []msgpack.RawMessage) {
	switch decode[int](f, 0) {
	case FrameHello:
		s.hello(c, decode[map[string]string](f, 1))
	case FrameJoin:
		s.join(c, f)
	case FrameLeave:
		seat := s.seat(c, decode[uint32](f, 2))
		s.send(c, []any{FrameLeave, seat.number, "left", "", decode[uint64](f, 1)})
		seat.conn, seat.n = nil, 0
		for key, other := range s.seats {
			if other == seat {
				delete(s.seats, key)
			}
		}
	case FrameSend:
		s.command(s.seat(c, decode[uint32](f, 1)), f)
	case FramePing:
		s.send(c, []any{FramePing, f[1], 1})
	case FrameList:
		s.send(c, []any{FrameList, decode[uint64](f, 1), []any{[]any{"chat", "lounge", 1, 0, map[string]any{"topic": "tea"}}}})
	}
}

func (s *testServer) seat(c *testConn, number uint32) *testSeat { return c.rooms[number-1] }

func (s *testServer) hello(c *testConn, h map[string]string) {
	if c.session = h["resume"]; c.session == "" {
		s.sessions++
		c.session = fmt.Sprint("s", s.sessions)
	} else if s.refuse {
		s.send(c, []any{FrameBye, "bad_token", "no longer valid", -1})
		_ = ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(CloseUnauthorized, "bad_token")))
		c.Close()
		return
	}
	s.send(c, []any{FrameHello, map[string]any{"session": c.session, "resume": c.session, "user": h["user"], "ping": 25}})
}

func (s *testServer) join(c *testConn, f []msgpack.RawMessage) {
	ref, kind, id := decode[uint64](f, 1), decode[string](f, 2), decode[string](f, 3)
	if kind == "locked" {
		s.send(c, []any{FrameJoin, ref, nil, []any{"room_full", "every seat is taken"}})
		return
	}
	if s.away > 0 {
		s.away--
		s.send(c, []any{FrameJoin, ref, nil, []any{"unavailable", "no worker"}})
		return
	}
	key := kind + "." + id
	room := s.rooms[key]
	if room == nil {
		room = &testRoom{}
		s.rooms[key] = room
	}
	seat, resumed := s.seats[c.session+key], true
	if seat == nil {
		seat, resumed = &testSeat{room: room, replies: make(map[uint64]msgpack.RawMessage)}, false
		s.seats[c.session+key] = seat
		room.seats = append(room.seats, seat)
	}
	c.rooms = append(c.rooms, seat)
	seat.conn, seat.number = c, uint32(len(c.rooms))
	since := decode[[]uint64](f, 5)
	recovered := resumed && !s.forget && len(since) == 5 && since[0] == 1
	joined := map[string]any{
		"room": seat.number, "kind": kind, "id": id, "member": 1 + len(s.seats), "epoch": 1, "seq": room.seq,
		"count": seat.count, "ver": room.ver, "n": seat.n, "size": len(room.seats), "resumed": resumed, "recovered": recovered,
	}
	if room.state != nil {
		joined["state"] = room.state
	}
	if recovered {
		joined["seq"], joined["count"] = since[1], since[2]
	} else {
		joined["members"] = []any{[]any{1, "Ann", false}}
	}
	s.send(c, []any{FrameJoin, ref, joined})
	if recovered {
		for _, m := range room.history[since[1]:] {
			s.send(c, append([]any{FrameMessage, seat.number}, m...))
		}
		for _, m := range seat.private[since[2]:] {
			s.send(c, append([]any{FramePrivate, seat.number}, m...))
		}
	}
}

func (s *testServer) command(seat *testSeat, f []msgpack.RawMessage) {
	n, event := decode[uint64](f, 2), decode[string](f, 3)
	switch {
	case n > 0 && n <= seat.n:
		s.send(seat.conn, []any{FrameSend, seat.number, n, seat.replies[n]})
		return
	case n > seat.n+1:
		s.send(seat.conn, []any{FrameSend, seat.number, n, nil, []any{"out_of_order", ""}})
		return
	case n > 0 && s.away > 0:
		s.away--
		s.send(seat.conn, []any{FrameSend, seat.number, n, nil, []any{"unavailable", "no worker"}})
		return
	}
	if n > 0 {
		seat.n = n
		seat.replies[n] = msgpack.RawMessage{0xc0}
	}
	room := seat.room
	switch data := f[4]; event {
	case "echo":
		seat.replies[n] = data
	case "cast":
		room.seq++
		room.history = append(room.history, []any{room.seq, "cast", data})
		s.all(room, func(number uint32) []any { return []any{FrameMessage, number, room.seq, "cast", data} })
	case "whisper":
		seat.count++
		seat.private = append(seat.private, []any{room.seq, seat.count, "whisper", data})
		s.send(seat.conn, []any{FramePrivate, seat.number, room.seq, seat.count, "whisper", data})
	case "set":
		room.ver++
		room.state = data
		s.all(room, func(number uint32) []any { return []any{FrameState, number, room.ver, data} })
	case "patch":
		room.ver++
		s.all(room, func(number uint32) []any { return []any{FramePatch, number, room.ver, data} })
	case "skip": // a broadcast that nobody gets: a gap
		room.seq++
		room.history = append(room.history, []any{room.seq, "cast", data})
	case "reset": // the room begins anew, with nothing taken in
		room.seq, room.history, seat.n = 0, nil, 0
		s.send(seat.conn, []any{FrameNotice, seat.number, "reset", 2, 0, 0, 0, 9, 1, []any{[]any{9, "Ann", false}}})
		return
	case "fail":
		s.send(seat.conn, []any{FrameSend, seat.number, n, nil, []any{"bad_data", "not like that"}})
		return
	case "kick":
		s.send(seat.conn, []any{FrameLeave, seat.number, "kicked", "out"})
		return
	}
	if n > 0 {
		s.send(seat.conn, []any{FrameSend, seat.number, n, seat.replies[n]})
	}
}

func (s *testServer) all(room *testRoom, frame func(number uint32) []any) {
	for _, seat := range room.seats {
		if seat.conn != nil {
			s.send(seat.conn, frame(seat.number))
		}
	}
}

func (s *testServer) send(c *testConn, frame []any) {
	if s.deaf || c == nil {
		return
	}
	b, err := msgpack.Marshal(frame)
	if err != nil {
		s.t.Error(err)
	}
	// A conn that is gone is noticed by its reader.
	_ = ws.WriteFrame(c, ws.NewBinaryFrame(b))
}

// runLoop runs a loop until the test ends.
func runLoop(t *testing.T, cfg LoopConfig) *Loop {
	t.Helper()
	l, err := NewLoop(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}
