package kvchaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"roomd/loadtest/report"
)

// The check decides by what clients saw alone. It has no idea of servers.

// Rules that can be broken.
const (
	RuleCounter  = "a counter lost or doubled an increment"
	RuleSet      = "a set does not hold what was added"
	RuleRegister = "no order explains the answers"
	RuleSum      = "a transfer was seen by half"
	RuleLost     = "an acknowledged element was never popped"
	RuleTwice    = "an element was popped twice"
	RuleNobodys  = "an element was popped that nobody pushed"
	RuleVoid     = "an element went to a dead waiter"
	RuleOdd      = "an answer cannot be"
	RuleProcess  = "a process did not do as asked"
)

type check struct {
	h *History
	r *report.KVChaos
}

// Check fills in what h says, and what is wrong with it.
func Check(h *History, r *report.KVChaos) {
	c := &check{h, r}
	c.counters()
	c.set()
	c.queues()
	c.quiets()
	c.registers()
	for _, o := range h.Odd {
		r.Add(o.Rule, o.Text)
	}
}

func (c *check) report(rule, format string, args ...any) { c.r.Add(rule, fmt.Sprintf(format, args...)) }

// counters checks each counter: acked <= final <= acked + unknown; every answer
// is the end of a step that no other answer overlaps; and who asks later gets
// more.
func (c *check) counters() {
	byKey := make(map[string][]Add)
	for _, a := range c.h.Adds {
		byKey[a.Key] = append(byKey[a.Key], a)
	}
	for key, final := range c.h.Counters {
		var acked, unknown int64
		var steps []Add
		for _, a := range byKey[key] {
			switch a.Fate {
			case Acked:
				acked += a.N
				steps = append(steps, a)
			case Unknown:
				unknown += a.N
			}
		}
		c.r.Increments += len(steps)
		if final < acked || final > acked+unknown {
			c.report(RuleCounter, "%s is at %d: %d are acknowledged, and %d of unknown fate", key, final, acked, unknown)
		}
		slices.SortFunc(steps, func(a, b Add) int { return cmp.Compare(a.Value, b.Value) })
		end := int64(0)
		for i, a := range steps {
			if a.Value-a.N < end {
				c.report(RuleCounter, "%s: %d is answered to an increment by %d, and %d to another (at %v and %v)",
					key, a.Value, a.N, end, a.Done, steps[max(i-1, 0)].Done)
			}
			end = a.Value
		}
		c.inOrder(key, steps)
	}
}

// inOrder checks that nobody got less than was answered before he asked. steps
// are sorted by value.
func (c *check) inOrder(key string, steps []Add) {
	earliest := time.Duration(1 << 62) // answer among those with larger values
	for _, a := range slices.Backward(steps) {
		if earliest < a.Sent {
			c.report(RuleCounter, "%s: %d was answered at %v, to a command sent after a larger answer had come, at %v", key, a.Value, a.Done, earliest)
		}
		earliest = min(earliest, a.Done)
	}
}

func (c *check) set() {
	in := make(map[string]bool, len(c.h.InSet))
	for _, name := range c.h.InSet {
		in[name] = true
	}
	if c.h.SetSize != len(in) || len(in) != len(c.h.InSet) {
		c.report(RuleSet, "SCARD says %d, SMEMBERS has %d, %d of them different", c.h.SetSize, len(c.h.InSet), len(in))
	}
	for _, m := range c.h.Members {
		c.r.Members++
		if !m.Either && in[m.Name] != m.There {
			c.report(RuleSet, "%s: in the set %v, by its answers %v", m.Name, in[m.Name], m.There)
		}
		delete(in, m.Name)
	}
	for name := range in {
		c.report(RuleSet, "%s is in the set, and nobody added it", name)
	}
}

// queues checks that every element was popped once. One that was acknowledged and
// that nobody has is excused by a wait that broke after it was sent, each wait
// excuses one: it may have been on its way to the client.
func (c *check) queues() {
	times := make(map[string][]Pop)
	for _, p := range c.h.Pops {
		times[p.Element] = append(times[p.Element], p)
	}
	for _, e := range c.h.Remaining {
		times[e] = append(times[e], Pop{Element: e, By: "the end"})
	}
	var missing []Push
	for _, p := range c.h.Pushes {
		pops := times[p.Element]
		delete(times, p.Element)
		switch {
		case len(pops) > 1:
			c.report(RuleTwice, "%s, pushed at %v: %v", p.Element, p.Sent, pops)
		case len(pops) == 1 && p.Fate == Refused:
			c.report(RuleNobodys, "%s: its push was refused", p.Element)
		case len(pops) == 0 && p.Fate == Acked:
			missing = append(missing, p)
		}
		if p.Fate == Acked {
			c.r.Pushed++
		}
		c.r.Popped += len(pops)
	}
	for e, pops := range times {
		c.report(RuleNobodys, "%s: %v", e, pops)
	}
	c.excuse(missing)
}

// noticeWithin is how long a server may need to notice that a client is gone.
const noticeWithin = 300 * time.Millisecond

// excuse finds a wait for each of the missing elements: the last that broke for
// the last that was pushed.
func (c *check) excuse(missing []Push) {
	slices.SortFunc(missing, func(a, b Push) int { return cmp.Compare(b.Sent, a.Sent) })
	breaks := slices.Clone(c.h.Breaks)
	slices.SortFunc(breaks, func(a, b Break) int { return cmp.Compare(b.At, a.At) })
	c.r.BrokenWaits, c.r.FailedWaits = len(breaks), len(c.h.Failed)
	for _, p := range missing {
		if len(breaks) == 0 || breaks[0].At+noticeWithin < p.Sent {
			c.report(RuleLost, "%s, pushed at %v and acknowledged at %v", p.Element, p.Sent, p.Done)
			continue
		}
		breaks = breaks[1:]
		c.r.Excused++
	}
}

func (c *check) quiets() {
	for _, q := range c.h.Quiets {
		switch {
		case q.Pushed == Acked && !q.Got && q.Certain:
			c.report(RuleVoid, "%s: pushed after its only waiter was dead, and not there for the next", q.Key)
		case q.Pushed == Acked && q.Got:
			c.r.QuietKills++
		default:
			c.r.QuietUnsure++
		}
	}
}

// checkLinear bounds the search for an order that explains a register's history.
const checkLinear = 5 * time.Second

// register is the model: an integer, 0 at first.
var register = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		x, t := state.(int64), input.(*Touch)
		known := output != nil // else it may have happened
		switch t.Event {
		case "put":
			return true, t.Value
		case "cas":
			if x == t.Old {
				return !known || t.Swapped, t.Value
			}
			return !known || !t.Swapped, x
		}
		return !known || x == t.Got, x
	},
}

func (c *check) registers() {
	byKey := make(map[string][]porcupine.Operation)
	for i := range c.h.Touches {
		t := &c.h.Touches[i]
		if t.Fate == Refused || t.Event == "get" && t.Fate != Acked {
			continue
		}
		byKey[t.Key] = append(byKey[t.Key], t.operation())
	}
	for key, history := range byKey {
		c.r.Registers++
		c.r.Touches += len(history)
		switch porcupine.CheckOperationsTimeout(register, history, checkLinear) {
		case porcupine.Illegal:
			c.report(RuleRegister, "%s: %d answers", key, len(history))
		case porcupine.Unknown:
			c.r.Undecided++
		}
	}
}

// operation puts a touch in porcupine's form. One of unknown fate may take effect
// at any time after it was sent, or never, which is to say after all else.
func (t *Touch) operation() porcupine.Operation {
	const forever = 1 << 62
	p := porcupine.Operation{ClientId: t.Client, Input: t, Call: int64(t.Sent), Return: forever}
	if t.Fate == Acked {
		p.Output, p.Return = t, int64(t.Done)
	}
	return p
}
