package rooms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// Config says how a worker runs. The zero Config is usable.
type Config struct {
	MaxRooms      int           // in memory at once; those that are being opened too; if no worker has room more are refused as overloaded; zero means 100,000
	Shards        int           // goroutines that take commands off NATS; zero means GOMAXPROCS, at most 4
	Writers       int           // records written at once; zero means 8
	KVShards      int           // parts of the shared data (package kv), the same for all workers and for ever; zero means 1
	PresenceEvery time.Duration // how long presence changes are collected; zero means 50 ms
	Drain         time.Duration // how long the end of Run may take to write records; zero means 10 s
	Log           *slog.Logger  // nil means slog.Default()
}

func (cfg Config) check() (Config, error) {
	for name, v := range map[string]int{
		"MaxRooms": cfg.MaxRooms, "Shards": cfg.Shards, "Writers": cfg.Writers, "KVShards": cfg.KVShards,
		"PresenceEvery": int(cfg.PresenceEvery), "Drain": int(cfg.Drain),
	} {
		if v < 0 {
			return cfg, fmt.Errorf("rooms config: %s is %d, must not be negative", name, v)
		}
	}
	setDefault(&cfg.MaxRooms, 100_000)
	setDefault(&cfg.Shards, min(runtime.GOMAXPROCS(0), 4))
	setDefault(&cfg.Writers, 8)
	setDefault(&cfg.KVShards, 1)
	if cfg.KVShards > kv.MaxShards {
		return cfg, fmt.Errorf("rooms config: KVShards is %d, must be at most %d", cfg.KVShards, kv.MaxShards)
	}
	setDefault(&cfg.PresenceEvery, 50*time.Millisecond)
	setDefault(&cfg.Drain, 10*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return cfg, nil
}

// A Worker runs rooms of the kinds it was given. Its methods may be called from
// any goroutine.
type Worker struct {
	cfg     Config
	conn    *bus.Conn
	store   *kv.Records
	logs    *kv.Logs
	kinds   map[string]*Kind
	nodes   *bus.Nodes
	metrics metrics
	begin   time.Time // zero of the rooms' clock
	started atomic.Bool

	shards    []*shard
	queue     *runQueue
	keysQueue *runQueue // of kv's shards: rooms that wait for kv must not be before them
	alarms    *alarms
	keeper    *keeper
	lists     listCache
	tickSeed  atomic.Uint64
	faultAt   atomic.Int64 // when a fault in authors' code was last logged
	draining  atomic.Bool
	behind    atomic.Int64              // messages by which a record may be behind the log; see recordLag
	own       atomic.Pointer[ownership] // nil while there is none
	owning    chan struct{}             // closed when there is one for the first time
	ready     chan struct{}             // closed when the worker opens rooms
	away      chan struct{}             // has something when this worker may have been replaced
	survey    chan struct{}             // has something when dead runs are to be looked for
	tails     tails
	unacked   unacked
	everyone  *endpoint // all edges

	serving  context.Context // ends when the worker leaves service; set by Run before anybody can ask for a room
	roomsCtx context.Context // what Go's functions get; ends when all rooms are gone
	endRooms context.CancelFunc
	goes     sync.WaitGroup // functions that Room.Go started
	shared   sharedStore
	runners  sync.WaitGroup

	mu        sync.RWMutex // guards what follows; not held over I/O or callbacks
	rooms     map[string]*Room
	opening   int                      // rooms that are being claimed and built: not in rooms yet, but they will be
	moving    map[string]chan struct{} // keys of rooms that are being opened or given up; closed afterwards
	endpoints map[bus.Address]*endpoint
	barriers  map[*bus.Msg]chan struct{} // in the shards' channels
	orphans   map[string]uint64          // by key: needed rooms that were given up, and the generation of their records
	pins      map[string]pin             // by key: rooms that are gone, but not what the log has of them
}

// A shard is a channel that the In subjects of many rooms share, and the
// goroutine that sorts what comes into mailboxes.
type shard struct {
	in chan *bus.Msg
}

// shardQueue is how many envelopes may wait for a shard's goroutine, which only
// sorts. When it is full NATS loses what comes, and edges run into deadlines. It
// holds about all that the server keeps for one connection (bus: 16 MB, and the
// smallest envelope is 150 bytes there): on one CPU the connection's reader can
// get that far ahead before the shard runs again, and then the rooms' mailboxes
// are to refuse what is too much, with a code.
const shardQueue = 1 << 17

// sortAtOnce is how many envelopes a shard sorts before it lets rooms run.
const sortAtOnce = 256

// NewWorker returns a worker for the given kinds. It does nothing before Run.
func NewWorker(conn *bus.Conn, store *kv.Records, logs *kv.Logs, cfg Config, kinds ...Kind) (*Worker, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, conn: conn, store: store, logs: logs, begin: time.Now(),
		kinds: make(map[string]*Kind), rooms: make(map[string]*Room),
		moving: make(map[string]chan struct{}), endpoints: make(map[bus.Address]*endpoint),
		barriers: make(map[*bus.Msg]chan struct{}), pins: make(map[string]pin), orphans: make(map[string]uint64),
		owning: make(chan struct{}), ready: make(chan struct{}), survey: make(chan struct{}, 1), away: make(chan struct{}, 1),
	}
	for _, k := range kinds {
		if k, err = k.check(); err != nil {
			return nil, err
		}
		if w.kinds[k.Name] != nil {
			return nil, fmt.Errorf("kind %q is given twice", k.Name)
		}
		w.kinds[k.Name] = &k
	}
	for range cfg.Shards {
		w.shards = append(w.shards, &shard{in: make(chan *bus.Msg, shardQueue)})
	}
	w.behind.Store(recordLag)
	w.everyone = &endpoint{subject: conn.Subjects().Announce()}
	w.metrics = newMetrics(w)
	w.roomsCtx, w.endRooms = context.WithCancel(context.Background())
	w.kinds[kv.ShardKind] = &Kind{Name: kv.ShardKind, Durability: Commit, EmptyFor: -1}
	w.queue = newRunQueue(runtime.GOMAXPROCS(0), func() { w.runners.Go(func() { w.runRooms(w.queue) }) })
	w.keysQueue = newRunQueue(1, func() { w.runners.Go(func() { w.runRooms(w.keysQueue) }) })
	w.alarms = newAlarms(func() int64 { return w.clock(time.Now()) }, w.wake)
	w.keeper = newKeeper(w)
	w.nodes = bus.NewNodes(conn, "worker", func() uint64 { return uint64(w.Len()) }, w.lostNode)
	w.nodes.OnMissed(w.doubtSoon)
	return w, nil
}

// Ready is closed when the worker opens rooms.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Run opens rooms on demand, takes over those of workers that have died, and
// runs them until ctx ends. Then it takes no new ones, writes every room's
// record, has others open the rooms that somebody needs, and returns; by then
// every goroutine it started has ended. A Worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return errors.New("rooms: worker was run before")
	}
	defer w.endRooms()
	// Whatever serves the rooms ends after them.
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	defer endServing()
	writing, endWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer endWriting()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	w.serving = ctx
	var services, keepers, owning sync.WaitGroup
	for _, s := range w.shards {
		services.Go(func() { w.sort(serving, s) })
	}
	services.Go(func() { w.alarms.run(serving) })
	services.Go(func() { w.watchPauses(serving) })
	services.Go(func() { fail(w.nodes.Run(serving)) })
	w.queue.open()
	w.keysQueue.open()
	for range w.cfg.Writers {
		keepers.Go(func() { w.keeper.run(writing) })
	}
	owning.Go(func() { fail(w.keepOwning(writing)) })

	stop := w.serveSoon(ctx, fail)
	services.Go(func() { w.runSurveys(ctx) })
	services.Go(func() { w.cutLogs(ctx) })
	<-ctx.Done()
	w.draining.Store(true)
	stop()
	defer time.AfterFunc(w.cfg.Drain, endWriting).Stop()
	w.drain(writing)
	w.keeper.close()
	keepers.Wait()
	w.endRun(endWriting)
	owning.Wait()
	w.deleteLog(writing)
	w.endRooms()
	w.goes.Wait()
	w.shared.close()
	endServing()
	services.Wait()
	w.queue.close()
	w.keysQueue.close()
	w.runners.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// serveSoon opens rooms as soon as the worker can own any, until stop is called.
func (w *Worker) serveSoon(ctx context.Context, fail context.CancelCauseFunc) (stop func()) {
	select {
	case <-w.owning:
	case <-ctx.Done():
		return func() {}
	}
	stop, err := w.serve(ctx)
	if err != nil {
		fail(err)
		return stop
	}
	close(w.ready)
	return stop
}

// drainAtOnce is how many rooms are on their way to another worker at a time:
// few, since each is away for as long as all of those take together.
const drainAtOnce = 16

// drainInHaste is how many when half of Config.Drain has passed. Nobody is asked
// to open those then: rooms with members come back as edges miss their worker,
// the others when somebody joins.
const drainInHaste = 512

// drain gives all rooms up, some at a time, and waits until they are gone. When
// Config.Drain has passed ctx ends, and with it the writing of records and of
// the log, and what is left goes as it is.
func (w *Worker) drain(ctx context.Context) {
	calm, endCalm := context.WithTimeout(ctx, w.cfg.Drain/2)
	defer endCalm()
	slots := make(chan struct{}, drainAtOnce)
	release := func(r *Room) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-calm.Done():
		}
		w.release(r)
		if r.wanted.Load() && calm.Err() == nil {
			w.handOff(calm, r)
		}
	}
	for {
		w.mu.RLock()
		moving := slices.Collect(maps.Values(w.moving))
		var rooms, shards []*Room
		for key, r := range w.rooms {
			switch {
			case w.moving[key] != nil:
			case r.keys != nil:
				shards = append(shards, r)
			default:
				rooms = append(rooms, r)
			}
		}
		if len(rooms)+len(moving) == 0 {
			rooms = shards // last, as rooms may need them until they are gone
		}
		w.mu.RUnlock()
		if len(rooms) == 0 && len(moving) == 0 {
			return
		}
		atOnce(drainInHaste, rooms, release)
		for _, gone := range moving {
			<-gone
		}
	}
}

// release gives a room up and waits until it is gone.
func (w *Worker) release(r *Room) {
	told := make(chan struct{})
	w.post(r, func(r *Room) {
		if r.phase == live {
			r.phase = leaving
			r.depart()
		}
		close(told)
	})
	<-told
	w.mu.RLock()
	gone := w.moving[r.key]
	w.mu.RUnlock()
	if gone != nil {
		<-gone
	}
}

// Len returns how many rooms are in memory.
func (w *Worker) Len() int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.rooms)
}

// clock is the time of rooms: nanoseconds since the worker was made, never 0.
func (w *Worker) clock(t time.Time) int64 { return int64(t.Sub(w.begin)) + 1 }

// nextPhase spreads the ticks of rooms.
func (w *Worker) nextPhase() uint32 {
	return uint32(w.tickSeed.Add(0x9e3779b97f4a7c15) >> 33)
}

// endpoint returns what all rooms share about an address.
func (w *Worker) endpoint(a bus.Address) *endpoint {
	w.mu.RLock()
	e := w.endpoints[a]
	w.mu.RUnlock()
	if e != nil {
		return e
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e = w.endpoints[a]; e == nil {
		e = &endpoint{a, w.conn.Subjects().Out(a), bus.ClockOf(a.Edge())}
		w.endpoints[a] = e
	}
	return e
}

// lostNode marks the members on an edge that is gone as away, and looks after
// the rooms of a worker that is gone.
func (w *Worker) lostNode(node bus.Node) {
	if node.Role != "edge" {
		w.surveySoon()
		return
	}
	w.mu.Lock()
	known := false
	for a := range w.endpoints {
		if a.Edge() == node.Name {
			known = true
			delete(w.endpoints, a)
		}
	}
	rooms := make([]*Room, 0, len(w.rooms))
	if known {
		for _, r := range w.rooms {
			rooms = append(rooms, r)
		}
	}
	w.mu.Unlock()
	for _, r := range rooms {
		w.post(r, func(r *Room) { r.loseEdge(node.Name) })
	}
}

// faultEvery is how often faults in authors' code are logged: a client could
// cause one per command.
const faultEvery = time.Second

// logFault logs an error of an author's callback that has no code.
func (w *Worker) logFault(r *Room, err error) {
	w.metrics.faults.Inc()
	now := r.turn.now
	last := w.faultAt.Load()
	if now-last >= int64(faultEvery) && w.faultAt.CompareAndSwap(last, now) || last == 0 {
		r.Log().Error("callback failed; more of these within a second are only counted", "err", err)
	}
}
