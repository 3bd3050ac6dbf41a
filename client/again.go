package client

import (
	"math/rand/v2"
	"time"
)

// This file sends again what the server could not take in for a while: its
// worker or NATS was away. Numbers keep commands from happening twice.

// passing are refusals of a join that say nothing about the seat.
var passing = map[string]bool{"unavailable": true, "overloaded": true, "rate_limited": true, "timeout": true}

const (
	firstAgain   = 100 * time.Millisecond
	longestAgain = 2 * time.Second
	disagreement = 2 // times that the first command may be out of order before we join again
)

// notTaken reports whether a reply says that its command's number is still free,
// or that nobody knows: then the same command is sent again.
func (r *Room) notTaken(f *Frame) bool {
	switch string(f.Code) {
	case "unavailable", "timeout":
		return true
	case "out_of_order":
		return f.N > r.taken // up to there the command happened, and its reply is gone
	}
	return false
}

// sendLater sends everything again in a while: the room takes commands in order,
// so behind one that did not get in none did. When the room and we disagree on
// what is next, joining again tells. c.mu is held.
func (r *Room) sendLater(disagree bool) {
	if disagree && r.attempts >= disagreement {
		if r.c.link != nil {
			r.c.link.cut()
		}
		return
	}
	r.later(func() {
		for _, w := range r.waiting {
			r.transmit(w)
		}
	})
}

// later runs do after a random pause, unless the connection or the room ends
// before. One thing at a time: a second one is not noted. c.mu is held, and is
// again when do runs.
func (r *Room) later(do func()) {
	if r.again != nil {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(rand.N(min(longestAgain, firstAgain<<min(r.attempts, 10))), func() {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		if r.again == timer {
			r.again = nil
			do()
		}
	})
	r.again = timer
	r.attempts++
}

// hurry forgets what was to be done later. c.mu is held.
func (r *Room) hurry() {
	if r.again != nil {
		r.again.Stop()
		r.again = nil
	}
}

// renumber gives the commands that the room has not taken in the numbers right
// after those it has. That changes nothing unless the seat is new or the room
// went back to an older state. c.mu is held.
func (r *Room) renumber(taken uint64) {
	r.taken = taken
	next := taken
	for _, w := range r.waiting {
		if w.n > taken || r.member == 0 {
			next++
			w.n = next
		}
	}
	r.n = next
}
