package rooms

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long tests wait for what must come.
const patience = 10 * time.Second

// A testBus is a NATS server in memory and the records in it.
type testBus struct {
	conn  *bus.Conn
	store *kv.Records
	logs  *kv.Logs
	cut   map[*Worker]func() // ends a worker's connection, as if its process was gone
}

func startBus(t testing.TB) *testBus {
	t.Helper()
	conn, err := bus.Open(context.Background(), bus.Config{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	store, err := kv.OpenRecords(t.Context(), conn, kv.Storage{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	return &testBus{conn, store, kv.OpenLogs(conn, kv.Storage{Memory: true}), make(map[*Worker]func())}
}

// quiet logs nothing, unless LOUD is set in the environment.
func quiet() *slog.Logger {
	if os.Getenv("LOUD") != "" {
		return slog.Default()
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// worker runs a worker of that name; stop ends it in order.
func (b *testBus) worker(t testing.TB, name string, cfg Config, kinds ...Kind) (w *Worker, stop func()) {
	t.Helper()
	conn, err := b.conn.Dial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	w, err = NewWorker(conn, b.store, b.logs, cfg, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var dead atomic.Bool
	running.Go(func() {
		if err := w.Run(ctx); err != nil && !dead.Load() {
			t.Errorf("Run = %v", err)
		}
	})
	select {
	case <-w.Ready():
	case <-time.After(patience):
		t.Fatal("worker is not ready")
	}
	b.cut[w] = sync.OnceFunc(func() { dead.Store(true); conn.Close() })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		b.cut[w]()
	})
	t.Cleanup(stop)
	return w, stop
}

// node is alive and does nothing else.
func (b *testBus) node(t testing.TB, name string) {
	t.Helper()
	conn, err := b.conn.Dial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := bus.NewNodes(conn, "worker", nil, nil).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		conn.Close()
	})
}

// pack encodes a value as an author's value is encoded.
func pack(v any) []byte {
	var e encoder
	return bytes.Clone(e.mustEncode("test value", v))
}

func unpack[T any](t testing.TB, b []byte) (v T) {
	t.Helper()
	if err := decode(b, &v, "test"); err != nil {
		t.Fatal(err)
	}
	return v
}

// A scene is a handler made of functions; nil ones do nothing.
type scene struct {
	state   any
	open    func(*Room) error
	join    func(*Room, *Member) error
	leave   func(*Room, *Member, Reason)
	receive func(*Room, *Member, *Message) error
	tick    func(*Room, time.Duration) error
	timer   func(*Room, string) error
}

func (s *scene) State() any { return s.state }

func (s *scene) Open(r *Room) error {
	if s.open == nil {
		return nil
	}
	return s.open(r)
}

func (s *scene) Join(r *Room, m *Member) error {
	if s.join == nil {
		return nil
	}
	return s.join(r, m)
}

func (s *scene) Leave(r *Room, m *Member, why Reason) {
	if s.leave != nil {
		s.leave(r, m, why)
	}
}

func (s *scene) Receive(r *Room, m *Member, msg *Message) error {
	switch {
	case msg.Event == "no such event" || s.receive == nil:
		return Errorf(bus.UnknownEvent, "%s", msg.Event)
	}
	return s.receive(r, m, msg)
}

func (s *scene) Tick(r *Room, dt time.Duration) error {
	if s.tick == nil {
		return nil
	}
	return s.tick(r, dt)
}

func (s *scene) Timer(r *Room, name string) error {
	if s.timer == nil {
		return errors.New("no timer expected")
	}
	return s.timer(r, name)
}

// counter is a handler that counts its commands in its state.
type counter struct {
	state struct {
		Count int      `msgpack:"count"`
		Log   []string `msgpack:"log"`
	}
	timers chan string
}

func (c *counter) State() any                         { return &c.state }
func (c *counter) Join(*Room, *Member) error          { return nil }
func (c *counter) Leave(r *Room, m *Member, _ Reason) {}
func (c *counter) Timer(r *Room, name string) error {
	if c.timers != nil {
		c.timers <- name
	}
	c.state.Log = append(c.state.Log, name)
	return nil
}

func (c *counter) Receive(r *Room, m *Member, msg *Message) error {
	switch msg.Event {
	case "add":
		c.state.Count++
		msg.Reply(c.state.Count)
		return nil
	case "cast":
		r.Broadcast("cast", msg.Raw())
		return nil
	case "tell": // member, data
		return On(msg, func(to uint32) error {
			r.Member(to).Send("told", int(m.ID()))
			return nil
		})
	case "meta":
		return On(msg, func(v map[string]any) error { r.SetMeta(v); return nil })
	case "timer":
		return On(msg, func(d time.Duration) error { r.SetTimer("bell", d); return nil })
	case "log":
		return On(msg, func(s string) error { c.state.Log = append(c.state.Log, s); return nil })
	case "kick":
		return On(msg, func(to uint32) error { r.Member(to).Kick("", "go away"); return nil })
	case "close":
		r.Close("")
		return nil
	case "panic":
		panic("as asked")
	}
	return Errorf(bus.UnknownEvent, "%s", msg.Event)
}

func counterKind() Kind {
	return Kind{Name: "counter", New: func() Handler { return &counter{} }}
}

// ops returns the items with one of the ops.
func ops(items []bus.Item, want ...bus.ItemOp) []bus.Item {
	return slices.DeleteFunc(slices.Clone(items), func(it bus.Item) bool { return !slices.Contains(want, it.Op) })
}
