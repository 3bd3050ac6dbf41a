package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"roomd/bus"
)

// What the tests of the session half are made of: an edge on a real bus, and a
// client that shows frames as JSON, whatever it speaks.

// openBus starts a NATS server in the process, for one test.
func openBus(t testing.TB) *bus.Conn {
	t.Helper()
	conn, err := bus.Open(context.Background(), bus.Config{Name: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// startEdge runs an edge until the test ends. It has one loop unless cfg says
// otherwise.
func startEdge(t testing.TB, conn *bus.Conn, cfg Config) *Server {
	t.Helper()
	s, _ := startEdgeUntil(t, conn, cfg)
	return s
}

// startEdgeUntil is startEdge with a way to end it early.
func startEdgeUntil(t testing.TB, conn *bus.Conn, cfg Config) (s *Server, stop func()) {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	cfg.Loops = max(cfg.Loops, 1)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
		if os.Getenv("EDGE_TEST_LOG") != "" {
			cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
	}
	s, err := New(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case <-time.After(patience):
		t.Fatal("the edge is not ready")
	}
	return s, stop
}

// onLoop runs fn on each loop and waits for it.
func onLoop(t testing.TB, s *Server, fn func(lp *sessions)) {
	t.Helper()
	for _, lp := range s.sessions {
		done := make(chan struct{})
		lp.l.do(func() { fn(lp); close(done) })
		<-done
	}
}

// A testClient is one WebSocket. Its reader ends with the test.
type testClient struct {
	t      testing.TB
	text   bool
	sock   net.Conn
	mu     sync.Mutex // guards writing to sock: the reader answers pings
	frames chan string
	stalls chan chan struct{} // what the reader takes it waits for
	ended  chan struct{}      // closed when the reader has ended
	status ws.StatusCode      // after ended; 0: no close frame came
	reason string
}

// dial connects without a hello.
func dial(t testing.TB, s *Server, protocol string) *testClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d := ws.Dialer{Protocols: []string{protocol}}
	sock, br, _, err := d.Dial(ctx, "ws://"+s.Addr().String()+"/ws")
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader = sock
	if br != nil {
		r = br
	}
	c := &testClient{t: t, text: protocol == jsonName, sock: sock, frames: make(chan string, 1<<16), stalls: make(chan chan struct{}, 1), ended: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { c.read(r) })
	t.Cleanup(func() { sock.Close(); running.Wait() })
	return c
}

// connect dials and says hello as user.
func connect(t testing.TB, s *Server, protocol, user string) *testClient {
	t.Helper()
	c := dial(t, s, protocol)
	c.send(fmt.Sprintf(`[1,{"user":%q}]`, user))
	c.welcome()
	return c
}

// Write makes the client what wsutil answers control frames with.
func (c *testClient) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sock.Write(b)
}

func (c *testClient) read(r io.Reader) {
	defer close(c.ended)
	for {
		select {
		case unblock := <-c.stalls:
			<-unblock
		default:
		}
		data, _, err := wsutil.ReadServerData(struct {
			io.Reader
			io.Writer
		}{r, c})
		var closed wsutil.ClosedError
		if errors.As(err, &closed) {
			c.status, c.reason = closed.Code, closed.Reason
		}
		if err != nil {
			return
		}
		if c.text {
			for line := range strings.SplitSeq(string(data), "\n") {
				c.frames <- line
			}
			continue
		}
		for len(data) > 0 {
			frame, rest, ok := appendJSON(nil, data)
			if !ok {
				c.t.Errorf("% x is no msgpack", data)
				return
			}
			c.frames <- string(frame)
			data = rest
		}
	}
}

// send sends frames, given as JSON, as one message.
func (c *testClient) send(frames ...string) {
	c.t.Helper()
	if c.text {
		c.raw(ws.OpText, []byte(strings.Join(frames, "\n")))
		return
	}
	var b []byte
	for _, f := range frames {
		native := fromJSON(f)
		if native == nil {
			c.t.Fatalf("%s is no JSON", f)
		}
		b = append(b, native...)
	}
	c.raw(ws.OpBinary, b)
}

func (c *testClient) raw(op ws.OpCode, b []byte) {
	var buf bytes.Buffer
	if err := wsutil.WriteClientMessage(&buf, op, b); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.Write(buf.Bytes()); err != nil {
		c.t.Logf("write: %v", err) // the edge may have closed it already
	}
}

// next is the next frame that arrives.
func (c *testClient) next() string {
	c.t.Helper()
	select {
	case f := <-c.frames:
		return f
	default:
	}
	select {
	case f := <-c.frames:
		return f
	case <-c.ended:
		select {
		case f := <-c.frames:
			return f
		default:
		}
		c.t.Fatalf("closed with %d %q while a frame was awaited", c.status, c.reason)
	case <-time.After(patience):
		c.t.Fatal("no frame")
	}
	return ""
}

// want fails unless the next frames are these.
func (c *testClient) want(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		if got := c.next(); got != want {
			c.t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// wantClose fails unless the connection is closed with this code, after no
// frames but the given ones.
func (c *testClient) wantClose(status ws.StatusCode, frames ...string) {
	c.t.Helper()
	c.want(frames...)
	select {
	case <-c.ended:
	case f := <-c.frames:
		c.t.Fatalf("got %s, want close %d", f, status)
	case <-time.After(patience):
		c.t.Fatalf("not closed, want close %d", status)
	}
	if c.status != status {
		c.t.Fatalf("closed with %d %q, want %d", c.status, c.reason, status)
	}
}

// hangUp breaks the connection without a word.
func (c *testClient) hangUp() {
	if tcp, ok := c.sock.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, if it works
	}
	c.sock.Close()
	<-c.ended
}

// stall keeps the client from reading, after one more message at most, until
// unblock is called.
func (c *testClient) stall() (unblock func()) {
	if tcp, ok := c.sock.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(256 << 10) // else the kernel takes megabytes for it
	}
	ch := make(chan struct{})
	c.stalls <- ch
	unblock = sync.OnceFunc(func() { close(ch) })
	c.t.Cleanup(unblock)
	return unblock
}

// A welcomed is what a welcome says.
type welcomed struct {
	Session, Resume, User string
	Ping                  int
}

func (c *testClient) welcome() (w welcomed) {
	c.t.Helper()
	c.scan(c.next(), typeHello, &w)
	return w
}

// A joinedMap is what a joined says.
type joinedMap struct {
	Room                   int
	Kind, ID               string
	Member                 uint32
	Epoch, Seq, Count, Ver uint64
	N                      uint64
	Seats, Size            int
	Members                [][]any
	State                  any
	Resumed, Recovered     bool
}

// join joins and returns the answer.
func (c *testClient) join(ref int, kind, id string, more ...string) (j joinedMap) {
	c.t.Helper()
	tail := ""
	if len(more) > 0 {
		tail = "," + strings.Join(more, ",")
	}
	c.send(fmt.Sprintf(`[2,%d,%q,%q%s]`, ref, kind, id, tail))
	return c.joined(ref)
}

// joined reads the answer to a join.
func (c *testClient) joined(ref int) (j joinedMap) {
	c.t.Helper()
	var got int
	c.scan(c.next(), typeJoin, &got, &j)
	if got != ref || j.Room == 0 {
		c.t.Fatalf("joined %d %+v, want ref %d", got, j, ref)
	}
	return j
}

// scan reads the fields of a frame of the given type.
func (c *testClient) scan(frame string, typ int, fields ...any) {
	c.t.Helper()
	var got int
	all := append([]any{&got}, fields...)
	if err := json.Unmarshal([]byte(frame), &all); err != nil || got != typ {
		c.t.Fatalf("got %s, want a frame of type %d (%v)", frame, typ, err)
	}
}
