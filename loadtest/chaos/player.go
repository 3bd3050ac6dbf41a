package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"roomd/client"
)

const (
	registers  = 4                // of the ten a ledger has: fewer are more contended
	maxPending = 1024             // replies a player waits for; the client itself lets 64 wait
	handshake  = 3 * time.Second  // with an edge that may hang
	joinWithin = 20 * time.Second // at the start, when nothing is broken
)

// A player is one client with a seat in one room, and writes down all it does
// and hears.
type player struct {
	name    string
	plot    plot
	now     func() time.Duration
	client  *client.Client
	seat    *client.Room
	pending chan pending
	waiting sync.WaitGroup

	mu      sync.Mutex // guards what follows
	rec     Record
	members map[uint32]client.Member
	known   [registers]int64 // what the registers were when last heard of
	adds    int
	open    int // commands without a known fate
	unsent  int // commands that 64 others kept from being sent
	drops   []drop
	online  bool
	epoch   uint64 // last heard of
	unshown bool   // the state is gone, the next is on its way

	dropping bool // the next connection that is lost was cut by the player itself
}

// A seating says who is to sit where.
type seating struct {
	name    string
	plot    plot
	room    string
	urls    []string
	distant bool // hears everything late
	visitor bool // comes to a room that has begun, and does not stay
}

// A drop is a lost connection.
type drop struct {
	at  time.Duration
	url string // of the edge
	why error
}

// pending is a command under way: the op's index and its reply to come.
type pending struct {
	at    int
	reply *client.Pending
}

// enter connects a player to the first of its urls, or to another, and joins its room.
func enter(ctx context.Context, who seating, now func() time.Duration) (*player, error) {
	p := &player{name: who.name, plot: who.plot, now: now, pending: make(chan pending, maxPending), online: true}
	p.rec.Client, p.rec.Visitor = who.name, who.visitor
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	cfg := client.Config{
		URL: who.urls[0], More: who.urls[1:], User: who.name, Handshake: handshake, Changed: p.changed,
	}
	if who.distant {
		cfg.NetDial = dialDistant
	}
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.client = c
	p.mu.Unlock()
	seat, err := c.Join(ctx, who.plot.kind, who.room, nil, client.Events{
		Joined: p.joined, Message: p.message, Presence: p.presence, State: p.state,
		Notice: p.notice, Reset: p.reset, Left: p.left,
	})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seat = seat
	return p, nil
}

// listen waits for replies until leave, or until ctx ends: then their fate stays
// unknown.
func (p *player) listen(ctx context.Context) {
	p.waiting.Go(func() {
		for x := range p.pending {
			data, err := x.reply.Wait(ctx)
			p.answered(x.at, data, err)
		}
	})
}

// quit ends the player's sending; its client goes on.
func (p *player) quit() {
	close(p.pending)
	p.waiting.Wait()
}

func (p *player) hear(h Heard) {
	h.At = p.now()
	p.rec.Heard = append(p.rec.Heard, h)
}

func (p *player) changed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.hear(Heard{What: HeardBack})
		return
	}
	p.online = false
	if p.dropping {
		p.dropping = false
		p.hear(Heard{What: HeardDropped})
		return
	}
	p.hear(Heard{What: HeardLost, Text: err.Error()})
	if p.client != nil { // else it was lost before the test began
		p.drops = append(p.drops, drop{p.now(), p.client.URL(), err})
	}
}

func (p *player) joined(j client.Joined) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.online = true
	p.rec.Member, p.epoch = j.Member, j.Epoch
	p.hear(Heard{What: HeardJoined, Seq: j.Seq, Epoch: j.Epoch, Member: j.Member, Resumed: j.Resumed, Recovered: j.Recovered})
	if !j.Recovered {
		p.setMembers(j.Members)
	}
	switch {
	case len(j.State) > 0:
		p.unshown = false
		p.showing(j.State, j.Ver)
	case j.Recovered:
		p.resumed()
	default:
		p.unshown = true
	}
}

func (p *player) reset(j client.Joined) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rec.Member, p.epoch, p.unshown = j.Member, j.Epoch, true
	p.hear(Heard{What: HeardReset, Seq: j.Seq, Epoch: j.Epoch, Member: j.Member})
	p.setMembers(j.Members)
}

func (p *player) setMembers(data []byte) {
	members, err := client.DecodeMembers(data)
	if err != nil {
		p.hear(Heard{What: HeardOther, Text: "members: " + err.Error()})
	}
	p.members = make(map[uint32]client.Member)
	for _, m := range members {
		p.members[m.ID] = m
	}
}

func (p *player) presence(pr client.Presence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range pr.Joined {
		p.members[m.ID] = m
	}
	for _, id := range pr.Left {
		delete(p.members, id)
	}
	for _, list := range []struct {
		ids  []uint32
		away bool
	}{{pr.Away, true}, {pr.Back, false}} {
		for _, id := range list.ids {
			if m, ok := p.members[id]; ok {
				m.Away = list.away
				p.members[id] = m
			}
		}
	}
	p.hear(Heard{What: HeardPresence, Seq: pr.Seq})
}

func (p *player) message(m client.Message) {
	var added struct {
		_msgpack struct{} `msgpack:",as_array"`
		Place    int
		ID       string
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Private {
		p.private(m)
		return
	}
	if m.Event == "rung" {
		var id string
		if err := m.Data.Decode(&id); err == nil {
			p.hear(Heard{What: HeardRung, Seq: m.Seq, ID: id})
			return
		}
	}
	if err := m.Data.Decode(&added); err != nil || m.Event != "added" {
		p.hear(Heard{What: HeardOther, Seq: m.Seq, Text: fmt.Sprintf("%s %x: %v", m.Event, []byte(m.Data), err)})
		return
	}
	p.hear(Heard{What: HeardAdded, Seq: m.Seq, Place: added.Place, ID: added.ID})
}

func (p *player) notice(notice string) {
	if notice == "reset" {
		return // reset says more
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hear(Heard{What: notice})
	if notice == HeardResumed {
		p.resumed()
	}
}

func (p *player) left(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.online = false
	if errors.Is(err, client.ErrClosed) || errors.Is(err, client.ErrLeft) {
		return // our own will
	}
	p.hear(Heard{What: HeardLeft, Text: err.Error()})
}

// act sends the next command.
func (p *player) act(rng *rand.Rand, value int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plot.synced {
		p.send(p.roll(rng, value))
		return
	}
	p.send(p.write(rng, value))
}

// write makes the next command of a ledger: mostly an add.
func (p *player) write(rng *rand.Rand, value int64) (op Op, data any) {
	dice := rng.IntN(10)
	if dice >= 3 {
		return p.add()
	}
	op = Op{Key: rng.IntN(registers), Fate: Unknown}
	switch dice {
	case 0:
		op.Event, data = "get", op.Key
	case 1:
		op.Event, op.Value = "put", value
		data = []int64{int64(op.Key), op.Value}
	case 2:
		op.Event, op.Old, op.Value = "cas", p.known[op.Key], value
		data = []int64{int64(op.Key), op.Old, op.Value}
	}
	return op, data
}

// send sends a command and notes it. p.mu is held.
func (p *player) send(op Op, data any) {
	if p.open >= maxPending {
		p.unsent++
		return
	}
	op.Sent = p.now()
	reply, err := p.seat.Begin(op.Event, data)
	if err != nil { // too many wait, or the seat is gone: it was not sent
		p.unsent++
		return
	}
	p.rec.Ops = append(p.rec.Ops, op)
	p.open++
	p.pending <- pending{len(p.rec.Ops) - 1, reply} // never blocks: open is below its capacity
}

// certain are the codes that say that a command did not happen, whenever and
// however often it was sent.
var certain = []string{"overloaded", "too_large", "bad_data", "unknown_event", "bad_name", "forbidden"}

// answered notes a reply.
func (p *player) answered(at int, data client.Data, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	op := &p.rec.Ops[at]
	op.Done = p.now()
	p.open--
	if err == nil {
		err = p.read(op, data)
	}
	if err == nil {
		op.Fate = Acked
		return
	}
	if op.Code = client.Code(err); op.Code == "" {
		op.Code = err.Error()
	}
	if slices.Contains(certain, op.Code) {
		op.Fate = Refused
	}
}

// read takes in the reply to a command.
func (p *player) read(op *Op, data client.Data) error {
	if p.plot.synced {
		var a struct {
			_msgpack struct{} `msgpack:",as_array"`
			Place    int
			ID       string
		}
		err := data.Decode(&a)
		op.Place, op.Answer = a.Place, a.ID
		return err
	}
	switch op.Event {
	case "add":
		return data.Decode(&op.Place)
	case "get":
		err := data.Decode(&op.Got)
		p.known[op.Key] = op.Got
		return err
	case "put":
		p.known[op.Key] = op.Value
	case "cas":
		err := data.Decode(&op.Swapped)
		if op.Swapped {
			p.known[op.Key] = op.Value
		}
		return err
	}
	return nil
}

// waits tells how many commands are without a known fate.
func (p *player) waits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// view tells where the player is: whether it is in the room, whom it sees there,
// and the last place of the list it heard of; -1 if it need not know any.
func (p *player) view() (seated bool, member uint32, members []uint32, place int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, m := range p.members {
		if !m.Away {
			members = append(members, id)
		}
	}
	slices.Sort(members)
	place = lastPlace(p.rec.Heard)
	return p.online, p.rec.Member, members, place
}

// lastPlace is the last place heard of, -1 if there was none since something was
// missed.
func lastPlace(heard []Heard) int {
	for i := len(heard) - 1; i >= 0; i-- {
		switch h := &heard[i]; h.What {
		case HeardAdded:
			return h.Place
		case HeardReset:
			return -1
		case HeardJoined:
			if !h.Recovered {
				return -1
			}
		}
	}
	return -1
}

// record closes the player's book. Times count from the given one.
func (p *player) record(from time.Duration) *Record {
	seated, _, members, _ := p.view()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rec.Seated, p.rec.Members, p.rec.Unshown = seated && !p.rec.Visitor, members, p.unshown
	p.rec.Private = p.seat.Position().Count
	for i := range p.rec.Shown {
		p.rec.Shown[i].At -= from
	}
	for i := range p.rec.Ops {
		p.rec.Ops[i].since(from)
	}
	for i := range p.rec.Heard {
		p.rec.Heard[i].At -= from
	}
	for i := range p.drops {
		p.drops[i].at -= from
	}
	rec := p.rec // what the client hears from here on is not part of it
	return &rec
}
