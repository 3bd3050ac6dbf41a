package client

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// pupil is a handler that says hello, joins one room and tells what it got.
type pupil struct {
	opened chan *Conn
	frames chan Frame
	closed chan *CloseError
}

func newPupil() *pupil {
	return &pupil{opened: make(chan *Conn, 1), frames: make(chan Frame, 1000), closed: make(chan *CloseError, 1)}
}

func (p *pupil) Opened(c *Conn) {
	c.Send(AppendJoin(AppendHello(nil, Hello{User: "Ann"}), 1, "chat", "lounge", nil, nil, 0))
	p.opened <- c
}

func (p *pupil) Received(_ *Conn, f *Frame) {
	kept := *f
	kept.Data = append([]byte(nil), f.Data...)
	p.frames <- kept
}

func (p *pupil) Closed(_ *Conn, err *CloseError) { p.closed <- err }

func dial(t *testing.T, l *Loop, url string, source netip.Addr) *pupil {
	t.Helper()
	target, err := ParseTarget(url)
	if err != nil {
		t.Fatal(err)
	}
	p := newPupil()
	if err := l.Do(t.Context(), func() { l.Dial(target, source, p) }); err != nil {
		t.Fatal(err)
	}
	return p
}

func want[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("waited 10 s in vain")
		panic("unreachable")
	}
}

func TestLoopCarriesCommandsAndMessages(t *testing.T) {
	s := startServer(t)
	l := runLoop(t, LoopConfig{})
	p := dial(t, l, s.url, netip.MustParseAddr("127.1.2.3"))
	c := want(t, p.opened)
	if f := want(t, p.frames); f.Type != FrameHello {
		t.Fatalf("first frame has type %d, want a welcome", f.Type)
	}
	j, err := ParseJoined(want(t, p.frames).Data)
	if err != nil || j.Room != 1 || j.ID != "lounge" {
		t.Fatalf("joined = %+v, %v", j, err)
	}
	const messages = 500
	if err := l.Do(t.Context(), func() {
		for i := range messages {
			c.Send(AppendSend(nil, j.Room, 0, "cast", AppendBin(nil, binary.BigEndian.AppendUint32(nil, uint32(i))), 0))
		}
	}); err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		f := want(t, p.frames)
		data, ok := Bytes(f.Data)
		if f.Type != FrameMessage || f.Seq != uint64(i+1) || !ok || binary.BigEndian.Uint32(data) != uint32(i) {
			t.Fatalf("frame %d = %+v", i, f)
		}
	}
}

func TestLoopTellsByeAndCloseCode(t *testing.T) {
	s := startServer(t)
	l := runLoop(t, LoopConfig{})
	p := dial(t, l, s.url, netip.Addr{})
	want(t, p.frames) // welcome
	s.closeAll(CloseShutdown, "shutdown", 250)
	err := want(t, p.closed)
	if err.Code != CloseShutdown || err.Bye != "shutdown" || err.Retry != 250*time.Millisecond || err.Final() {
		t.Errorf("closed with %+v", err)
	}
}

func TestLoopTellsLostConnection(t *testing.T) {
	s := startServer(t)
	l := runLoop(t, LoopConfig{})
	p := dial(t, l, s.url, netip.Addr{})
	want(t, p.frames)
	s.dropAll()
	if err := want(t, p.closed); err.Code != CloseAbnormal || err.Cause == nil {
		t.Errorf("closed with %+v", err)
	}
}

func TestLoopTellsRefusedConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + ln.Addr().String() + "/ws"
	ln.Close()
	p := dial(t, runLoop(t, LoopConfig{}), url, netip.Addr{})
	if err := want(t, p.closed); err.Cause == nil {
		t.Errorf("closed with %+v, want a cause", err)
	}
}

func TestLoopClosesWithHandshake(t *testing.T) {
	s := startServer(t)
	l := runLoop(t, LoopConfig{})
	p := dial(t, l, s.url, netip.Addr{})
	c := want(t, p.opened)
	if err := l.Do(t.Context(), func() { c.Close(CloseNormal, "done") }); err != nil {
		t.Fatal(err)
	}
	if err := want(t, p.closed); err.Code != CloseNormal || err.Cause != nil {
		t.Errorf("closed with %+v", err)
	}
	if err := l.Do(t.Context(), func() {
		if l.Live() != 0 {
			t.Errorf("Live() = %d after the only connection closed", l.Live())
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestLoopRefusesAnswerToAnotherRequest(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
			"Connection: Upgrade\r\nSec-WebSocket-Accept: bm90IHlvdXJzIGF0IGFsbA==\r\nSec-WebSocket-Protocol: roomd.v1.msgpack\r\n\r\n"))
		_, _ = conn.Read(make([]byte, 1000))
	}()
	p := dial(t, runLoop(t, LoopConfig{}), "ws://"+ln.Addr().String()+"/ws", netip.Addr{})
	if err := want(t, p.closed); err.Cause == nil {
		t.Errorf("closed with %+v, want a cause", err)
	}
}

func TestSlowReaderStillGetsEverything(t *testing.T) {
	s := startServer(t)
	l := runLoop(t, LoopConfig{})
	p := dial(t, l, s.url, netip.Addr{})
	c := want(t, p.opened)
	want(t, p.frames) // welcome
	want(t, p.frames) // joined
	if err := l.Do(t.Context(), func() {
		c.ReadSlowly(2000)
		for range 20 {
			c.Send(AppendSend(nil, 1, 0, "cast", AppendBin(nil, make([]byte, 100)), 0))
		}
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if f := want(t, p.frames); f.Seq != uint64(i+1) {
			t.Fatalf("frame %d has seq %d", i, f.Seq)
		}
	}
}

func TestTickKeepsItsSchedule(t *testing.T) {
	fired := make(chan time.Duration, 1)
	due := 20 * time.Millisecond
	runLoop(t, LoopConfig{Tick: func(now time.Duration) time.Duration {
		if now >= due {
			select {
			case fired <- now:
			default:
			}
			due = time.Hour
		}
		return due
	}})
	if at := want(t, fired); at < 20*time.Millisecond {
		t.Errorf("tick due at 20 ms came at %v", at)
	}
}
