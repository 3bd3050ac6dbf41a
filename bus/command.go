package bus

import "time"

// A Commands envelope carries what the members on one loop of an edge ask of
// one room, in the order they asked:
//
//	version byte
//	from     string   address of the loop; output goes there
//	epoch    uint     the owner it is meant for; 0: whichever there is
//	deadline uint     milliseconds since 1970; afterwards nobody wants it
//	commands to the end, each an op byte and the fields of its op
//
// The envelope's reply subject is Subjects.NoResponders(from, …), so that the
// loop hears at once when the room has no owner.
type Commands struct {
	From     Address
	Epoch    uint64
	Deadline time.Time
	r        Reader
}

const version = 1

// An Op says what a Command asks for.
type Op byte

const (
	OpJoin  Op = 1 + iota // Session Try Ref User Options Since Was Floor Last: take a seat, or come back to it
	OpLeave               // Member Ref: give the seat up
	OpSend                // Member N Skipped Acked Event Data: the author's business
	OpAway                // Member: the connection is gone, the seat stays
	OpState               // Member: send the state again, whole
)

// A Position is a place in a room's output: what a client has had of it.
type Position struct {
	Epoch uint64 // of the owner that sent it
	Seq   uint64 // last broadcast or presence diff
	Count uint64 // last message to this member alone
	Ver   uint64 // last state or patch
}

// A Command is one request of a session or a member. Which fields count
// depends on Op. Event, Options and Data alias the envelope.
type Command struct {
	Op      Op
	Session uint64 // OpJoin: who asks
	Try     uint64 // OpJoin: the edge's number of it, given back in the answer
	Ref     uint64 // OpJoin, OpLeave: given back in the answer; 0: the edge asks by itself
	User    string // OpJoin
	Options []byte // OpJoin: msgpack, or empty
	Since   Position
	Resume  bool   // OpJoin: Since is given
	Was     uint32 // OpJoin with Resume: the number of the seat that the client had; 0: it did not say
	Floor   uint64 // OpJoin with Resume: the client may have used numbers up to here for commands that are not known to the room
	Last    uint64 // OpJoin with Resume and without Ref: Joined.Last of the client's own join
	Member  uint32 // all others
	N       uint64 // OpSend: the command's number; 0: no reply wanted
	Skipped uint64 // OpSend: how many numbers just below N the edge has refused by itself
	Acked   uint64 // OpSend: the client has all replies up to this number
	Event   []byte // OpSend
	Data    []byte // OpSend: msgpack, or empty
}

// AppendCommands starts a Commands envelope.
func AppendCommands(b []byte, from Address, epoch uint64, deadline time.Time) []byte {
	b = append(b, version)
	b = AppendString(b, from)
	b = AppendUint(b, epoch)
	return AppendUint(b, uint64(deadline.UnixMilli()))
}

// ParseCommands reads the head of an envelope; Next reads the commands.
func ParseCommands(b []byte) (Commands, error) {
	r := Reader{b: b}
	if r.Byte() != version {
		return Commands{}, errEnvelope
	}
	c := Commands{From: Address(r.Bytes()), Epoch: r.Uint()}
	c.Deadline = time.UnixMilli(int64(r.Uint()))
	if !c.From.Valid() {
		r.fail()
	}
	c.r = r
	return c, r.Err()
}

// Empty reports whether no command is left. An envelope without any asks the
// room where its output stands.
func (e *Commands) Empty() bool { return !e.r.More() }

// Next reads the next command into c and reports whether there was one. At the
// end Err tells whether the envelope was whole.
func (e *Commands) Next(c *Command) bool {
	if !e.r.More() {
		return false
	}
	r := &e.r
	*c = Command{Op: Op(r.Byte())}
	switch c.Op {
	case OpJoin:
		c.Session, c.Try, c.Ref = r.Uint(), r.Uint(), r.Uint()
		c.User, c.Options = r.String(), r.Bytes()
		if c.Resume = r.Bool(); c.Resume {
			c.Since = Position{Epoch: r.Uint(), Seq: r.Uint(), Count: r.Uint(), Ver: r.Uint()}
			c.Was, c.Floor, c.Last = r.Uint32(), r.Uint(), r.Uint()
		}
	case OpLeave:
		c.Member, c.Ref = r.Uint32(), r.Uint()
	case OpSend:
		c.Member, c.N = r.Uint32(), r.Uint()
		if c.N != 0 {
			c.Skipped, c.Acked = r.Uint(), r.Uint()
		}
		c.Event, c.Data = r.Bytes(), r.Bytes()
	case OpAway, OpState:
		c.Member = r.Uint32()
	default:
		r.fail()
	}
	return !r.failed
}

// Err is nil if everything read so far was well formed.
func (e *Commands) Err() error { return e.r.Err() }

// Append appends the command to an envelope.
func (c *Command) Append(b []byte) []byte {
	b = append(b, byte(c.Op))
	switch c.Op {
	case OpJoin:
		b = AppendUint(b, c.Session)
		b = AppendUint(b, c.Try)
		b = AppendUint(b, c.Ref)
		b = AppendString(b, c.User)
		b = AppendString(b, c.Options)
		b = AppendBool(b, c.Resume)
		if c.Resume {
			for _, v := range [...]uint64{c.Since.Epoch, c.Since.Seq, c.Since.Count, c.Since.Ver, uint64(c.Was), c.Floor, c.Last} {
				b = AppendUint(b, v)
			}
		}
	case OpLeave:
		b = AppendUint(b, uint64(c.Member))
		b = AppendUint(b, c.Ref)
	case OpSend:
		b = AppendUint(b, uint64(c.Member))
		b = AppendUint(b, c.N)
		if c.N != 0 {
			b = AppendUint(b, c.Skipped)
			b = AppendUint(b, c.Acked)
		}
		b = AppendString(b, c.Event)
		b = AppendString(b, c.Data)
	case OpAway, OpState:
		b = AppendUint(b, uint64(c.Member))
	}
	return b
}
