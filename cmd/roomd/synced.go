package main

import (
	"fmt"
	"hash/fnv"
	"time"

	"roomd/rooms"
	"roomd/rooms/patch"

	"github.com/vmihailenco/msgpack/v5"
)

// What a synced room holds at most: its state has to stay below 768 KiB.
const (
	maxSynced  = 5_000 // entries, of maxEntryBytes each
	maxBells   = 1_000 // armed
	maxRing    = time.Minute
	keptRecent = 16
	keptGone   = 64
	cells      = 16
)

// synced is a room for load tests whose whole state goes to its members. It finds
// out whether they are shown what the room is, whether timers ring once, and what
// became of messages to one member. Every command of these appends its id to the
// list, is told to all as added [place, id], and is answered [place, id]:
//
//	add id               nothing else
//	arm [id, ms]         a bell that rings after that time: then its id is noted, and told to all as rung id
//	tell [id, i]         a message to the i-th member, counted round: told [number, user, id]
//	move [id, cell, x]   adds x to one of 16 cells; 0 removes the cell
//
// These change nothing:
//
//	count id             [entries, id]
//	state                all of the state
//
// A newcomer is told its first message when it joins, with an empty id.
type synced struct {
	// Sum is the FNV-1a hash of Body in canonical form (rooms/patch), 16 hex
	// digits. A member that was led to another body than the room's sees that by
	// itself.
	Sum   string     `msgpack:"sum"`
	Count int        `msgpack:"count"` // of Body.IDs
	Body  syncedBody `msgpack:"body"`

	brief bool
}

// syncedBody has a list that only grows, one that loses its front, and maps
// whose keys come and go, so that patches have every form.
type syncedBody struct {
	IDs    []string         `msgpack:"ids"`
	Rung   []string         `msgpack:"rung"`  // bells in the order in which they rang
	Bells  map[string]int64 `msgpack:"bells"` // armed: when each is due, ms since 1970
	Cells  map[string]cell  `msgpack:"cells"`
	Told   map[uint32]int   `msgpack:"told"` // messages to each member
	Recent []string         `msgpack:"recent"`
	Gone   []string         `msgpack:"gone"`   // users whose seats ended, the last of them
	Opened int              `msgpack:"opened"` // calls of Open, but for brief rooms
}

type cell struct {
	X int64 `msgpack:"x"`
	N int64 `msgpack:"n"` // moves
}

// syncedKinds are the same room with each durability there is, and one that keeps
// little for members who miss something and ends their seats soon. Only that one
// comes back without a change by Open.
func syncedKinds() []rooms.Kind {
	kind := func(name string, d rooms.Durability) rooms.Kind {
		return rooms.Kind{
			Name: name, Durability: d, Sync: 50 * time.Millisecond,
			New: func() rooms.Handler { return newSynced(name == "synced-brief") },
		}
	}
	brief := kind("synced-brief", rooms.Commit)
	brief.History, brief.Linger = 8, 2*time.Second
	return []rooms.Kind{
		kind("synced", rooms.Commit), brief,
		kind("synced-interval", rooms.Interval(500*time.Millisecond)),
		kind("synced-none", rooms.None),
	}
}

func newSynced(brief bool) *synced {
	s := &synced{brief: brief, Body: syncedBody{
		Bells: map[string]int64{}, Cells: map[string]cell{}, Told: map[uint32]int{},
	}}
	s.sign()
	return s
}

func (s *synced) State() any { return s }

// sign makes Sum that of the body. It ends every callback that changed something.
func (s *synced) sign() {
	b, err := msgpack.Marshal(&s.Body)
	if err == nil {
		b, err = patch.Canonical(nil, b)
	}
	if err != nil {
		panic(fmt.Errorf("encode the body: %w", err)) // its types can always be encoded
	}
	h := fnv.New64a()
	_, _ = h.Write(b) // a hash takes everything
	s.Sum, s.Count = fmt.Sprintf("%016x", h.Sum64()), len(s.Body.IDs)
}

func (s *synced) Open(*rooms.Room) error {
	if !s.brief {
		s.Body.Opened++
		s.sign()
	}
	return nil
}

func (s *synced) Join(_ *rooms.Room, m *rooms.Member) error {
	s.Body.Told[m.ID()] = 0
	s.tell(m, "")
	s.sign()
	return nil
}

func (s *synced) Leave(_ *rooms.Room, m *rooms.Member, _ rooms.Reason) {
	delete(s.Body.Told, m.ID())
	s.Body.Gone = appendLast(s.Body.Gone, m.User(), keptGone)
	s.sign()
}

// appendLast appends to a list of which the last n are kept.
func appendLast(list []string, v string, n int) []string {
	list = append(list, v)
	return list[max(len(list)-n, 0):]
}

// A told is a message to one member: [number, user, id].
type told struct {
	//lint:ignore U1000 tells the encoder
	_msgpack struct{} `msgpack:",as_array"`
	Number   int      // of the messages to this member, from 1
	User     string
	ID       string // of the command that it is from
}

func (s *synced) tell(m *rooms.Member, id string) {
	s.Body.Told[m.ID()]++
	m.Send("told", told{Number: s.Body.Told[m.ID()], User: m.User(), ID: id})
}

func (s *synced) Receive(r *rooms.Room, _ *rooms.Member, msg *rooms.Message) error {
	switch msg.Event {
	case "add":
		return rooms.On(msg, func(id string) error { return s.enter(r, msg, id, nil) })
	case "arm":
		return rooms.On(msg, func(a arming) error { return s.arm(r, msg, a) })
	case "tell":
		return rooms.On(msg, func(t telling) error {
			return s.enter(r, msg, t.ID, func() { s.tell(pick(r.Members(), t.Member), t.ID) })
		})
	case "move":
		return rooms.On(msg, func(m moving) error {
			return s.enter(r, msg, m.ID, func() { s.move(m.Cell, m.X) })
		})
	case "count":
		return rooms.On(msg, func(id string) error {
			msg.Reply(added{Place: len(s.Body.IDs), ID: id})
			return nil
		})
	case "state":
		msg.Reply(s)
		return nil
	}
	return rooms.Errorf(rooms.UnknownEvent, "a synced room knows add, arm, tell, move, count and state")
}

// What arm, tell and move get.
type (
	arming struct {
		//lint:ignore U1000 tells the decoder
		_msgpack struct{} `msgpack:",as_array"`
		ID       string
		After    int64 // ms
	}
	telling struct {
		//lint:ignore U1000 tells the decoder
		_msgpack struct{} `msgpack:",as_array"`
		ID       string
		Member   uint32
	}
	moving struct {
		//lint:ignore U1000 tells the decoder
		_msgpack struct{} `msgpack:",as_array"`
		ID       string
		Cell     uint32
		X        int64
	}
)

// pick returns one of the members, counted round. The sender is one.
func pick(members []*rooms.Member, i uint32) *rooms.Member {
	return members[int(i%uint32(len(members)))]
}

// enter appends the id to the list and then does what else the command is for.
func (s *synced) enter(r *rooms.Room, msg *rooms.Message, id string, do func()) error {
	b := &s.Body
	switch {
	case id == "" || len(id) > maxEntryBytes:
		return rooms.Errorf(rooms.BadData, "an id has 1 to %d bytes", maxEntryBytes)
	case len(b.IDs) >= maxSynced:
		return rooms.Errorf(rooms.TooLarge, "a synced room has at most %d entries", maxSynced)
	}
	b.IDs = append(b.IDs, id)
	b.Recent = appendLast(b.Recent, id, keptRecent)
	entry := added{Place: len(b.IDs), ID: id}
	r.Broadcast("added", entry)
	msg.Reply(entry)
	if do != nil {
		do()
	}
	s.sign()
	return nil
}

func (s *synced) arm(r *rooms.Room, msg *rooms.Message, a arming) error {
	after := time.Duration(a.After) * time.Millisecond
	switch {
	case a.After < 0 || a.After > maxRing.Milliseconds():
		return rooms.Errorf(rooms.BadData, "a bell rings within %v", maxRing)
	case len(s.Body.Bells) >= maxBells:
		return rooms.Errorf(rooms.TooLarge, "a synced room has at most %d bells", maxBells)
	}
	return s.enter(r, msg, a.ID, func() {
		s.Body.Bells[a.ID] = r.Now().Add(after).UnixMilli()
		r.SetTimer(a.ID, after)
	})
}

// Timer notes every ring, also one that is not due: whoever reads the state is to
// see it.
func (s *synced) Timer(r *rooms.Room, id string) error {
	delete(s.Body.Bells, id)
	if len(s.Body.Rung) < 2*maxSynced {
		s.Body.Rung = append(s.Body.Rung, id)
	}
	r.Broadcast("rung", id)
	s.sign()
	return nil
}

func (s *synced) move(at uint32, x int64) {
	name := fmt.Sprintf("c%d", at%cells)
	if x == 0 {
		delete(s.Body.Cells, name)
		return
	}
	c := s.Body.Cells[name]
	s.Body.Cells[name] = cell{X: c.X + x, N: c.N + 1}
}
