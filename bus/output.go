package bus

// An Output envelope carries everything one batch of a room has for the members
// on one loop of an edge, in order:
//
//	version byte
//	key   string   the room
//	epoch uint     the owner's epoch; receivers drop what is older than they have seen
//	seq   uint     the last broadcast before this envelope
//	ver   uint     the last version of the state before this envelope
//	items to the end, each an op byte and the fields of its op
//
// An envelope without items says where the room is, so that a loss at the end
// of a burst is seen too. A receiver whose own seq or ver is not the one in
// the head has missed something and joins its members again from where they
// are.
type Output struct {
	Key   []byte
	Epoch uint64
	Seq   uint64
	Ver   uint64
	r     Reader
}

// An ItemOp says what an Item of an Output is.
type ItemOp byte

const (
	ItemMessage  ItemOp = 1 + iota // Event Data: to all; seq + 1
	ItemPresence                   // Presence: to all; seq + 1
	ItemPatch                      // Data: to all; ver + 1
	ItemClosed                     // Code Text: the room is gone, for all
	ItemJoined                     // To Session Try Ref Joined: a seat is taken, or taken again
	ItemRefused                    // Session Try Ref Code Text: no seat
	ItemReply                      // To N Data, or Code Text: answer to a command
	ItemPrivate                    // To Count Seq Event Data: a message to one member
	ItemReplay                     // To Seq Event Data: a broadcast from before, to one member
	ItemReplayed                   // To Seq Presence: a presence diff from before, to one member
	ItemLeft                       // To Session Ref Code Text: the seat is gone
	ItemState                      // To Ver Data: the whole state, to one member
	ItemError                      // To Code Text: about a command without a number
)

// An Item is one piece of output. Which fields count depends on Op. All byte
// slices alias the envelope.
type Item struct {
	Op       ItemOp
	To       uint32 // member; not set for what goes to all
	Session  uint64
	Try      uint64 // of the join it answers
	Ref      uint64 // of the join or leave it answers; 0: none
	N        uint64 // ItemReply: the command's number
	Seq      uint64 // ItemReplay, ItemReplayed: its own; ItemPrivate: of the broadcast before it
	Count    uint64 // ItemPrivate
	Ver      uint64 // ItemState
	Code     string // empty in an ItemReply: it went well
	Text     string
	Event    []byte
	Data     []byte // msgpack; empty stands for nil
	Presence Presence
	Joined   Joined
}

// A Seat is a member and who sits there.
type Seat struct {
	Member uint32
	User   string
	Away   bool // only in Joined.Members
}

// A Presence says how the members changed. Above the kind's limit only Size is
// filled.
type Presence struct {
	Size   int // members now
	Joined []Seat
	Left   []uint32
	Away   []uint32
	Back   []uint32
}

// Joined is what a member is told when it gets its seat or comes back to it.
type Joined struct {
	At        Position // what follows starts here
	N         uint64   // no command up to this number will be taken in any more
	Applied   uint64   // number of the last command taken in; those from here to N never will be
	Last      uint64   // names the session's last join by its client, higher each time; a conn with a lower one was replaced
	Seats     int      // 0: no limit
	Size      int      // members now
	Resumed   bool     // the seat was kept
	Recovered bool     // what was missed since then follows as replays
	HasState  bool     // Item.Data is the state at At.Ver
	Members   []Seat   // nil when Recovered or above the limit
}

// AppendOutput starts an Output envelope.
func AppendOutput(b []byte, key string, epoch, seq, ver uint64) []byte {
	b = append(b, version)
	b = AppendString(b, key)
	b = AppendUint(b, epoch)
	b = AppendUint(b, seq)
	return AppendUint(b, ver)
}

// ParseOutput reads the head of an envelope; Next reads the items.
func ParseOutput(b []byte) (Output, error) {
	r := Reader{b: b}
	if r.Byte() != version {
		return Output{}, errEnvelope
	}
	o := Output{Key: r.Bytes(), Epoch: r.Uint(), Seq: r.Uint(), Ver: r.Uint()}
	o.r = r
	return o, r.Err()
}

// Err is nil if everything read so far was well formed.
func (o *Output) Err() error { return o.r.Err() }

// More reports whether items follow. An envelope that never had any is an
// announcement or a beacon: it only says where the room is.
func (o *Output) More() bool { return o.r.More() }

// Next reads the next item into it and reports whether there was one. At the
// end Err tells whether the envelope was whole.
func (o *Output) Next(it *Item) bool {
	if !o.r.More() {
		return false
	}
	r := &o.r
	*it = Item{Op: ItemOp(r.Byte())}
	switch it.Op {
	case ItemMessage:
		it.Event, it.Data = r.Bytes(), r.Bytes()
	case ItemPresence:
		it.Presence = r.presence()
	case ItemPatch:
		it.Data = r.Bytes()
	case ItemClosed:
		it.Code, it.Text = r.String(), r.String()
	case ItemJoined:
		it.To, it.Session, it.Try, it.Ref = r.Uint32(), r.Uint(), r.Uint(), r.Uint()
		it.Joined, it.Data = r.joined(), r.Bytes()
	case ItemRefused:
		it.Session, it.Try, it.Ref = r.Uint(), r.Uint(), r.Uint()
		it.Code, it.Text = r.String(), r.String()
	case ItemReply:
		it.To, it.N = r.Uint32(), r.Uint()
		it.Code, it.Text, it.Data = r.String(), r.String(), r.Bytes()
	case ItemPrivate:
		it.To, it.Count, it.Seq = r.Uint32(), r.Uint(), r.Uint()
		it.Event, it.Data = r.Bytes(), r.Bytes()
	case ItemReplay:
		it.To, it.Seq = r.Uint32(), r.Uint()
		it.Event, it.Data = r.Bytes(), r.Bytes()
	case ItemReplayed:
		it.To, it.Seq, it.Presence = r.Uint32(), r.Uint(), r.presence()
	case ItemLeft:
		it.To, it.Session, it.Ref = r.Uint32(), r.Uint(), r.Uint()
		it.Code, it.Text = r.String(), r.String()
	case ItemState:
		it.To, it.Ver, it.Data = r.Uint32(), r.Uint(), r.Bytes()
	case ItemError:
		it.To, it.Code, it.Text = r.Uint32(), r.String(), r.String()
	default:
		r.fail()
	}
	return !r.failed
}

// Append appends the item to an envelope.
func (it *Item) Append(b []byte) []byte {
	b = append(b, byte(it.Op))
	switch it.Op {
	case ItemMessage:
		b = AppendString(b, it.Event)
		b = AppendString(b, it.Data)
	case ItemPresence:
		b = it.Presence.append(b)
	case ItemPatch:
		b = AppendString(b, it.Data)
	case ItemClosed:
		b = appendRefusal(b, it)
	case ItemJoined:
		b = AppendUint(AppendUint(appendSeatOf(b, it), it.Try), it.Ref)
		b = it.Joined.append(b)
		b = AppendString(b, it.Data)
	case ItemRefused:
		b = AppendUint(AppendUint(AppendUint(b, it.Session), it.Try), it.Ref)
		b = appendRefusal(b, it)
	case ItemReply:
		b = AppendUint(AppendUint(b, uint64(it.To)), it.N)
		b = AppendString(appendRefusal(b, it), it.Data)
	case ItemPrivate:
		b = AppendUint(AppendUint(b, uint64(it.To)), it.Count)
		b = AppendString(AppendUint(b, it.Seq), it.Event)
		b = AppendString(b, it.Data)
	case ItemReplay:
		b = AppendUint(AppendUint(b, uint64(it.To)), it.Seq)
		b = AppendString(AppendString(b, it.Event), it.Data)
	case ItemReplayed:
		b = AppendUint(AppendUint(b, uint64(it.To)), it.Seq)
		b = it.Presence.append(b)
	case ItemLeft:
		b = AppendUint(appendSeatOf(b, it), it.Ref)
		b = appendRefusal(b, it)
	case ItemState:
		b = AppendUint(AppendUint(b, uint64(it.To)), it.Ver)
		b = AppendString(b, it.Data)
	case ItemError:
		b = appendRefusal(AppendUint(b, uint64(it.To)), it)
	}
	return b
}

func appendSeatOf(b []byte, it *Item) []byte {
	return AppendUint(AppendUint(b, uint64(it.To)), it.Session)
}

func appendRefusal(b []byte, it *Item) []byte {
	return AppendString(AppendString(b, it.Code), it.Text)
}

func (p *Presence) append(b []byte) []byte {
	b = AppendUint(b, uint64(p.Size))
	b = appendSeats(b, p.Joined)
	for _, list := range [...][]uint32{p.Left, p.Away, p.Back} {
		b = AppendUint(b, uint64(len(list)))
		for _, m := range list {
			b = AppendUint(b, uint64(m))
		}
	}
	return b
}

func (r *Reader) presence() Presence {
	return Presence{
		Size: int(r.Uint32()), Joined: r.seats(),
		Left: r.members(), Away: r.members(), Back: r.members(),
	}
}

func (j *Joined) append(b []byte) []byte {
	at := j.At
	for _, v := range [...]uint64{at.Epoch, at.Seq, at.Count, at.Ver, j.N, j.Applied, j.Last, uint64(j.Seats), uint64(j.Size)} {
		b = AppendUint(b, v)
	}
	for _, v := range [...]bool{j.Resumed, j.Recovered, j.HasState} {
		b = AppendBool(b, v)
	}
	return appendSeats(b, j.Members)
}

func (r *Reader) joined() Joined {
	return Joined{
		At: Position{Epoch: r.Uint(), Seq: r.Uint(), Count: r.Uint(), Ver: r.Uint()},
		N:  r.Uint(), Applied: r.Uint(), Last: r.Uint(), Seats: int(r.Uint32()), Size: int(r.Uint32()),
		Resumed: r.Bool(), Recovered: r.Bool(), HasState: r.Bool(),
		Members: r.seats(),
	}
}

func appendSeats(b []byte, seats []Seat) []byte {
	b = AppendUint(b, uint64(len(seats)))
	for _, s := range seats {
		b = AppendUint(b, uint64(s.Member))
		b = AppendString(b, s.User)
		b = AppendBool(b, s.Away)
	}
	return b
}

func (r *Reader) seats() []Seat {
	n := r.Count()
	if n == 0 {
		return nil
	}
	seats := make([]Seat, 0, min(n, 1024))
	for range n {
		seats = append(seats, Seat{Member: r.Uint32(), User: r.String(), Away: r.Bool()})
	}
	return seats
}

func (r *Reader) members() []uint32 {
	n := r.Count()
	if n == 0 {
		return nil
	}
	list := make([]uint32, 0, min(n, 1024))
	for range n {
		list = append(list, r.Uint32())
	}
	return list
}
