package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// a guest is a client in the room chat.lounge, with what it was told.
type guest struct {
	*Client
	room     *Room
	messages chan Message
	joined   chan Joined
	states   chan []byte
	left     chan error
}

func enter(t *testing.T, s *testServer, user string) *guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := Dial(ctx, Config{URL: s.url, User: user})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	g := &guest{
		Client: c, messages: make(chan Message, 1000), joined: make(chan Joined, 10),
		states: make(chan []byte, 100), left: make(chan error, 1),
	}
	g.room, err = c.Join(ctx, "chat", "lounge", map[string]int{"x": 1}, Events{
		Message: func(m Message) { g.messages <- m },
		Joined:  func(j Joined) { g.joined <- j },
		State:   func(state []byte, _ uint64) { g.states <- state },
		Left:    func(err error) { g.left <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, g.joined)
	return g
}

func (g *guest) call(t *testing.T, event string, data any) (Data, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return g.room.Call(ctx, event, data)
}

func TestCallReturnsReplyOrCodedError(t *testing.T) {
	g := enter(t, startServer(t), "Ann")
	reply, err := g.call(t, "echo", "hello")
	var text string
	if err != nil || reply.Decode(&text) != nil || text != "hello" {
		t.Errorf("Call(echo) = %q, %v", text, err)
	}
	if _, err := g.call(t, "fail", nil); Code(err) != "bad_data" {
		t.Errorf("Call(fail) = %v, want code bad_data", err)
	}
}

func TestJoinReturnsTheRoomsRefusal(t *testing.T) {
	g := enter(t, startServer(t), "Ann")
	if _, err := g.Join(t.Context(), "locked", "x", nil, Events{}); Code(err) != "room_full" {
		t.Errorf("Join = %v, want code room_full", err)
	}
}

func TestListTellsOpenRooms(t *testing.T) {
	g := enter(t, startServer(t), "Ann")
	list, err := g.List(t.Context(), "chat", 10)
	if err != nil || len(list) != 1 || list[0].ID != "lounge" || list[0].Meta["topic"] != "tea" {
		t.Errorf("List = %+v, %v", list, err)
	}
}

func TestLostConnectionLosesNothing(t *testing.T) {
	s := startServer(t)
	ann, bob := enter(t, s, "Ann"), enter(t, s, "Bob")
	session := ann.Session().Session
	for i := range 100 {
		if i%10 == 5 {
			ann.Drop()
		}
		if _, err := bob.call(t, "cast", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		var got int
		if m := want(t, ann.messages); m.Data.Decode(&got) != nil || got != i || m.Seq != uint64(i+1) {
			t.Fatalf("message %d = %d with seq %d", i, got, m.Seq)
		}
	}
	if now := ann.Session().Session; now != session {
		t.Errorf("session %s became %s", session, now)
	}
}

func TestCommandsAreSentAgainAndHappenOnce(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	s.set(func() { s.deaf = true }) // applied, but the replies are lost
	const calls = 20
	results := make(chan error, calls)
	for i := range calls {
		go func() {
			reply, err := g.room.Call(t.Context(), "cast", i)
			if err == nil && len(reply) != 1 {
				err = fmt.Errorf("reply % x", reply)
			}
			results <- err
		}()
	}
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.rooms["chat.lounge"].seq == calls
	})
	s.set(func() { s.deaf = false })
	s.dropAll()
	for range calls {
		if err := want(t, results); err != nil {
			t.Error(err)
		}
	}
	seen := make(map[int]bool)
	for range calls {
		var i int
		if err := want(t, g.messages).Data.Decode(&i); err != nil || seen[i] {
			t.Errorf("message %d twice, or %v", i, err)
		}
		seen[i] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.rooms["chat.lounge"].seq; n != calls {
		t.Errorf("%d commands happened, want %d", n, calls)
	}
}

func TestTooManyCallsAreRefusedAtOnce(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	s.set(func() { s.deaf = true })
	for range maxUnanswered {
		if _, err := g.room.begin("echo", []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.call(t, "echo", 1); !errors.Is(err, ErrTooMany) {
		t.Errorf("call %d = %v, want ErrTooMany", maxUnanswered+1, err)
	}
}

func TestGapMakesTheClientResume(t *testing.T) {
	g := enter(t, startServer(t), "Ann")
	for _, event := range []string{"cast", "skip", "cast"} {
		if err := g.room.Send(event, event); err != nil {
			t.Fatal(err)
		}
	}
	for i, event := range []string{"cast", "skip", "cast"} {
		var got string
		if m := want(t, g.messages); m.Data.Decode(&got) != nil || got != event || m.Seq != uint64(i+1) {
			t.Errorf("message %d = %q with seq %d, want %q", i, got, m.Seq, event)
		}
	}
	if j := want(t, g.joined); !j.Recovered {
		t.Errorf("joined again with %+v, want recovered", j)
	}
}

func TestPrivateMessagesAreRecoveredToo(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	s.set(func() { s.deaf = true })
	if err := g.room.Send("whisper", "psst"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.rooms["chat.lounge"].seats[0].count == 1
	})
	s.set(func() { s.deaf = false })
	g.Drop()
	if m := want(t, g.messages); !m.Private || m.Event != "whisper" {
		t.Errorf("got %+v, want the whisper", m)
	}
}

func TestForgottenSessionBeginsANewOne(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	session := g.Session().Session
	s.set(func() { s.refuse = true })
	g.Drop()
	if j := want(t, g.joined); j.Resumed {
		t.Errorf("joined = %+v, want a new seat", j)
	}
	if now := g.Session().Session; now == session {
		t.Error("the refused session lives on")
	}
	if _, err := g.call(t, "echo", 1); err != nil {
		t.Errorf("call on the new seat: %v", err)
	}
}

func TestLostSeatLeavesCallsWithUnknownFate(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	s.set(func() { s.deaf = true })
	reply, err := g.room.begin("cast", []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.deaf, s.refuse = false, true })
	g.Drop()
	if a := want(t, reply); !errors.Is(a.err, ErrUnknownFate) {
		t.Errorf("reply = %+v, want ErrUnknownFate", a)
	}
}

func TestStateFollowsPatches(t *testing.T) {
	g := enter(t, startServer(t), "Ann")
	if err := g.room.Send("set", map[string]any{"x": 10}); err != nil {
		t.Fatal(err)
	}
	want(t, g.states)
	if err := g.room.Send("patch", map[string]any{"x": 5}); err != nil {
		t.Fatal(err)
	}
	var state map[string]int
	if err := msgpack.Unmarshal(want(t, g.states), &state); err != nil || state["x"] != 15 {
		t.Errorf("state = %v, %v; want x = 15", state, err)
	}
	if err := msgpack.Unmarshal(g.room.State(), &state); err != nil || state["x"] != 15 {
		t.Errorf("State() = %v, %v; want x = 15", state, err)
	}
}

func TestLeaveGivesTheSeatUp(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	if err := g.room.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := want(t, g.left); !errors.Is(err, ErrLeft) {
		t.Errorf("Left(%v), want ErrLeft", err)
	}
	if _, err := g.call(t, "echo", 1); !errors.Is(err, ErrLeft) {
		t.Errorf("Call after Leave = %v, want ErrLeft", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seats) != 0 {
		t.Errorf("%d seats are still taken", len(s.seats))
	}
}

func TestKickedMemberIsTold(t *testing.T) {
	g := enter(t, startServer(t), "Ann")
	if err := g.room.Send("kick", nil); err != nil {
		t.Fatal(err)
	}
	if err := want(t, g.left); Code(err) != "kicked" {
		t.Errorf("Left(%v), want code kicked", err)
	}
}

func TestFinalCloseCodeEndsTheClient(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	s.closeAll(CloseReplaced, "replaced", -1)
	want(t, g.left)
	want(t, g.Done())
	var closed *CloseError
	if err := g.Err(); !errors.As(err, &closed) || closed.Code != CloseReplaced {
		t.Errorf("Err() = %v, want close code 4102", err)
	}
}

func TestShutdownBringsTheClientBackAfterRetry(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	s.closeAll(CloseShutdown, "shutdown", 0)
	if j := want(t, g.joined); !j.Resumed || !j.Recovered {
		t.Errorf("joined = %+v, want resumed and recovered", j)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	g := enter(t, startServer(t), "Ann")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := want(t, g.left); !errors.Is(err, ErrClosed) {
		t.Errorf("Left(%v), want ErrClosed", err)
	}
	if _, err := g.Join(t.Context(), "chat", "other", nil, Events{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Join after Close = %v", err)
	}
	if _, err := g.call(t, "echo", 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Call after Close = %v", err)
	}
	if err := g.room.Send("cast", 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close = %v", err)
	}
}

func TestDialTellsWhyItFailed(t *testing.T) {
	s := startServer(t)
	s.set(func() { s.refuse = true })
	_, _, err := openWire(t.Context(), &Config{Handshake: 10 * time.Second}, s.url, Hello{Resume: "s1"})
	if Code(err) != "bad_token" {
		t.Errorf("refused hello = %v, want code bad_token", err)
	}
	if _, err := Dial(t.Context(), Config{URL: "ws://127.0.0.1:1/ws"}); err == nil {
		t.Error("Dial of a closed port succeeded")
	}
}

// waitFor polls what the test server has no event for.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s in vain")
		}
	}
}
