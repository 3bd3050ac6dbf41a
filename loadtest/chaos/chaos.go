package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"roomd/client"
	"roomd/loadtest/cluster"
)

// Config says what a run does. Cluster's Links and Dir are set by the run.
type Config struct {
	Seed    uint64
	For     time.Duration // of the load, faults and quiet end
	Kinds   []string      // of Kinds(), which the seed deals to the rooms; none: all
	Clients int
	Rooms   int
	Rate    float64  // commands a second, over all rooms
	Faults  []string // sorts, see ParseFaults
	Cluster cluster.Config
	Keep    bool // histories, logs and data, also when nothing was wrong

	Say func(string) // required; told what goes on, by several goroutines at once
}

// durability is what the rooms of a plot promise in this run: when the store was
// lost, only that members hear of it.
func (r *run) durability(d Durability) Durability {
	if slices.ContainsFunc(r.in.done, func(d Done) bool { return d.Sort == LoseStore && d.Took }) {
		return Durability{}
	}
	return d
}

// A run is one under way.
type run struct {
	cfg     *Config
	c       *cluster.Cluster
	base    time.Time     // clocks begin here
	from    time.Duration // when the load began; what is reported counts from there
	plots   []plot        // of the rooms
	players []*player
	rooms   [][]*player
	idle    map[*cluster.Process]cluster.Usage // before anybody came
	in      *inflictor
	own     *Pulse        // how late we are ourselves
	delays  []Delay       // of it, when the load is over
	loaded  time.Duration // when the load ended

	mu       sync.Mutex // guards visitors while there is load
	visitors [][]*player
}

func (r *run) now() time.Duration { return time.Since(r.base) }

// Run does a whole run. An error means that it could not be done; what was found
// out about the system is in the Result, violations too.
func Run(ctx context.Context, cfg Config) (result *Result, err error) {
	sorts, err := ParseFaults(cfg.Faults, cfg.Cluster.Single)
	if err != nil {
		return nil, err
	}
	kinds, err := ParseKinds(cfg.Kinds)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("chaos-%d-", cfg.Seed))
	if err != nil {
		return nil, err
	}
	Prepare(&cfg.Cluster, sorts)
	cfg.Cluster.Links, cfg.Cluster.Dir = !cfg.Cluster.Single, dir
	cfg.Say("starting the cluster")
	r := &run{cfg: &cfg, base: time.Now(), idle: make(map[*cluster.Process]cluster.Usage)}
	r.plots, r.visitors = deal(cfg.Seed, kinds, cfg.Rooms), make([][]*player, cfg.Rooms)
	if r.c, err = cluster.Start(ctx, cfg.Cluster); err != nil {
		return nil, cfg.failed(ctx, err, dir)
	}
	result, err = r.watched(ctx, sorts)
	if stopped := r.c.Stop(); stopped != nil && result != nil {
		result.add(Violation{Rule: RuleProcess, Text: stopped.Error()})
	}
	if result == nil {
		return nil, cfg.failed(ctx, errors.Join(err, r.closeAll()), dir)
	}
	if len(result.Violations) == 0 && !cfg.Keep {
		return result, os.RemoveAll(dir)
	}
	result.Dump = dir
	return result, r.dump(dir, result)
}

// failed names the directory in the error of a run that could not be done, or
// removes it if somebody has only lost patience.
func (cfg *Config) failed(ctx context.Context, err error, dir string) error {
	if ctx.Err() != nil && !cfg.Keep {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return fmt.Errorf("%w (data and logs: %s)", err, dir)
}

// watched is the run on a cluster that stands, with an eye on ourselves.
func (r *run) watched(ctx context.Context, sorts []string) (*Result, error) {
	r.own = StartPulse(r.now)
	defer r.own.Stop()
	return r.do(ctx, sorts)
}

// do is the run on a cluster that stands.
func (r *run) do(ctx context.Context, sorts []string) (*Result, error) {
	if err := r.measureIdle(ctx); err != nil {
		return nil, err
	}
	if err := r.enter(ctx); err != nil {
		return nil, err
	}
	r.from = r.now()
	r.in = newInflictor(r.c, func() time.Duration { return r.now() - r.from }, r.cfg.Say)
	faults := plan(r.cfg.Seed, r.cfg.For, sorts, r.in.system())
	if len(faults) == 0 {
		return nil, errors.New("no fault can be done: this needs more processes of a role")
	}
	replies, giveUp := context.WithCancel(ctx)
	defer giveUp()
	for _, p := range r.players {
		p.listen(replies)
	}
	r.cfg.Say(fmt.Sprintf("%d clients in %d rooms; %d faults to come, seed %d", len(r.players), len(r.rooms), len(faults), r.cfg.Seed))
	var inflicting sync.WaitGroup
	inflicting.Go(func() { r.in.run(ctx, faults) })
	r.load(ctx)
	r.loaded = r.now() - r.from
	inflicting.Wait()
	r.cfg.Say("waiting until all agree")
	finals := r.settle(ctx)
	giveUp()
	for _, p := range r.players {
		p.quit()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	result := r.judge(finals)
	if err := r.closeAll(); err != nil {
		return nil, err
	}
	r.cfg.Say("looking for leaks")
	for _, v := range r.leaks(ctx) {
		result.add(v)
	}
	result.Checks[didLeaks] += len(r.c.Nodes())
	result.Checks[didCrashes] += len(r.c.All())
	return result, nil
}

// enter brings all players into their rooms, some at a time. Members of a room
// start at the edges in turn.
func (r *run) enter(ctx context.Context) error {
	r.cfg.Say(fmt.Sprintf("connecting %d clients", r.cfg.Clients))
	const atOnce = 32
	urls := r.c.URLs()
	r.rooms = make([][]*player, r.cfg.Rooms)
	r.players = make([]*player, r.cfg.Clients)
	errs := make([]error, atOnce)
	var entering sync.WaitGroup
	for lane := range atOnce {
		entering.Go(func() {
			for i := lane; i < len(r.players) && errs[lane] == nil; i += atOnce {
				room, place := i%r.cfg.Rooms, i/r.cfg.Rooms
				first := (room + place) % len(urls)
				mine := slices.Concat(urls[first:], urls[:first])
				r.players[i], errs[lane] = enter(ctx, seating{
					name: fmt.Sprintf("c%d", i), plot: r.plots[room], room: r.roomID(room), urls: mine,
					distant: r.plots[room].synced && place%2 == 1,
				}, r.now)
			}
		})
	}
	entering.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, p := range r.players {
		r.rooms[i%r.cfg.Rooms] = append(r.rooms[i%r.cfg.Rooms], p)
	}
	return nil
}

func (r *run) roomID(i int) string { return fmt.Sprintf("chaos-%d", i) }

// every is the time between two commands to one room.
func (r *run) every() time.Duration {
	return time.Duration(float64(time.Second) * float64(r.cfg.Rooms) / r.cfg.Rate)
}

// load sends commands by the clock, whatever becomes of them, until the time is
// up. Members of a room take turns. Synced rooms have visitors besides.
func (r *run) load(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.For)
	defer cancel()
	var loading sync.WaitGroup
	defer loading.Wait()
	for i, players := range r.rooms {
		if r.plots[i].synced {
			loading.Go(func() { r.visits(ctx, i) })
		}
		loading.Go(func() {
			rng := rand.New(rand.NewPCG(r.cfg.Seed, uint64(i)+2))
			if r.plots[i].quiet {
				r.quiet(ctx, rng, players)
				return
			}
			start := r.now() + rand64(rng, max(r.every(), time.Millisecond))
			for n := 0; ; n++ {
				due := start + time.Duration(n)*r.every()
				if !sleep(ctx, due-r.now()) {
					return
				}
				players[n%len(players)].act(rng, int64(n)+1)
			}
		})
	}
}

// settleWithin bounds the wait for everybody to agree: longer than a seat is kept
// for somebody who lost it and came back as another.
const settleWithin = 40 * time.Second

// settle waits until no command is without an answer, reads what the rooms hold,
// and waits until every player has heard and sees what it must. If that takes too
// long, the check tells what is missing.
func (r *run) settle(ctx context.Context) []*Room {
	ctx, cancel := r.own.Within(ctx, settleWithin)
	defer cancel()
	r.poll(ctx, func() bool {
		for _, p := range r.players {
			if p.waits() > 0 {
				return false
			}
		}
		return true
	})
	rooms := make([]*Room, len(r.rooms))
	var reading sync.WaitGroup
	for i, players := range r.rooms {
		reading.Go(func() { rooms[i] = r.readRoom(ctx, i, players) })
	}
	reading.Wait()
	r.poll(ctx, func() bool {
		for i, players := range r.rooms {
			if !agreed(players, rooms[i]) {
				return false
			}
		}
		return true
	})
	return rooms
}

// poll asks now and then whether it is so, until ctx ends: there is no one event
// that says so.
func (r *run) poll(ctx context.Context, so func() bool) {
	for !so() {
		if !sleep(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// agreed reports whether all players of a room are in it, see each other and
// have heard of all that it holds.
func agreed(players []*player, room *Room) bool {
	for _, p := range players {
		if _, _, _, place := p.view(); place >= 0 && place < len(room.Final) {
			return false
		}
	}
	return complete(players)
}

// complete reports whether all players of a room are in it, and see each other and
// nobody else.
func complete(players []*player) bool {
	var all []uint32
	for _, p := range players {
		seated, member, _, _ := p.view()
		if !seated {
			return false
		}
		all = append(all, member)
	}
	slices.Sort(all)
	for _, p := range players {
		if _, _, members, _ := p.view(); !slices.Equal(members, all) {
			return false
		}
	}
	return true
}

// readRoom reads what a room holds through the first of its players that can.
func (r *run) readRoom(ctx context.Context, i int, players []*player) *Room {
	var errs error
	for _, p := range players {
		room := &Room{ID: r.roomID(i), Kind: r.plots[i].kind, Quiet: r.plots[i].quiet, Count: -1}
		var err error
		if r.plots[i].synced {
			err = room.readSynced(ctx, p, players)
		} else {
			err = room.read(ctx, p.seat, r.now)
		}
		if err == nil {
			return room
		}
		if errs = errors.Join(errs, fmt.Errorf("through %s: %w", p.name, err)); ctx.Err() != nil {
			break
		}
	}
	return &Room{ID: r.roomID(i), Kind: r.plots[i].kind, Quiet: r.plots[i].quiet, Unread: errs.Error()}
}

// page is how many entries are read at once; a ledger answers with 10,000 at most.
const page = 5000

func (room *Room) read(ctx context.Context, seat *client.Room, now func() time.Duration) error {
	for {
		data, err := seat.Call(ctx, "slice", []int{len(room.Final), page})
		if err != nil {
			return err
		}
		var ids []string
		if err := data.Decode(&ids); err != nil {
			return err
		}
		room.Final = append(room.Final, ids...)
		if len(ids) < page {
			break
		}
	}
	if len(room.Final) <= page {
		data, err := seat.Call(ctx, "read", nil)
		if err != nil {
			return err
		}
		var all struct {
			Count int `msgpack:"count"`
		}
		if err := data.Decode(&all); err != nil {
			return err
		}
		room.Count = all.Count
	}
	for key := range registers {
		op := Op{Event: "get", Key: key, Sent: now(), Fate: Acked}
		data, err := seat.Call(ctx, "get", key)
		if err != nil {
			return err
		}
		if err := data.Decode(&op.Got); err != nil {
			return err
		}
		op.Done = now()
		room.Registers = append(room.Registers, op)
	}
	return nil
}

// closeAll ends the clients.
func (r *run) closeAll() error {
	var closing sync.WaitGroup
	errs := make([]error, len(r.players))
	for i, p := range r.players {
		if p != nil {
			closing.Go(func() { errs[i] = p.client.Close() })
		}
	}
	closing.Wait()
	return errors.Join(errs...)
}

// dump writes the histories beside the logs.
func (r *run) dump(dir string, result *Result) error {
	f, err := os.Create(filepath.Join(dir, "histories.json"))
	if err != nil {
		return err
	}
	e := json.NewEncoder(f)
	return errors.Join(e.Encode(map[string]any{"result": result, "rooms": result.rooms}), f.Close())
}
