package client

import (
	"fmt"
	"testing"
)

// Commands that a room without a worker refuses are sent again, all of them, in
// the order of the calls.
func TestUnavailableCommandsAreSentAgainInOrder(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	s.set(func() { s.away = 3 })
	var replies []chan answer
	for i := range byte(20) {
		reply, err := g.room.begin("cast", []byte{i})
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, reply)
	}
	for i, reply := range replies {
		if a := want(t, reply); a.err != nil {
			t.Errorf("call %d: %v", i, a.err)
		}
	}
	for i := range 20 {
		var got int
		if m := want(t, g.messages); m.Data.Decode(&got) != nil || got != i {
			t.Fatalf("message %d = %d", i, got)
		}
	}
}

// A room that cannot be reached when the client comes back is not lost.
func TestSeatIsTakenAgainOnceTheRoomIsBack(t *testing.T) {
	s := startServer(t)
	g := enter(t, s, "Ann")
	s.set(func() { s.away = 2 })
	g.Drop()
	if _, err := g.call(t, "echo", 1); err != nil {
		t.Error(err)
	}
	if j := want(t, g.joined); !j.Resumed {
		t.Errorf("joined = %+v, want resumed", j)
	}
}

func TestClientComesBackToAnotherEdge(t *testing.T) {
	s, other := startServer(t), startServer(t)
	c, err := Dial(t.Context(), Config{URL: "ws://127.0.0.1:1/ws", More: []string{s.url, other.url}, User: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	joined := make(chan Joined, 10)
	if _, err := c.Join(t.Context(), "chat", "lounge", nil, Events{Joined: func(j Joined) { joined <- j }}); err != nil {
		t.Fatal(err)
	}
	want(t, joined)
	if c.URL() != s.url {
		t.Errorf("URL() = %s, want %s", c.URL(), s.url)
	}
	s.dropAll()
	want(t, joined)
	other.mu.Lock()
	defer other.mu.Unlock()
	if len(other.conns) != 1 {
		t.Errorf("%d connections at the other edge, want 1", len(other.conns))
	}
}

// After a reset commands are numbered from what the room has, and the members are
// those it tells.
func TestResetBeginsANewCount(t *testing.T) {
	s := startServer(t)
	notices, resets := make(chan string, 10), make(chan Joined, 10)
	c, err := Dial(t.Context(), Config{URL: s.url, User: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	room, err := c.Join(t.Context(), "chat", "lounge", nil, Events{
		Notice: func(notice string) { notices <- notice },
		Reset:  func(j Joined) { resets <- j },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := room.Call(t.Context(), "echo", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := room.Send("reset", nil); err != nil {
		t.Fatal(err)
	}
	if notice := want(t, notices); notice != "reset" {
		t.Errorf("notice %q", notice)
	}
	j := want(t, resets)
	members, err := DecodeMembers(j.Members)
	if err != nil || fmt.Sprint(members) != "[{9 Ann false}]" || j.Member != 9 || j.Epoch != 2 || j.Size != 1 {
		t.Errorf("reset = %+v with members %v, %v", j, members, err)
	}
	if _, err := room.Call(t.Context(), "echo", 4); err != nil {
		t.Errorf("call after the reset: %v", err)
	}
	if room.Member() != 9 || room.Position().Epoch != 2 {
		t.Errorf("member %d at %+v", room.Member(), room.Position())
	}
}
