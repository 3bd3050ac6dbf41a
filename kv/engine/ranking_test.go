package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestRankingIsLikeASortedSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ranking
		scores := map[string]float64{}
		score := rapid.OneOf(rapid.Float64Range(-3, 3), rapid.SampledFrom([]float64{0, 1, math.Inf(1), math.Inf(-1)}))
		set := func(t *rapid.T, member string, score float64) {
			scores[member] = score
			r.set([]byte(member), score)
		}
		remove := func(t *rapid.T, member string) {
			_, had := scores[member]
			delete(scores, member)
			i := r.find([]byte(member))
			if i >= 0 != had {
				t.Fatalf("find(%q) = %v; is it there: %v", member, i, had)
			}
			if had {
				r.remove(i)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				set(t, strconv.Itoa(rapid.IntRange(0, 300).Draw(t, "member")), score.Draw(t, "score"))
			},
			"set many": func(t *rapid.T) {
				first, n := rapid.IntRange(0, 5000).Draw(t, "first"), rapid.IntRange(1, 600).Draw(t, "n")
				step := rapid.SampledFrom([]float64{0, 1, -1, 0.3}).Draw(t, "step")
				for i := range n {
					set(t, strconv.Itoa(first+i), float64(i)*step)
				}
			},
			"remove many": func(t *rapid.T) {
				first, n := rapid.IntRange(0, 5000).Draw(t, "first"), rapid.IntRange(1, 900).Draw(t, "n")
				for i := range n {
					remove(t, strconv.Itoa(first+i))
				}
			},
			"remove at ends": func(t *rapid.T) {
				low := rapid.Bool().Draw(t, "low")
				for range min(r.len(), rapid.IntRange(1, 500).Draw(t, "n")) {
					if low {
						remove(t, r.at(0).member)
					} else {
						remove(t, r.at(r.len()-1).member)
					}
				}
			},
			"": func(t *rapid.T) { checkRanking(t, &r, scores) },
		})
	})
}

func checkRanking(t *rapid.T, r *ranking, scores map[string]float64) {
	want, size := []scored{}, 0
	for m, s := range scores {
		want = append(want, scored{m, s})
		size += len(m)
	}
	slices.SortFunc(want, compareScored)
	lo := rapid.IntRange(0, len(want)).Draw(t, "lo")
	hi := rapid.IntRange(lo, len(want)).Draw(t, "hi")
	if got := slices.Collect(r.all(0, len(want)+1, false)); !slices.Equal(got, want) {
		t.Fatalf("all = %v, want %v", got, want)
	}
	if got := slices.Collect(r.all(lo, hi, false)); !slices.Equal(got, want[lo:hi]) {
		t.Fatalf("all(%d, %d) = %v, want %v", lo, hi, got, want[lo:hi])
	}
	got := slices.Collect(r.all(lo, hi, true))
	if slices.Reverse(got); !slices.Equal(got, want[lo:hi]) {
		t.Fatalf("all(%d, %d) backward = %v, want %v", lo, hi, got, want[lo:hi])
	}
	if r.len() != len(want) || r.members.names != size {
		t.Fatalf("len = %d, %d bytes; want %d, %d bytes", r.len(), r.members.names, len(want), size)
	}
	if lo < len(want) {
		e := want[lo]
		if got := r.at(lo); got != e {
			t.Fatalf("at(%d) = %v, want %v", lo, got, e)
		}
		if got := r.rank(e); got != lo {
			t.Fatalf("rank(%v) = %d, want %d", e, got, lo)
		}
		if got := r.entry(r.find([]byte(e.member))); got != e {
			t.Fatalf("entry of %q = %v; want %v", e.member, got, e)
		}
		below := 0
		for _, w := range want {
			if w.score < e.score {
				below++
			}
		}
		if got := r.search(func(s scored) bool { return s.score < e.score }); got != below {
			t.Fatalf("below %v are %d, want %d", e.score, got, below)
		}
	}
	if r.root != nil {
		checkNode(t, r.root, r.len())
	}
}

func checkNode(t *rapid.T, n *rankNode, want int) (depth int) {
	if n.branches == nil {
		if len(n.entries) != want || want == 0 || len(n.entries) > maxLeaf {
			t.Fatalf("a leaf has %d entries, its branch says %d", len(n.entries), want)
		}
		return 0
	}
	if len(n.branches) == 0 || len(n.branches) > maxBranches {
		t.Fatalf("a node has %d branches", len(n.branches))
	}
	var last scored
	for i, b := range n.branches {
		d := checkNode(t, b.node, b.n)
		if first := b.node.first(); compareScored(first, b.least) < 0 || i > 0 && compareScored(b.least, last) <= 0 {
			t.Fatalf("%v is the least of a branch that begins with %v, after %v", b.least, first, last)
		}
		last = b.node.last()
		if i == 0 {
			depth = d
		}
		if want -= b.n; d != depth {
			t.Fatalf("leaves are %d and %d deep", d, depth)
		}
	}
	if want != 0 {
		t.Fatalf("a branch is %d wrong", want)
	}
	return depth + 1
}

func (n *rankNode) first() scored {
	for n.branches != nil {
		n = n.branches[0].node
	}
	return n.entries[0]
}

func (n *rankNode) last() scored {
	for n.branches != nil {
		n = n.branches[len(n.branches)-1].node
	}
	return n.entries[len(n.entries)-1]
}

func BenchmarkRanking(b *testing.B) {
	for _, n := range []int{10, 1000, 1000000} {
		var r ranking
		members := make([][]byte, n)
		for i := range n {
			members[i] = fmt.Appendf(nil, "member:%d", i)
			r.set(members[i], rand.Float64())
		}
		b.Run(fmt.Sprintf("set/%d", n), func(b *testing.B) {
			for b.Loop() {
				r.set(members[rand.IntN(n)], rand.Float64())
			}
		})
		b.Run(fmt.Sprintf("rank/%d", n), func(b *testing.B) {
			for b.Loop() {
				r.rank(r.entry(r.find(members[rand.IntN(n)])))
			}
		})
	}
}
