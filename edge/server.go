package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"roomd/bus"
)

// A Server is an edge: it takes clients' sockets and connects them with rooms
// over the bus, where it goes by the name of its connection. It is a
// prometheus.Collector of its own metrics.
type Server struct {
	conn *bus.Conn
	cfg  Config

	ready    chan struct{} // closed when clients are served
	addr     net.Addr      // set before ready is closed
	t        *transport    // likewise
	sessions []*sessions   // one of each loop; likewise

	nodes *bus.Nodes
	auths chan authRequest // to the goroutines that run Config.Auth
	kinds kinds
	ran   atomic.Bool
}

// New returns an edge on conn, or an error that says what is wrong with cfg.
func New(conn *bus.Conn, cfg Config) (*Server, error) {
	cfg, err := cfg.withSessionDefaults()
	if err != nil {
		return nil, err
	}
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	s := &Server{
		conn: conn, cfg: cfg, ready: make(chan struct{}),
		auths: make(chan authRequest, authQueue),
	}
	s.nodes = bus.NewNodes(conn, "edge", s.load, s.lostNode)
	s.nodes.OnMissed(func() { s.each((*sessions).takenForLost) })
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

// Run serves clients until ctx ends. Then it tells each when to come back,
// closes all conns (for Config.DrainTimeout at most), lets rooms know, and
// returns; every goroutine it started has ended then. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("edge: Run called twice")
	}
	t, err := listen(s.cfg, protocolNames()...)
	if err != nil {
		return err
	}
	defer t.abandon()
	s.t, s.addr = t, t.addr
	stop, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	defer stop()

	authCtx, stopAuth := context.WithCancel(context.WithoutCancel(ctx))
	var auths sync.WaitGroup
	if s.cfg.Auth != nil {
		for range authWorkers {
			auths.Go(func() { s.authenticate(authCtx) })
		}
	}
	defer auths.Wait()
	defer stopAuth()

	var beating sync.WaitGroup
	var beatErr error
	beatCtx, stopBeating := context.WithCancel(context.WithoutCancel(ctx))
	ctx, fail := context.WithCancel(ctx)
	beating.Go(func() {
		defer fail()
		beatErr = s.nodes.Run(beatCtx)
	})
	close(s.ready)
	err = t.serve(ctx, func(l *loop) hooks { return s.sessions[l.index] })
	stopBeating() // when rooms know of every member that went
	beating.Wait()
	err = errors.Join(err, beatErr)
	flushCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if flushErr := s.conn.Flush(flushCtx); flushErr != nil { // rooms will miss that members went
		s.cfg.Log.Warn("say goodbye to rooms", "node", s.conn.Name(), "err", flushErr)
	}
	return err
}

// load is how many clients there are, for the heartbeats.
func (s *Server) load() uint64 { return uint64(max(0, s.t.open.Load())) }

// lostNode looks, when a worker is gone, whether rooms still have their owners:
// one that nobody sends a command to would not be missed.
func (s *Server) lostNode(node bus.Node) {
	if node.Role == "worker" {
		s.each((*sessions).lostWorker)
	}
}

// each has every loop run f, soon.
func (s *Server) each(f func(*sessions)) {
	for _, lp := range s.sessions {
		lp.l.do(func() { f(lp) })
	}
}

// prepare makes each loop's sessions and subscribes to what rooms send them:
// each alone, and all edges when they have a new owner.
func (s *Server) prepare(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	subjects := s.conn.Subjects()
	for _, l := range s.t.loops {
		lp := newSessions(s, l)
		s.sessions = append(s.sessions, lp)
		envelopes := make(chan *bus.Msg, s.cfg.EnvelopeQueue)
		for _, subject := range []string{subjects.Loop(lp.addr), lp.announce} {
			sub, err := s.conn.Subscribe(subject, "", envelopes) // both in one channel, so that a room's order holds
			if err != nil {
				stop()
				return nil, fmt.Errorf("edge loop %s: %w", lp.addr, err)
			}
			// An error means that the connection is closed, and the subscription with it.
			stops = append(stops, func() { _ = sub.Unsubscribe() })
		}
		l.bus = envelopes
	}
	if err := s.conn.Flush(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("edge: subscribe: %w", err)
	}
	stops = append(stops, s.conn.OnChange(func(connected bool) {
		if connected {
			s.each((*sessions).reconnected)
		}
	}))
	return stop, nil
}

// kinds remembers which kinds of rooms have been opened: that nobody opens one
// now is then a matter of time, and otherwise it is unknown.
type kinds struct {
	mu    sync.Mutex // guards known
	known map[string]bool
}

// maxKinds bounds what a cluster gone mad could make us remember.
const maxKinds = 4096

func (k *kinds) add(kind string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = make(map[string]bool)
	}
	if len(k.known) < maxKinds {
		k.known[kind] = true
	}
}

func (k *kinds) has(kind string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[kind]
}

// Bounds of authentication.
const (
	authWorkers = 16
	authQueue   = 4096 // hellos that wait for one of them; more are sent away to try later
)

// An authRequest is a hello that waits for Config.Auth.
type authRequest struct {
	lp       *sessions
	s        *session
	token    string
	deadline time.Time
}

// authenticate runs Config.Auth for one hello after the other until ctx ends.
func (s *Server) authenticate(ctx context.Context) {
	for {
		select {
		case r := <-s.auths:
			one, cancel := context.WithDeadline(ctx, r.deadline)
			user, err := s.cfg.Auth(one, r.token)
			cancel()
			r.lp.l.do(func() { r.lp.authenticated(r.s, user, err) })
		case <-ctx.Done():
			return
		}
	}
}
