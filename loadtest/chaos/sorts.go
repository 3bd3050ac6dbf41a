package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A sort is one sort of fault there is.
type sort struct {
	name              string // verb-object
	of                string // the role of the processes it hits: worker, edge, nats, server; every for all, "" for none
	hits              extent
	shortest, longest time.Duration // how long it lasts, by the schedule
	mend              time.Duration // assumed, from its end until all is well
	alone             bool          // nothing else is done meanwhile
}

// An extent is how many processes of the role a fault hits.
type extent int

const (
	hitOne  extent = iota
	hitTwo         // the second while rooms of the first are taken over
	hitMost        // a majority, the rest being too few to elect
	hitAll
)

const (
	sec     = time.Second
	half    = 500 * time.Millisecond
	assumed = 2 * sec // what a process needs to start or end
)

// sorts is all that can be done. What a length means: how long processes are down,
// hang or are short of CPU, how long a link is cut, a disk full, or a listener there.
var sorts = slices.Concat([]sort{
	{name: "kill-server", of: "server", shortest: sec, longest: 5 * sec, mend: assumed},
	{name: "restart-server", of: "server", mend: assumed},
	{name: "drain-server", of: "server", mend: assumed},
	{name: "pause-server", of: "server", shortest: sec, longest: 8 * sec},
	{name: "abort-server", of: "server", mend: assumed},
	{name: "starve-server", of: "server", shortest: 2 * sec, longest: 8 * sec, mend: assumed},
},
	forRoles(sort{name: "kill", shortest: sec, longest: 5 * sec, mend: assumed}, "worker", "edge", "nats"), // SIGKILL, and started again afterwards
	forRoles(sort{name: "restart", mend: assumed}, "worker", "edge", "nats"),                               // SIGKILL, and started again at once
	forRoles(sort{name: "drain", mend: assumed}, "worker", "edge", "nats"),                                 // SIGTERM, and started again when it has ended
	forRoles(sort{name: "pause", shortest: sec, longest: 8 * sec}, "worker", "edge", "nats"),               // SIGSTOP, then SIGCONT
	forRoles(sort{name: "cut", shortest: half, longest: 4 * sec}, "worker", "edge"),
	forRoles(sort{name: "stall", shortest: half, longest: 6 * sec}, "worker", "edge"),
	forRoles(sort{name: "hold", shortest: half, longest: 6 * sec}, "worker", "edge"),                             // one direction of its link
	forRoles(sort{name: "delay", shortest: sec, longest: 8 * sec}, "worker", "edge"),                             // one direction, or both
	forRoles(sort{name: "abort", mend: assumed}, "worker", "edge"),                                               // SIGTERM, and SIGKILL while it drains
	forRoles(sort{name: "starve", shortest: 2 * sec, longest: 8 * sec, mend: assumed}, "worker", "edge", "nats"), // a tenth of its CPU
	[]sort{
		{name: "starve-all", of: "every", hits: hitAll, shortest: 2 * sec, longest: 6 * sec, mend: 4 * sec, alone: true},
		{name: "chase-worker", of: "worker", hits: hitTwo, shortest: sec, longest: 4 * sec, mend: assumed}, // SIGKILL, and of another during the takeover
		{name: "kill-workers", of: "worker", hits: hitAll, shortest: half, longest: 5 * sec, mend: 3 * sec},
		{name: "kill-quorum", of: "nats", hits: hitMost, shortest: sec, longest: 15 * sec, mend: 4 * sec},
		{name: "isolate-nats", of: "nats", shortest: sec, longest: 8 * sec, mend: assumed}, // from the other servers
		{name: "split-nats", of: "nats", hits: hitAll, shortest: sec, longest: 8 * sec, mend: 4 * sec},
		{name: killLeader, of: "nats", shortest: sec, longest: 5 * sec, mend: assumed},
		{name: LoseStore, of: "nats", hits: hitAll, shortest: half, longest: 3 * sec, mend: 14 * sec, alone: true},
		{name: "fill-store", of: "nats", hits: hitAll, shortest: sec, longest: 6 * sec, mend: 6 * sec},
		{name: "fill-nats", of: "nats", shortest: sec, longest: 6 * sec, mend: 6 * sec},
		{name: "listen-bus", shortest: 3 * sec, longest: 10 * sec},
		{name: "record-bus", shortest: 3 * sec, longest: 10 * sec},
	})

// forRoles is a sort for each of some roles.
func forRoles(s sort, roles ...string) (list []sort) {
	for _, role := range roles {
		of := s
		of.name, of.of = s.name+"-"+role, role
		list = append(list, of)
	}
	return list
}

const (
	killLeader = "kill-leader" // of the NATS server that leads the stream most is written to
	LoseStore  = "lose-store"
)

// byName lists the sorts that are done only when they are named, or with "all".
// What the system can't stand yet is here, and nowhere else: a sort that is taken
// out is done by default.
var byName = []string{
	killLeader, // a kill-nats that is aimed
	LoseStore, "fill-store", "fill-nats",
	"listen-bus", "record-bus",
}

// allFaults names all sorts, also those that are done by name.
const allFaults = "all"

// sortNamed returns a sort by its name, nil if there is none.
func sortNamed(name string) *sort {
	i := slices.IndexFunc(sorts, func(s sort) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return &sorts[i]
}

func (s *sort) verb() string { verb, _, _ := strings.Cut(s.name, "-"); return verb }

// Sorts are the faults there are by default, in a cluster or in a single process.
func Sorts(single bool) []string {
	var list []string
	for _, s := range Named(single) {
		if !slices.Contains(byName, s) {
			list = append(list, s)
		}
	}
	return list
}

// Named are all faults there are.
func Named(single bool) []string {
	var list []string
	for i := range sorts {
		if (sorts[i].of == "server") == single {
			list = append(list, sorts[i].name)
		}
	}
	return list
}

// ParseFaults turns names into sorts: a sort itself, or a verb or role for all of
// its own that are done by default, or all. No names are those done by default.
func ParseFaults(names []string, single bool) ([]string, error) {
	if len(names) == 0 {
		return Sorts(single), nil
	}
	var list []string
	for _, name := range names {
		found := false
		for _, known := range Named(single) {
			s := sortNamed(known)
			unasked := !slices.Contains(byName, known) && (name == s.verb() || name == s.of)
			if name != known && name != allFaults && !unasked {
				continue
			}
			found = true
			if !slices.Contains(list, known) {
				list = append(list, known)
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no fault %q, only %s, and verbs and roles for several, and all", name, strings.Join(Named(single), ", "))
		}
	}
	return list, nil
}
