package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// A Redis is a redis-server that was started here, to compare with.
type Redis struct {
	Addr string // where it takes clients
	proc *process
}

// ErrNoRedis says that there is no redis-server on this machine.
var ErrNoRedis = errors.New("redis-server is not installed (on Debian: apt-get install redis-server)")

// SpawnRedis starts a redis-server on a free port, with more arguments, in a
// directory of its own, and waits until it answers.
func SpawnRedis(ctx context.Context, binary string, cpus []int, args ...string) (*Redis, error) {
	dir, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		return nil, err
	}
	addr, _, err := freePorts()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p := &process{dir: dir, ended: make(chan struct{})}
	args = append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", dir}, args...)
	if err := p.start(SpawnConfig{Binary: binary, CPUs: cpus}, args); err != nil {
		if strings.Contains(err.Error(), "not found") {
			err = fmt.Errorf("%w: %w", ErrNoRedis, err)
		}
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	r := &Redis{Addr: addr, proc: p}
	if err := r.waitReady(ctx); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// waitReady polls the port, since a starting process has no other way to tell.
func (r *Redis) waitReady(ctx context.Context) error {
	return await(ctx, r.proc, func(ctx context.Context) bool {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", r.Addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// CPU is what the process has used so far, if that is known here.
func (r *Redis) CPU() (used time.Duration, ok bool) {
	used, _, err := r.proc.usage()
	return used, err == nil
}

// Stop ends the server and tells whether it ended in order.
func (r *Redis) Stop() error { return r.proc.stop() }
