package bus

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

// Subjects builds and reads the subjects of one prefix. Its methods trust their
// arguments to be valid names: whoever takes a name from outside checks it
// first (ValidKind, ValidID, ValidNode).
type Subjects struct{ prefix string }

// An Address is where a room sends what its members on one loop of one edge
// shall get: "<edge>.<loop>".
type Address string

// NewAddress returns the address of an edge's loop.
func NewAddress(edge string, loop int) Address {
	return Address(edge + "." + strconv.Itoa(loop))
}

// Valid reports whether a has the form "<edge>.<loop>". An address arrives in
// envelopes, and becomes part of a subject.
func (a Address) Valid() bool {
	edge, loop, ok := strings.Cut(string(a), ".")
	if !ok || !ValidNode(edge) || loop == "" || len(loop) > 4 {
		return false
	}
	return validToken(loop, 4, isDigit)
}

// Edge returns the name of the edge.
func (a Address) Edge() string {
	edge, _, _ := strings.Cut(string(a), ".")
	return edge
}

// In is where a room takes commands.
func (s Subjects) In(key string) string { return s.prefix + ".room." + key + ".in" }

// RoomOf returns the key of the room whose In subject is given, and "" for any
// other subject.
func (s Subjects) RoomOf(subject string) string {
	rest, ok := strings.CutPrefix(subject, s.prefix+".room.")
	if !ok {
		return ""
	}
	key, ok := strings.CutSuffix(rest, ".in")
	if !ok {
		return ""
	}
	return key
}

// Out is where an address takes output.
func (s Subjects) Out(a Address) string { return s.prefix + ".edge." + string(a) + ".out" }

// Loop matches everything for one address.
func (s Subjects) Loop(a Address) string { return s.prefix + ".edge." + string(a) + ".>" }

// Announce is where a room's new owner says so, with an Output without items, to
// every loop of every edge: a room whose old owner hangs has somebody who
// listens to its commands, so nothing else would tell.
func (s Subjects) Announce() string { return s.prefix + ".announce" }

// NoResponders is the reply subject of commands from an address to its room
// number n.
func (s Subjects) NoResponders(a Address, n uint64) string {
	return s.prefix + ".edge." + string(a) + ".nr." + strconv.FormatUint(n, 10)
}

// NoRespondersOf returns n if subject was made by NoResponders.
func (s Subjects) NoRespondersOf(subject string) (n uint64, ok bool) {
	i := strings.LastIndexByte(subject, '.')
	if i < 0 || !strings.HasSuffix(subject[:i], ".nr") {
		return 0, false
	}
	n, err := strconv.ParseUint(subject[i+1:], 10, 64)
	return n, err == nil
}

// Open is where workers that host a kind open rooms of it.
func (s Subjects) Open(kind string) string { return s.prefix + ".open." + kind }

// List is where every worker tells its live rooms.
func (s Subjects) List() string { return s.prefix + ".list" }

// Worker is where one worker answers to a verb such as "ping".
func (s Subjects) Worker(worker, verb string) string {
	return s.prefix + ".worker." + worker + "." + verb
}

// Node is where a node's heartbeats go; Nodes matches those of all.
func (s Subjects) Node(name string) string { return s.prefix + ".node." + name }

// Nodes matches every node's heartbeats.
func (s Subjects) Nodes() string { return s.prefix + ".node.*" }

// StoreInbox is where one session of a kv store gets its answers.
func (s Subjects) StoreInbox(session string) string { return s.prefix + ".kv.inbox." + session }

// IsStoreInbox reports whether subject may have been made by StoreInbox: it
// arrives in messages, and is published to.
func (s Subjects) IsStoreInbox(subject string) bool {
	session, ok := strings.CutPrefix(subject, s.prefix+".kv.inbox.")
	return ok && ValidNode(session)
}

// News is where messages on a channel of kv's go. Channels have any name, so
// the subject has a hash of it, and the message the name.
func (s Subjects) News(channel string) string {
	sum := sha256.Sum256([]byte(channel))
	return s.prefix + ".kv.news." + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// AllNews matches the messages on all channels.
func (s Subjects) AllNews() string { return s.prefix + ".kv.news.*" }

func (s Subjects) inbox(conn string) string { return s.prefix + ".inbox." + conn }
