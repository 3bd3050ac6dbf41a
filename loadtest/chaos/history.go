package chaos

import "time"

// This file holds what is written down during a run: one Room for each room, with
// one Record for each client in it. The checker needs nothing else.

// A Room is the history of one room and what it holds at the end.
type Room struct {
	ID        string    `json:"id"`
	Final     []string  `json:"final"`     // the list, place 1 first
	Count     int       `json:"count"`     // the room's own count of it, -1: not asked
	Unread    string    `json:"unread"`    // why Final could not be read, "" if it was
	Registers []Op      `json:"registers"` // final gets
	Records   []*Record `json:"clients"`

	// To measure losses: when faults of workers and NATS began, and from when to when records may not
	// have been written because NATS was in trouble.
	Faults []time.Duration    `json:"-"`
	Away   [][2]time.Duration `json:"-"`
}

// A Record is what one client did and was told.
type Record struct {
	Client  string   `json:"client"`
	Ops     []Op     `json:"ops"`   // in the order they were sent
	Heard   []Heard  `json:"heard"` // in the order of the client's callbacks
	Member  uint32   `json:"member"`
	Members []uint32 `json:"members"` // that it sees at the end, without those away; sorted
	Seated  bool     `json:"seated"`  // at the end
}

// A Fate is what is known of a command.
type Fate string

const (
	Acked   Fate = "acked"   // it happened
	Refused Fate = "refused" // it did not happen
	Unknown Fate = "unknown" // it may have happened, or may yet
)

// An Op is one command. Times, here and in all that is reported, count from the
// moment when the load began.
type Op struct {
	Event string        `json:"event"` // add, put, get or cas
	ID    string        `json:"id,omitempty"`
	Key   int           `json:"key,omitempty"` // register
	Old   int64         `json:"old,omitempty"` // cas: expected
	Value int64         `json:"value,omitempty"`
	Sent  time.Duration `json:"sent"`
	Done  time.Duration `json:"done"` // when its fate was known
	Fate  Fate          `json:"fate"`
	Code  string        `json:"code,omitempty"`

	Place   int   `json:"place,omitempty"`   // add: the reply
	Got     int64 `json:"got,omitempty"`     // get: the reply
	Swapped bool  `json:"swapped,omitempty"` // cas: the reply
}

// since makes the command's times count from the given one.
func (op *Op) since(from time.Duration) {
	op.Sent -= from
	op.Done -= from
}

// What a client can hear.
const (
	HeardAdded    = "added"
	HeardPresence = "presence"
	HeardJoined   = "joined"
	HeardReset    = "reset"
	HeardPaused   = "paused"
	HeardResumed  = "resumed"
	HeardLost     = "lost" // the connection
	HeardBack     = "back"
	HeardLeft     = "left" // the seat
	HeardOther    = "other"
)

// A Heard is one thing that a client was told, or that happened to it.
type Heard struct {
	At        time.Duration `json:"at"`
	What      string        `json:"what"`
	Seq       uint64        `json:"seq,omitempty"`   // added, presence; joined, reset: position
	Epoch     uint64        `json:"epoch,omitempty"` // joined, reset
	Place     int           `json:"place,omitempty"` // added
	ID        string        `json:"id,omitempty"`    // added
	Resumed   bool          `json:"resumed,omitempty"`
	Recovered bool          `json:"recovered,omitempty"`
	Text      string        `json:"text,omitempty"`
}
