package main

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"roomd/client"
)

const (
	sendBurst   = 64               // commands sent between two looks at the sockets
	longest     = 60 * time.Second // latencies above count as this long
	perSource   = 1000             // clients that come from one address
	latencyStep = 1000             // ns: resolution of the histograms
)

// A shard is one loop with whole rooms on it. Everything in it belongs to the
// loop's goroutine; others look through loop.Do.
type shard struct {
	fleet   *fleet
	loop    *client.Loop
	work    workload
	members []*member
	rooms   []*room

	senders []*member // who takes part in the schedule, in the order of their turns
	pace    pace
	timers  timers
	toDial  []*member
	dialing int
	window  window

	floodUntil time.Duration // cost: replies are followed by new commands until then
	postponed  []postponed   // takeover, by time
	faultAt    time.Duration // takeover: of the fault that is watched; 0: none is

	latency, recent *hdr.Histogram // of the window; since the last look
	lag             *hdr.Histogram // how late sends left, in the window
	updates         updates
	tally
	failed error // why a client cannot get in at all

	frame, data, scratch []byte
}

// tally is what a shard counts. Counters without a remark run from the start.
type tally struct {
	v              verdicts
	deliveries     uint64 // arrived within the window
	delivered      uint64
	sends          uint64 // left within the window
	refused        uint64 // commands answered with a code
	unsent         uint64 // due, but their sender was not in its room, or too far behind
	unknown        uint64 // commands without a reply when a seat was lost
	unrecovered    uint64 // messages missed with the server's word that they are
	returned       uint64 // came back to a room
	resumed        uint64 // of those, to the seat they had
	recovered      uint64 // of those, without a gap
	resets         uint64
	slowClosed     uint64 // slow readers that the server gave up
	slowDelivered  uint64
	states         uint64
	patches        uint64
	skippedPatches uint64
	compared       uint64 // states found equal or not at two witnesses
	settled        int    // members that have been in their rooms
	lastArrival    time.Duration
	codes          map[string]uint64
	closings       map[string]uint64
}

// A workload is what a scenario's clients say, and what they make of answers.
type workload interface {
	// act does what was due for m at due.
	act(m *member, due time.Duration)
	// message looks at a broadcast and tells what to remember of it.
	message(m *member, f *client.Frame) heard
	// replied looks at the result of a numbered command.
	replied(m *member, c command, f *client.Frame)
	// updated looks at a state or patch that continues the last.
	updated(m *member, f *client.Frame)
}

// A writer is a workload whose commands carry other data than a payload.
type writer interface {
	write(b []byte, m *member, c command) []byte
}

// An attentive workload wants to know of notices.
type attentive interface {
	noticed(m *member, notice string)
}

// A window is the steady part of a test, which is measured.
type window struct{ from, to time.Duration }

func (w window) holds(t time.Duration) bool { return t >= w.from && t < w.to }

// pace is a schedule: act number i is due at start + i × every.
type pace struct {
	start, end time.Duration
	every      float64 // ns; 0: nothing is due
	done       int64
}

func (p *pace) due() (time.Duration, bool) {
	if p.every == 0 {
		return 0, false
	}
	at := p.start + time.Duration(float64(p.done)*p.every)
	return at, at < p.end
}

func newHistogram() *hdr.Histogram { return hdr.New(1, int64(longest/latencyStep), 3) }

func (f *fleet) newShard() (*shard, error) {
	sh := &shard{
		fleet: f, latency: newHistogram(), recent: newHistogram(), lag: newHistogram(), updates: newUpdates(),
		tally: tally{codes: make(map[string]uint64), closings: make(map[string]uint64)},
	}
	loop, err := client.NewLoop(client.LoopConfig{Base: f.base, Tick: sh.tick})
	sh.loop = loop
	return sh, err
}

// tick does what is due and tells when more will be.
func (sh *shard) tick(now time.Duration) (next time.Duration) {
	next = now + time.Second
	for len(sh.timers) > 0 && sh.timers[0].at <= now {
		t := heap.Pop(&sh.timers).(timer)
		sh.toDial = append(sh.toDial, t.m)
	}
	if len(sh.timers) > 0 {
		next = sh.timers[0].at
	}
	next = min(next, sh.sendAgain(now))
	for len(sh.toDial) > 0 && sh.dialing < sh.fleet.o.dialing {
		m := sh.toDial[0]
		sh.toDial = sh.toDial[1:]
		sh.dialing++
		m.dial()
	}
	for range sendBurst {
		due, more := sh.pace.due()
		if !more {
			return next
		}
		if due > now {
			return min(next, due)
		}
		sh.turn(due)
	}
	return now // more is due, but let the sockets in between
}

// turn lets the next sender act.
func (sh *shard) turn(due time.Duration) {
	i := sh.pace.done
	sh.pace.done++
	if len(sh.senders) == 0 {
		return
	}
	m := sh.senders[i%int64(len(sh.senders))]
	if m.phase != phaseJoined && sh.fleet.o.scenario == "churn" {
		m = sh.anyPresent() // to be away is part of the scenario
	}
	if m == nil || m.phase != phaseJoined {
		sh.unsent++
		return
	}
	sh.work.act(m, due)
	if sh.window.holds(due) {
		sh.sends++
		record(sh.lag, sh.loop.Clock()-due)
	}
}

// anyPresent finds a sender that is in its room, or nil.
func (sh *shard) anyPresent() *member {
	from := rand.IntN(len(sh.senders))
	for i := range sh.senders {
		if m := sh.senders[(from+i)%len(sh.senders)]; m.phase == phaseJoined {
			return m
		}
	}
	return nil
}

// transmit puts a command with a payload on the wire.
func (sh *shard) transmit(m *member, c command) {
	if w, ok := sh.work.(writer); ok {
		sh.data = w.write(sh.data[:0], m, c)
	} else {
		sh.data = appendPayload(sh.data[:0], &sh.scratch, c.stamp, sh.fleet.o.size)
	}
	var acked uint64
	if c.n > 0 {
		acked = m.acked()
	}
	sh.frame = client.AppendSend(sh.frame[:0], m.number, c.n, c.event, sh.data, acked)
	m.conn.Send(sh.frame)
}

// delivery counts something that arrived for m and was due at intended. Its
// latency counts if m was there all the time: what one gets on coming back took
// as long as one was away.
func (sh *shard) delivery(m *member, intended time.Duration) {
	sh.delivered++
	if m.slow {
		sh.slowDelivered++ // apart: they are meant to be late
		return
	}
	now := sh.loop.Now()
	if sh.window.holds(now) {
		sh.deliveries++
	}
	if sh.window.holds(intended) && m.since <= intended {
		record(sh.latency, now-intended)
		record(sh.recent, now-intended)
	}
}

func record(h *hdr.Histogram, d time.Duration) {
	// In range by construction, so this cannot fail.
	_ = h.RecordValue(int64(min(max(d, latencyStep), longest)) / latencyStep)
}

// arrived notes that m is in its room.
func (sh *shard) arrived(m *member) {
	sh.dialing--
	sh.lastArrival = sh.loop.Now()
	if !m.settled {
		m.settled = true
		sh.settled++
	}
	if m.returnAt > 0 && sh.fleet.o.timesReturns() {
		m.since = 0
		sh.delivery(m, m.returnAt)
	}
	m.returnAt, m.since = 0, sh.loop.Now()
}

func (sh *shard) refuse(code string) {
	sh.refused++
	sh.codes[code]++
}

func (sh *shard) closed(err *client.CloseError) {
	label := err.Bye
	if label == "" {
		label = strconv.Itoa(err.Code)
	}
	sh.closings[label]++
}

// after makes m connect after a pause.
func (sh *shard) after(pause time.Duration, m *member) {
	heap.Push(&sh.timers, timer{at: sh.loop.Now() + pause, m: m})
}

// pause is how long a churning client stays away.
func (sh *shard) pause() time.Duration { return rand.N(2 * time.Second) }

// source spreads clients over the loopback network, since one address has ports
// for 28,000 connections only. Other systems than Linux have one address.
func source(index int) netip.Addr {
	if runtime.GOOS != "linux" {
		return netip.Addr{}
	}
	k := index / perSource
	return netip.AddrFrom4([4]byte{127, 10, byte(k / 250), byte(1 + k%250)})
}

// timers is a heap of members that wait to connect.
type timers []timer

type timer struct {
	at time.Duration
	m  *member
}

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}
