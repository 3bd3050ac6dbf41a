package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// A ServerConfig says how the nats-server inside the process runs. The zero
// value keeps JetStream in memory and listens nowhere.
type ServerConfig struct {
	Dir        string   // where JetStream keeps its files; empty: in memory, gone with the process
	Addr       string   // host:port for NATS clients; empty: in-process connections only
	Name       string   // of this server, stable and unique in a cluster; empty means "roomd"
	Cluster    string   // host:port for routes; empty: no cluster
	Routes     []string // nats://host:port of other servers of the cluster
	SyncAlways bool     // fsync before every acknowledgement: survives power cuts, costs 92 µs against 25 µs a write
}

// Reasons why an embedded server does not start.
var (
	ErrDataLocked = errors.New("data directory is in use by another process")
	ErrNotReady   = errors.New("nats-server was not ready in time")
)

// readyTimeout is generous: reading back 100,000 keys after a crash takes
// 0.2 s, and a cluster needs an election (up to 9 s) before JetStream answers.
const readyTimeout = 20 * time.Second

// An embedded is a nats-server in this process and the lock on its directory.
type embedded struct {
	server  *server.Server
	lock    *os.File // nil in memory
	scratch string   // directory of a server in memory, removed at the end
}

func startEmbedded(cfg ServerConfig, log *slog.Logger) (*embedded, error) {
	opts, err := serverOptions(cfg)
	if err != nil {
		return nil, err
	}
	e := &embedded{}
	if cfg.Dir != "" {
		if e.lock, err = lockDir(cfg.Dir); err != nil {
			return nil, err
		}
	} else {
		if e.scratch, err = os.MkdirTemp("", "roomd-memory-"); err != nil {
			return nil, fmt.Errorf("make scratch directory: %w", err)
		}
		opts.StoreDir = e.scratch
	}
	e.server, err = server.NewServer(opts)
	if err != nil {
		e.unlock()
		return nil, fmt.Errorf("start embedded nats-server: %w", err)
	}
	logger := &natsLog{log: log}
	e.server.SetLoggerV2(logger, false, false, false)
	e.server.Start()
	if !e.server.ReadyForConnections(readyTimeout) {
		e.shutdown()
		return nil, fmt.Errorf("start embedded nats-server: %w%s", ErrNotReady, logger.lastError())
	}
	return e, nil
}

// How long a subscriber may take nothing before it is cut off. One in another
// process is then stalled or gone. One in this process shares its fate: if it
// has not run for seconds, neither has anybody else, and cutting it off after
// such a pause would lose what it is about to read.
const (
	remoteDeadline    = time.Second
	inProcessDeadline = 10 * time.Second
)

// serverOptions departs from nats-server's defaults where they were made for
// other work: a stalled subscriber must not slow its publishers for 10 s, and
// a dead peer is noticed in seconds, not minutes (measured: facts in DESIGN 5).
func serverOptions(cfg ServerConfig) (*server.Options, error) {
	opts := &server.Options{
		ServerName: cfg.Name, DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: cfg.Dir, SyncAlways: cfg.SyncAlways, DisableJetStreamBanner: true,
		WriteDeadline: inProcessDeadline, MaxPending: 16 << 20, MaxPayload: 8 << 20,
		PingInterval: time.Second, MaxPingsOut: 3,
	}
	if opts.ServerName == "" {
		opts.ServerName = "roomd"
	}
	var err error
	if cfg.Addr != "" {
		opts.DontListen, opts.WriteDeadline = false, remoteDeadline
		if opts.Host, opts.Port, err = splitPort(cfg.Addr); err != nil {
			return nil, fmt.Errorf("NATS address %q: %w", cfg.Addr, err)
		}
	}
	if cfg.Cluster == "" {
		return opts, nil
	}
	if cfg.Name == "" {
		return nil, errors.New("a clustered nats-server needs a name of its own")
	}
	if opts.DontListen { // with DontListen routes never form (nats-server 2.15)
		opts.DontListen, opts.Host, opts.Port = false, "127.0.0.1", server.RANDOM_PORT
	}
	opts.WriteDeadline = remoteDeadline
	opts.Cluster = server.ClusterOpts{Name: "roomd", PingInterval: time.Second, MaxPingsOut: 3}
	if opts.Cluster.Host, opts.Cluster.Port, err = splitPort(cfg.Cluster); err != nil {
		return nil, fmt.Errorf("NATS cluster address %q: %w", cfg.Cluster, err)
	}
	for _, route := range cfg.Routes {
		u, err := url.Parse(route)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("NATS route %q: want nats://host:port", route)
		}
		opts.Routes = append(opts.Routes, u)
	}
	return opts, nil
}

func (e *embedded) shutdown() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	e.unlock()
}

func (e *embedded) unlock() {
	if e.lock != nil {
		e.lock.Close() // closing gives the lock back
	}
	if e.scratch != "" {
		os.RemoveAll(e.scratch) // what cannot be removed is the system's to clean: it is a temporary directory
	}
}

// lockDir makes sure that one process at a time writes to the directory:
// nats-server itself would let two of them ruin each other's files.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "roomd.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrDataLocked, dir)
		}
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	return f, nil
}

// natsLog passes on what nats-server says from warnings upwards; its notices
// are about a server that the user did not ask for.
type natsLog struct {
	log  *slog.Logger
	last atomicString
}

func (l *natsLog) Noticef(format string, v ...any) {}
func (l *natsLog) Debugf(format string, v ...any)  {}
func (l *natsLog) Tracef(format string, v ...any)  {}
func (l *natsLog) Warnf(format string, v ...any) {
	l.log.Warn("nats-server", "msg", fmt.Sprintf(format, v...))
}

func (l *natsLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.last.Store(text)
	l.log.Error("nats-server", "msg", text)
}

// Fatalf must not end the process as nats-server's own would: Open returns the
// error instead.
func (l *natsLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

func (l *natsLog) lastError() string {
	if text := l.last.Load(); text != "" {
		return ": " + strings.TrimSpace(text)
	}
	return ""
}
