package chaos

import "time"

// This file holds what is written down during a run: one Room for each room, with
// one Record for each client in it. The checker needs nothing else.

// A Room is the history of one room and what it holds at the end.
type Room struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	Quiet     bool      `json:"quiet,omitempty"` // commands come too rarely to measure outages by
	Final     []string  `json:"final"`           // the list, place 1 first
	Count     int       `json:"count"`           // the room's own count of it, -1: not asked
	Unread    string    `json:"unread"`          // why Final could not be read, "" if it was
	Registers []Op      `json:"registers"`       // final gets
	Records   []*Record `json:"clients"`
	Visitors  []*Record `json:"visitors,omitempty"` // were there for a while
	Own       *Own      `json:"own,omitempty"`      // a synced room's state

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

	Visitor bool    `json:"visitor,omitempty"`
	Shown   []Shown `json:"shown,omitempty"`   // of a synced room, in order
	Unshown bool    `json:"unshown,omitempty"` // a reset took the state, and no other came
	Private uint64  `json:"private,omitempty"` // messages to it alone, as its position counts at the end
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
	Event string        `json:"event"` // of a ledger: add, put, get, cas; of a synced room: add, arm, tell, move, count
	ID    string        `json:"id,omitempty"`
	Key   int           `json:"key,omitempty"` // register
	Old   int64         `json:"old,omitempty"` // cas: expected
	Value int64         `json:"value,omitempty"`
	Sent  time.Duration `json:"sent"`
	Done  time.Duration `json:"done"` // when its fate was known
	Fate  Fate          `json:"fate"`
	Code  string        `json:"code,omitempty"`

	After time.Duration `json:"after,omitempty"` // arm: when the bell is to ring

	Place   int   `json:"place,omitempty"`   // add and its like: the reply
	Got     int64 `json:"got,omitempty"`     // get: the reply
	Swapped bool  `json:"swapped,omitempty"` // cas: the reply

	Answer string `json:"answer,omitempty"` // of a synced room: the id of the command that the reply is for
}

// enters reports whether the command appends its id to the room's list.
func (op *Op) enters() bool {
	switch op.Event {
	case "add", "arm", "tell", "move":
		return true
	}
	return false
}

// register reports whether the command is about a register.
func (op *Op) register() bool { return op.Event == "get" || op.Event == "put" || op.Event == "cas" }

// foreign reports whether the command got the reply to another.
func (op *Op) foreign() bool { return op.Fate == Acked && op.Answer != "" && op.Answer != op.ID }

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
	HeardDropped  = "dropped" // the connection, which the client cut itself
	HeardLeft     = "left"    // the seat
	HeardRung     = "rung"    // a bell
	HeardTold     = "told"    // this member alone
	HeardOther    = "other"
)

// A Heard is one thing that a client was told, or that happened to it.
type Heard struct {
	At        time.Duration `json:"at"`
	What      string        `json:"what"`
	Seq       uint64        `json:"seq,omitempty"`    // added, presence; joined, reset: position
	Epoch     uint64        `json:"epoch,omitempty"`  // joined, reset
	Place     int           `json:"place,omitempty"`  // added
	ID        string        `json:"id,omitempty"`     // added, rung, told
	Member    uint32        `json:"member,omitempty"` // joined, reset: the client's
	Number    int           `json:"number,omitempty"` // told: of the room's messages to the member
	User      string        `json:"user,omitempty"`   // told: for whom it is
	Resumed   bool          `json:"resumed,omitempty"`
	Recovered bool          `json:"recovered,omitempty"`
	Text      string        `json:"text,omitempty"`
}
