// Package client speaks the roomd protocol (PROTOCOL.md) from Go, in two layers.
//
// # Client and Room
//
// A Client is for programs that take part in rooms: bots, services, tests. It is
// one session. It reconnects by itself, with growing random pauses and to any of
// the edges it knows, takes its seats again where it stopped, and sends again
// what has no reply or could not be taken in (unavailable, timeout).
//
//	c, err := client.Dial(ctx, client.Config{URL: "ws://localhost:8080/ws", User: "Ann"})
//	room, err := c.Join(ctx, "chat", "lounge", nil, client.Events{
//		Message: func(m client.Message) { … },
//	})
//	reply, err := room.Call(ctx, "say", "hello")
//
// What you can rely on: Message and Presence come in the room's order, none twice,
// and none is missing unless Joined said Recovered false or Notice said reset. A
// command of Call happens at most once, however often the connection breaks; if
// its reply came, exactly once.
//
// What you can't: Send is lost with the connection. When a Call ends with
// ErrUnknownFate or because its context ended, the command may have happened.
//
// # Loop and Conn
//
// A Loop holds thousands of connections on one goroutine: for load generators.
// It parses frames in place and allocates nothing for a message; what frames mean
// is up to its Handler. The Append functions build frames, ParseFrame and its
// relatives read them.
//
// # JavaScript
//
// The variable JavaScript holds the client for browsers and Node.
package client
