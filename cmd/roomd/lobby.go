package main

import (
	"context"
	"time"

	"roomd/rooms"
)

const (
	maxListed   = 1000            // rooms of a kind that a lobby shows
	listTimeout = 4 * time.Second // a second for each kind, and some
)

// lobby is the room in which the rooms of some kinds can be seen. Its state is
// the list, looked up once a second while anybody is there:
//
//	{"rooms": {"chat.lounge": {"kind", "id", "members", "seats", "dormant", "meta"}, …}}
type lobby struct {
	Rooms   map[string]listed `msgpack:"rooms"`
	kinds   []string          // that are listed
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

// lobbyKind is a lobby that lists rooms of the given kinds.
func lobbyKind(listedKinds []string) rooms.Kind {
	return rooms.Kind{
		Name:          "lobby",
		New:           func() rooms.Handler { return &lobby{Rooms: map[string]listed{}, kinds: listedKinds} },
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
		all, err := gather(ctx, l.kinds, r.List)
		return func(r *rooms.Room) {
			l.looking = false
			if err != nil {
				r.Log().Warn("list rooms", "err", err)
				return // what is shown stays until the next look
			}
			l.Rooms = all
		}
	})
}

// gather returns the rooms of the given kinds by key. Each kind is asked for by
// itself: thousands of a load test's rooms must not crowd out the others.
func gather(ctx context.Context, kinds []string, list func(context.Context, rooms.Query) ([]rooms.Listing, error)) (map[string]listed, error) {
	all := make(map[string]listed)
	for _, kind := range kinds {
		some, err := list(ctx, rooms.Query{Kind: kind, Limit: maxListed})
		if err != nil {
			return nil, err
		}
		for _, it := range some {
			all[it.Kind+"."+it.ID] = listed{it.Kind, it.ID, it.Members, it.Seats, it.Dormant, it.Meta}
		}
	}
	return all, nil
}
