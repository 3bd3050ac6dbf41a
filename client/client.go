package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Config says how a Client connects. Only URL is required.
type Config struct {
	URL   string // of any edge, ws:// or wss://
	User  string // name of an anonymous user, where that is allowed
	Token string // what the deployment's login gave

	// More are URLs of other edges. Each try to come back goes to the next one of
	// URL and More, so that an edge that is gone costs one try.
	More []string

	// TLS is for wss:// URLs; nil means Go's defaults.
	TLS *tls.Config
	// NetDial makes the TCP connection; nil means a net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Handshake bounds each try to connect and to be welcomed; zero means 10 s.
	Handshake time.Duration
	// Changed, if set, is told when the connection is lost (with the reason) and
	// when it is back (nil). It runs on the client's goroutine and must not block.
	Changed func(err error)
}

const (
	maxOut         = 1 << 20 // bytes that may wait to be written
	maxUnanswered  = 64      // the server's limit of commands without a reply
	farewell       = time.Second
	defaultTimeout = 10 * time.Second
)

// A Client is one session with a roomd server. It keeps itself connected: after a
// lost connection it comes back with its session, takes its seats again, gets
// what it missed and sends again what has no reply. Methods may be called by any
// goroutine.
//
// Callbacks (Config.Changed and the Events of rooms) come one at a time, in order,
// on a goroutine of the client. They may call Send, but not what waits for an
// answer: Call, Join, Leave, List, Close.
type Client struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned

	mu      sync.Mutex // guards everything below; never held during I/O or callbacks
	welcome Welcome
	at      int   // which of URL and More was tried last
	link    *wire // nil while there is no connection
	ref     uint64
	rooms   map[*Room]bool
	numbers map[uint32]*Room // by number on this connection
	joins   map[uint64]*Room // by ref of the join under way
	lists   map[uint64]chan answer
	err     error // why the client ended for good
}

// An answer is what a waiting call gets.
type answer struct {
	data []byte // raw msgpack, owned by the receiver
	err  error
}

// Dial connects and says hello. It tries each URL once; when one has succeeded the
// client stays connected until Close, or until the server says not to come back.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Handshake == 0 {
		cfg.Handshake = defaultTimeout
	}
	c := &Client{
		cfg: cfg, done: make(chan struct{}),
		rooms: make(map[*Room]bool), numbers: make(map[uint32]*Room),
		joins: make(map[uint64]*Room), lists: make(map[uint64]chan answer),
	}
	c.at = -1 // the first try is with URL
	var w *wire
	var welcome Welcome
	var failed error
	for range 1 + len(cfg.More) {
		url := c.next()
		var err error
		if w, welcome, err = openWire(ctx, &cfg, url, Hello{User: cfg.User, Token: cfg.Token}); err == nil {
			break
		}
		failed = errors.Join(failed, fmt.Errorf("dial %s: %w", url, err))
	}
	if w == nil {
		return nil, failed
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.welcome, c.link = welcome, w
	go c.run(w)
	return c, nil
}

// next is the URL to try next.
func (c *Client) next() string {
	c.mu.Lock()
	c.at = (c.at + 1) % (1 + len(c.cfg.More))
	c.mu.Unlock()
	return c.URL()
}

// URL is that of the edge the client is connected to, or tried last.
func (c *Client) URL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == 0 {
		return c.cfg.URL
	}
	return c.cfg.More[c.at-1]
}

// Session tells who the client is. It changes if the server has forgotten the
// session and the client had to begin a new one.
func (c *Client) Session() Welcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome
}

// Done is closed when the client has ended, by Close or because the server asked
// it not to come back; Err tells which.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the client has ended; nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the client. The server notices and keeps the seats for their linger;
// use Room.Leave to give them up. When Close returns no callback runs any more.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.err == nil {
		c.err = ErrClosed
	}
	w := c.link
	c.mu.Unlock()
	if w != nil {
		w.close(CloseNormal)
		select {
		case <-c.done:
		case <-time.After(farewell):
		}
	}
	c.cancel()
	<-c.done
	return nil
}

// Drop cuts the connection as a bad network would; the client comes back by
// itself. It is for tests.
func (c *Client) Drop() {
	c.mu.Lock()
	w := c.link
	c.mu.Unlock()
	if w != nil {
		w.cut()
	}
}

// Join takes a seat in a room, which is opened if need be. An empty id means any
// open room of the kind with a free seat. options is the kind's business and may
// be nil. A refusal is an *Error with the room's code. If ctx ends first, the
// seat may have been taken all the same; Join gives it up then.
func (c *Client) Join(ctx context.Context, kind, id string, options any, events Events) (*Room, error) {
	r := &Room{c: c, kind: kind, id: id, events: events, joined: make(chan error, 1), gone: make(chan struct{})}
	if options != nil {
		data, err := msgpack.Marshal(options)
		if err != nil {
			return nil, fmt.Errorf("encode options: %w", err)
		}
		r.options = data
	}
	c.mu.Lock()
	if err := c.err; err != nil {
		c.mu.Unlock()
		return nil, err
	}
	c.rooms[r] = true
	c.sendJoin(r)
	c.mu.Unlock()
	select {
	case err := <-r.joined:
		if err != nil {
			return nil, fmt.Errorf("join %s %q: %w", kind, id, err)
		}
		return r, nil
	case <-ctx.Done():
		c.mu.Lock()
		r.startLeave()
		c.mu.Unlock()
		return nil, fmt.Errorf("join %s %q: %w", kind, id, ctx.Err())
	case <-c.done:
		return nil, c.Err()
	}
}

// sendJoin asks for r's seat, if there is a connection; otherwise the next one
// will. c.mu is held.
func (c *Client) sendJoin(r *Room) {
	if c.link == nil {
		return
	}
	var since *Position
	if r.member != 0 {
		since = &r.pos
	}
	c.ref++
	c.joins[c.ref] = r
	c.link.push(AppendJoin(nil, c.ref, r.kind, r.id, r.options, since, r.member))
}

// List tells open rooms: of one kind, or of all if kind is empty; limit 0 means
// the server's default of 100.
func (c *Client) List(ctx context.Context, kind string, limit int) ([]Listing, error) {
	wait := make(chan answer, 1)
	c.mu.Lock()
	if c.link == nil {
		err := c.err
		c.mu.Unlock()
		return nil, errors.Join(err, ErrNotConnected)
	}
	c.ref++
	ref := c.ref
	c.lists[ref] = wait
	c.link.push(AppendList(nil, ref, kind, limit))
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.lists, ref)
	}()
	select {
	case a := <-wait:
		if a.err != nil {
			return nil, fmt.Errorf("list rooms: %w", a.err)
		}
		return DecodeListings(a.data)
	case <-ctx.Done():
		return nil, fmt.Errorf("list rooms: %w", ctx.Err())
	case <-c.done:
		return nil, c.Err()
	}
}
