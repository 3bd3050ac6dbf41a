package chaos

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roomd/loadtest/cluster"
)

var fullCluster = system{"worker": 3, "edge": 2, "nats": 3, "every": 8}

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

// checkBounds looks at the faults of one moment: what they take of each role is
// within its bound, or taken by one sort alone that is made to exceed it.
func checkBounds(t *rapid.T, s system, now []Fault) {
	hit, exceeding := make(map[string][]int), make(map[string]string)
	for i := range now {
		f := &now[i]
		if f.sort().alone && len(now) > 1 {
			t.Errorf("%s is not alone: %+v", f.Sort, now)
		}
		for _, at := range s.targets(f) {
			if at >= s[f.role()] || slices.Contains(hit[f.role()], at) && f.role() != "" {
				t.Errorf("%+v hits nothing, or the same twice: %+v", f, now)
			}
			hit[f.role()] = append(hit[f.role()], at)
		}
		if s.exceeds(f.sort()) {
			exceeding[f.role()] = f.Sort
		}
	}
	for role, at := range hit {
		if role == "" || role == "every" {
			continue
		}
		by := exceeding[role]
		if by == "" && len(at) > s.mayFail(role) {
			t.Errorf("%d of %d %ss at once: %+v", len(at), s[role], role, now)
		}
		if by != "" && len(at) != s.takes(sortNamed(by)) {
			t.Errorf("beside %s, others of %s: %+v", by, role, now)
		}
	}
}

// Whatever the seed: two faults at once at most; never the last of a role nor a
// majority of NATS, but by a sort made for that, and then by nothing else; never
// longer than the sort's bound; and a quiet end.
func TestScheduleNeverTakesTooMuch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := system{
			"worker": rapid.IntRange(1, 4).Draw(t, "workers"), "edge": rapid.IntRange(1, 4).Draw(t, "edges"),
			"nats": rapid.SampledFrom([]int{1, 3}).Draw(t, "nats"),
		}
		s["every"] = s["worker"] + s["edge"] + s["nats"]
		length := time.Duration(rapid.IntRange(2, 120).Draw(t, "seconds")) * time.Second
		faults := plan(rapid.Uint64().Draw(t, "seed"), length, Named(false), s)
		if len(faults) == 0 {
			t.Fatal("no faults")
		}
		end := length - min(tail, length/3)
		for i, f := range faults {
			k := f.sort()
			if f.At+f.Length > length || f.At < min(lead, length/5) || f.Length > max(k.longest, half) {
				t.Errorf("%+v is outside of %v, or of its bound", f, length)
			}
			if k.mend > assumed && f.over() > end+assumed {
				t.Errorf("%+v is not mended before the quiet end at %v", f, end)
			}
			now := active(faults[:i+1], f.At)
			if len(now) > atOnce {
				t.Errorf("at once: %+v", now)
			}
			checkBounds(t, s, now)
		}
	})
}

// Each sort, alone for half a minute, has its turn, and is undone before the end.
func TestEverySortAloneIsDoneAndUndone(t *testing.T) {
	for _, name := range Named(false) {
		for seed := range uint64(20) {
			faults := plan(seed, 30*time.Second, []string{name}, fullCluster)
			if len(faults) == 0 {
				t.Errorf("no %s with seed %d", name, seed)
			}
			for _, f := range faults {
				if end := 30*time.Second - tail; f.over() > max(end+assumed, f.At+sortNamed(name).shortest+assumed) {
					t.Errorf("%s with seed %d: %+v is over at %v", name, seed, f, f.over())
				}
			}
			again := plan(seed, 30*time.Second, []string{name}, fullCluster)
			if !slices.Equal(faults, again) {
				t.Errorf("%s with seed %d: %v and %v", name, seed, faults, again)
			}
		}
	}
}

// A listener has another fault beside it, if there are others.
func TestListenersAreThereWhileOthersFail(t *testing.T) {
	for seed := range uint64(20) {
		faults := plan(seed, time.Minute, []string{"listen-bus", "kill-worker"}, fullCluster)
		for i, f := range faults {
			beside := len(active(faults[:i], f.At)) > 0 || i+1 < len(faults) && faults[i+1].At < f.At+f.Length
			if f.Sort == "listen-bus" && !beside {
				t.Errorf("with seed %d nothing happens during %+v: %+v", seed, f, faults)
			}
		}
	}
}

// Each verb has an act, and what is done by name only is a sort that there is.
func TestEverySortCanBeDone(t *testing.T) {
	for _, name := range slices.Concat(Named(false), Named(true)) {
		if acts[sortNamed(name).verb()] == nil {
			t.Errorf("nothing is done for %s", name)
		}
	}
	for _, name := range byName {
		if sortNamed(name) == nil {
			t.Errorf("%s is done by name only, and there is no such sort", name)
		}
	}
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
		"none is all": {nil, true, Sorts(true)},
		"a sort":      {[]string{"kill-worker"}, false, []string{"kill-worker"}},
		"a verb":      {[]string{"cut"}, false, []string{"cut-worker", "cut-edge"}},
		"a role": {[]string{"nats", "kill-nats"}, false,
			[]string{"kill-nats", "restart-nats", "drain-nats", "pause-nats", "starve-nats", "kill-quorum", "isolate-nats", "split-nats"}},
		"all":          {[]string{"all"}, false, Named(false)},
		"by name only": {[]string{"lose-store", "fill-nats"}, false, []string{"lose-store", "fill-nats"}},
		"not by verb":  {[]string{"lose"}, false, nil},
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
	for sort, want := range map[string]cluster.Config{
		killLeader: {}, "hold-edge": {Links: true}, "split-nats": {Links: true}, "fill-nats": {SmallDisks: true},
	} {
		var cfg cluster.Config
		if Prepare(&cfg, []string{sort}); cfg.Links != want.Links || cfg.SmallDisks != want.SmallDisks {
			t.Errorf("%s asks for links %v, small disks %v", sort, cfg.Links, cfg.SmallDisks)
		}
	}
}
