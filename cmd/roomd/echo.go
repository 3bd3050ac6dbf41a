package main

import (
	"roomd/rooms"
)

// echo is a room without thoughts of its own, for measuring:
//
//	echo x  →  the reply is x
//	cast x  →  cast x to all
type echo struct{}

func echoKind() rooms.Kind {
	return rooms.Kind{Name: "echo", Durability: rooms.None, New: func() rooms.Handler { return echo{} }}
}

func (echo) Join(*rooms.Room, *rooms.Member) error { return nil }

func (echo) Leave(*rooms.Room, *rooms.Member, rooms.Reason) {}

func (echo) Receive(r *rooms.Room, _ *rooms.Member, msg *rooms.Message) error {
	switch msg.Event {
	case "echo":
		msg.Reply(msg.Raw())
	case "cast":
		r.Broadcast("cast", msg.Raw())
	default:
		return rooms.Errorf(rooms.UnknownEvent, "an echo knows echo and cast")
	}
	return nil
}
