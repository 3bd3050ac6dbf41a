package main

import (
	"roomd/rooms"
)

// echo is a room without thoughts of its own, for measuring:
//
//	echo x  →  the reply is x
//	cast x  →  cast x to all
type echo struct{}

// echoKinds are the bare echo, and one that shows what commits cost.
func echoKinds() []rooms.Kind {
	kind := func(name string, d rooms.Durability) rooms.Kind {
		return rooms.Kind{Name: name, Durability: d, New: func() rooms.Handler { return echo{} }}
	}
	return []rooms.Kind{kind("echo", rooms.None), kind("echo-commit", rooms.Commit)}
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
