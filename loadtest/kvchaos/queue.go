package kvchaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// Queues: producers here, consumers in processes that are killed.

const (
	queueKey    = "kvchaos:queue:"
	queues      = 4
	quietKey    = "kvchaos:quiet:"
	consumers   = 8 // processes
	each        = 4 // connections of each
	waitAtMost  = 2500 * time.Millisecond
	blockWithin = 150 * time.Millisecond // of a waiter's word that it is about to wait
	quietWait   = 10 * time.Second       // for an element that is there
	quietTries  = 5
)

func queueKeys() (keys []string) {
	for i := range queues {
		keys = append(keys, queueKey+strconv.Itoa(i))
	}
	return keys
}

// A producer pushes elements of which each is the only one.
type producer struct {
	*client
	id     int
	now    func() time.Duration
	pushes []Push
}

func (p *producer) push(ctx context.Context, rng *rand.Rand) {
	e := Push{Element: fmt.Sprintf("e%d.%d", p.id, len(p.pushes)), Sent: p.now()}
	_, e.Fate = p.do(ctx, "LPUSH", queueKey+strconv.Itoa(rng.IntN(queues)), e.Element)
	e.Done = p.now()
	p.pushes = append(p.pushes, e)
}

// A pool is the consumers, of which one is killed now and then.
type pool struct {
	addrs  []string
	now    func() time.Duration
	living [consumers]*consumer
	gone   []*consumer
	killed int
	births int
}

func (p *pool) start(i int) (err error) {
	p.births++
	first := i % len(p.addrs)
	addrs := append(append([]string{}, p.addrs[first:]...), p.addrs[:first]...)
	p.living[i], err = startConsumer("c"+strconv.Itoa(p.births), addrs, queueKeys(), each, waitAtMost, p.now)
	return err
}

// run kills one every now and then, until ctx ends.
func (p *pool) run(ctx context.Context, rng *rand.Rand, every time.Duration) error {
	if every <= 0 {
		return nil
	}
	for sleep(ctx, every/2+time.Duration(rng.Int64N(int64(every)))) {
		i := rng.IntN(consumers)
		if err := p.living[i].kill(p.now); err != nil {
			return err
		}
		p.gone = append(p.gone, p.living[i])
		p.killed++
		if err := p.start(i); err != nil {
			return err
		}
	}
	return nil
}

// stop ends all consumers in order.
func (p *pool) stop() error {
	errs := make([]error, consumers)
	var stopping sync.WaitGroup
	for i, c := range p.living {
		if c != nil {
			stopping.Go(func() { errs[i] = c.stop() })
			p.gone = append(p.gone, c)
		}
		p.living[i] = nil
	}
	stopping.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// popped is how many elements the consumers have got so far.
func (p *pool) popped() int {
	n := 0
	for _, c := range append(p.living[:], p.gone...) {
		if c != nil {
			c.mu.Lock()
			n += len(c.pops)
			c.mu.Unlock()
		}
	}
	return n
}

// A lane kills waiters while nobody pushes: what is pushed once they are dead
// must be there for the next. Here nothing is excused.
type lane struct {
	*client // pushes, and pops as the next waiter
	id      int
	now     func() time.Duration
	quiets  []Quiet
}

func (l *lane) run(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		key := quietKey + strconv.Itoa(l.id) + "." + strconv.Itoa(n)
		i := (l.id + n) % len(l.addrs)
		w, err := startConsumer("quiet", l.addrs[i:i+1], []string{key}, 1, time.Minute, l.now)
		if err != nil {
			return err
		}
		select { // it connects as soon as its server is there
		case <-w.waiting:
			sleep(ctx, blockWithin)
		case <-ctx.Done():
		}
		if err := w.kill(l.now); err != nil {
			return err
		}
		if len(w.pops) > 0 || ctx.Err() != nil || !sleep(ctx, noticeWithin) {
			continue
		}
		l.quiets = append(l.quiets, l.next(ctx, key))
	}
	return nil
}

// next pushes, and pops as the next waiter does.
func (l *lane) next(ctx context.Context, key string) Quiet {
	q := Quiet{Key: key, Certain: true}
	if _, q.Pushed = l.do(ctx, "LPUSH", key, "x"); q.Pushed != Acked {
		return q
	}
	for range quietTries {
		v, fate := l.doWithin(ctx, patience+quietWait, "BRPOP", key, strconv.Itoa(int(quietWait.Seconds())))
		switch {
		case fate == Acked:
			q.Got = len(v.Elems) == 2
			return q
		case fate == Unknown:
			q.Certain = false
		}
	}
	q.Certain = false
	return q
}
