package kvchaos

import "time"

// What clients note, for the check. Times are since the run began.

// An Add is one increment of a counter.
type Add struct {
	Key        string // with the field of a hash
	N          int64
	Value      int64 // that was answered
	Sent, Done time.Duration
	Fate       Fate
}

// A Member is what one client knows of a member of the set, which only it adds
// and removes.
type Member struct {
	Name   string
	There  bool
	Either bool // a command's fate is unknown, and the name was not used again
}

// A Touch is a read or a write of a register.
type Touch struct {
	Key        string
	Event      string // get, put or cas
	Old, Value int64  // cas: what is expected; put, cas: what is written
	Got        int64  // get
	Swapped    bool   // cas
	Client     int
	Sent, Done time.Duration
	Fate       Fate
}

// A Push is an element that was given to a queue.
type Push struct {
	Element    string
	Sent, Done time.Duration
	Fate       Fate
}

// A Pop is an element that somebody got.
type Pop struct {
	Element string
	By      string
	At      time.Duration
}

// A Break is a wait that ended without an answer: its connection broke or its
// process was killed. What it was given then is lost to us.
type Break struct {
	By string
	At time.Duration
}

// A Failure is a wait that was answered an error. It excuses nothing: whoever is
// answered an error is given no element.
type Failure struct {
	By, Text string
	At       time.Duration
}

// A Quiet is one waiter that was killed while nobody pushed, and then an element
// for the next.
type Quiet struct {
	Key     string
	Pushed  Fate
	Got     bool
	Certain bool // all pops were answered
}

// An Oddity is an answer that cannot be, noticed on the way.
type Oddity struct{ Rule, Text string }

// A History is all of it.
type History struct {
	Adds    []Add
	Members []Member
	Odd     []Oddity
	Touches []Touch
	Pushes  []Push
	Pops    []Pop
	Breaks  []Break
	Quiets  []Quiet
	Failed  []Failure // waits

	Counters  map[string]int64 // at the end
	InSet     []string
	SetSize   int
	Remaining []string // in the queues, when the consumers had gone
}
