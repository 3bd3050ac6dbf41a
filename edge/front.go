package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A front is where requests go that want no WebSocket: an http.Server whose
// listener is fed by the loops, with sockets from which the request has been
// read already. One port serves both, and WebSockets never pass through it.
type front struct {
	server *http.Server
	addr   net.Addr
	most   int64         // requests at once, at most maxRequests; more are answered 503
	bodies atomic.Int64  // those of held that have a body; at most half of most
	queue  chan net.Conn // invariant: len(queue) <= held <= cap(queue), so sending never blocks
	held   atomic.Int64  // requests in the queue or being served
	closed chan struct{}
	once   sync.Once
}

// maxRequests is how many HTTP requests are served at once, with descriptors in
// plenty.
const maxRequests = 1024

func newFront(h http.Handler, addr net.Addr, most int, log *slog.Logger) *front {
	f := &front{
		addr:   addr,
		most:   int64(most),
		queue:  make(chan net.Conn, maxRequests),
		closed: make(chan struct{}),
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      60 * time.Second,
			MaxHeaderBytes:    maxHeadBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
	}
	f.server.SetKeepAlivesEnabled(false) // the next request may be an upgrade
	return f
}

// run serves until shutdown.
func (f *front) run() {
	// It ends with ErrServerClosed: our Accept fails only after Close.
	_ = f.server.Serve(f)
}

// discard closes what came too late. No loop may run any more.
func (f *front) discard() {
	for len(f.queue) > 0 {
		_ = (<-f.queue).Close()
	}
}

// shutdown waits for requests under way, for d at most.
func (f *front) shutdown(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		return fmt.Errorf("end http requests: %w", errors.Join(err, f.server.Close()))
	}
	return nil
}

// reserve makes room for one request; give uses it, unreserve gives it back.
// Bodies may be long in coming, so they don't get all places: whoever sends them
// slowly shall not keep the pages from everyone.
func (f *front) reserve(body bool) bool {
	switch {
	case f.held.Add(1) > f.most:
	case body && f.bodies.Add(1) > f.most/2:
		f.bodies.Add(-1)
	default:
		return true
	}
	f.held.Add(-1)
	return false
}

func (f *front) unreserve(body bool) {
	f.held.Add(-1)
	if body {
		f.bodies.Add(-1)
	}
}

// give serves the request on sock; read is what the loop has read of it.
func (f *front) give(sock net.Conn, read []byte, body bool) {
	f.queue <- &handedConn{Conn: sock, f: f, read: read, body: body}
}

// Accept, Close and Addr make it the server's listener.
func (f *front) Accept() (net.Conn, error) {
	select {
	case sock := <-f.queue:
		return sock, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *front) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

func (f *front) Addr() net.Addr { return f.addr }

// A handedConn reads first what the loop has read already.
type handedConn struct {
	net.Conn
	f    *front
	read []byte
	body bool // the request has one
	once sync.Once
}

func (c *handedConn) Read(b []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(b, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *handedConn) Close() error {
	c.once.Do(func() { c.f.unreserve(c.body) })
	return c.Conn.Close()
}
