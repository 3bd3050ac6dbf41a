package client

import (
	"github.com/vmihailenco/msgpack/v5"

	"roomd/rooms/patch"
)

// A Position is a place in a room's output: what a client has had so far.
type Position struct {
	Epoch uint64 // of the room's ownership
	Seq   uint64 // last broadcast or presence
	Count uint64 // last message to this member alone
	Ver   uint64 // last state or patch
}

// A Welcome answers a hello.
type Welcome struct {
	Session string
	Resume  string // secret that brings the session back
	User    string
	Ping    int // seconds of silence after which the edge pings
}

// ParseWelcome reads the map in the Data of a welcome frame.
func ParseWelcome(data []byte) (w Welcome, err error) {
	c := cursor{b: data}
	for n := c.fields(); n > 0 && !c.bad; n-- {
		switch string(c.bytes()) {
		case "session":
			w.Session = string(c.bytes())
		case "resume":
			w.Resume = string(c.bytes())
		case "user":
			w.User = string(c.bytes())
		case "ping":
			w.Ping = int(c.int())
		default:
			c.raw()
		}
	}
	if c.bad {
		return Welcome{}, errShort
	}
	return w, nil
}

// Joined answers a join. Members and State are raw msgpack and alias the frame.
type Joined struct {
	Room      uint32 // names the room on this connection
	Kind, ID  string
	Member    uint32 // this session's number in the room
	Position         // from which frames follow
	N         uint64 // the next command has the number after this one
	Applied   uint64 // number of the last command the room has taken in, N or less
	Seats     int    // 0: no limit
	Size      int    // members now
	Members   []byte // [[member, user, away], …]; see DecodeMembers
	State     []byte
	Resumed   bool // the seat was kept
	Recovered bool // what was missed follows

	applied bool // Applied was given
}

// ParseJoined reads the map in the Data of a joined frame.
func ParseJoined(data []byte) (j Joined, err error) {
	c := cursor{b: data}
	for n := c.fields(); n > 0 && !c.bad; n-- {
		j.field(string(c.bytes()), &c)
	}
	if c.bad || j.Room == 0 {
		return Joined{}, errShort
	}
	if !j.applied {
		j.Applied = j.N
	}
	return j, nil
}

func (j *Joined) field(key string, c *cursor) {
	switch key {
	case "room":
		j.Room = uint32(c.uint())
	case "kind":
		j.Kind = string(c.bytes())
	case "id":
		j.ID = string(c.bytes())
	case "member":
		j.Member = uint32(c.uint())
	case "epoch":
		j.Epoch = c.uint()
	case "seq":
		j.Seq = c.uint()
	case "count":
		j.Count = c.uint()
	case "ver":
		j.Ver = c.uint()
	case "n":
		j.N = c.uint()
	case "applied":
		j.Applied, j.applied = c.uint(), true
	case "seats":
		j.Seats = int(c.int())
	case "size":
		j.Size = int(c.int())
	case "members":
		j.Members = c.raw()
	case "state":
		j.State = c.raw()
	case "resumed":
		j.Resumed = c.bool()
	case "recovered":
		j.Recovered = c.bool()
	default:
		c.raw()
	}
}

// A Member is one who has a seat in a room.
type Member struct {
	ID   uint32
	User string
	Away bool // the connection is lost, the seat is kept
}

// DecodeMembers reads the members of a Joined; nil means none were sent.
func DecodeMembers(data []byte) ([]Member, error) {
	if len(data) == 0 {
		return nil, nil
	}
	c := cursor{b: data}
	var members []Member
	for n := c.array(); n > 0 && !c.bad; n-- {
		e := elements{c: &c, left: c.array()}
		m := Member{ID: uint32(e.uint()), User: string(e.bytes())}
		if e.next() {
			m.Away = c.bool()
		}
		for e.left > 0 && !c.bad {
			e.raw()
		}
		members = append(members, m)
	}
	if c.bad {
		return nil, errShort
	}
	return members, nil
}

// A Presence is one change of who is in a room. In rooms above the kind's
// presence limit only Size is told.
type Presence struct {
	Size   int    // members after the change
	Seq    uint64 // place in the room's output
	Joined []Member
	Left   []uint32
	Away   []uint32
	Back   []uint32
}

// DecodePresence reads a presence frame.
func DecodePresence(f *Frame) (Presence, error) {
	p := Presence{Size: f.Size, Seq: f.Seq}
	c := cursor{b: f.Data}
	if len(c.b) > 0 {
		joined, err := DecodeMembers(c.raw())
		if err != nil {
			return Presence{}, err
		}
		p.Joined = joined
	}
	for _, list := range []*[]uint32{&p.Left, &p.Away, &p.Back} {
		if len(c.b) == 0 {
			break
		}
		for n := c.array(); n > 0 && !c.bad; n-- {
			*list = append(*list, uint32(c.uint()))
		}
	}
	if c.bad {
		return Presence{}, errShort
	}
	return p, nil
}

// A Listing is one open room of a list.
type Listing struct {
	Kind    string
	ID      string
	Members int
	Seats   int // 0: no limit
	Meta    map[string]any
}

// DecodeListings reads the Data of a list's answer.
func DecodeListings(data []byte) ([]Listing, error) {
	c := cursor{b: data}
	n := c.array()
	list := make([]Listing, 0, min(n, 1000))
	for ; n > 0 && !c.bad; n-- {
		e := elements{c: &c, left: c.array()}
		l := Listing{
			Kind: string(e.bytes()), ID: string(e.bytes()),
			Members: int(e.uint()), Seats: int(e.uint()),
		}
		if meta := e.raw(); len(meta) > 0 {
			if err := msgpack.Unmarshal(meta, &l.Meta); err != nil {
				return nil, err
			}
		}
		for e.left > 0 && !c.bad {
			e.raw()
		}
		list = append(list, l)
	}
	if c.bad {
		return nil, errShort
	}
	return list, nil
}

// ApplyPatch appends to dst the state that a patch frame's data makes of state,
// the one of the ver before. After an error the state is lost until the next
// whole one.
func ApplyPatch(dst, state, data []byte) ([]byte, error) { return patch.Apply(dst, state, data) }
