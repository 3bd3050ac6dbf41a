package bus

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A request is its deadline (milliseconds since 1970, as a varint) and a body.
// Its answer is a byte, 0 and the body or 1 and code and text of an Error.
//
// All answers to one Conn arrive on one subscription and are read by one
// goroutine, which finds the caller by the number at the end of the subject: a
// request that waits costs a map entry and a timer, not a goroutine.

// Bounds of requests.
const (
	defaultTimeout = 5 * time.Second
	maxCalls       = 1 << 16 // requests of one Conn that wait for an answer; more get Overloaded
	maxHandlers    = 256     // requests that one Handle serves at once; more wait in its queue
	handlerQueue   = 4096    // and this many wait; NATS drops the rest, callers time out
)

// A pending is a request without an answer yet.
type pending struct {
	done  func([]byte, error)
	timer *time.Timer
}

// calls is the correlation table of one Conn.
type calls struct {
	inbox   string // replies arrive at inbox.<number>
	sub     *Subscription
	replies chan *Msg
	stop    chan struct{}

	mu      sync.Mutex // guards what follows; never held while done runs
	last    uint64
	waiting map[uint64]*pending
}

func (c *Conn) startCalls() error {
	t := &c.calls
	t.inbox = c.subjects.inbox(c.cfg.Name + "-" + randomToken(8))
	t.replies, t.stop = make(chan *Msg, 4096), make(chan struct{})
	t.waiting = make(map[uint64]*pending)
	var err error
	if t.sub, err = c.Subscribe(t.inbox+".*", "", t.replies); err != nil {
		return err
	}
	c.serving.Go(func() {
		for {
			select {
			case m := <-t.replies:
				t.answered(m)
			case <-t.stop:
				return
			}
		}
	})
	return nil
}

func (c *Conn) stopCalls() {
	close(c.calls.stop)
	c.calls.mu.Lock()
	waiting := c.calls.waiting
	c.calls.waiting = make(map[uint64]*pending)
	c.calls.mu.Unlock()
	for _, p := range waiting {
		p.timer.Stop()
		p.done(nil, &Error{Unavailable, "connection closed"})
	}
}

// Call sends a request and returns at once. done runs exactly once, on a
// goroutine of the Conn or a timer's, and must not block: with the answer's
// body, or with an *Error: what the other side returned, Unavailable if nobody
// listens or the connection is down (it did not happen), Timeout if no answer
// came (nobody knows). A timeout of zero means 5 s.
func (c *Conn) Call(subject string, body []byte, timeout time.Duration, done func(body []byte, err error)) {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	t := &c.calls
	t.mu.Lock()
	if len(t.waiting) >= maxCalls {
		t.mu.Unlock()
		done(nil, &Error{Overloaded, "too many requests wait for answers"})
		return
	}
	t.last++
	n := t.last
	p := &pending{done: done}
	p.timer = time.AfterFunc(timeout, func() { t.finish(n, nil, &Error{Timeout, "no answer in time"}) })
	t.waiting[n] = p
	t.mu.Unlock()

	b := AppendUint(make([]byte, 0, 10+len(body)), uint64(time.Now().Add(timeout).UnixMilli()))
	if err := c.PublishReply(subject, t.inbox+"."+strconv.FormatUint(n, 10), append(b, body...)); err != nil {
		t.finish(n, nil, err)
	}
}

// Request is Call for those who can wait. The answer is due when ctx ends, or
// in 5 s if ctx has no deadline; a cancelled ctx returns its error.
func (c *Conn) Request(ctx context.Context, subject string, body []byte) ([]byte, error) {
	timeout := defaultTimeout
	if deadline, ok := ctx.Deadline(); ok {
		if timeout = time.Until(deadline); timeout <= 0 {
			return nil, ctx.Err()
		}
	}
	type answer struct {
		body []byte
		err  error
	}
	answers := make(chan answer, 1)
	c.Call(subject, body, timeout, func(body []byte, err error) { answers <- answer{body, err} })
	select {
	case a := <-answers:
		return a.body, a.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, &Error{Timeout, "no answer in time"}
		}
		return nil, ctx.Err()
	}
}

func (t *calls) finish(n uint64, body []byte, err error) {
	t.mu.Lock()
	p := t.waiting[n]
	delete(t.waiting, n)
	t.mu.Unlock()
	if p == nil {
		return // answered already, or too late
	}
	p.timer.Stop()
	p.done(body, err)
}

func (t *calls) answered(m *Msg) {
	n, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64)
	if err != nil {
		return
	}
	if NoResponders(m) {
		t.finish(n, nil, &Error{Unavailable, "nobody listens"})
		return
	}
	body, err := parseAnswer(m.Data)
	t.finish(n, body, err)
}

func parseAnswer(b []byte) ([]byte, error) {
	r := Reader{b: b}
	if !r.Bool() {
		if r.Err() != nil {
			return nil, &Error{Internal, "malformed answer"}
		}
		return r.Rest(), nil
	}
	e := &Error{Code: r.String(), Message: r.String()}
	if r.Err() != nil || e.Code == "" {
		return nil, &Error{Internal, "malformed answer"}
	}
	return nil, e
}

// Handle answers requests on subject, each on a goroutine of its own, at most
// 256 at once. f's ctx ends at the caller's deadline; a request whose deadline
// has passed is not run at all. An *Error that f returns reaches the caller,
// any other becomes Internal and is logged. stop ends the subscription and
// waits for running requests.
func (c *Conn) Handle(subject, queue string, f func(ctx context.Context, body []byte) ([]byte, error)) (stop func(), err error) {
	requests := make(chan *Msg, handlerQueue)
	sub, err := c.Subscribe(subject, queue, requests)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	slots := make(chan struct{}, maxHandlers)
	running.Go(func() {
		for {
			select {
			case m := <-requests:
				slots <- struct{}{} // a free slot: running requests end by their deadlines
				running.Go(func() {
					defer func() { <-slots }()
					c.serve(ctx, m, f)
				})
			case <-ctx.Done():
				return
			case <-c.closed:
				return
			}
		}
	})
	return func() {
		// An error means that the connection is closed, and the subscription with it.
		_ = sub.Unsubscribe()
		cancel()
		running.Wait()
	}, nil
}

func (c *Conn) serve(ctx context.Context, m *Msg, f func(context.Context, []byte) ([]byte, error)) {
	r := Reader{b: m.Data}
	deadline := time.UnixMilli(int64(r.Uint()))
	if r.Err() != nil || m.Reply == "" {
		c.cfg.Log.Warn("malformed request", "node", c.cfg.Name, "subject", m.Subject)
		return
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if ctx.Err() != nil {
		return // the caller has given up: it may have asked somebody else
	}
	body, err := f(ctx, r.Rest())
	answer := make([]byte, 1, 1+len(body))
	if err != nil {
		e := AsError(err)
		if e.Code == Internal {
			c.cfg.Log.Error("request failed", "node", c.cfg.Name, "subject", m.Subject, "err", err)
		}
		answer = AppendString(AppendString([]byte{1}, e.Code), e.Message)
	} else {
		answer = append(answer, body...)
	}
	if err := c.Publish(m.Reply, answer); err != nil {
		c.cfg.Log.Warn("answer request", "node", c.cfg.Name, "subject", m.Subject, "err", err)
	}
}
