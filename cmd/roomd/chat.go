package main

import (
	"strings"

	"roomd/rooms"
)

const (
	maxLines     = 50   // remembered for those who come later
	maxLineBytes = 2000 // of one message
)

// A line is one message of a chat.
type line struct {
	From   string `msgpack:"from"`
	Member uint32 `msgpack:"member"`
	Text   string `msgpack:"text"`
	At     int64  `msgpack:"at"` // milliseconds since 1970
}

// chat is a room to talk in. Whoever joins is sent its last lines as history.
//
//	say "hello"  →  said {from, member, text, at} to all
//	history      →  the reply is the last lines, for those who have missed some
type chat struct {
	Lines []line `msgpack:"lines"`
}

func chatKind() rooms.Kind {
	return rooms.Kind{Name: "chat", Seats: 200, New: func() rooms.Handler { return &chat{} }}
}

func (c *chat) State() any { return c }

func (c *chat) Join(r *rooms.Room, m *rooms.Member) error {
	m.Send("history", c.Lines)
	return nil
}

func (c *chat) Leave(*rooms.Room, *rooms.Member, rooms.Reason) {}

func (c *chat) Receive(r *rooms.Room, m *rooms.Member, msg *rooms.Message) error {
	switch msg.Event {
	case "say":
		return rooms.On(msg, func(text string) error { return c.say(r, m, text) })
	case "history":
		msg.Reply(c.Lines)
		return nil
	}
	return rooms.Errorf(rooms.UnknownEvent, "a chat knows say and history")
}

func (c *chat) say(r *rooms.Room, m *rooms.Member, text string) error {
	if text = strings.TrimSpace(text); text == "" || len(text) > maxLineBytes {
		return rooms.Errorf(rooms.BadData, "a message has 1 to %d bytes", maxLineBytes)
	}
	said := line{From: m.User(), Member: m.ID(), Text: text, At: r.Now().UnixMilli()}
	c.remember(said)
	r.Broadcast("said", said)
	return nil
}

// remember keeps a line, and of all lines the last maxLines.
func (c *chat) remember(l line) {
	c.Lines = append(c.Lines, l)
	if n := len(c.Lines) - maxLines; n > 0 {
		c.Lines = append([]line(nil), c.Lines[n:]...)
	}
}
