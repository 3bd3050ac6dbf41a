package chaos

import (
	"slices"
	"time"
)

const (
	noticeable = 100 * time.Millisecond // a gap that counts as an outage even if nobody was told
	aftermath  = 6 * time.Second        // after a fault is mended, gaps are still its own
)

// An Outage is a time in which nobody in a room got an answer, by one fault.
type Outage struct {
	Room   int           // index
	Fault  int           // index among those done
	From   time.Duration // since the load began
	Length time.Duration // less the interval between commands
}

// outages finds the longest gap between acks in every room for every fault, and
// keeps those of rooms that the fault affected. Quiet rooms are asked too seldom to
// tell.
func outages(rooms []*Room, done []Done, every, end time.Duration) []Outage {
	var list []Outage
	for i, room := range rooms {
		if room.Quiet {
			continue
		}
		acks, told := moments(room, end)
		for j := range done {
			from, to := window(done, j, every, end)
			if done[j].Skipped != "" || from >= to {
				continue
			}
			o := Outage{Room: i, Fault: j, From: from}
			o.From, o.Length = longestGap(acks, from, to)
			o.Length = max(o.Length-every, 0)
			if o.Length > noticeable || anyWithin(told, from, to) {
				list = append(list, o)
			}
		}
	}
	return list
}

// moments lists when members of a room got answers, with the end of the load as the
// last, and when they were told that it paused, resumed or was reset; in order.
func moments(room *Room, end time.Duration) (acks, told []time.Duration) {
	for _, r := range room.Records {
		for i := range r.Ops {
			if op := &r.Ops[i]; op.Fate != Unknown {
				acks = append(acks, op.Done)
			}
		}
		for _, h := range r.Heard {
			if h.What == HeardPaused || h.What == HeardResumed || h.What == HeardReset {
				told = append(told, h.At)
			}
		}
	}
	acks = append(acks, end)
	slices.Sort(acks)
	slices.Sort(told)
	return acks, told
}

// window is the time in which gaps that begin are due to fault j: until some time
// after it is mended, or until the next one begins after that, but no longer than
// there is load. A gap that the next one makes may begin with the last ack before it.
func window(done []Done, j int, every, end time.Duration) (from, to time.Duration) {
	d := done[j]
	to = min(d.Ended+aftermath, end)
	for i, other := range done {
		if i != j && other.Skipped == "" && other.Began > d.Ended {
			to = min(to, other.Began-2*every)
		}
	}
	return d.Began, to
}

// longestGap is the longest time without an ack that begins in the window; the
// time before the window doesn't count.
func longestGap(acks []time.Duration, from, to time.Duration) (begin, length time.Duration) {
	i, _ := slices.BinarySearch(acks, from)
	last := from
	begin = from
	for ; i < len(acks) && last < to; i++ {
		if gap := acks[i] - last; gap > length {
			begin, length = last, gap
		}
		last = acks[i]
	}
	return begin, length
}

func anyWithin(moments []time.Duration, from, to time.Duration) bool {
	i, _ := slices.BinarySearch(moments, from)
	return i < len(moments) && moments[i] < to
}

// quantile is the value that a share of the sorted list does not exceed; zero if
// there are none.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(share*float64(len(sorted)) + 0.9999999)
	return sorted[min(max(i, 1), len(sorted))-1]
}
