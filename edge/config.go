package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// Config says how an edge serves sockets. The zero Config is usable; sizes are
// in bytes. A negative number or duration is refused.
type Config struct {
	Addr string // TCP address to listen on; empty means ":8080"

	// Loops is how many goroutines share the conns; zero means GOMAXPROCS.
	Loops int

	// Path is where WebSocket upgrades are taken; empty means "/ws". Requests
	// for other paths, and those that ask for no upgrade, go to HTTP.
	Path string

	// HTTP answers what is not an upgrade; nil answers 404. It is called from
	// net/http's goroutines, with no keep-alive between requests.
	HTTP http.Handler

	// Origins are the web origins whose pages may connect, such as
	// "https://example.com"; "*" allows all. Empty allows the origin whose host
	// is the request's Host. Clients that send no Origin (those that are no
	// browsers) are always allowed.
	Origins []string

	// TrustProxy takes a client's IP from the last element of X-Forwarded-For.
	// Set it only where every request comes through one's own proxy.
	TrustProxy bool

	// MaxConns is how many conns are open at once; more are answered 503. Zero
	// means 100,000, or less where the process may not open as many files.
	MaxConns int

	// MaxConnsPerIP is how many conns one IP has at once; more are answered
	// 429. Zero means no limit.
	MaxConnsPerIP int

	// MaxHalfOpen is how many sockets of one loop may be in the middle of
	// their request; for one more, the oldest is dropped. Zero means 1,024.
	MaxHalfOpen int

	MaxMessageBytes int // longest message a client may send; zero means 64 KiB

	// OutboxBytes is how far a slow client may fall behind before its conn is
	// closed as slow. One message larger than this is still sent to a client
	// that has nothing else queued. Zero means 256 KiB.
	OutboxBytes int

	// DropBytes is how far a slow client may be behind and still be given what
	// may be dropped, such as patches; zero means 64 KiB.
	DropBytes int

	// BufferBytes is what all conns together may keep in half-received messages
	// and in outboxes. For more, a conn that holds much is closed, or the one that
	// wants it if none is found that holds more. Zero means 256 MiB.
	BufferBytes int

	// SendBufferBytes is the kernel's send buffer of one socket (SO_SNDBUF);
	// zero means 64 KiB.
	SendBufferBytes int

	HandshakeTimeout time.Duration // how long a client may take for its request; zero means 5 s
	PingInterval     time.Duration // silence after which a client is pinged; zero means 25 s
	IdleTimeout      time.Duration // silence after which a client is given up; zero means 60 s
	SlowTimeout      time.Duration // how long a client that is behind may take nothing at all; zero means 10 s
	CloseTimeout     time.Duration // how long a client may take to answer a close; zero means 3 s
	DrainTimeout     time.Duration // how long shutdown waits for clients to leave; zero means 10 s

	// Auth says who has a token that a client shows in its hello; nil lets
	// everyone in under the name he gives. It runs on goroutines of its own, at
	// most 16 at once, until HelloTimeout. An error with a code (*bus.Error)
	// refuses the client, for good unless the code is Unavailable, Overloaded or
	// Timeout; any other error is logged and lets the client try again later.
	Auth func(ctx context.Context, token string) (user string, err error)

	// Secret signs resume tokens, 16 bytes at least. Edges that share it take
	// each other's clients; nil means a random one, good for this process.
	Secret []byte

	SessionTTL     time.Duration // how long a resume token is good; zero means 24 h
	HelloTimeout   time.Duration // how long a client may take for its hello, Auth included; zero means 10 s
	CommandTimeout time.Duration // how long a join or a command may go without answer; zero means 10 s

	MaxRooms          int // rooms of one conn; zero means 32
	MaxInFlight       int // commands without a reply of one member; zero means 64
	CommandsPerSecond int // frames of one conn; zero means 200
	CommandBurst      int // frames of one conn at once; zero means 400

	// AbuseLimit is how many refused frames of one conn end it as abuse; each
	// second takes 100 off the count. Zero means 20,000.
	AbuseLimit int

	// MaxOpens is how many requests to open or list rooms one loop has out at
	// once; more wait. Zero means 64.
	MaxOpens int

	// MaxOpenQueue is how many of those may wait in one loop. A join of a room that
	// is not open is refused as overloaded beyond that, and when its turn would not
	// come before its client gives up. Zero means 16,384.
	MaxOpenQueue int

	// EnvelopeQueue is how many envelopes of rooms may wait for one loop; more
	// are lost, which shows as a gap and is repaired. Zero means 32,768.
	EnvelopeQueue int

	Log *slog.Logger // nil means slog.Default()

	maxSockets int // of clients in any state, HTTP's too; zero means what the process's descriptors allow
}

// withDefaults fills in what is zero and says what cannot be.
func (cfg Config) withDefaults() (Config, error) {
	for name, n := range map[string]int{
		"Loops": cfg.Loops, "MaxConns": cfg.MaxConns, "MaxConnsPerIP": cfg.MaxConnsPerIP,
		"MaxHalfOpen": cfg.MaxHalfOpen, "MaxMessageBytes": cfg.MaxMessageBytes,
		"OutboxBytes": cfg.OutboxBytes, "DropBytes": cfg.DropBytes, "BufferBytes": cfg.BufferBytes,
		"SendBufferBytes": cfg.SendBufferBytes, "MaxRooms": cfg.MaxRooms, "MaxInFlight": cfg.MaxInFlight,
		"CommandsPerSecond": cfg.CommandsPerSecond, "CommandBurst": cfg.CommandBurst,
		"AbuseLimit": cfg.AbuseLimit, "MaxOpens": cfg.MaxOpens, "MaxOpenQueue": cfg.MaxOpenQueue, "EnvelopeQueue": cfg.EnvelopeQueue,
	} {
		if n < 0 {
			return cfg, fmt.Errorf("edge config: %s is %d, must not be negative", name, n)
		}
	}
	for name, d := range cfg.timeouts() {
		if *d < 0 {
			return cfg, fmt.Errorf("edge config: %s is %v, must not be negative", name, *d)
		}
	}
	setDefault(&cfg.Addr, ":8080")
	setDefault(&cfg.Loops, runtime.GOMAXPROCS(0))
	setDefault(&cfg.Path, "/ws")
	setDefault(&cfg.MaxHalfOpen, 1024)
	setDefault(&cfg.MaxMessageBytes, 64<<10)
	setDefault(&cfg.OutboxBytes, 256<<10)
	setDefault(&cfg.DropBytes, 64<<10)
	setDefault(&cfg.BufferBytes, 256<<20)
	setDefault(&cfg.SendBufferBytes, 64<<10)
	setDefault(&cfg.HandshakeTimeout, 5*time.Second)
	setDefault(&cfg.PingInterval, 25*time.Second)
	setDefault(&cfg.IdleTimeout, 60*time.Second)
	setDefault(&cfg.SlowTimeout, 10*time.Second)
	setDefault(&cfg.CloseTimeout, 3*time.Second)
	setDefault(&cfg.DrainTimeout, 10*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.limitConns()

	if !strings.HasPrefix(cfg.Path, "/") {
		return cfg, fmt.Errorf("edge config: Path is %q, must begin with a slash", cfg.Path)
	}
	return cfg, nil
}

func (cfg *Config) timeouts() map[string]*time.Duration {
	return map[string]*time.Duration{
		"HandshakeTimeout": &cfg.HandshakeTimeout, "PingInterval": &cfg.PingInterval,
		"IdleTimeout": &cfg.IdleTimeout, "SlowTimeout": &cfg.SlowTimeout,
		"CloseTimeout": &cfg.CloseTimeout, "DrainTimeout": &cfg.DrainTimeout,
	}
}

// spareFiles is how many descriptors are left to the rest of the process
// (bus, logs, HTTP, pollers) when MaxConns is derived from its limit.
const spareFiles = 128

// Sockets that are no conns yet or any more have half of that to themselves:
// the other half is the rest of the process's, whatever clients do.
const (
	filesPerLoop = 4 // listener, epoll, spare, and one while a socket goes to HTTP
	minSockets   = 16
)

// limitConns fits MaxConns to the files the process may open.
func (cfg *Config) limitConns() {
	files := maxFiles()
	setDefault(&cfg.maxSockets, max(minSockets, files-spareFiles/2-filesPerLoop*cfg.Loops))
	if cfg.MaxConns == 0 {
		cfg.MaxConns = min(100_000, max(1, files-spareFiles))
	} else if cfg.MaxConns+spareFiles > files {
		cfg.Log.Warn("too few file descriptors for MaxConns: clients beyond them are turned away; raise the limit (ulimit -n)",
			"max_conns", cfg.MaxConns, "descriptors", files)
	}
}

// sweepEvery is how often each conn's deadlines are looked at: a quarter of the
// shortest, at most a second.
func (cfg *Config) sweepEvery() time.Duration {
	shortest := 4 * time.Second
	for _, d := range cfg.timeouts() {
		shortest = min(shortest, *d)
	}
	return max(shortest/4, 8*time.Millisecond)
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
