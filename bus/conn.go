package bus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says where NATS is. The zero Config runs a server in the process,
// with everything in memory.
type Config struct {
	URL         string        // nats://host:port[,…]; empty: a server in the process
	Server      ServerConfig  // how that one runs
	Name        string        // node name: [A-Za-z0-9_-]{1,64}; empty: a random one
	Prefix      string        // first token of every subject; empty means "r"
	Credentials string        // file with NATS credentials (JWT and seed); empty: none, or user:password in the URL
	Dial        time.Duration // how long Open tries to reach NATS; zero means 5 s
	LostAfter   time.Duration // silence after which nodes ask whether another is lost, 0.5 s to 1 min and the same for all nodes; zero means 2 s
	Log         *slog.Logger  // nil means slog.Default()
	Skew        time.Duration // for tests: how far the clock that this node shows to others is off
}

// Client settings. Pings notice a hung server in 3 s; a write that NATS does
// not take within writeTimeout breaks the connection rather than holding up
// the loop that publishes.
const (
	pingInterval  = time.Second
	pingsOut      = 2
	reconnectWait = 50 * time.Millisecond
	writeTimeout  = 2 * time.Second
	dialTimeout   = 5 * time.Second

	defaultLostAfter = 2 * time.Second
	minLostAfter     = 500 * time.Millisecond // heartbeats come five times as often: less would take a busy node for a dead one
	maxLostAfter     = time.Minute
)

// Msg is a message as NATS delivers it: Subject, Reply and Data.
type Msg = nats.Msg

// A Subscription delivers to a channel until Unsubscribe.
type Subscription = nats.Subscription

// A Conn is a node's connection to NATS. It reconnects for ever; meanwhile
// publishes fail at once with code Unavailable. Its methods may be called from
// any goroutine.
type Conn struct {
	cfg      Config
	nc       *nats.Conn
	js       jetstream.JetStream
	subjects Subjects
	dialer   *dialer   // of the connections to a NATS server elsewhere
	server   *embedded // set if this Conn runs it; nil in those made by Dial
	closing  sync.Once
	closed   chan struct{}
	calls    calls
	traces   traces
	clocks   clocks
	clock    ClockID        // this node's
	serving  sync.WaitGroup // handlers and the goroutine that reads replies

	dropped atomic.Uint64 // times a subscription's channel was full and messages were lost
	foreign atomic.Uint64 // answers that no node of ours gave

	mu       sync.Mutex // guards watchers
	watchers map[int]func(bool)
	nextID   int
}

// Open connects to NATS, and starts a server in the process first if
// Config.URL is empty. It gives up after Config.Dial or when ctx ends; once
// open, a Conn never gives up.
func Open(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.Name == "" {
		cfg.Name = "node-" + randomToken(6)
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "r"
	}
	if cfg.Dial == 0 {
		cfg.Dial = dialTimeout
	}
	if cfg.LostAfter == 0 {
		cfg.LostAfter = defaultLostAfter
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if !ValidNode(cfg.Name) {
		return nil, fmt.Errorf("node name %q: want 1 to %d of A-Z a-z 0-9 _ -", cfg.Name, MaxNode)
	}
	if !ValidNode(cfg.Prefix) {
		return nil, fmt.Errorf("subject prefix %q: want 1 to %d of A-Z a-z 0-9 _ -", cfg.Prefix, MaxNode)
	}
	if cfg.LostAfter < minLostAfter || cfg.LostAfter > maxLostAfter {
		return nil, fmt.Errorf("lost after %v: want %v to %v (0: %v)", cfg.LostAfter, minLostAfter, maxLostAfter, defaultLostAfter)
	}
	var server *embedded
	if cfg.URL == "" {
		var err error
		if server, err = startEmbedded(cfg.Server, cfg.Log); err != nil {
			return nil, err
		}
	}
	c, err := connect(ctx, cfg, server)
	if err != nil && server != nil {
		server.shutdown()
	}
	return c, err
}

// Dial opens another connection to where c is connected, under another node
// name. It outlives c unless c runs the server.
func (c *Conn) Dial(ctx context.Context, name string) (*Conn, error) {
	cfg := c.cfg
	cfg.Name = name
	if !ValidNode(name) {
		return nil, fmt.Errorf("node name %q: want 1 to %d of A-Z a-z 0-9 _ -", name, MaxNode)
	}
	d, err := connect(ctx, cfg, c.server)
	if err != nil {
		return nil, err
	}
	d.server = nil
	return d, nil
}

func connect(ctx context.Context, cfg Config, server *embedded) (*Conn, error) {
	c := &Conn{
		dialer: &dialer{Dialer: net.Dialer{Timeout: cfg.Dial}},
		cfg:    cfg, subjects: Subjects{prefix: cfg.Prefix}, server: server,
		closed: make(chan struct{}), clock: ClockOf(cfg.Name), watchers: make(map[int]func(bool)),
		traces: traces{waiting: make(map[uint64]*trace), bySubject: make(map[string]*trace)},
	}
	opts := []nats.Option{
		nats.Name(cfg.Name), nats.Timeout(cfg.Dial), nats.SetCustomDialer(c.dialer),
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1), // what was meant for before an outage must not arrive after it
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(pingsOut), nats.FlusherTimeout(writeTimeout),
		nats.SkipSubjectValidation(), // Subjects makes valid ones, and this is the hot path
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(c.onDisconnect), nats.ReconnectHandler(c.onReconnect),
		nats.ErrorHandler(c.onError), nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	}
	if cfg.Credentials != "" {
		opts = append(opts, nats.UserCredentials(cfg.Credentials))
	}
	if server != nil {
		opts = append(opts, nats.InProcessServer(server.server))
	}
	nc, err := dialUntil(ctx, cfg, opts)
	if err != nil {
		c.dialer.Close()
		return nil, err
	}
	c.nc = nc
	if c.js, err = jetstream.New(nc); err == nil {
		err = c.startCalls()
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open NATS connection: %w", err)
	}
	return c, nil
}

// dialUntil tries to connect until Config.Dial has passed: nodes and their
// nats-server are often started together.
func dialUntil(ctx context.Context, cfg Config, opts []nats.Option) (*nats.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Dial)
	defer cancel()
	for {
		nc, err := nats.Connect(cfg.URL, opts...)
		if err == nil {
			return nc, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("reach NATS at %s: %w", cfg.URL, err)
		case <-time.After(reconnectWait):
		}
	}
}

// Close gives up all subscriptions, waits for handlers, and stops the server
// in the process if this Conn runs it. Subscribed channels are not closed.
// Closing again does nothing.
func (c *Conn) Close() { c.closing.Do(c.close) }

func (c *Conn) close() {
	c.nc.Close()
	<-c.closed
	c.dialer.Close()
	c.stopCalls()
	c.serving.Wait()
	if c.server != nil {
		c.server.shutdown()
	}
}

// Name returns the node's name.
func (c *Conn) Name() string { return c.cfg.Name }

// LostAfter returns how long a node may be silent before its peers ask whether
// it is lost: who was away for less has not been declared lost for it.
func (c *Conn) LostAfter() time.Duration { return c.cfg.LostAfter }

// Subjects returns the builder of this Conn's subjects.
func (c *Conn) Subjects() Subjects { return c.subjects }

// ErrNoJetStream says that the NATS server runs without JetStream.
var ErrNoJetStream = errors.New("NATS server has no JetStream")

// AwaitJetStream waits until JetStream answers, as it does not while a cluster
// elects its leader: up to 9 s. It returns ErrNoJetStream if there is none to
// wait for, and what was wrong last when ctx ends.
func (c *Conn) AwaitJetStream(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		_, err := c.js.AccountInfo(try)
		cancel()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return ErrNoJetStream
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for JetStream: %w", err)
		case <-time.After(reconnectWait):
		}
	}
}

// JetStream is for package kv alone.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

// InProcess reports whether NATS is the server in this process, which keeps
// one replica of everything.
func (c *Conn) InProcess() bool { return c.cfg.URL == "" && c.cfg.Server.Cluster == "" }

// InMemory reports whether what JetStream keeps is gone with the process.
func (c *Conn) InMemory() bool { return c.cfg.URL == "" && c.cfg.Server.Dir == "" }

// Publish sends b, which may be used again when it returns. A nil error means
// handed over, not delivered.
func (c *Conn) Publish(subject string, b []byte) error { return c.sent(c.nc.Publish(subject, b)) }

// PublishReply is Publish with a subject for answers; if nobody listens to
// subject, NATS itself answers there (see NoResponders).
func (c *Conn) PublishReply(subject, reply string, b []byte) error {
	return c.sent(c.nc.PublishRequest(subject, reply, b))
}

func (c *Conn) sent(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return &Error{TooLarge, "larger than NATS carries"}
	}
	return &Error{Unavailable, "no connection to NATS"}
}

// NoResponders reports whether m is NATS's answer that nobody listened to the
// subject of a request.
func NoResponders(m *Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

// Subscribe delivers what arrives on subject to ch. Many subscriptions may
// share a channel: one costs 0.3 KB here and 1 KB in the server. With a queue
// name each message goes to one of the subscribers of that name. When ch is
// full messages are lost, counted in Dropped.
func (c *Conn) Subscribe(subject, queue string, ch chan *Msg) (*Subscription, error) {
	var sub *Subscription
	var err error
	if queue == "" {
		sub, err = c.nc.ChanSubscribe(subject, ch)
	} else {
		sub, err = c.nc.ChanQueueSubscribe(subject, queue, ch)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	return sub, nil
}

// Flush waits until the server has everything sent before: subscriptions made
// before it are in force there afterwards.
func (c *Conn) Flush(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialTimeout)
		defer cancel()
	}
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return &Error{Unavailable, "no connection to NATS"}
	}
	return nil
}

// Connected reports whether the connection is up.
func (c *Conn) Connected() bool { return c.nc.IsConnected() }

// MaxPayload returns how many bytes NATS carries in one message, its headers
// included.
func (c *Conn) MaxPayload() int { return int(c.nc.MaxPayload()) }

// reconnects counts how often the connection was lost and found again.
func (c *Conn) reconnects() uint64 { return c.nc.Stats().Reconnects }

// Dropped returns how often a subscriber's channel was full since Open.
func (c *Conn) Dropped() uint64 { return c.dropped.Load() }

// ClientURL is where other processes reach the server in this process; empty
// if it does not listen.
func (c *Conn) ClientURL() string {
	if c.server == nil || c.cfg.Server.Addr == "" && c.cfg.Server.Cluster == "" {
		return ""
	}
	return c.server.server.ClientURL()
}

// OnChange calls f when the connection is lost (false) and back (true), from
// one goroutine, until stop is called.
func (c *Conn) OnChange(f func(connected bool)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.nextID
	c.nextID++
	c.watchers[id] = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, id)
	}
}

func (c *Conn) changed(connected bool) {
	c.mu.Lock()
	fs := make([]func(bool), 0, len(c.watchers))
	for _, f := range c.watchers {
		fs = append(fs, f)
	}
	c.mu.Unlock()
	for _, f := range fs {
		f(connected)
	}
}

func (c *Conn) onDisconnect(_ *nats.Conn, err error) {
	if err != nil { // nil: closed by us
		c.cfg.Log.Warn("NATS connection lost", "node", c.cfg.Name, "err", err)
	}
	c.changed(false)
}

func (c *Conn) onReconnect(*nats.Conn) {
	c.cfg.Log.Info("NATS connection back", "node", c.cfg.Name)
	c.changed(true)
}

func (c *Conn) onError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) { // told once per episode; Dropped and the positions tell the rest
		c.dropped.Add(1)
	}
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	c.cfg.Log.Warn("NATS error", "node", c.cfg.Name, "subject", subject, "err", err)
}

func splitPort(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	if port == 0 {
		port = -1 // nats-server's word for "any free one"
	}
	return host, port, err
}

func randomToken(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// An atomicString is a string that goroutines may share.
type atomicString struct{ p atomic.Pointer[string] }

func (s *atomicString) Store(v string) { s.p.Store(&v) }
func (s *atomicString) Load() string {
	if p := s.p.Load(); p != nil {
		return *p
	}
	return ""
}
