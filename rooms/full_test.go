package rooms

import (
	"fmt"
	"sync"
	"testing"

	"roomd/bus"
)

// Workers that have as many rooms as they may.

func TestRoomsThatAreBeingOpenedCountAsRooms(t *testing.T) {
	b := startBus(t)
	const limit, asked = 20, 1000
	w, _ := b.worker(t, "w1", Config{MaxRooms: limit}, counterKind())
	var opening sync.WaitGroup
	codes := make(chan bus.Code, asked)
	e := b.edge(t, "e1")
	for i := range asked {
		opening.Go(func() {
			_, err := e.tryOpen("counter", fmt.Sprint(i))
			codes <- codeOf(err)
		})
	}
	opening.Wait()
	close(codes)
	got := make(map[bus.Code]int)
	for code := range codes {
		got[code]++
	}
	if w.Len() != limit || got[""] != limit || got[bus.Overloaded] != asked-limit {
		t.Errorf("%d rooms and answers %v, want %d rooms and for the others overloaded", w.Len(), got, limit)
	}
}

func codeOf(err error) bus.Code {
	if err == nil {
		return ""
	}
	return bus.CodeOf(err)
}

func TestFullWorkerPassesOpensOnToOneThatHasRoom(t *testing.T) {
	b := startBus(t)
	full, _ := b.worker(t, "w1", Config{MaxRooms: 1}, counterKind())
	free, _ := b.worker(t, "w2", Config{MaxRooms: 9}, counterKind())
	waitFor(t, "w1 to hear of w2", func() bool { return len(full.nodes.List("worker")) == 2 })
	waitFor(t, "w2 to hear of w1", func() bool { return len(free.nodes.List("worker")) == 2 })
	e := b.edge(t, "e1")
	for i := range 10 { // NATS gives each to any of the two
		e.open("counter", fmt.Sprint(i))
	}
	if full.Len() != 1 || free.Len() != 9 {
		t.Errorf("%d and %d rooms, want 1 and 9", full.Len(), free.Len())
	}
	if _, err := e.tryOpen("counter", "x"); codeOf(err) != bus.Overloaded {
		t.Errorf("open with both full: %v, want overloaded", err)
	}
	for range 10 {
		e.open("counter", "3") // whoever is asked, it is there
		e.open("counter", "")
	}
}
