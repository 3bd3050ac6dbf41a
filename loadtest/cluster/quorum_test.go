package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"roomd/client"
)

// quorumAway is how long most NATS servers are away: longer than a command or a
// join waits for its answer, so that all that was asked meanwhile comes too late.
const quorumAway = 15 * time.Second

func TestMembersStayWhileTwoOfThreeNATSServersAreAway(t *testing.T) {
	c := start(t, Config{NATS: 3, Edges: 1, Workers: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const members = 6
	left := make(chan error, members)
	var seats []*client.Room
	for i := range members {
		cl, err := client.Dial(ctx, client.Config{URL: c.URLs()[0], User: fmt.Sprint("user", i)})
		if err != nil {
			t.Fatal(err)
		}
		room, err := cl.Join(ctx, "ledger", fmt.Sprint("l", i/2), nil, client.Events{Left: func(err error) {
			if !errors.Is(err, client.ErrClosed) {
				left <- fmt.Errorf("user%d: %w", i, err)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		seats = append(seats, room)
	}
	busy, stop := context.WithCancel(ctx)
	defer stop()
	var adding sync.WaitGroup
	defer adding.Wait()
	for i, room := range seats {
		adding.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond) // an edge takes 200 a second
			defer pace.Stop()
			for n := 0; busy.Err() == nil; n++ {
				select {
				case <-pace.C:
				case <-busy.Done():
					return
				}
				if _, err := room.Call(busy, "add", fmt.Sprintf("%d-%d", i, n)); err != nil && busy.Err() == nil {
					t.Errorf("user%d: %v", i, err)
					return
				}
			}
		})
	}
	gone := c.NATS[:2]
	for _, p := range gone {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	<-time.After(quorumAway)
	if err := each(gone, func(p *Process) error { return p.Start(ctx) }); err != nil {
		t.Fatal(err)
	}
	for i, room := range seats {
		if _, err := room.Call(ctx, "add", fmt.Sprint("last of ", i)); err != nil {
			t.Errorf("user%d cannot go on: %v", i, err)
		}
	}
	stop()
	adding.Wait()
	for len(left) > 0 {
		t.Error("out of the room on a living connection: ", <-left)
	}
}
