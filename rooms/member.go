package rooms

import (
	"roomd/bus"
)

// A Member is a session with a seat in a room. It belongs to its room: use it
// only in the room's callbacks. A *Member stays the same from Join to Leave,
// also while its client reconnects; it does not survive a restart of the room,
// so keep ID, not pointers, in a room's state.
type Member struct {
	room    *Room
	session uint64
	user    string
	id      uint32
	at      int32 // number of its address in room.peers; away: -1
	seated  bool  // false as soon as the seat is gone
	hole    bool  // a numbered command was refused as late: those behind it must wait for its retry
	fresh   bool  // in room.presence.joined
	toggled bool  // in room.presence.toggled
	marked  bool  // in room.trail.members
	bornNow bool  // this owner let it in
	rejoins bool  // join has changed since the last entry of the log

	options []byte // of the join, while Handler.Join runs
	leaveAt int64  // when the seat of an absent member ends, on the worker's clock
	count   uint64 // messages sent to this member alone
	trimmed uint64 // the last of them that is no longer in the room's history
	last    uint64 // no command up to this number is taken in any more
	void    uint64 // how many numbers up to last no command had or will have; last - void is that of the last one taken in
	join    uint64 // names its client's last join, higher each time; an edge's return that knows a lower one is refused
	try     uint64 // of that join: one that comes twice counts once
	born    uint64 // seq at which it joined; with bornNow
	bornTry uint64 // and by which try
	replies fifo   // what those commands got, by number, until the client has it

	unlogged int32 // replies kept since the last entry of the log
}

const away = -1

// Bounds of the replies kept for a member. A client has at most 64 commands
// without a reply; an old reply that is gone is answered out_of_order.
const (
	maxReplies    = 64
	maxReplyBytes = 1 << 20
)

// ID returns the member's number in the room: from 1, never used twice.
func (m *Member) ID() uint32 { return m.id }

// User returns who the member's session belongs to.
func (m *Member) User() string { return m.user }

// Session returns what identifies the member's session everywhere.
func (m *Member) Session() uint64 { return m.session }

// Away reports whether the member has no connection now; its seat is kept.
func (m *Member) Away() bool { return m.at == away }

// Options decodes the options of the join into v. It is for Handler.Join;
// afterwards the options are gone.
func (m *Member) Options(v any) error { return decode(m.options, v, bus.BadOptions) }

// Send sends a message to this member alone. If it is away it gets the message
// when it comes back, as long as the room's history reaches that far.
func (m *Member) Send(event string, data any) { m.room.send(m, event, data) }

// Kick takes the seat away as soon as the current callback has returned;
// Handler.Leave is called then. The client is told code and text; an empty code
// means kicked, and so does one that is not for authors (see Errorf).
func (m *Member) Kick(code, text string) {
	m.room.turnOf("Kick").kick(m, m.room.endCode(code, bus.Kicked), text)
}

// A numbering says what a command's number means for its member.
type numbering uint8

const (
	isNext     numbering = iota
	isRepeated           // applied before; its reply may be kept
	isGap                // something before it is missing
)

// number looks at a command's number, and forgets the replies that its client
// has.
func (m *Member) number(c *bus.Command) numbering {
	for acked := min(c.Acked, m.last); m.replies.count > 0; m.replies.drop() {
		if n, _ := m.replies.first(); n > acked {
			break
		}
	}
	switch {
	case c.N <= m.last:
		return isRepeated
	case c.N-m.last-1 > c.Skipped:
		return isGap
	}
	return isNext
}

// keepReply remembers the reply to command n for a retry.
func (m *Member) keepReply(n uint64, item []byte) {
	for m.replies.count >= maxReplies || m.replies.count > 0 && m.replies.bytes()+len(item) > maxReplyBytes {
		m.replies.drop()
	}
	m.replies.push(n, item)
	m.unlogged++
}

// keptReply returns the reply to command n, nil if there is none.
func (m *Member) keptReply(n uint64) []byte {
	for number, item := range m.replies.all {
		if number == n {
			return item
		}
	}
	return nil
}
