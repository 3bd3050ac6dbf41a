package rooms

import (
	"fmt"
	"time"

	"roomd/bus"
)

// A Kind says what a sort of room is and how it is run. Only Name and New are
// required.
type Kind struct {
	Name string         // [a-z0-9_-]{1,32}
	New  func() Handler // returns the logic of a room that did not exist before

	Seats    int           // members at most, those who are away included; zero: no limit
	Linger   time.Duration // how long the seat of a member without a connection is kept; zero means 30 s, negative not at all
	EmptyFor time.Duration // how long a room without members stays in memory; zero means 60 s, negative for ever

	TickRate      int  // calls of Ticker.Tick a second; zero: none
	TickWhenEmpty bool // tick while nobody has a seat, too

	Sync       time.Duration // the state goes to members at most this often; zero: not at all
	Durability Durability    // what survives the worker; zero means Interval(1 s)

	History         int // messages kept for members who come back; zero means 256, negative none
	PresenceLimit   int // in rooms with more members presence tells only how many; zero means 500
	MaxMessageBytes int // data of one command; zero means 16 KiB
	MaxMailbox      int // commands that wait for the room, 1 KiB each on average; more are refused as overloaded; zero means 4,096

	// Allow says whether a user may join, before there is a seat. Its error
	// goes to the client; forbidden is the code for "not you". It must not
	// block. Nil allows everybody.
	Allow func(user string, options *Message) error
}

// A Durability says what of a room survives. The zero value is Interval of one
// second.
type Durability time.Duration

// None keeps nothing: a room that leaves memory or whose worker dies begins
// anew, without members. Its name and its epoch are kept even so, since they
// are what makes sure that a room has one owner.
const None Durability = -1

// Commit stores what a turn of the room has changed before anybody hears of it:
// a reply means that the change survives the death of any process. What the
// state may be is said at [Stater].
const Commit Durability = -2

// Interval stores a room that has changed within d, when it leaves memory and
// when its worker ends in order. A worker that dies takes with it what happened
// since the last time, and clients are told so: at most d, as long as NATS takes
// a write within a quarter of it.
func Interval(d time.Duration) Durability { return Durability(d) }

// historyBytes bounds a room's history next to Kind.History.
const historyBytes = 64 << 10

// check fills in what is zero and says what cannot be.
func (k Kind) check() (Kind, error) {
	if !bus.ValidKind(k.Name) {
		return k, fmt.Errorf("kind %q: name must be 1 to %d of a-z 0-9 _ -, and not begin with _", k.Name, bus.MaxKind)
	}
	if k.New == nil {
		return k, fmt.Errorf("kind %q: New is nil", k.Name)
	}
	for name, v := range map[string]int{
		"Seats": k.Seats, "TickRate": k.TickRate, "PresenceLimit": k.PresenceLimit,
		"MaxMessageBytes": k.MaxMessageBytes, "MaxMailbox": k.MaxMailbox, "Sync": int(k.Sync),
	} {
		if v < 0 {
			return k, fmt.Errorf("kind %q: %s is %d, must not be negative", k.Name, name, v)
		}
	}
	if k.TickRate > 1000 {
		return k, fmt.Errorf("kind %q: TickRate is %d, must be at most 1000", k.Name, k.TickRate)
	}
	if k.Durability < 0 && k.Durability != None && k.Durability != Commit {
		return k, fmt.Errorf("kind %q: Durability is %v, must be None, Interval or Commit", k.Name, time.Duration(k.Durability))
	}
	setDefault(&k.Linger, 30*time.Second)
	setDefault(&k.EmptyFor, 60*time.Second)
	setDefault(&k.Durability, Interval(time.Second))
	setDefault(&k.History, 256)
	setDefault(&k.PresenceLimit, 500)
	setDefault(&k.MaxMessageBytes, 16<<10)
	setDefault(&k.MaxMailbox, 4096)
	k.Linger, k.History = max(k.Linger, 0), max(k.History, 0)
	return k, k.checkHandler()
}

// checkHandler looks at what New returns for what the kind needs.
func (k *Kind) checkHandler() error {
	h := k.New()
	if h == nil {
		return fmt.Errorf("kind %q: New returned nil", k.Name)
	}
	if _, ok := h.(Ticker); k.TickRate > 0 && !ok {
		return fmt.Errorf("kind %q: TickRate is %d but %T has no Tick", k.Name, k.TickRate, h)
	}
	s, ok := h.(Stater)
	if k.Sync > 0 && !ok {
		return fmt.Errorf("kind %q: Sync is %v but %T has no State", k.Name, k.Sync, h)
	}
	if ok {
		var e encoder
		if _, err := e.encode(s.State()); err != nil {
			return fmt.Errorf("kind %q: encode state: %w", k.Name, err)
		}
	}
	return nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
