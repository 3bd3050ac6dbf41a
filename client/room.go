package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Events are what a room tells its member; fields may be nil. See Client for what
// a callback may do. Slices passed to callbacks are theirs.
type Events struct {
	// Joined is called at first and whenever the seat was taken again after a
	// lost connection. j.Recovered says whether nothing was missed.
	Joined func(j Joined)
	// Message is called for what the room tells all members, or this one alone.
	Message func(m Message)
	// Presence is called when somebody comes or goes.
	Presence func(p Presence)
	// State is called when the room's state has changed: state is raw msgpack.
	State func(state []byte, ver uint64)
	// Notice is called with "paused", "resumed" and "reset", see PROTOCOL.md.
	Notice func(notice string)
	// Reset is called after Notice("reset"): the room went back or began anew.
	// Positions and members go on from those of j; what came between is gone.
	Reset func(j Joined)
	// Refused is called with what the server has against a Send.
	Refused func(err error)
	// Left is called once, last: the seat is gone, or the client ended.
	Left func(err error)
}

// A Message is what a room says.
type Message struct {
	Event   string
	Data    Data
	Seq     uint64 // place in the room's output
	Private bool   // for this member alone
}

// Data is a raw msgpack value.
type Data []byte

// Decode reads the value into v, as msgpack.Unmarshal does. No data at all reads
// as nil.
func (d Data) Decode(v any) error {
	if len(d) == 0 {
		d = Data{0xc0}
	}
	return msgpack.Unmarshal(d, v)
}

// A Room is a seat in a room. It survives lost connections; it ends when Leave is
// called, when the room says so, or with the client.
type Room struct {
	c       *Client
	kind    string
	options []byte
	events  Events
	joined  chan error // the first answer to Join
	gone    chan struct{}

	// Guarded by c.mu.
	id       string
	number   uint32 // on this connection; 0: not joined on it
	member   uint32 // 0: no seat
	seated   bool   // has had a seat
	pos      Position
	n        uint64
	waiting  []*call // numbered commands without a reply, in order
	state    []byte
	stateful bool // state is that of pos.Ver
	leaving  bool
	again    *time.Timer // until it fires, commands wait; nil: they don't
	attempts int         // in a row that did not get a command or a join through
	taken    uint64      // number up to which joined or reset said that the room has all
	err      error       // set when gone is closed
}

// A call is a numbered command without a reply.
type call struct {
	n     uint64
	event string
	data  []byte
	reply chan answer
}

// Kind and ID name the room.
func (r *Room) Kind() string { return r.kind }

// ID is the room's id; the server chose it if Join gave none.
func (r *Room) ID() string {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.id
}

// Member is this session's number in the room.
func (r *Room) Member() uint32 {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.member
}

// Position is what has been received so far.
func (r *Room) Position() Position {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.pos
}

// State is a copy of the room's synced state, raw msgpack; nil if it has none.
func (r *Room) State() []byte {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return slices.Clone(r.state)
}

// Call sends a command and waits for its reply. The command happens at most once,
// also when the connection is lost meanwhile and the client has to send it again.
// A refusal is an *Error. When ctx ends first, the command may still happen.
// At most 64 calls of a room can wait at a time; more get ErrTooMany.
func (r *Room) Call(ctx context.Context, event string, data any) (Data, error) {
	p, err := r.Begin(event, data)
	if err != nil {
		return nil, err
	}
	return p.Wait(ctx)
}

// A Pending is a command whose reply may not have come yet.
type Pending struct {
	event string
	reply chan answer
}

// Begin sends a command as Call does, but leaves waiting for its reply to the
// caller: commands happen in the order in which they were begun.
func (r *Room) Begin(event string, data any) (*Pending, error) {
	raw, err := msgpack.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", event, err)
	}
	reply, err := r.begin(event, raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", event, err)
	}
	return &Pending{event, reply}, nil
}

// Wait returns the reply, as Call does. It can be called once.
func (p *Pending) Wait(ctx context.Context) (Data, error) {
	select {
	case a := <-p.reply:
		if a.err != nil {
			return nil, fmt.Errorf("%s: %w", p.event, a.err)
		}
		return a.data, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", p.event, ctx.Err())
	}
}

func (r *Room) begin(event string, data []byte) (chan answer, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	if len(r.waiting) >= maxUnanswered {
		return nil, ErrTooMany
	}
	r.n++
	w := &call{n: r.n, event: event, data: data, reply: make(chan answer, 1)}
	r.waiting = append(r.waiting, w)
	r.transmit(w)
	return w.reply, nil
}

// transmit sends a numbered command if the room is joined; otherwise it will be
// sent when it is. c.mu is held.
func (r *Room) transmit(w *call) {
	if r.number != 0 && r.c.link != nil && r.again == nil {
		r.c.link.push(AppendSend(nil, r.number, w.n, w.event, w.data, r.waiting[0].n-1))
	}
}

// Send sends a command that wants no reply. It happens at most once and is lost if
// the connection breaks; without a connection Send fails with ErrNotConnected.
func (r *Room) Send(event string, data any) error {
	raw, err := msgpack.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode %s: %w", event, err)
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	switch {
	case r.err != nil:
		return r.err
	case r.number == 0 || r.c.link == nil:
		return ErrNotConnected
	}
	r.c.link.push(AppendSend(nil, r.number, 0, event, raw, 0))
	return nil
}

// Leave gives the seat up and waits until the server knows. It returns nil when
// the seat is gone, for whatever reason.
func (r *Room) Leave(ctx context.Context) error {
	r.c.mu.Lock()
	r.startLeave()
	r.c.mu.Unlock()
	select {
	case <-r.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave %s %q: %w", r.kind, r.ID(), ctx.Err())
	}
}

// startLeave asks to leave, now or once the room is joined. c.mu is held.
func (r *Room) startLeave() {
	r.leaving = true
	if r.number != 0 && r.c.link != nil {
		r.c.ref++
		r.c.link.push(AppendLeave(nil, r.c.ref, r.number))
	}
}

// forget gives up all that a lost session had. c.mu is held.
func (r *Room) forget() {
	r.member, r.number, r.pos = 0, 0, Position{}
	r.state, r.stateful = nil, false
	r.abandon()
}

// abandon answers the calls whose seat is gone. c.mu is held.
func (r *Room) abandon() {
	for _, w := range r.waiting {
		w.reply <- answer{err: ErrUnknownFate}
	}
	r.waiting = nil
}

// end closes the room for good. c.mu is held.
func (r *Room) end(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	delete(r.c.rooms, r)
	delete(r.c.numbers, r.number)
	r.number = 0
	r.hurry()
	for _, w := range r.waiting {
		w.reply <- answer{err: err}
	}
	r.waiting = nil
	select {
	case r.joined <- err:
	default:
	}
	close(r.gone)
}

// joinedFrame handles the answer to a join. c.mu is held.
func (c *Client) joinedFrame(r *Room, f *Frame) (callback func()) {
	err := f.Err()
	var j Joined
	if err == nil {
		j, err = ParseJoined(f.Data)
	}
	if r.seated && passing[Code(err)] {
		r.later(func() { c.sendJoin(r) })
		return nil
	}
	if err != nil {
		r.end(err)
		if !r.seated || r.events.Left == nil {
			return nil // Join returns it
		}
		return func() { r.events.Left(err) }
	}
	r.take(&j)
	c.numbers[j.Room] = r
	if r.leaving {
		r.startLeave()
	}
	for _, w := range r.waiting {
		r.transmit(w)
	}
	select {
	case r.joined <- nil:
	default:
	}
	if r.events.Joined == nil {
		return nil
	}
	j.Members, j.State = slices.Clone(j.Members), slices.Clone(j.State)
	return func() { r.events.Joined(j) }
}

// take moves the room to where joined says it is.
func (r *Room) take(j *Joined) {
	// A first join may have calls waiting for it; a new seat after another
	// cannot answer those of the old.
	if !j.Resumed && r.member != 0 {
		r.abandon()
	}
	r.renumber(j.N)
	r.seated, r.attempts = true, 0
	r.number, r.member, r.id, r.pos = j.Room, j.Member, j.ID, j.Position
	if len(j.State) > 0 {
		r.state, r.stateful = slices.Clone(j.State), true
	} else if !j.Recovered {
		r.state, r.stateful = nil, false
	}
}

// frame handles a frame of the room; ok is false when it shows a gap. c.mu is held.
func (r *Room) frame(f *Frame) (callback func(), ok bool) {
	switch f.Type {
	case FrameMessage, FramePresence:
		return r.broadcast(f)
	case FramePrivate:
		if f.Count != r.pos.Count+1 {
			return nil, f.Count <= r.pos.Count
		}
		r.pos.Count = f.Count
		return r.message(f), true
	case FrameSend:
		r.replied(f)
	case FrameState, FramePatch:
		return r.update(f), true
	case FrameNotice:
		return r.notice(f), true
	case FrameError:
		if err := f.Err(); r.events.Refused != nil {
			return func() { r.events.Refused(err) }, true
		}
	case FrameLeave:
		err := error(&Error{Code: string(f.Code), Message: string(f.Message)})
		if r.leaving {
			err = ErrLeft
		}
		r.end(err)
		if r.events.Left != nil {
			return func() { r.events.Left(err) }, true
		}
	}
	return nil, true
}

func (r *Room) broadcast(f *Frame) (callback func(), ok bool) {
	if f.Seq != r.pos.Seq+1 {
		return nil, f.Seq <= r.pos.Seq
	}
	r.pos.Seq = f.Seq
	if f.Type == FrameMessage {
		return r.message(f), true
	}
	p, err := DecodePresence(f)
	if err != nil {
		return nil, false
	}
	if r.events.Presence == nil {
		return nil, true
	}
	return func() { r.events.Presence(p) }, true
}

func (r *Room) message(f *Frame) (callback func()) {
	if r.events.Message == nil {
		return nil
	}
	m := Message{
		Event: string(f.Event), Data: slices.Clone(f.Data),
		Seq: f.Seq, Private: f.Type == FramePrivate,
	}
	return func() { r.events.Message(m) }
}

func (r *Room) replied(f *Frame) {
	for i, w := range r.waiting {
		if w.n != f.N {
			continue
		}
		if r.notTaken(f) {
			r.sendLater(i == 0 && string(f.Code) == "out_of_order")
			return
		}
		r.attempts = 0
		r.waiting = slices.Delete(r.waiting, i, i+1)
		w.reply <- answer{data: slices.Clone(f.Data), err: f.Err()}
		return
	}
}

// update follows the state. A patch that doesn't continue it is passed over: a
// whole state will come.
func (r *Room) update(f *Frame) (callback func()) {
	switch {
	case f.Type == FrameState:
		r.state = slices.Clone(f.Data)
	case !r.stateful || f.Ver != r.pos.Ver+1:
		return nil
	default:
		next, err := ApplyPatch(nil, r.state, f.Data)
		if err != nil {
			r.stateful = false
			return nil
		}
		r.state = next
	}
	r.pos.Ver, r.stateful = f.Ver, true
	if r.events.State == nil {
		return nil
	}
	state, ver := slices.Clone(r.state), f.Ver
	return func() { r.events.State(state, ver) }
}

func (r *Room) notice(f *Frame) (callback func()) {
	notice := string(f.Event)
	reset := notice == "reset"
	var j Joined
	switch {
	case reset:
		r.pos = Position{Epoch: f.Epoch, Seq: f.Seq, Count: f.Count}
		r.stateful = false
		r.abandon()
		r.n, r.taken = f.N, f.N
		if f.Member != 0 {
			r.member = f.Member
		}
		j = Joined{
			Room: r.number, Kind: r.kind, ID: r.id, Member: r.member, Position: r.pos, N: f.N,
			Applied: f.Applied, Size: f.Size, Members: slices.Clone(f.Data), Resumed: f.Resumed,
		}
	case f.Epoch != 0:
		r.pos.Epoch = f.Epoch
	}
	return func() {
		if r.events.Notice != nil {
			r.events.Notice(notice)
		}
		if reset && r.events.Reset != nil {
			r.events.Reset(j)
		}
	}
}
