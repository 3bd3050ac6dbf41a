package chaos

import (
	"context"
	"fmt"
	"time"

	"roomd/loadtest/cluster"
)

// What a node may have more than before the first client came: caches, idle
// connections, rooms that have not gone to sleep yet.
const (
	spareGoroutines = 40
	spareFDs        = 20
	leaksWithin     = 20 * time.Second
)

func (r *run) measureIdle(ctx context.Context) error {
	for _, p := range r.c.Nodes() {
		u, err := p.Usage(ctx)
		if err != nil {
			return err
		}
		r.idle[p] = u
	}
	return nil
}

// leaks waits until every node is back where it was before anybody came, and
// tells of those that never are.
func (r *run) leaks(ctx context.Context) (found []Violation) {
	ctx, cancel := r.own.Within(ctx, leaksWithin)
	defer cancel()
	now := make(map[*cluster.Process]cluster.Usage)
	r.poll(ctx, func() bool {
		found = nil
		for _, p := range r.c.Nodes() {
			u, err := p.Usage(ctx)
			if err != nil {
				if ctx.Err() != nil {
					u, err = now[p], nil // what was seen last counts
				} else {
					found = append(found, Violation{Rule: RuleLeak, Text: fmt.Sprintf("%s: %v", p.Name, err)})
					continue
				}
			}
			now[p] = u
			if before := r.idle[p]; u.Goroutines > before.Goroutines+spareGoroutines || u.FDs > before.FDs+spareFDs {
				found = append(found, Violation{Rule: RuleLeak, Text: fmt.Sprintf("%s has %d goroutines and %d descriptors without a client, %d and %d before the first",
					p.Name, u.Goroutines, u.FDs, before.Goroutines, before.FDs)})
			}
		}
		return len(found) == 0
	})
	return found
}
