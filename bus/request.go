package bus

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A request is its deadline (milliseconds since 1970, as a varint), the name of the
// clock that it is by (a varint, see ClockID), and a body.
// Its answer begins with answerMark, which no text does, and then has a byte, 0
// and the body or 1 and code and text of an Error. What has no mark is not ours:
// a stream that keeps all that is published, or whatever else listens, answers
// too, and that is ignored.
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

	// An answer that is later than that, or than half the timeout, has NATS asked
	// whether there is anybody to give one.
	lateAfter = 50 * time.Millisecond

	answerMark = 0xfa // the first byte of an answer; not UTF-8
)

// A pending is a request without an answer yet.
type pending struct {
	done    func([]byte, error)
	subject string
	rest    time.Duration // of the timeout, when the answer is late
	timer   *time.Timer   // guarded by calls.mu
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
				c.answered(m)
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
	c.traces.close()
	for _, p := range waiting {
		p.timer.Stop()
		p.done(nil, &Error{Unavailable, "connection closed"})
	}
}

// Call sends a request and returns at once. done runs exactly once, on a
// goroutine of the Conn or a timer's, and must not block: with the answer's
// body, or with an *Error: what the other side returned, Unavailable if nobody
// listens or the connection is down (it did not happen, unless the process that
// took it died at once), Timeout if no answer came (nobody knows). A timeout of
// zero means 5 s. Those who answer must have subscribed to subject itself, not to
// a wildcard.
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
	patience := min(lateAfter, timeout/2)
	p := &pending{done: done, subject: subject, rest: timeout - patience}
	p.timer = time.AfterFunc(patience, func() { c.late(n) })
	t.waiting[n] = p
	t.mu.Unlock()

	b := appendHead(make([]byte, 0, 16+len(body)), c.Deadline(time.Now(), timeout), c.clock)
	if err := c.PublishReply(subject, t.inbox+"."+strconv.FormatUint(n, 10), append(b, body...)); err != nil {
		t.finish(n, nil, err)
	}
}

// late has NATS asked who listens, as a request's answer is late, and gives it the
// rest of its time.
func (c *Conn) late(n uint64) {
	t := &c.calls
	t.mu.Lock()
	p := t.waiting[n]
	if p != nil {
		p.timer = time.AfterFunc(p.rest, func() { t.finish(n, nil, &Error{Timeout, "no answer in time"}) })
	}
	t.mu.Unlock()
	if p == nil {
		return
	}
	c.Listens(p.subject, func(l Listening) {
		if l.Known && !l.There {
			t.finish(n, nil, &Error{Unavailable, "nobody listens"})
		}
	})
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
	if p != nil {
		p.timer.Stop()
	}
	t.mu.Unlock()
	if p == nil {
		return // answered already, or too late
	}
	p.done(body, err)
}

// answered takes what arrives on the inbox.
func (c *Conn) answered(m *Msg) {
	last := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	if token, ok := traceToken(last); ok {
		c.traces.reported(token, m.Data)
		return
	}
	n, err := strconv.ParseUint(last, 10, 64)
	if err != nil {
		return
	}
	if NoResponders(m) {
		c.calls.finish(n, nil, &Error{Unavailable, "nobody listens"})
		return
	}
	body, err, ours := parseAnswer(m.Data)
	if !ours {
		c.Foreign(m.Subject)
		return
	}
	c.calls.finish(n, body, err)
}

// Foreign takes note of an answer that no node of ours gave. Something answers
// whatever is published, such as a stream on all subjects; it is ignored.
func (c *Conn) Foreign(subject string) {
	if c.foreign.Add(1) == 1 {
		c.cfg.Log.Warn("something else answers what nodes ask each other: a stream or a responder on their subjects; it is ignored",
			"node", c.cfg.Name, "subject", subject)
	}
}

// Foreigners returns how many answers were no node's of ours, since Open.
func (c *Conn) Foreigners() uint64 { return c.foreign.Load() }

func appendHead(b []byte, deadline time.Time, from ClockID) []byte {
	return AppendUint(AppendUint(b, uint64(deadline.UnixMilli())), uint64(from))
}

// parseRequest reads a request.
func parseRequest(b []byte) (deadline time.Time, from ClockID, body []byte, ok bool) {
	r := Reader{b: b}
	deadline, from = time.UnixMilli(int64(r.Uint())), ClockID(r.Uint32())
	return deadline, from, r.Rest(), r.Err() == nil
}

// noRequest is the body of a trace.
var noRequest = []byte{0}

// appendResult appends an answer.
func appendResult(b, body []byte, err *Error) []byte {
	b = append(b, answerMark)
	if err != nil {
		return AppendString(AppendString(append(b, 1), err.Code), err.Message)
	}
	return append(append(b, 0), body...)
}

// parseAnswer reads an answer; ours is false for what is none.
func parseAnswer(b []byte) (body []byte, err error, ours bool) {
	r := Reader{b: b}
	if r.Byte() != answerMark {
		return nil, nil, false
	}
	if !r.Bool() {
		return r.Rest(), nil, r.Err() == nil
	}
	e := &Error{Code: r.String(), Message: r.String()}
	return nil, e, r.Err() == nil && e.Code != ""
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
	if m.Reply == "" && bytes.Equal(m.Data, noRequest) {
		return // a trace, on a NATS server that knows none
	}
	deadline, from, body, ok := parseRequest(m.Data)
	if !ok || m.Reply == "" {
		c.cfg.Log.Warn("malformed request", "node", c.cfg.Name, "subject", m.Subject)
		return
	}
	left := c.Until(from, deadline, time.Now())
	if left <= 0 {
		return // the caller has given up: it may have asked somebody else
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	body, err := f(ctx, body)
	var refusal *Error
	if err != nil {
		if refusal = AsError(err); refusal.Code == Internal {
			c.cfg.Log.Error("request failed", "node", c.cfg.Name, "subject", m.Subject, "err", err)
		}
	}
	answer := appendResult(make([]byte, 0, 2+len(body)), body, refusal)
	if err := c.Publish(m.Reply, answer); err != nil {
		c.cfg.Log.Warn("answer request", "node", c.cfg.Name, "subject", m.Subject, "err", err)
	}
}
