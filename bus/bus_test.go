package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open starts a server in the process, in memory, and a Conn to it.
func open(t *testing.T, cfg Config) *Conn {
	t.Helper()
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNobodyListensIsUnavailableAndSilenceIsTimeout(t *testing.T) {
	c := open(t, Config{})
	if _, err := c.Request(t.Context(), "r.open.none", nil); CodeOf(err) != Unavailable {
		t.Errorf("request to nobody = %v, want %s", err, Unavailable)
	}
	deaf := make(chan *Msg, 1)
	if _, err := c.Subscribe("r.open.deaf", "", deaf); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	c.Call("r.open.deaf", nil, 20*time.Millisecond, func(_ []byte, err error) { done <- err })
	if err := <-done; CodeOf(err) != Timeout {
		t.Errorf("request without an answer = %v, want %s", err, Timeout)
	}
}

func TestErrorsKeepTheirCodeAcrossConnections(t *testing.T) {
	server := open(t, Config{Name: "server"})
	client, err := server.Dial(t.Context(), "client")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	stop, err := server.Handle("r.open.chat", "open", func(ctx context.Context, body []byte) ([]byte, error) {
		if _, ok := ctx.Deadline(); !ok {
			return nil, errors.New("the deadline did not travel")
		}
		if len(body) == 0 {
			return nil, fmt.Errorf("open: %w", Errorf(RoomFull, "seats: %d", 4))
		}
		return append([]byte("got "), body...), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := server.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := client.Request(t.Context(), "r.open.chat", []byte("it"))
	if err != nil || string(got) != "got it" {
		t.Errorf("request = %q, %v", got, err)
	}
	_, err = client.Request(t.Context(), "r.open.chat", nil)
	var e *Error
	if !errors.As(err, &e) || e.Code != RoomFull || e.Message != "seats: 4" {
		t.Errorf("refused request = %#v, want code %s with its text", err, RoomFull)
	}
}

func TestHandlerDoesNotRunAfterTheCallersDeadline(t *testing.T) {
	c := open(t, Config{})
	ran := make(chan struct{}, 1)
	stop, err := c.Handle("r.open.x", "", func(context.Context, []byte) ([]byte, error) { ran <- struct{}{}; return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	past := appendHead(nil, time.Now().Add(-time.Second), c.clock)
	if err := c.PublishReply("r.open.x", "r.nowhere", past); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Request(t.Context(), "r.open.x", nil); err != nil { // served after the stale one
		t.Fatal(err)
	}
	if len(ran) != 1 {
		t.Errorf("handler ran %d more times, want once for the request in time", len(ran))
	}
}

func TestNoRespondersReachesTheReplySubject(t *testing.T) {
	c := open(t, Config{Name: "e1"})
	in := make(chan *Msg, 4)
	a := NewAddress("e1", 3)
	if _, err := c.Subscribe(c.Subjects().Loop(a), "", in); err != nil {
		t.Fatal(err)
	}
	if err := c.PublishReply(c.Subjects().In("chat.lounge"), c.Subjects().NoResponders(a, 42), []byte("x")); err != nil {
		t.Fatal(err)
	}
	m := <-in
	n, ok := c.Subjects().NoRespondersOf(m.Subject)
	if !NoResponders(m) || !ok || n != 42 {
		t.Errorf("got %q (no responders: %t), want NATS's answer for room number 42", m.Subject, NoResponders(m))
	}
	if err := c.Publish(c.Subjects().Out(a), nil); err != nil {
		t.Fatal(err)
	}
	if m := <-in; NoResponders(m) {
		t.Error("an empty output was taken for no responders")
	}
}

func TestConnComesBackAndSendsNothingStale(t *testing.T) {
	addr := freePort(t)
	start := func() *Conn {
		c, err := Open(context.Background(), Config{Server: ServerConfig{Addr: addr}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server := start()
	c := open(t, Config{URL: "nats://" + addr, Name: "worker"})
	changes := make(chan bool, 8)
	defer c.OnChange(func(up bool) { changes <- up })()
	in := make(chan *Msg, 8)
	if _, err := c.Subscribe("r.x", "", in); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if up := <-changes; up {
		t.Fatal("first change says connected")
	}
	if err := c.Publish("r.x", []byte("stale")); CodeOf(err) != Unavailable {
		t.Errorf("publish while disconnected = %v, want %s", err, Unavailable)
	}
	server = start()
	defer server.Close()
	if up := <-changes; !up {
		t.Fatal("second change says disconnected")
	}
	if err := c.Publish("r.x", []byte("fresh")); err != nil {
		t.Fatal(err)
	}
	if m := <-in; string(m.Data) != "fresh" {
		t.Errorf("first message after the outage = %q, want fresh", m.Data)
	}
}

func TestDataDirectoryBelongsToOneProcess(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Server: ServerConfig{Dir: dir}})
	if _, err := Open(t.Context(), Config{Server: ServerConfig{Dir: dir}}); !errors.Is(err, ErrDataLocked) {
		t.Errorf("second Open = %v, want ErrDataLocked", err)
	}
	if c.InMemory() {
		t.Error("a server with a directory says it is in memory")
	}
}

func TestOpenGivesUpInTime(t *testing.T) {
	_, err := Open(t.Context(), Config{URL: "nats://" + freePort(t), Dial: 100 * time.Millisecond})
	if err == nil {
		t.Fatal("opened a connection to nothing")
	}
}

func TestNodesSeeEachOtherComeAndGo(t *testing.T) {
	a := open(t, Config{Name: "a"})
	b, err := a.Dial(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	lost := make(chan Node, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	na := NewNodes(a, "edge", nil, func(n Node) { lost <- n })
	nb := NewNodes(b, "worker", func() uint64 { return 7 }, nil)
	bctx, leave := context.WithCancel(ctx)
	go func() { ended <- na.Run(ctx) }()
	go func() { ended <- nb.Run(bctx) }()
	await(t, func() bool { return na.Alive("b") && nb.Alive("a") })
	if list := na.List("worker"); len(list) != 1 || list[0].Name != "b" || list[0].Load != 7 {
		t.Errorf("workers = %+v, want b with load 7", list)
	}
	leave()
	if n := <-lost; n.Name != "b" {
		t.Errorf("lost %q, want b", n.Name)
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestNodeThatIsNewHearsOfTheOthersAtOnce(t *testing.T) {
	a := open(t, Config{Name: "a"})
	beats := make(chan *Msg, 10)
	if _, err := a.Subscribe(a.subjects.Node("a"), "", beats); err != nil {
		t.Fatal(err)
	}
	na := NewNodes(a, "edge", nil, nil) // not run, so it beats for this reason only
	beat := beatOf(a, "b", "")
	na.heard(beat)
	<-beats
	na.heard(beat) // no longer new
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(beats) > 0 {
		t.Error("a node that is known made it beat again")
	}
}

// await polls for what has no event to wait for.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("never came true")
		case <-time.After(time.Millisecond):
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
