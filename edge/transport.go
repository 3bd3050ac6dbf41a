package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A transport is the loops of one edge with what they share: limits that count
// over all of them, and the way to HTTP. Between listen and serve nothing runs.
type transport struct {
	cfg       Config
	protocols []string // subprotocols spoken; a client must offer one of them, and gets the first of its own list
	addr      net.Addr
	loops     []*loop
	front     *front // nil if Config.HTTP is

	open    atomic.Int64 // WebSockets, of all loops
	sockets atomic.Int64 // clients' sockets in any state, of all loops; HTTP's are counted by front
	perIP   ipCount
	warned  atomic.Int64 // when warnSocket last wrote, in Unix seconds
	serving atomic.Bool
}

// listen checks cfg and takes its address, to speak the given subprotocols, 255
// at most. Clients wait in the kernel until serve. Who never calls serve calls
// abandon.
func listen(cfg Config, protocols ...string) (*transport, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &transport{cfg: cfg, protocols: protocols}
	pollers, addr, err := newPollers(&t.cfg)
	if err != nil {
		return nil, explainListen(cfg.Addr, err)
	}
	t.addr = addr
	for i, p := range pollers {
		t.loops = append(t.loops, newLoop(t, i, p))
	}
	if cfg.HTTP != nil {
		t.front = newFront(cfg.HTTP, addr, min(maxRequests, cfg.maxSockets/4), cfg.Log)
	}
	return t, nil
}

// explainListen adds what to do to the errors that one meets.
func explainListen(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("another process listens on %s already: stop it or choose another address: %w", addr, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("no permission to listen on %s: ports below 1024 need a privilege, choose a higher one: %w", addr, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("too few file descriptors to listen on %s: raise the limit (ulimit -n): %w", addr, err)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// serve runs the loops, each with hooks of its own, made before any of them
// begins. When ctx ends it closes the listeners, lets hooks say goodbye, closes
// the conns with closeShutdown, waits for them (for Config.DrainTimeout at
// most) and returns. Every goroutine it started has ended then.
func (t *transport) serve(ctx context.Context, newHooks func(*loop) hooks) error {
	if t.serving.Swap(true) {
		return errors.New("edge: serve called twice")
	}
	for _, l := range t.loops {
		l.hooks = newHooks(l)
	}
	var running sync.WaitGroup
	for _, l := range t.loops {
		running.Go(l.run)
	}
	if t.front != nil {
		running.Go(t.front.run)
	}
	<-ctx.Done()
	for _, l := range t.loops {
		close(l.stop)
	}
	var err error
	if t.front != nil {
		err = t.front.shutdown(t.cfg.DrainTimeout)
	}
	running.Wait()
	if t.front != nil {
		t.front.discard()
	}
	return err
}

// abandon gives up the address of a transport that was never served.
func (t *transport) abandon() {
	if t.serving.Swap(true) {
		return
	}
	for _, l := range t.loops {
		l.poll.stopAccepting()
		l.poll.close()
	}
}

// stats is what all loops have counted, as of their last ticks.
func (t *transport) stats() (sum stats) {
	for _, l := range t.loops {
		s := l.snapshot()
		sum.add(&s)
	}
	return sum
}

// reserve counts c in, or says which limit is reached.
func (t *transport) reserve(c *conn) (why refusal, ok bool) {
	if t.open.Add(1) > int64(t.cfg.MaxConns) {
		t.open.Add(-1)
		return refusedFull, false
	}
	if most := t.cfg.MaxConnsPerIP; most > 0 && !t.perIP.add(c.addr, most) {
		t.open.Add(-1)
		return refusedPerIP, false
	}
	return 0, true
}

// release undoes reserve.
func (t *transport) release(c *conn) {
	t.open.Add(-1)
	if t.cfg.MaxConnsPerIP > 0 {
		t.perIP.remove(c.addr)
	}
}

// taken is how many sockets clients have.
func (t *transport) taken() int {
	n := t.sockets.Load()
	if t.front != nil {
		n += t.front.held.Load()
	}
	return int(n)
}

// crowded says whether sockets are getting scarce.
func (t *transport) crowded() bool { return t.taken() > t.cfg.maxSockets/4*3 }

// warnSocket logs that a client could not be taken, once a minute at most: it
// is for want of descriptors or memory, and so happens to many.
func (t *transport) warnSocket(what string, err error) {
	now := time.Now().Unix()
	last := t.warned.Load()
	if now-last < 60 || !t.warned.CompareAndSwap(last, now) {
		return
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		t.cfg.Log.Warn("out of file descriptors, clients are turned away: raise the limit (ulimit -n) or lower MaxConns", "err", err)
		return
	}
	t.cfg.Log.Warn("can't take a client", "step", what, "err", err)
}

// An ipCount counts the conns of each IP, of all loops.
type ipCount struct {
	mu sync.Mutex // guards n
	n  map[[16]byte]int
}

// add counts one more unless there are most already.
func (c *ipCount) add(ip [16]byte, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[[16]byte]int)
	}
	if c.n[ip] >= most {
		return false
	}
	c.n[ip]++
	return true
}

func (c *ipCount) remove(ip [16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[ip]--; c.n[ip] <= 0 {
		delete(c.n, ip)
	}
}
