package roomd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"roomd/bus"
	"roomd/client"
	"roomd/edge"
	"roomd/kv"
	"roomd/rooms"
)

// A node is the running process: what it is connected to and which roles it
// plays.
type node struct {
	cfg        config
	hurry      <-chan struct{} // closed when load balancers are not to be waited for
	log        *slog.Logger
	conn       *bus.Conn // of the edge, or of the worker where there is no edge
	workerConn *bus.Conn // of the worker; the same as conn in a worker alone
	records    *kv.Records
	secret     []byte   // signs resume tokens; nil in a worker alone
	logs       *kv.Logs // nil in an edge alone
	admin      *admin
	edge       *edge.Server  // nil in a worker alone
	worker     *rooms.Worker // nil in an edge alone
	redis      *redisPort    // nil unless asked for
	kinds      []rooms.Kind
}

// serve runs the node until it is told to end, and then ends it in order:
// clients are told to come back elsewhere, rooms move or are saved, NATS goes
// last.
func serve(end ending, cfg config, opts Options, kinds []rooms.Kind) (err error) {
	ctx, started := end.ctx, time.Now()
	n := &node{cfg: cfg, hurry: end.hurry, log: cfg.logger(), kinds: kinds}
	adminLn, err := listenAdmin(cfg.admin)
	if err != nil {
		return err
	}
	if adminLn != nil {
		defer adminLn.Close()
	}
	if n.conn, err = bus.Open(ctx, cfg.bus(n.log)); err != nil {
		return n.unlessEnding(ctx, err)
	}
	defer n.conn.Close()
	n.admin = newAdmin(n.conn)
	defer n.admin.start(adminLn)()
	if err := n.openStore(ctx); err != nil {
		return n.unlessEnding(ctx, err)
	}
	if cfg.role != roleEdge {
		closeConns, err := n.openWorkerConns(ctx)
		if err != nil {
			return n.unlessEnding(ctx, err)
		}
		defer closeConns()
	}
	if err := n.build(ctx, opts); err != nil {
		return n.unlessEnding(ctx, err)
	}
	return n.run(ctx, started)
}

// openWorkerConns gives the worker a connection of its own where there is an
// edge beside it, and the log one more: none of them waits behind the others'
// messages.
func (n *node) openWorkerConns(ctx context.Context) (closeConns func(), err error) {
	n.workerConn = n.conn
	if n.cfg.role == roleAll {
		if n.workerConn, err = n.conn.Dial(ctx, n.conn.Name()+workerSuffix); err != nil {
			return nil, err
		}
	}
	logConn, err := n.conn.Dial(ctx, n.conn.Name()+"-log")
	if err != nil {
		n.workerConn.Close()
		return nil, err
	}
	if n.workerConn != n.conn {
		n.admin.report(disconnected("worker", n.workerConn))
	}
	n.admin.report(disconnected("log", logConn))
	storage := storeConfig(logConn, n.cfg)
	storage.Memory = n.records.InMemory()
	n.logs = kv.OpenLogs(logConn, storage)
	return func() {
		logConn.Close()
		n.workerConn.Close() // again, in a worker alone: that does nothing
	}, nil
}

// storeConfig says where records and logs are kept.
func storeConfig(conn *bus.Conn, cfg config) kv.Storage {
	bucket := "roomd_rooms"
	if cfg.prefix != "r" { // several systems may share one NATS
		bucket += "_" + cfg.prefix
	}
	return kv.Storage{Bucket: bucket, Memory: conn.InMemory(), Replicas: cfg.replicas, Lost: cfg.lostStore}
}

func (n *node) build(ctx context.Context, opts Options) (err error) {
	if n.cfg.role != roleEdge {
		cfg := rooms.Config{MaxRooms: n.cfg.maxRooms, KVShards: n.cfg.kvShards, Drain: n.cfg.drain, Log: n.log}
		n.worker, err = rooms.NewWorker(n.workerConn, n.records, n.logs, cfg, n.kinds...)
		if err != nil {
			return err
		}
		n.admin.registry.MustRegister(n.worker.Collectors()...)
		n.admin.report(n.worker.Trouble)
	}
	if n.cfg.redis != "" {
		if n.redis, err = n.newRedisPort(ctx); err != nil {
			return err
		}
	}
	if n.cfg.role == roleWorker {
		return nil
	}
	cfg := edge.Config{
		Addr: n.cfg.addr, Origins: list(n.cfg.origins), TrustProxy: n.cfg.trustProxy,
		MaxConns: n.cfg.maxConns, MaxConnsPerIP: n.cfg.maxConnsPerIP, OutboxBytes: n.cfg.outbox,
		CommandsPerSecond: n.cfg.commandRate, CommandBurst: n.cfg.commandBurst, MaxInFlight: n.cfg.inFlight,
		DrainTimeout: n.cfg.drain, Secret: n.secret, HTTP: pages(opts), Log: n.log,
	}
	if n.edge, err = edge.New(n.conn, cfg); err != nil {
		return err
	}
	n.admin.registry.MustRegister(n.edge)
	return nil
}

// run starts what was built: NATS first, then rooms, then sockets; and ends it
// the other way round. What fails ends the rest.
func (n *node) run(ctx context.Context, started time.Time) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var ended sync.WaitGroup
	// Each part outlives the ones that need it: its context ends when they have ended.
	part := func(ctx context.Context, run func(context.Context) error) (end context.CancelFunc, done chan struct{}) {
		ctx, end = context.WithCancel(ctx)
		done = make(chan struct{})
		ended.Go(func() {
			defer close(done)
			if err := run(ctx); err != nil {
				fail(err)
			}
		})
		return end, done
	}
	lasting := context.WithoutCancel(ctx)
	endAdmin, _ := part(lasting, n.admin.watch)
	endWatch, _ := part(lasting, func(ctx context.Context) error {
		n.records.Watch(ctx)
		return nil
	})
	endWorker, workerDone := func() {}, closedChan()
	if n.worker != nil {
		endWorker, workerDone = part(lasting, n.worker.Run)
	}
	endEdge, edgeDone := func() {}, closedChan()
	if n.edge != nil {
		endEdge, edgeDone = part(lasting, n.edge.Run)
	}
	endRedis, redisDone := func() {}, closedChan()
	if n.redis != nil {
		endRedis, redisDone = part(lasting, n.redis.run)
	}
	stopControl, err := n.control(func() { fail(nil) }).start()
	if err != nil {
		fail(err)
	} else {
		defer stopControl()
	}
	if n.ready(ctx) {
		n.admin.up.Store(true)
		n.banner(os.Stdout, time.Since(started))
	}
	<-ctx.Done()
	n.admin.draining.Store(true)
	n.log.Info("ending", "node", n.conn.Name())
	if context.Cause(ctx) == context.Canceled { // in order: nothing has failed
		n.awaitBalancers(edgeDone)
	}
	endEdge()
	<-edgeDone
	endRedis()
	<-redisDone
	endWorker()
	<-workerDone
	endWatch()
	endAdmin()
	ended.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// ready waits until the edge takes clients and the worker rooms, or ctx ends.
func (n *node) ready(ctx context.Context) bool {
	var parts []<-chan struct{}
	if n.worker != nil {
		parts = append(parts, n.worker.Ready())
		if n.redis != nil {
			parts = append(parts, n.redis.ready)
		}
	}
	if n.edge != nil {
		parts = append(parts, n.edge.Ready())
	}
	for _, ready := range parts {
		select {
		case <-ready:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// banner says what runs and where.
func (n *node) banner(w io.Writer, took time.Duration) {
	role := n.cfg.role
	if role == roleAll {
		role = "edge, worker and NATS"
	}
	fmt.Fprintf(w, "roomd: %s, up in %d ms\n", role, took.Milliseconds())
	line := func(what, where string) { fmt.Fprintf(w, "  %-8s %s\n", what, where) }
	if n.edge != nil {
		host := browserHost(n.edge.Addr())
		line("page", "http://"+host)
		line("clients", "ws://"+host+"/ws")
	}
	if n.worker != nil {
		names := make([]string, len(n.kinds))
		for i, k := range n.kinds {
			names[i] = k.Name
		}
		line("kinds", strings.Join(names, " "))
	}
	switch {
	case n.cfg.nats != "":
		line("NATS", withoutPasswords(n.cfg.nats, n.cfg.nats))
	case n.cfg.memory:
		line("NATS", "inside, in memory: rooms are gone at the end")
	default:
		line("NATS", "inside, rooms kept in "+n.cfg.data)
	}
	if url := n.conn.ClientURL(); url != "" {
		line("", "takes clients on "+url)
	}
	if n.redis != nil {
		line("redis", n.cfg.redis)
	}
	if n.cfg.admin != "" {
		line("admin", "http://"+n.cfg.admin+"/metrics /livez /readyz /debug/pprof")
	}
}

// browserHost turns a listener's address into one that a browser on this
// machine understands.
func browserHost(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// pages serves the client library, the program's own pages and handler.
func pages(opts Options) http.Handler {
	mux := http.NewServeMux()
	modules := http.FileServerFS(client.JavaScript)
	fromAnywhere := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*") // pages of other hosts import it too
		modules.ServeHTTP(w, r)
	}
	mux.HandleFunc("GET /roomd.js", fromAnywhere)
	mux.HandleFunc("GET /roomd/", fromAnywhere)
	switch {
	case opts.HTTP != nil:
		mux.Handle("/", opts.HTTP)
	case opts.Pages != nil:
		mux.Handle("GET /", http.FileServerFS(opts.Pages))
	default:
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "roomd is up. Clients connect to /ws; the JavaScript client is /roomd.js.")
		})
	}
	return mux
}

func closedChan() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
