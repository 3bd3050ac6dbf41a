package chaos

import (
	"cmp"
	"context"
	"slices"
	"time"

	"roomd/loadtest/cluster"
)

// Faults for other loads than ours.

// Prepare asks a cluster for what faults of the given sorts need: links, and small
// disks.
func Prepare(cfg *cluster.Config, sorts []string) {
	for _, name := range sorts {
		switch sortNamed(name).verb() {
		case "cut", "stall", "hold", "delay", "isolate", "split":
			cfg.Links = true
		case "fill":
			cfg.SmallDisks = true
		}
	}
}

// Inflict carries out faults of the given sorts on a cluster: what follows from
// the seed, within length from now's zero, with a quiet beginning and end. It
// returns when all is mended. now is the time on the load's clock; note is told of
// each fault. mistakes are of processes that did not end or start as asked.
func Inflict(ctx context.Context, c *cluster.Cluster, seed uint64, length time.Duration, sorts []string,
	now func() time.Duration, note func(string)) (done []Done, mistakes []error) {
	in := newInflictor(c, now, note)
	in.run(ctx, plan(seed, length, sorts, in.system()))
	slices.SortFunc(in.done, func(a, b Done) int { return cmp.Compare(a.Began, b.Began) })
	return in.done, in.mistakes
}
