package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var fullCluster = system{"worker": 3, "edge": 2, "nats": 3}

func TestScheduleFollowsFromTheSeed(t *testing.T) {
	sorts := Sorts(false)
	one, again, other := plan(7, time.Minute, sorts, fullCluster), plan(7, time.Minute, sorts, fullCluster), plan(8, time.Minute, sorts, fullCluster)
	if !slices.Equal(one, again) {
		t.Errorf("the same seed gives %v and %v", one, again)
	}
	if slices.Equal(one, other) {
		t.Errorf("seeds 7 and 8 both give %v", one)
	}
}

// Whatever the seed: two faults at once at most, never the last of a role nor a
// majority of NATS, and a quiet end.
func TestScheduleNeverTakesTooMuch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := system{
			"worker": rapid.IntRange(1, 4).Draw(t, "workers"), "edge": rapid.IntRange(1, 4).Draw(t, "edges"),
			"nats": rapid.SampledFrom([]int{1, 3}).Draw(t, "nats"),
		}
		length := time.Duration(rapid.IntRange(2, 120).Draw(t, "seconds")) * time.Second
		faults := plan(rapid.Uint64().Draw(t, "seed"), length, Sorts(false), s)
		if s["worker"]+s["edge"]+s["nats"] > 3 && len(faults) == 0 {
			t.Fatal("no faults")
		}
		for i, f := range faults {
			if f.At+f.Length > length || f.At < min(lead, length/5) {
				t.Errorf("%+v is outside of %v", f, length)
			}
			hit := make(map[string]bool)
			now := active(faults[:i+1], f.At)
			for _, other := range now {
				hit[fmt.Sprint(other.role(), other.Index)] = true
				if f.Index >= s[f.role()] {
					t.Errorf("%+v hits nobody", f)
				}
			}
			if len(now) > 2 || len(hit) < len(now) {
				t.Errorf("at once: %+v", now)
			}
			for role := range s {
				n := 0
				for _, other := range now {
					if other.role() == role {
						n++
					}
				}
				if n > s.mayFail(role) {
					t.Errorf("%d of %d %ss at once: %+v", n, s[role], role, now)
				}
			}
		}
	})
}

func TestEverySortHasItsTurn(t *testing.T) {
	seen := make(map[string]int)
	for _, f := range plan(1, 10*time.Minute, Sorts(false), fullCluster) {
		seen[f.Sort]++
	}
	for _, sort := range Sorts(false) {
		if seen[sort] == 0 {
			t.Errorf("no %s in ten minutes", sort)
		}
	}
}

func TestFaultsAreNamedBySortVerbOrRole(t *testing.T) {
	for name, c := range map[string]struct {
		names  []string
		single bool
		want   []string
	}{
		"none is all":  {nil, true, Sorts(true)},
		"a sort":       {[]string{"kill-worker"}, false, []string{"kill-worker"}},
		"a verb":       {[]string{"cut"}, false, []string{"cut-worker", "cut-edge"}},
		"a role":       {[]string{"nats", "kill-nats"}, false, []string{"kill-nats", "restart-nats", "drain-nats", "pause-nats"}},
		"unknown":      {[]string{"bribe-worker"}, false, nil},
		"not a single": {[]string{"kill-worker"}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseFaults(c.names, c.single)
			if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
				t.Errorf("ParseFaults(%q) = %q, %v, want %q", c.names, got, err, c.want)
			}
		})
	}
}

// The leader is one of the NATS servers: it is hit only when somebody asks for
// it, and never while a majority would be lost.
func TestLeaderIsHitOnlyByName(t *testing.T) {
	for _, names := range [][]string{nil, {"kill"}, {"nats"}} {
		sorts, err := ParseFaults(names, false)
		if err != nil || slices.Contains(sorts, killLeader) {
			t.Errorf("ParseFaults(%q) = %q, %v", names, sorts, err)
		}
	}
	sorts, err := ParseFaults([]string{"kill-worker", killLeader}, false)
	if err != nil || !slices.Equal(sorts, []string{"kill-worker", killLeader}) {
		t.Fatalf("ParseFaults = %q, %v", sorts, err)
	}
	hit := 0
	for _, f := range plan(7, time.Minute, sorts, fullCluster) {
		if f.Sort == killLeader {
			hit++
		}
	}
	if hit == 0 {
		t.Error("the leader is never hit")
	}
	if faults := plan(7, time.Minute, []string{killLeader}, system{"nats": 1}); len(faults) > 0 {
		t.Errorf("the only NATS server is hit: %v", faults)
	}
	if NeedLinks(sorts) || !NeedLinks([]string{"cut-edge"}) {
		t.Error("links are for cutting and stalling")
	}
}
