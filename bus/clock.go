package bus

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Clocks of other nodes. Deadlines travel as times of the sender's clock and stay
// absolute: what lay in a paused process's queue for too long must not run. Nodes'
// clocks differ, so whoever reads a deadline takes off what its own clock is ahead
// of the sender's, as the sender's heartbeats tell: each has the time at which it
// was sent.
//
// A heartbeat that took long says that its sender's clock is behind. So the least
// that some heartbeats in a row say is believed: a smaller offset at once, a
// larger one when all heartbeats of a window of time have said so. A process that
// was stopped finds old heartbeats in its queue too, all at one time: they don't
// fill a window, and newer ones follow.

// A ClockID names a node's clock in few bytes. Two nodes of one system may share
// one, which only matters if their clocks differ.
type ClockID uint32

// ClockOf returns the name of a node's clock.
func ClockOf(node string) ClockID {
	h := fnv.New32a()
	h.Write([]byte(node)) // never fails
	return ClockID(h.Sum32())
}

const (
	firstBeats = 2 // heartbeats until a clock is known
	clockBeats = 5 // heartbeats in a window

	clocksDiffer = time.Second            // operators are told
	clocksAgree  = 500 * time.Millisecond // and told again when it is less than that
	maxClocks    = 4096
	maxTold      = 5 // nodes that ClocksDiffer names
)

// A clock is what is known of another node's.
type clock struct {
	node   string
	offset atomic.Int64 // ours minus theirs, nanoseconds; 0 until it is known

	// What follows belongs to Nodes.Run's goroutine.
	known bool
	told  bool          // operators were told that it differs
	began time.Time     // when the window did, by when its first heartbeat was received
	beats int           // in it
	least time.Duration // offset in it
	last  time.Duration // least offset in the window before
}

// sample takes a heartbeat that was sent at a time of the other's clock and
// received at a time of ours. every is how often they are sent.
func (c *clock) sample(sent, received time.Time, every time.Duration) {
	offset := received.Round(0).Sub(sent) // by the wall clocks; windows go by the monotonic one
	if c.beats == 0 {
		c.began, c.least = received, offset
	}
	c.beats++
	c.least = min(c.least, offset)
	took := received.Sub(c.began)
	switch {
	case !c.known && c.beats >= firstBeats && took >= every/2:
		c.known, c.last = true, c.least
		c.offset.Store(int64(c.least))
	case c.known && c.beats >= clockBeats && took >= (clockBeats-2)*every:
		c.offset.Store(int64(min(c.last, c.least)))
		c.last, c.beats = c.least, 0
	case c.known && int64(offset) < c.offset.Load():
		c.offset.Store(int64(offset))
	}
}

// clocks are those that a Conn knows: of the nodes that its Nodes hears.
type clocks struct {
	byID sync.Map // ClockID → *clock
	n    atomic.Int64
}

// of returns a node's clock; nil if there are too many. It belongs to Nodes.Run's
// goroutine.
func (cs *clocks) of(node string) *clock {
	id := ClockOf(node)
	if c, ok := cs.byID.Load(id); ok {
		return c.(*clock)
	}
	if cs.n.Load() >= maxClocks {
		return nil
	}
	c := &clock{node: node}
	cs.byID.Store(id, c)
	cs.n.Add(1)
	return c
}

// forget drops what is known of a node that is gone.
func (cs *clocks) forget(node string) {
	if _, ok := cs.byID.LoadAndDelete(ClockOf(node)); ok {
		cs.n.Add(-1)
	}
}

// ahead returns by how much our clock is ahead of another; 0 if that is not known.
func (cs *clocks) ahead(id ClockID) time.Duration {
	if c, ok := cs.byID.Load(id); ok {
		return time.Duration(c.(*clock).offset.Load())
	}
	return 0
}

// Deadline returns when a timeout that begins now is over, by this node's clock,
// for those who read it by ClockID.
func (c *Conn) Deadline(now time.Time, timeout time.Duration) time.Time {
	return now.Add(timeout + c.cfg.Skew)
}

// Until returns how long it is from now to a deadline by another node's clock:
// less than 0 if it has passed.
func (c *Conn) Until(of ClockID, deadline, now time.Time) time.Duration {
	return deadline.Sub(now.Round(0).Add(c.cfg.Skew - c.clocks.ahead(of)))
}

// Late reports whether a deadline by another node's clock has passed.
func (c *Conn) Late(of ClockID, deadline, now time.Time) bool { return c.Until(of, deadline, now) < 0 }

// Clock returns the name of this node's clock.
func (c *Conn) Clock() ClockID { return c.clock }

// heardTime takes note of the time in a heartbeat.
func (c *Conn) heardTime(node string, sent, received time.Time, every time.Duration) {
	k := c.clocks.of(node)
	if k == nil {
		return
	}
	k.sample(sent, received.Add(c.cfg.Skew), every)
	offset := time.Duration(k.offset.Load())
	switch {
	case !k.told && offset.Abs() >= clocksDiffer:
		k.told = true
		c.cfg.Log.Warn("clocks differ: deadlines are read by the sender's clock, timers and expiry times are not; is time kept on both machines?",
			"node", c.cfg.Name, "other", node, "ahead_ms", offset.Milliseconds())
	case k.told && offset.Abs() < clocksAgree:
		k.told = false
		c.cfg.Log.Info("clocks agree again", "node", c.cfg.Name, "other", node)
	}
}

// ClocksDiffer says which nodes' clocks are notably off this one's; empty: none.
func (c *Conn) ClocksDiffer() string {
	var list []string
	c.clocks.byID.Range(func(_, v any) bool {
		k := v.(*clock)
		if offset := time.Duration(k.offset.Load()); offset.Abs() >= clocksDiffer {
			word := "ahead"
			if offset > 0 { // ours is ahead
				word = "behind"
			}
			list = append(list, fmt.Sprintf("%s is %.1f s %s", k.node, offset.Abs().Seconds(), word))
		}
		return true
	})
	if len(list) == 0 {
		return ""
	}
	slices.Sort(list)
	more := ""
	if len(list) > maxTold {
		list, more = list[:maxTold], ", …"
	}
	return "clocks differ: " + strings.Join(list, ", ") + more
}

// LargestOffset returns by how much another node's clock is off this one's, at
// most.
func (c *Conn) LargestOffset() time.Duration {
	most := time.Duration(0)
	c.clocks.byID.Range(func(_, v any) bool {
		most = max(most, time.Duration(v.(*clock).offset.Load()).Abs())
		return true
	})
	return most
}
