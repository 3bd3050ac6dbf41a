package kv

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"roomd/kv/engine"
	"roomd/kv/resp"
)

// Memory is a [Store] for a process by itself: what it keeps is gone with the
// process, unless [Memory.Save] wrote it to a file. It is for tests,
// development, and services that run alone.
//
// All commands run one after the other, so each sees what the one before has
// done. A value may have up to 1 MiB.
type Memory struct {
	commands
	heard *dispatcher

	mu      sync.Mutex // guards what follows; never held over a callback of users
	engine  *engine.Engine
	engines uint64 // how many there have been, to tell their versions apart
	waiting int    // commands that wait
	closed  bool

	sweeper *time.Timer    // calls sweep; its calls are counted by running
	sweepAt int64          // when that is to be, ms since 1970; 0: it is not
	running sync.WaitGroup // sweeps due, and what Start has begun
	over    chan struct{}  // closed by Close
}

var _ Store = (*Memory)(nil)

// A wait is a command that waits.
type wait struct {
	engine.Waiter
	done   bool          // it was served or cancelled; guarded by Memory.mu
	served chan struct{} // closed when what follows is there
	reply  []byte
	took   engine.Taken
}

// NewMemory returns an empty store. Close it after use.
func NewMemory() *Memory {
	m := &Memory{
		heard: newDispatcher(nil),
		over:  make(chan struct{}),
	}
	m.commands = newCommands(m, Config{})
	m.engine = m.newEngine()
	m.sweeper = time.AfterFunc(math.MaxInt64, m.sweep)
	m.sweeper.Stop()
	return m
}

// newEngine returns an engine whose versions nobody has seen. m.mu is held.
func (m *Memory) newEngine() *engine.Engine {
	m.engines++
	return engine.New(m.engines<<40, m.heard)
}

// Close implements [Store]. Commands fail afterwards; what is kept can still be
// saved.
func (m *Memory) Close() {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.over)
		if m.sweeper.Stop() {
			m.running.Done()
		}
	}
	m.mu.Unlock()
	m.heard.close()
	m.running.Wait()
}

// NewSubscriber implements [PubSub].
func (m *Memory) NewSubscriber() Subscriber { return m.heard.NewSubscriber() }

// Do implements [Store]. argv must not be changed before it has returned.
//
// When ctx ends while a command waits, it has taken nothing: what it was just
// given goes back to where it was.
func (m *Memory) Do(ctx context.Context, argv [][]byte) (reply []byte, err error) {
	if err := m.checkSizes(argv); err != nil {
		return nil, err
	}
	return m.do(ctx, argv)
}

// Start is [Memory.Do] for callers that don't want to wait: done is called once,
// with the outcome, before Start returns if the command did not have to wait. argv
// is not used any more when Start has returned. done must not block.
func (m *Memory) Start(ctx context.Context, argv [][]byte, done func(reply []byte, err error)) {
	err := m.checkSizes(argv)
	if err != nil {
		done(nil, err)
		return
	}
	reply, w, err := m.begin(ctx, argv, true)
	if w == nil {
		done(reply, err)
		return
	}
	go func() {
		defer m.running.Done()
		done(m.await(ctx, w))
	}()
}

func (m *Memory) do(ctx context.Context, argv [][]byte) (reply []byte, err error) {
	reply, w, err := m.begin(ctx, argv, false)
	if w != nil {
		return m.await(ctx, w)
	}
	return reply, err
}

// begin runs a command, or returns that it waits. If started, the wait counts as
// running.
func (m *Memory) begin(ctx context.Context, argv [][]byte, started bool) (reply []byte, w *wait, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if len(argv) == 0 {
		return resp.AppendError(nil, "ERR empty command"), nil, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, errStoreClosed
	}
	reply, blocked := m.runLocked(argv)
	if !blocked {
		return reply, nil, nil
	}
	w = &wait{served: make(chan struct{})}
	w.Argv = argv
	if started { // argv is the caller's again
		w.Argv = make([][]byte, len(argv))
		for i, arg := range argv {
			w.Argv[i] = bytes.Clone(arg)
		}
	}
	w.Served = func(reply []byte, took engine.Taken) {
		w.reply, w.took = slices.Clone(reply), took
		w.took.Key, w.took.Value = bytes.Clone(took.Key), bytes.Clone(took.Value)
		w.done = true
		m.waiting--
		close(w.served)
	}
	m.waiting++
	m.engine.Wait(&w.Waiter)
	m.rearm()
	if started {
		m.running.Add(1)
	}
	return nil, w, nil
}

// runLocked runs a command now. m.mu is held.
func (m *Memory) runLocked(argv [][]byte) (reply []byte, blocked bool) {
	reply, blocked = m.engine.Do(time.Now().UnixMilli(), argv, nil)
	m.engine.ResetEffects()
	m.rearm()
	return reply, blocked
}

// await returns the reply to a command that waits: null when its time is over.
func (m *Memory) await(ctx context.Context, w *wait) (reply []byte, err error) {
	var timeout <-chan time.Time
	if d := timeoutOf(w.Argv); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-w.served:
	case <-timeout:
		reply = resp.AppendNull(nil)
	case <-ctx.Done():
	case <-m.over:
		err = errStoreClosed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !w.done {
		w.done = true
		m.waiting--
		m.engine.Cancel(&w.Waiter)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return reply, err
	}
	if ctx.Err() != nil && m.giveBack(w) { // whoever asked has gone
		return nil, ctx.Err()
	}
	return w.reply, nil
}

// giveBack undoes what serving a wait did. It fails if another kind of value has
// taken the key's place. m.mu is held.
func (m *Memory) giveBack(w *wait) (done bool) {
	var undo [][]byte
	switch took := w.took; {
	case !took.Any:
		undo = [][]byte{[]byte("UNHOLD"), w.Argv[1], w.Argv[2]}
	case took.Sorted:
		undo = [][]byte{[]byte("ZADD"), took.Key, resp.AppendFloat(nil, took.Score), took.Value}
	case took.Left:
		undo = [][]byte{[]byte("LPUSH"), took.Key, took.Value}
	default:
		undo = [][]byte{[]byte("RPUSH"), took.Key, took.Value}
	}
	reply, _ := m.runLocked(undo)
	return reply[0] != '-'
}

// timeoutOf returns how long a command that blocks may wait; 0: for ever. The
// engine has checked it.
func timeoutOf(argv [][]byte) time.Duration {
	if len(argv) < 3 || bytes.EqualFold(argv[0], []byte("HOLD")) {
		return 0
	}
	seconds, err := resp.ParseFloat(string(argv[len(argv)-1]))
	if err != nil || seconds <= 0 {
		return 0
	}
	if ns := math.Ceil(seconds*1e3) * 1e6; ns < math.MaxInt64 {
		return time.Duration(ns)
	}
	return 0 // 292 years
}

// sweepKeys is how many expired keys are removed at a time, before others get
// their turn.
const sweepKeys = 1000

// rearm sets the sweeper to when the engine has something to do. m.mu is held.
func (m *Memory) rearm() {
	at := m.engine.NextEvent()
	if at == m.sweepAt || m.closed {
		return
	}
	if m.sweepAt = at; at == 0 {
		if m.sweeper.Stop() {
			m.running.Done()
		}
		return
	}
	if !m.sweeper.Reset(time.Until(time.UnixMilli(at))) {
		m.running.Add(1)
	}
}

func (m *Memory) sweep() {
	defer m.running.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.sweepAt = 0
	m.engine.Sweep(time.Now().UnixMilli(), sweepKeys)
	m.engine.ResetEffects()
	m.rearm()
}
