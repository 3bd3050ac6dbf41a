package client_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"roomd/client"
	"roomd/loadtest/target"
)

// spawn starts the real server in a process of its own.
func spawn(t *testing.T) *target.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the server")
	}
	s, err := target.Spawn(t.Context(), target.SpawnConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, s *target.Server, user string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{URL: s.URL, User: user})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

type said struct {
	From string `msgpack:"from"`
	Text string `msgpack:"text"`
}

func TestRealRoomIsHeardInOrderThroughLostConnections(t *testing.T) {
	s, ctx := spawn(t), within(t)
	heard := make(chan client.Message, 1000)
	ann, bob := dial(t, s, "Ann"), dial(t, s, "Bob")
	if _, err := ann.Join(ctx, "chat", "lounge", nil, client.Events{
		Message: func(m client.Message) { heard <- m },
	}); err != nil {
		t.Fatal(err)
	}
	room, err := bob.Join(ctx, "chat", "lounge", nil, client.Events{})
	if err != nil {
		t.Fatal(err)
	}
	const messages = 100
	for i := range messages {
		switch i % 20 {
		case 5:
			ann.Drop()
		case 15:
			bob.Drop()
		}
		if _, err := room.Call(ctx, "say", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < messages; {
		select {
		case m := <-heard:
			if m.Private {
				continue // the history
			}
			var v said
			if err := m.Data.Decode(&v); err != nil || m.Event != "said" || v.From != "Bob" || v.Text != strconv.Itoa(i) {
				t.Fatalf("message %d = %s %+v, %v", i, m.Event, v, err)
			}
			i++
		case <-ctx.Done():
			t.Fatalf("heard %d of %d messages", i, messages)
		}
	}
}

func TestRealRoomRefusesWithCodes(t *testing.T) {
	s, ctx := spawn(t), within(t)
	c := dial(t, s, "Ann")
	if _, err := c.Join(ctx, "nonsense", "x", nil, client.Events{}); client.Code(err) != "unknown_kind" {
		t.Errorf("Join of an unknown kind = %v", err)
	}
	if _, err := c.Join(ctx, "chat", "a.*.>", nil, client.Events{}); client.Code(err) != "bad_name" {
		t.Errorf("Join with a bad name = %v", err)
	}
	room, err := c.Join(ctx, "chat", "", nil, client.Events{})
	if err != nil || room.ID() == "" {
		t.Fatalf("Join of any room: %v", err)
	}
	if _, err := room.Call(ctx, "say", 5); client.Code(err) != "bad_data" {
		t.Errorf("say 5 = %v", err)
	}
	if _, err := room.Call(ctx, "dance", nil); client.Code(err) != "unknown_event" {
		t.Errorf("dance = %v", err)
	}
	// A list may be a second old; nothing tells when it is not any more.
	for again := time.NewTicker(100 * time.Millisecond); ; <-again.C {
		list, err := c.List(ctx, "chat", 0)
		if err != nil {
			t.Fatalf("List = %+v, %v", list, err)
		}
		if len(list) == 1 && list[0].ID == room.ID() && list[0].Members == 1 {
			again.Stop()
			break
		}
	}
	if err := room.Leave(ctx); err != nil {
		t.Error(err)
	}
}

func TestRealStateIsFollowedByPatches(t *testing.T) {
	s, ctx := spawn(t), within(t)
	type plaza struct {
		Avatars map[uint32][]any `msgpack:"avatars"`
	}
	arrived := make(chan struct{})
	var room *client.Room
	joined := make(chan struct{})
	c := dial(t, s, "Ann")
	room, err := c.Join(ctx, "plaza", "p", nil, client.Events{State: func(state []byte, _ uint64) {
		<-joined
		var p plaza
		if err := client.Data(state).Decode(&p); err != nil {
			t.Error(err)
			return
		}
		me := p.Avatars[room.Member()]
		select {
		case <-arrived:
		default:
			if len(me) == 4 && me[3] == "Ann" && number(me[0]) == 100 && number(me[1]) == 200 {
				close(arrived)
			}
		}
	}})
	close(joined)
	if err != nil {
		t.Fatal(err)
	}
	if err := room.Send("walk", []int{100, 200}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-arrived:
	case <-ctx.Done():
		t.Fatalf("never arrived; the state is % x", room.State())
	}
}

// number reads an integer of whatever size msgpack chose.
func number(v any) int {
	switch v := v.(type) {
	case int8:
		return int(v)
	case uint8:
		return int(v)
	case int16:
		return int(v)
	case uint16:
		return int(v)
	case int64:
		return int(v)
	}
	return -1
}
