package chaos

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A Fault is one thing that is done to the system.
type Fault struct {
	Sort   string        // as kill-worker
	Index  int           // which of the role's processes, from 0: the first, if it hits several
	At     time.Duration // planned, since the load began
	Length time.Duration // planned: how long it stays down, hangs or is cut off
	Dice   uint64        // decides what else is left open: a direction, a delay, a method
}

func (f *Fault) sort() *sort  { return sortNamed(f.Sort) }
func (f *Fault) verb() string { return f.sort().verb() }
func (f *Fault) role() string { return f.sort().of }

// A system says how many of each role there are.
type system map[string]int

// mayFail is how many of a role may be in trouble at once, unless a sort is made to
// exceed it: all but one, and of NATS never more than a minority.
func (s system) mayFail(role string) int {
	switch role {
	case "nats":
		return (s[role] - 1) / 2
	case "server":
		return s[role]
	}
	return s[role] - 1
}

// takes is how many of its role a sort hits.
func (s system) takes(k *sort) int {
	switch n := s[k.of]; k.hits {
	case hitOne:
		return min(n, 1)
	case hitTwo:
		return 2
	case hitMost:
		return n/2 + 1
	default:
		return n
	}
}

// exceeds reports whether a sort takes more of its role than may fail: then nothing
// else of the role is in trouble meanwhile.
func (s system) exceeds(k *sort) bool {
	return k.of != "" && k.of != "every" && k.hits >= hitMost && s.takes(k) > s.mayFail(k.of)
}

// possible reports whether a sort can be done at all: not to the last one that
// stands, unless it is made for that.
func (s system) possible(k *sort) bool {
	switch {
	case k.of == "" || k.of == "every":
		return true
	case k.hits == hitMost:
		return s[k.of] > 2
	case k.hits == hitAll && k.verb() == "split":
		return s[k.of] > 1
	case k.hits == hitAll:
		return s[k.of] > 0
	}
	return s.mayFail(k.of) >= s.takes(k)
}

// targets are the indexes of the processes of its role that a fault hits.
func (s system) targets(f *Fault) []int {
	n := s[f.role()]
	list := make([]int, 0, n)
	for i := range min(s.takes(f.sort()), n) {
		list = append(list, (f.Index+i)%n)
	}
	return list
}

const (
	lead      = 3 * time.Second // load without faults at first
	tail      = 9 * time.Second // and at the end, so that all is well again
	shortRest = time.Second
	longRest  = 3 * time.Second
	together  = 0.25 // share of faults that begin while another lasts
	atOnce    = 2
)

// A planner makes a schedule.
type planner struct {
	system
	rng, dice *rand.Rand
	end       time.Duration // when the quiet begins
	bag       []string      // sorts that have not had their turn yet
	faults    []Fault
}

// plan makes the schedule: sorts take turns in random order, one fault at a time or
// two. Sorts that this system is too small for are left out, and so is what would
// not be mended before the quiet end.
func plan(seed uint64, length time.Duration, names []string, s system) []Fault {
	p := &planner{system: s, rng: rand.New(rand.NewPCG(seed, 1)), dice: rand.New(rand.NewPCG(seed, 1<<40)), end: length - min(tail, length/3)}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !s.possible(sortNamed(name)) })
	if len(names) == 0 {
		return nil
	}
	for at := min(lead, length/5); at < p.end; {
		if len(p.bag) == 0 {
			p.bag = slices.Clone(names)
			p.rng.Shuffle(len(p.bag), func(i, j int) { p.bag[i], p.bag[j] = p.bag[j], p.bag[i] })
		}
		if !p.pick(at) {
			p.bag = nil // none of these fits now: the next turn is of all
		}
		now := active(p.faults, at)
		if len(now) < atOnce && (listening(now) || p.rng.Float64() < together) {
			at += rand64(p.rng, time.Second)
			continue
		}
		for _, other := range now {
			at = max(at, other.over())
		}
		at += shortRest + rand64(p.rng, longRest-shortRest)
	}
	return p.faults
}

// pick plans the first fault of the bag that can be done at a time, if there is one.
func (p *planner) pick(at time.Duration) bool {
	for i, name := range p.bag {
		f := Fault{Sort: name, At: at}
		k := f.sort()
		free := p.free(k, p.faults, at)
		// The quiet is long enough for a process to start; what takes longer begins earlier.
		room := p.end - at - max(k.mend-assumed, 0)
		if len(free) == 0 || k.mend > assumed && room < max(k.shortest, half) {
			continue
		}
		if f.Length = k.shortest; k.longest > k.shortest {
			f.Length += rand64(p.rng, k.longest-k.shortest)
		}
		f.Length = min(f.Length, max(room, half)).Truncate(time.Millisecond)
		f.Index, f.Dice = free[p.rng.IntN(len(free))], p.dice.Uint64()
		p.faults = append(p.faults, f)
		p.bag = slices.Delete(p.bag, i, i+1)
		return true
	}
	return false
}

func rand64(rng *rand.Rand, below time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(below))).Round(time.Millisecond)
}

// over is when a fault is assumed to be mended.
func (f *Fault) over() time.Duration { return f.At + f.Length + f.sort().mend }

// active are the planned faults that last at a time.
func active(faults []Fault, at time.Duration) []Fault {
	var list []Fault
	for _, f := range faults {
		if f.At <= at && at < f.over() {
			list = append(list, f)
		}
	}
	return list
}

// listening reports whether there is nothing but a listener: it breaks nothing by
// itself, only what is done while others fail.
func listening(now []Fault) bool {
	return len(now) > 0 && !slices.ContainsFunc(now, func(f Fault) bool { return f.role() != "" })
}

// free lists the processes at which a fault of a sort may begin at a time; for one
// that hits no process, or all, 0 stands for that.
func (s system) free(k *sort, faults []Fault, at time.Duration) []int {
	busy := make(map[int]bool)
	now := active(faults, at)
	for i := range now {
		other := now[i].sort()
		switch {
		case k.alone || other.alone || other == k && k.of == "":
			return nil
		case other.of != k.of || k.of == "":
			continue
		case s.exceeds(k) || s.exceeds(other):
			return nil
		}
		for _, at := range s.targets(&now[i]) {
			busy[at] = true
		}
	}
	if k.of == "" || k.of == "every" {
		return []int{0}
	}
	if !s.exceeds(k) && len(busy)+s.takes(k) > s.mayFail(k.of) {
		return nil
	}
	var list []int
	for i := range s[k.of] {
		f := Fault{Sort: k.name, Index: i}
		if !slices.ContainsFunc(s.targets(&f), func(at int) bool { return busy[at] }) {
			list = append(list, i)
		}
	}
	return list
}
