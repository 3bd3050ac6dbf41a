package kv

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"roomd/bus"
)

// ShardKind is the kind under which workers own shards, as they own rooms; the
// id is the shard's number. No author's kind has such a name.
const ShardKind = "_kv"

// ShardKey is the name of a shard in the whole system.
func ShardKey(shard int) string { return bus.Key(ShardKind, strconv.Itoa(shard)) }

// PageKind is the kind of the records that a shard's pages are in.
const PageKind = "_kv-page"

// PageKey is the key of the record of a shard's page.
func PageKey(shard string, page int) string {
	_, id, _ := bus.SplitKey(shard)
	return bus.Key(PageKind, id+"-"+strconv.Itoa(page))
}

// MaxShards is how many shards there may be.
const MaxShards = 1024

// A remote is the Store that all nodes of a system share: it finds the shard for
// each command and asks its owner.
type remote struct {
	commands
	d       *dispatcher
	conn    *bus.Conn
	cfg     Config
	shards  []shardLinks
	limit   int // bytes of a command
	news    chan *bus.Msg
	closing chan struct{}
	running sync.WaitGroup
	once    sync.Once

	latest moment // of the last message that was delivered; belongs to deliverNews

	mu    sync.Mutex // guards heard
	heard map[listened]*bus.Subscription
}

// shardLinks are the ways to one shard.
type shardLinks struct {
	link   *link
	blocks *link // for blocking commands
}

const defaultTimeout = 5 * time.Second

// Open returns the store that all nodes of a system share. It waits until a
// worker says how many shards there are, as long as ctx lasts. The connection
// must outlive the store.
func Open(ctx context.Context, conn *bus.Conn, cfg Config) (Store, error) {
	for {
		n, err := countShards(ctx, conn)
		if err == nil {
			return OpenShards(conn, cfg, n), nil
		}
		select {
		case <-ctx.Done():
			return nil, bus.Errorf(bus.Unavailable, "open kv: no worker answers: %v", err)
		case <-time.After(reopenEvery):
		}
	}
}

// countShards asks any worker.
func countShards(ctx context.Context, conn *bus.Conn) (int, error) {
	body := bus.AppendString(bus.AppendString(nil, ShardKind), "")
	answer, err := conn.Request(ctx, conn.Subjects().Open(ShardKind), body)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(bus.NewReader(answer).String())
	if err == nil && (n < 1 || n > MaxShards) {
		err = errors.New("answer is out of range")
	}
	return n, err
}

// OpenShards is Open for those who know how many shards there are.
func OpenShards(conn *bus.Conn, cfg Config, shards int) Store {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	s := &remote{
		conn: conn, cfg: cfg, limit: conn.MaxPayload() - 4096, heard: make(map[listened]*bus.Subscription),
		news: make(chan *bus.Msg, newsQueue), closing: make(chan struct{}),
	}
	s.commands = newCommands(s, cfg)
	s.d = newDispatcher(s)
	for i := range shards {
		links := shardLinks{newLink(conn, i, false), newLink(conn, i, true)}
		s.shards = append(s.shards, links)
		s.running.Go(links.link.run)
		s.running.Go(links.blocks.run)
	}
	s.running.Go(s.deliverNews)
	if shards > 1 {
		return inTurn{s}
	}
	return s
}

// inTurn is a store without Start: with several shards commands may overtake one
// another.
type inTurn struct{ Store }

// newsQueue is how many messages may wait to be given to the subscribers' own
// queues, which takes microseconds.
const newsQueue = 1 << 16

// Close implements Store.
func (s *remote) Close() {
	s.once.Do(func() {
		s.d.close()
		close(s.closing)
		for _, links := range s.shards {
			links.link.close()
			links.blocks.close()
		}
		s.mu.Lock()
		heard := s.heard
		s.heard = make(map[listened]*bus.Subscription)
		s.mu.Unlock()
		for _, sub := range heard {
			_ = sub.Unsubscribe() // fails only if the connection is closed
		}
	})
	s.running.Wait()
}

// NewSubscriber implements PubSub.
func (s *remote) NewSubscriber() Subscriber { return s.d.NewSubscriber() }

// Do implements Store.
func (s *remote) Do(ctx context.Context, argv [][]byte) ([]byte, error) {
	if len(argv) == 0 {
		return nil, refused("empty command")
	}
	if err := s.checkSizes(argv); err != nil {
		return nil, err
	}
	return s.do(ctx, argv)
}

type result struct {
	reply []byte
	err   error
}

// do implements doer.
func (s *remote) do(ctx context.Context, argv [][]byte) ([]byte, error) {
	r, err := s.route(argv)
	if err != nil {
		return nil, err
	}
	if r.gather != nil {
		return r.gather(ctx, argv)
	}
	if r.reply != nil {
		return r.reply, nil
	}
	return s.ask(ctx, r, argv)
}

// ask runs a command on one shard.
func (s *remote) ask(ctx context.Context, r route, argv [][]byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	results := make(chan result, 1)
	l, c, err := s.start(r, argv, func(reply []byte, err error) { results <- result{reply, err} })
	if err != nil {
		return nil, err
	}
	var timeout <-chan time.Time
	if r.timeout > 0 {
		timer := time.NewTimer(r.timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case res := <-results:
		return res.reply, res.err
	case <-timeout:
		l.stop(c, false)
	case <-ctx.Done():
		l.stop(c, true)
		if !r.blocks {
			return nil, ctx.Err()
		}
	}
	res := <-results // soon; it may have got something just now
	if ctx.Err() == nil || res.err != nil {
		return res.reply, res.err
	}
	if !bytes.Equal(res.reply, nullReply) && !s.giveBack(r, argv[0], res.reply) {
		return res.reply, nil // else it would be lost
	}
	return nil, ctx.Err()
}

// giveBack puts an element back that was popped for a caller who has gone.
func (s *remote) giveBack(r route, name, reply []byte) (ok bool) {
	k := kept{kind: keptAs(name), reply: reply}
	if !k.handed() {
		return true
	}
	argv, ok := k.giveBack()
	if !ok {
		return false
	}
	reply, err := s.ask(context.Background(), route{shard: r.shard}, argv) // at the latest after its timeout
	return err == nil && len(reply) > 0 && reply[0] != '-'
}

// Start runs a command as Do does and returns at once. Commands of one caller
// are applied in the order of his calls, blocking ones apart. done is called once, and must not block; argv may be used again
// when Start returns.
func (s *remote) Start(ctx context.Context, argv [][]byte, done func(reply []byte, err error)) {
	err := s.checkSizes(argv)
	var r route
	if err == nil {
		r, err = s.route(argv)
	}
	switch {
	case err != nil:
		done(nil, err)
	case r.reply != nil:
		done(r.reply, nil)
	case r.gather != nil || r.blocks:
		own := make([][]byte, len(argv))
		for i, arg := range argv {
			own[i] = bytes.Clone(arg)
		}
		s.running.Go(func() { done(s.do(ctx, own)) })
	default:
		if _, _, err := s.start(r, argv, done); err != nil {
			done(nil, err)
		}
	}
}

// start hands a command to the link it goes by.
func (s *remote) start(r route, argv [][]byte, done func([]byte, error)) (*link, *call, error) {
	size := 16
	for _, arg := range argv {
		size += len(arg) + 10
	}
	if size > s.limit {
		return nil, nil, &told{"command of " + strconv.Itoa(size) + " bytes: NATS carries " + strconv.Itoa(s.limit), ErrCommandTooLarge}
	}
	c := &call{op: opRun, body: appendArgs(make([]byte, 0, size), argv), once: r.publishes, done: done}
	l := s.shards[r.shard].link
	if r.blocks {
		l = s.shards[r.shard].blocks
	} else {
		c.until = time.Now().Add(s.cfg.Timeout)
	}
	l.start(c)
	return l, c, nil
}

// listen implements upstream: NATS brings the messages, and the first shard
// counts who listens.
func (s *remote) listen(ctx context.Context, name string, pattern bool, n int) (moment, error) {
	if n > 0 {
		if err := s.hear(name, pattern); err != nil {
			return moment{}, err
		}
		if err := s.conn.Flush(ctx); err != nil {
			return moment{}, err
		}
	}
	results := make(chan result, 1)
	what := listened{pattern, name}
	s.shards[0].link.start(&call{
		op: opListen, body: appendListen(nil, what, n), what: what, ends: n == 0, until: time.Now().Add(s.cfg.Timeout),
		done: func(reply []byte, err error) { results <- result{reply, err} },
	})
	var res result
	select {
	case res = <-results: // at the latest after its timeout
	case <-ctx.Done():
		return moment{}, ctx.Err()
	}
	if res.err != nil {
		return moment{}, res.err
	}
	if n == 0 {
		s.unhear(name, pattern)
	}
	if res.reply == nil {
		return moment{}, nil // from an owner of an earlier version, which confirms and says no more
	}
	since, ok := parseMoment(res.reply)
	if !ok {
		return moment{}, errors.New("listen: malformed reply")
	}
	return since, nil
}

// allNews is what is subscribed to for patterns: everything, in place of the
// channels, so that no message comes twice.
var allNews = listened{pattern: true}

func (s *remote) hear(name string, pattern bool) error {
	what, subject := listened{false, name}, s.conn.Subjects().News(name)
	if pattern {
		what, subject = allNews, s.conn.Subjects().AllNews()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard[what] != nil {
		return nil
	}
	sub, err := s.conn.Subscribe(subject, "", s.news)
	if err == nil {
		s.heard[what] = sub
	}
	return err
}

func (s *remote) unhear(name string, pattern bool) {
	what := listened{false, name}
	s.mu.Lock()
	defer s.mu.Unlock()
	if pattern {
		if _, patterns := s.d.counts(); len(patterns) > 0 {
			return
		}
		what = allNews
	}
	sub := s.heard[what]
	delete(s.heard, what)
	if sub != nil {
		_ = sub.Unsubscribe() // fails only if the connection is closed
	}
}

// deliverNews brings what is published to the subscribers. A message that comes
// by a channel's subscription and by that to all is one: they have numbers.
func (s *remote) deliverNews() {
	for {
		select {
		case m := <-s.news:
			n, ok := parseNews(m.Data)
			if !ok || !s.latest.before(n.moment) {
				continue
			}
			s.latest = n.moment
			s.d.deliver(n.moment, n.channel, n.text)
		case <-s.closing:
			return
		}
	}
}
