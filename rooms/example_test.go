package rooms_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"roomd/bus"
	"roomd/kv"
	"roomd/rooms"
)

// Chat is a room that remembers the last 50 lines.
type Chat struct {
	Lines []Line `msgpack:"lines"`
}

type Line struct {
	From string `msgpack:"from"`
	Text string `msgpack:"text"`
}

func (c *Chat) State() any { return c }

func (c *Chat) Join(r *rooms.Room, m *rooms.Member) error {
	m.Send("history", c.Lines)
	return nil
}

func (c *Chat) Leave(r *rooms.Room, m *rooms.Member, why rooms.Reason) {}

func (c *Chat) Receive(r *rooms.Room, m *rooms.Member, msg *rooms.Message) error {
	switch msg.Event {
	case "say":
		return rooms.On(msg, func(text string) error {
			line := Line{m.User(), text}
			c.Lines = append(c.Lines, line)
			c.Lines = c.Lines[max(0, len(c.Lines)-50):]
			r.Broadcast("said", line)
			return nil
		})
	}
	return rooms.Errorf("unknown_event", "%s", msg.Event)
}

// A worker that hosts chat rooms, and somebody who opens one.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	conn, err := bus.Open(ctx, bus.Config{Log: log}) // a NATS server in this process
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	records, err := kv.OpenRecords(ctx, conn, kv.Storage{Memory: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	worker, err := rooms.NewWorker(conn, records, kv.OpenLogs(conn, kv.Storage{Memory: true}), rooms.Config{Log: log}, rooms.Kind{
		Name:  "chat",
		New:   func() rooms.Handler { return &Chat{} },
		Seats: 100,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- worker.Run(running) }()

	// What an edge does when a client joins a room that nobody has.
	request := bus.AppendString(bus.AppendString(nil, "chat"), "lounge")
	for {
		if _, err = conn.Request(ctx, conn.Subjects().Open("chat"), request); bus.CodeOf(err) != bus.Unavailable {
			break // until the worker listens
		}
	}
	list, err := worker.List(ctx, rooms.Query{Kind: "chat"})
	if err != nil {
		fmt.Println(err)
	}
	for _, l := range list {
		fmt.Printf("%s.%s has %d of %d members\n", l.Kind, l.ID, l.Members, l.Seats)
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// chat.lounge has 0 of 100 members
	// <nil>
}
