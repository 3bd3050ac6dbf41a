package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Fault is one thing that is done to the system.
type Fault struct {
	Sort   string        // verb-role, as kill-worker
	Index  int           // which of the role's processes, from 0
	At     time.Duration // planned, since the load began
	Length time.Duration // planned: how long it stays down, hangs or is cut off
}

func (f *Fault) verb() string { verb, _, _ := strings.Cut(f.Sort, "-"); return verb }
func (f *Fault) role() string { _, role, _ := strings.Cut(f.Sort, "-"); return role }

// verbs are what can be done, and for how long.
var verbs = map[string]struct{ shortest, longest time.Duration }{
	"kill":    {time.Second, 5 * time.Second}, // SIGKILL, and started again afterwards
	"restart": {0, 0},                         // SIGKILL, and started again at once
	"drain":   {0, 0},                         // SIGTERM, and started again when it has ended
	"pause":   {time.Second, 8 * time.Second}, // SIGSTOP, then SIGCONT
	"cut":     {500 * time.Millisecond, 4 * time.Second},
	"stall":   {500 * time.Millisecond, 6 * time.Second},
}

// Sorts are the faults there are, in a cluster or in a single process.
func Sorts(single bool) []string {
	if single {
		return []string{"kill-server", "restart-server", "drain-server", "pause-server"}
	}
	var list []string
	for _, verb := range []string{"kill", "restart", "drain", "pause"} {
		for _, role := range []string{"worker", "edge", "nats"} {
			list = append(list, verb+"-"+role)
		}
	}
	for _, verb := range []string{"cut", "stall"} {
		for _, role := range []string{"worker", "edge"} {
			list = append(list, verb+"-"+role)
		}
	}
	return list
}

// ParseFaults turns names into sorts: a sort itself, or a verb or role for all of
// its own. No names are all sorts.
func ParseFaults(names []string, single bool) ([]string, error) {
	all := Sorts(single)
	if len(names) == 0 {
		return all, nil
	}
	var sorts []string
	for _, name := range names {
		found := name == killLeader && !single
		if found {
			sorts = append(sorts, name)
		}
		for _, sort := range all {
			f := Fault{Sort: sort}
			if name == sort || name == f.verb() || name == f.role() {
				found = true
				if !slices.Contains(sorts, sort) {
					sorts = append(sorts, sort)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no fault %q, only %s, and verbs and roles for several", name, strings.Join(all, ", "))
		}
	}
	return sorts, nil
}

// A system says how many of each role there are.
type system map[string]int

// mayFail is how many of a role may be in trouble at once: all but one, and of
// NATS never more than a minority.
func (s system) mayFail(role string) int {
	switch {
	case role == "nats", role == "leader":
		return (s["nats"] - 1) / 2
	case role == "server":
		return s[role]
	}
	return s[role] - 1
}

const (
	lead      = 3 * time.Second // load without faults at first
	tail      = 9 * time.Second // and at the end, so that all is well again
	shortRest = time.Second
	longRest  = 3 * time.Second
	together  = 0.25 // share of faults that begin while another lasts
	assumed   = 2 * time.Second
)

// plan makes the schedule: sorts take turns in random order, one fault at a time
// or two. What a process needs to start or end is assumed to take 2 s. Sorts that
// cannot be without taking the last one down are left out.
func plan(seed uint64, length time.Duration, sorts []string, s system) []Fault {
	rng := rand.New(rand.NewPCG(seed, 1))
	sorts = slices.DeleteFunc(slices.Clone(sorts), func(sort string) bool {
		f := Fault{Sort: sort}
		return s.mayFail(f.role()) < 1
	})
	if len(sorts) == 0 {
		return nil
	}
	begin, end := min(lead, length/5), length-min(tail, length/3)
	var faults []Fault
	var bag []string
	for at := begin; at < end || len(faults) == 0; {
		if len(bag) == 0 {
			bag = slices.Clone(sorts)
			rng.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
		}
		f := Fault{Sort: bag[0], At: at}
		bag = bag[1:]
		v := verbs[f.verb()]
		if f.Length = v.shortest; v.longest > v.shortest {
			f.Length += rand64(rng, v.longest-v.shortest)
		}
		f.Length = min(f.Length, max(end-at, 500*time.Millisecond)).Round(time.Millisecond)
		if free := s.free(f.role(), faults, at); len(free) > 0 {
			f.Index = free[rng.IntN(len(free))]
			faults = append(faults, f)
		}
		if alone := len(active(faults, at)) < 2; alone && rng.Float64() < together {
			at += rand64(rng, time.Second)
			continue
		}
		for _, other := range active(faults, at) {
			at = max(at, other.over())
		}
		at += shortRest + rand64(rng, longRest-shortRest)
	}
	return faults
}

func rand64(rng *rand.Rand, below time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(below))).Round(time.Millisecond)
}

// over is when a fault is assumed to be mended.
func (f *Fault) over() time.Duration {
	switch f.verb() {
	case "kill", "restart", "drain":
		return f.At + f.Length + assumed
	}
	return f.At + f.Length
}

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

// free lists who of a role may get a fault at a time.
func (s system) free(role string, faults []Fault, at time.Duration) []int {
	var busy []int
	for _, f := range active(faults, at) {
		if f.role() == role {
			busy = append(busy, f.Index)
		}
	}
	if len(busy) >= s.mayFail(role) {
		return nil
	}
	var list []int
	if role == "leader" {
		role = "nats" // one of these: which, is found out then
	}
	for i := range s[role] {
		if !slices.Contains(busy, i) {
			list = append(list, i)
		}
	}
	return list
}
