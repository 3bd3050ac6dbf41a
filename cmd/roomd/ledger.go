package main

import (
	"time"

	"roomd/rooms"
)

// What a ledger holds at most. All of it stays below 8 MiB as state, and the
// longest answer below 700 KiB.
const (
	maxEntries    = 100_000
	maxEntryBytes = 64
	maxRead       = 10_000 // entries in one answer
	registers     = 10
)

// ledger is a room that forgets nothing, for load tests to find out what was
// lost, doubled or put in another order:
//
//	add "id"             →  the reply is its place in the list, from 1; added [place, id] to all
//	read                 →  {count, ids}: all of them; too_large beyond 10,000
//	slice [from, n]      →  n ids, or as many as there are, without the first from; 10,000 at most
//	put [register, x]    →  registers 0 to 9 hold an integer, 0 at first
//	get register         →  x
//	cas [register, x, y] →  true if it was x, and is now y
//
// Count is kept beside the list so that a state of which only a part was kept
// gives itself away.
type ledger struct {
	Count     int              `msgpack:"count"`
	IDs       []string         `msgpack:"ids"`
	Registers [registers]int64 `msgpack:"registers"`
}

// ledgerKinds are the same room with each durability there is.
func ledgerKinds() []rooms.Kind {
	kind := func(name string, d rooms.Durability) rooms.Kind {
		return rooms.Kind{Name: name, Durability: d, New: func() rooms.Handler { return &ledger{} }}
	}
	return []rooms.Kind{
		kind("ledger", rooms.Commit),
		kind("ledger-interval", rooms.Interval(500*time.Millisecond)),
		kind("ledger-none", rooms.None),
	}
}

func (l *ledger) State() any { return l }

func (l *ledger) Join(*rooms.Room, *rooms.Member) error { return nil }

func (l *ledger) Leave(*rooms.Room, *rooms.Member, rooms.Reason) {}

func (l *ledger) Receive(r *rooms.Room, _ *rooms.Member, msg *rooms.Message) error {
	switch msg.Event {
	case "add":
		return rooms.On(msg, func(id string) error {
			place, err := l.add(id)
			if err == nil {
				r.Broadcast("added", added{Place: place, ID: id})
			}
			return answer(msg, place, err)
		})
	case "read":
		all, err := l.read()
		return answer(msg, all, err)
	case "slice":
		return rooms.On(msg, func(part [2]int) error {
			ids, err := l.slice(part[0], part[1])
			return answer(msg, ids, err)
		})
	case "put":
		return rooms.On(msg, func(put [2]int64) error {
			x, err := l.register(put[0])
			if err == nil {
				*x = put[1]
			}
			return err
		})
	case "get":
		return rooms.On(msg, func(register int64) error {
			x, err := l.register(register)
			return answer(msg, x, err)
		})
	case "cas":
		return rooms.On(msg, func(cas [3]int64) error {
			swapped, err := l.swap(cas[0], cas[1], cas[2])
			return answer(msg, swapped, err)
		})
	}
	return rooms.Errorf(rooms.UnknownEvent, "a ledger knows add, read, slice, put, get and cas")
}

// answer makes v the reply unless there is an error.
func answer[T any](msg *rooms.Message, v T, err error) error {
	if err == nil {
		msg.Reply(v)
	}
	return err
}

// contents is the answer to read.
type contents struct {
	Count int      `msgpack:"count"`
	IDs   []string `msgpack:"ids"`
}

// An added is what all are told of an entry: [place, id].
type added struct {
	//lint:ignore U1000 tells the encoder
	_msgpack struct{} `msgpack:",as_array"`
	Place    int
	ID       string
}

func (l *ledger) add(id string) (place int, err error) {
	switch {
	case id == "" || len(id) > maxEntryBytes:
		return 0, rooms.Errorf(rooms.BadData, "an id has 1 to %d bytes", maxEntryBytes)
	case len(l.IDs) >= maxEntries:
		return 0, rooms.Errorf(rooms.TooLarge, "a ledger has at most %d entries", maxEntries)
	}
	l.IDs = append(l.IDs, id)
	l.Count++
	return len(l.IDs), nil
}

func (l *ledger) read() (contents, error) {
	if len(l.IDs) > maxRead {
		return contents{}, rooms.Errorf(rooms.TooLarge, "more than %d entries are read in slices", maxRead)
	}
	return contents{l.Count, l.IDs}, nil
}

func (l *ledger) slice(from, n int) ([]string, error) {
	if from < 0 || n < 0 || n > maxRead {
		return nil, rooms.Errorf(rooms.BadData, "a slice begins at 0 or later and has up to %d entries", maxRead)
	}
	from = min(from, len(l.IDs))
	return l.IDs[from:min(from+n, len(l.IDs))], nil
}

func (l *ledger) register(i int64) (*int64, error) {
	if i < 0 || i >= registers {
		return nil, rooms.Errorf(rooms.BadData, "registers go from 0 to %d", registers-1)
	}
	return &l.Registers[i], nil
}

func (l *ledger) swap(i, old, value int64) (bool, error) {
	x, err := l.register(i)
	if err != nil || *x != old {
		return false, err
	}
	*x = value
	return true, nil
}
