package main

import (
	"context"
	"time"

	"roomd/rooms"
)

const (
	maxListed   = 1000 // rooms a lobby shows
	listTimeout = 2 * time.Second
)

// lobby is the room in which all rooms can be seen. Its state is the list,
// looked up once a second while anybody is there:
//
//	{"rooms": {"chat.lounge": {"kind", "id", "members", "seats", "dormant", "meta"}, …}}
type lobby struct {
	Rooms   map[string]listed `msgpack:"rooms"`
	looking bool              // a look-up is under way
}

// listed is a room in the list.
type listed struct {
	Kind    string         `msgpack:"kind"`
	ID      string         `msgpack:"id"`
	Members int            `msgpack:"members"`
	Seats   int            `msgpack:"seats"` // 0: no limit
	Dormant bool           `msgpack:"dormant"`
	Meta    map[string]any `msgpack:"meta"`
}

func lobbyKind() rooms.Kind {
	return rooms.Kind{
		Name:          "lobby",
		New:           func() rooms.Handler { return &lobby{Rooms: map[string]listed{}} },
		TickRate:      1,
		Sync:          200 * time.Millisecond,
		Durability:    rooms.None,
		PresenceLimit: 1, // nobody looks at who else is looking
	}
}

func (l *lobby) State() any { return l }

func (l *lobby) Open(r *rooms.Room) error {
	l.look(r)
	return nil
}

func (l *lobby) Join(*rooms.Room, *rooms.Member) error { return nil }

func (l *lobby) Leave(*rooms.Room, *rooms.Member, rooms.Reason) {}

func (l *lobby) Receive(*rooms.Room, *rooms.Member, *rooms.Message) error {
	return rooms.Errorf(rooms.UnknownEvent, "a lobby knows no commands")
}

func (l *lobby) Tick(r *rooms.Room, _ time.Duration) error {
	l.look(r)
	return nil
}

// look asks for the list, off the room's turn.
func (l *lobby) look(r *rooms.Room) {
	if l.looking {
		return
	}
	l.looking = true
	r.Go(func(ctx context.Context) func(*rooms.Room) {
		ctx, cancel := context.WithTimeout(ctx, listTimeout)
		defer cancel()
		list, err := r.List(ctx, rooms.Query{Limit: maxListed})
		return func(r *rooms.Room) {
			l.looking = false
			if err != nil {
				r.Log().Warn("list rooms", "err", err)
				return // what is shown stays until the next look
			}
			l.Rooms = index(list)
		}
	})
}

// index puts the rooms in order by key, lobbies left out.
func index(list []rooms.Listing) map[string]listed {
	all := make(map[string]listed, len(list))
	for _, it := range list {
		if it.Kind == "lobby" {
			continue
		}
		all[it.Kind+"."+it.ID] = listed{it.Kind, it.ID, it.Members, it.Seats, it.Dormant, it.Meta}
	}
	return all
}
