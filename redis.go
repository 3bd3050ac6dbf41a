package roomd

import (
	"context"
	"net"

	"roomd/bus"
	"roomd/kv"
	"roomd/kv/front"

	"github.com/prometheus/client_golang/prometheus"
)

// A redisPort serves the shared data to Redis's clients.
type redisPort struct {
	conn   *bus.Conn // of its own, so that the edge's and the worker's messages are not before its
	cfg    front.Config
	shards int // 0: a worker says how many there are
	kv     kv.Config
	reg    prometheus.Registerer
	ready  chan struct{} // closed when clients are served
}

// A redisError sets the errors of the port for Redis's clients apart.
type redisError struct{ err error }

func (e redisError) Error() string { return "redis port: " + e.err.Error() }
func (e redisError) Unwrap() error { return e.err }

// newRedisPort connects to NATS once more.
func (n *node) newRedisPort(ctx context.Context) (*redisPort, error) {
	conn, err := n.conn.Dial(ctx, n.conn.Name()+"-redis")
	if err != nil {
		return nil, err
	}
	p := &redisPort{
		conn: conn, kv: kv.Config{MaxValue: n.cfg.kvMaxValue}, reg: n.admin.registry, ready: make(chan struct{}),
		cfg: front.Config{
			Addr: n.cfg.redis, Password: n.cfg.redisPassword, MaxArg: max(8<<20, n.cfg.kvMaxValue), Log: n.log,
		},
	}
	host, _, err := net.SplitHostPort(n.cfg.redis)
	if ip := net.ParseIP(host); err == nil && n.cfg.redisPassword == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		n.log.Warn("whoever reaches the port for Redis's clients may read and change all shared data: there is no password", "redis", n.cfg.redis)
	}
	if n.worker != nil {
		p.shards = n.cfg.kvShards
	}
	return p, nil
}

// run serves clients until ctx ends. An edge waits for the first worker.
func (p *redisPort) run(ctx context.Context) error {
	defer p.conn.Close()
	var store kv.Store
	if p.shards > 0 {
		store = kv.OpenShards(p.conn, p.kv, p.shards)
	} else {
		var err error
		if store, err = kv.Open(ctx, p.conn, p.kv); err != nil {
			return nil // ctx has ended
		}
	}
	defer store.Close()
	server, err := front.New(store, p.cfg)
	if err != nil {
		return redisError{err}
	}
	if err := p.reg.Register(server); err != nil {
		return redisError{err}
	}
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	select {
	case <-server.Ready():
		close(p.ready)
		err = <-served
	case err = <-served:
	}
	if err != nil {
		return redisError{err}
	}
	return nil
}
