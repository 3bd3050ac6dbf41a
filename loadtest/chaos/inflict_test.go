package chaos

import (
	"context"
	"testing"
	"time"

	"roomd/loadtest/cluster"
)

// Each of these does something to real processes, and when it is done all are there
// again, none is stopped or short of CPU, and nothing holds their links.
func TestFaultsAreUndone(t *testing.T) {
	if testing.Short() {
		t.Skip("breaks a cluster of its own; not with -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Config{Edges: 2, Workers: 3, Links: true, SmallDisks: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	base := time.Now()
	in := newInflictor(c, func() time.Duration { return time.Since(base) }, func(text string) { t.Log(text) })
	for i, name := range []string{
		"hold-worker", "delay-edge", "isolate-nats", "split-nats", "starve-worker", "starve-all", "abort-worker", "chase-worker",
		"kill-workers", "kill-quorum", "listen-bus", "record-bus", "fill-store",
		LoseStore, // the last: what nodes do then is not asked here
	} {
		in.inflict(ctx, Fault{Sort: name, Length: 1200 * time.Millisecond, Dice: uint64(i+1) * 7919})
		d := in.done[len(in.done)-1]
		switch {
		case d.Skipped != "" && name == "fill-store" && c.NoDisks != nil:
		case d.Skipped != "":
			t.Errorf("%s was not done: %s", name, d.Skipped)
		case !d.Took && name != "abort-worker" && name != "fill-store" && name != "starve-all": // a worker without rooms has drained at once, one that is idle needs no CPU
			t.Errorf("%s had no effect: %s", name, d.Effect)
		}
		for _, p := range c.All() {
			if !p.Running() || name != LoseStore && p.WaitReady(ctx) != nil {
				t.Errorf("after %s %s is not ready", name, p.Name)
			}
			for _, l := range append(p.Routes, p.Link) {
				if l != nil && l.Heal() != (cluster.LinkEffect{}) {
					t.Errorf("after %s a link of %s was not healed", name, p.Name)
				}
			}
		}
	}
	for _, err := range in.mistakes {
		t.Error(err)
	}
	if len(in.busy) > 0 {
		t.Errorf("still busy: %v", in.busy)
	}
}
