package front

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/kv"
	"roomd/kv/engine"
	"roomd/kv/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// memory returns a store that ends with the test.
func memory(t testing.TB) *kv.Memory {
	store := kv.NewMemory()
	t.Cleanup(store.Close)
	return store
}

// serve runs a front of store until the test ends.
func serve(t testing.TB, store kv.Store, cfg Config) *Server {
	t.Helper()
	s, _ := serveUntil(t, store, cfg)
	return s
}

// serveUntil is serve with a function that ends it and waits for that.
func serveUntil(t testing.TB, store kv.Store, cfg Config) (s *Server, stop func()) {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	s, err := New(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	return s, stop
}

// A client speaks by hand.
type client struct {
	t   testing.TB
	nc  net.Conn
	buf []byte // read and not yet looked at
	in  []byte
}

func dial(t testing.TB, addr net.Addr) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, nc: nc, in: make([]byte, 64<<10)}
}

// send sends lines as people type them, in one piece.
func (c *client) send(lines ...string) {
	c.t.Helper()
	c.sendBytes([]byte(strings.Join(lines, "\r\n") + "\r\n"))
}

func (c *client) sendBytes(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// reply returns the next value as it came.
func (c *client) reply() string {
	c.t.Helper()
	for {
		first, rest, err := resp.Cut(c.buf)
		if err == nil {
			c.buf = rest
			return string(first)
		}
		if !errors.Is(err, resp.ErrShort) {
			c.t.Fatalf("%q: %v", c.buf, err)
		}
		n, err := c.nc.Read(c.in)
		if err != nil {
			c.t.Fatalf("read reply: %v", err)
		}
		c.buf = append(c.buf, c.in[:n]...)
	}
}

// want reads replies, which are given as they must come.
func (c *client) want(replies ...string) {
	c.t.Helper()
	for _, want := range replies {
		if got := c.reply(); got != want {
			c.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// wantEnd reads to the end of the connection, where nothing more may come.
func (c *client) wantEnd() {
	c.t.Helper()
	b := make([]byte, 100)
	n, err := c.nc.Read(b)
	var timeout net.Error
	if n > 0 || len(c.buf) > 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("got %q%q, %v, want the end", c.buf, b[:n], err)
	}
}

// gone waits until the front has no more than n conns.
func gone(t testing.TB, s *Server, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		have := len(s.conns)
		s.mu.Unlock()
		if have <= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %d conns", have)
		}
	}
}

// plain is a store without Start.
type plain struct{ kv.Store }

// shuffled is a store that answers what has been started in any order.
type shuffled struct {
	kv.Store
	wg      sync.WaitGroup
	mu      sync.Mutex
	pending []func()
	running bool
}

func (s *shuffled) Start(ctx context.Context, argv [][]byte, done func([]byte, error)) {
	if spec := engine.Lookup(argv[0]); spec != nil && spec.Blocking {
		s.wg.Go(func() { done(s.Do(ctx, argv)) })
		return
	}
	reply, err := s.Do(ctx, argv)
	for _, arg := range argv { // they were not ours to keep
		for i := range arg {
			arg[i] = '!'
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, func() { done(reply, err) })
	if !s.running {
		s.running = true
		s.wg.Go(s.complete)
	}
}

func (s *shuffled) complete() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > 0 {
		i := rand.IntN(len(s.pending))
		done := s.pending[i]
		s.pending[i] = s.pending[len(s.pending)-1]
		s.pending = s.pending[:len(s.pending)-1]
		s.mu.Unlock()
		done()
		s.mu.Lock()
	}
	s.running = false
}

// stores are the kinds that a front treats differently, each new.
func stores(t testing.TB) map[string]kv.Store {
	s := &shuffled{Store: memory(t)}
	t.Cleanup(s.wg.Wait)
	return map[string]kv.Store{"memory": memory(t), "plain": plain{memory(t)}, "shuffled": s}
}

// begun tells of each blocking command when it waits, and sees whether its
// arguments are left alone meanwhile.
type begun struct {
	*kv.Memory
	t testing.TB
	c chan struct{}
}

func (b begun) Start(ctx context.Context, argv [][]byte, done func([]byte, error)) {
	if !engine.Lookup(argv[0]).Blocking {
		b.Memory.Start(ctx, argv, done)
		return
	}
	before := string(bytes.Join(argv, nil))
	b.Memory.Start(ctx, argv, func(reply []byte, err error) {
		if now := string(bytes.Join(argv, nil)); now != before {
			b.t.Errorf("arguments %q have become %q", before, now)
		}
		done(reply, err)
	})
	b.c <- struct{}{}
}

// realRedis starts a redis-server for the test, which is skipped without one.
func realRedis(t *testing.T) net.Addr {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	ln.Close()
	cmd := exec.Command(path, "--port", strconv.Itoa(addr.Port), "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Log(err)
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		nc, err := net.Dial("tcp", addr.String())
		if err == nil {
			nc.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// failing is a store whose commands and subscriptions fail.
type failing struct {
	kv.Store
	err error
}

func (f failing) Do(context.Context, [][]byte) ([]byte, error) { return nil, f.err }

func (f failing) NewSubscriber() kv.Subscriber { return deaf{f.Store.NewSubscriber(), f.err} }

type deaf struct {
	kv.Subscriber
	err error
}

func (d deaf) Subscribe(context.Context, string, func(kv.Message)) (func(), error) {
	return nil, d.err
}

// early is a store on which a message comes while its subscription is begun.
type early struct{ *kv.Memory }

func (e early) NewSubscriber() kv.Subscriber { return hasty{e.Memory.NewSubscriber(), e.Memory} }

type hasty struct {
	kv.Subscriber
	store *kv.Memory
}

func (h hasty) Subscribe(ctx context.Context, channel string, f func(kv.Message)) (func(), error) {
	handled := make(chan struct{})
	once := sync.OnceFunc(func() { close(handled) })
	stop, err := h.Subscriber.Subscribe(ctx, channel, func(m kv.Message) { f(m); once() })
	if err == nil {
		_, err = h.store.Publish(ctx, channel, "early")
		<-handled
	}
	return stop, err
}
