package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"roomd/kv"
	"roomd/kv/resp"
)

// Config says how a front runs. The zero Config is usable.
type Config struct {
	Addr string // TCP address to listen on; empty means "127.0.0.1:6379"

	// Clients must give this password, if there is one, with AUTH or HELLO.
	// User is the name that goes with it; empty means "default", which is also
	// who those are who give none.
	User, Password string

	MaxConns   int // clients served at once; zero means 10,000
	MaxArgs    int // arguments of a command; zero means 1,048,576
	MaxArg     int // bytes of an argument; more ends the conn, so it should be above what the store takes; zero means 8 MiB
	MaxCommand int // bytes of a command, and of a transaction; zero means 64 MiB

	Log *slog.Logger // nil means slog.Default()
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.User != "" && cfg.Password == "" {
		return cfg, errors.New("front: a user without a password")
	}
	for name, n := range map[string]int{
		"MaxConns": cfg.MaxConns, "MaxArgs": cfg.MaxArgs, "MaxArg": cfg.MaxArg, "MaxCommand": cfg.MaxCommand,
	} {
		if n < 0 {
			return cfg, fmt.Errorf("front: %s is negative", name)
		}
	}
	setDefault(&cfg.Addr, "127.0.0.1:6379")
	setDefault(&cfg.User, "default")
	setDefault(&cfg.MaxConns, 10_000)
	setDefault(&cfg.MaxArgs, 1<<20)
	setDefault(&cfg.MaxArg, 8<<20)
	setDefault(&cfg.MaxCommand, 64<<20)
	setDefault(&cfg.Log, slog.Default())
	return cfg, nil
}

func setDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// A Starter is a [kv.Store] that takes a command while earlier ones are under
// way. It applies those of one caller in the order of its calls, and calls done
// once for each, also when ctx has ended, from any goroutine and in any order.
// argv may not be used any more when Start has returned. done does not block;
// reply is the callee's from then on.
type Starter interface {
	Start(ctx context.Context, argv [][]byte, done func(reply []byte, err error))
}

// A Server serves Redis's clients. It is a prometheus.Collector of its own
// metrics.
type Server struct {
	store    kv.Store
	starter  Starter // the store, if it is one
	cfg      Config
	commands map[string]*command // by name in small letters; not changed after New

	ready   chan struct{} // closed when clients are served
	addr    *net.TCPAddr  // set before ready is closed
	started time.Time     // likewise
	ran     atomic.Bool
	lastID  atomic.Uint64
	counts  counters

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
}

// New returns a front of store, or an error that says what is wrong with cfg.
func New(store kv.Store, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		store: store, cfg: cfg, commands: newCommands(),
		ready: make(chan struct{}), conns: map[*conn]struct{}{},
	}
	s.starter, _ = store.(Starter)
	return s, nil
}

// Ready is closed when clients are served.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where clients are served; nil before Ready.
func (s *Server) Addr() net.Addr {
	select {
	case <-s.ready:
		return s.addr
	default:
		return nil
	}
}

// Run serves clients until ctx ends. Then it closes their conns, gives up what
// they wait for, and returns when every goroutine it started has ended. It does
// not close the store. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("front: Run called twice")
	}
	ln, err := net.Listen("tcp", s.cfg.Addr)
	if err != nil {
		return err // says "listen tcp :6379: ..." by itself
	}
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		ln.Close()
		s.each((*conn).fail)
	})()
	s.addr, s.started = ln.Addr().(*net.TCPAddr), time.Now()
	close(s.ready)
	return s.accept(ctx, ln, &conns)
}

// accept runs a conn for each client until the listener is closed.
func (s *Server) accept(ctx context.Context, ln net.Listener, conns *sync.WaitGroup) error {
	var pause time.Duration // after an error, as a rule that there are no more descriptors
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				nc.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			s.counts.acceptErrors.Add(1)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.cfg.Log.Warn("accept client", "err", err, "pause", pause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		s.counts.accepted.Add(1)
		c, err := s.newConn(ctx, nc.(*net.TCPConn))
		if err != nil {
			nc.Close()
			continue
		}
		if !s.enter(ctx, c) {
			s.turnAway(nc)
			c.cancel()
			continue
		}
		conns.Go(func() {
			defer s.leave(c)
			c.serve()
		})
	}
}

// enter counts c among those that the end of Run closes.
func (s *Server) enter(ctx context.Context, c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.cfg.MaxConns || ctx.Err() != nil {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// turnAway tells a client that there are too many. What does not fit into the
// socket at once is not sent.
func (s *Server) turnAway(nc net.Conn) {
	s.counts.turnedAway.Add(1)
	text := resp.AppendError(nil, "ERR max number of clients reached")
	if err := nc.SetWriteDeadline(time.Now().Add(time.Millisecond)); err == nil {
		_, _ = nc.Write(text) // it may be gone already
	}
	nc.Close()
}

func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}
