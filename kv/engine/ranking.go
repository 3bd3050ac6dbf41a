package engine

import (
	"iter"
	"slices"
	"sort"
	"strings"
)

// A ranking is what a sorted set holds: members with a score each, in the order
// of scores and, where these are equal, of the members' bytes. It is a tree whose
// branches know how many members are below them, so that the member at a rank and
// the rank of a member are found in O(log n); members with their scores lie side
// by side in its leaves, which takes less memory and fewer cache misses than
// Redis's skiplist. A dict finds the score of a member, and has the order that
// scans see.
type ranking struct {
	root    *rankNode // nil if there are none
	members dict[float64]
}

// A scored is a member and its score.
type scored struct {
	member string
	score  float64
}

// A rankNode is a leaf with entries, or has branches. Invariant: none but the
// root is empty, and all leaves are equally deep.
type rankNode struct {
	entries  []scored
	branches []branch
}

// A branch is a node below another. All in it come at or after least, and before
// the least of the next branch.
type branch struct {
	least scored
	n     int // entries below
	node  *rankNode
}

const (
	maxLeaf     = 64 // entries
	maxBranches = 32
)

func compareScored(a, b scored) int {
	switch {
	case a.score < b.score:
		return -1
	case a.score > b.score:
		return 1
	}
	return strings.Compare(a.member, b.member)
}

// rankedBytes is about what a member costs beside its bytes: in the tree, whose
// leaves are not quite full, and in the dict.
const rankedBytes = 32 + itemBytes

func (r *ranking) len() int   { return r.members.len() }
func (r *ranking) bytes() int { return r.members.names + rankedBytes*r.members.len() }

// find returns where a member is in the dict, -1 if it is not there.
func (r *ranking) find(member []byte) int { return r.members.find(member) }

// entry returns the member that is at a place in the dict.
func (r *ranking) entry(i int) scored {
	item := &r.members.items[i]
	return scored{item.name, item.val}
}

// add adds a member that is not there.
func (r *ranking) add(member string, score float64) {
	r.put(scored{member, score})
	r.members.add(member, score)
}

// update gives the member at a place in the dict another score.
func (r *ranking) update(i int, score float64) {
	e := r.entry(i)
	r.take(e)
	r.put(scored{e.member, score})
	r.members.items[i].val = score
}

// set gives a member a score.
func (r *ranking) set(member []byte, score float64) {
	if i := r.find(member); i < 0 {
		r.add(string(member), score)
	} else if r.entry(i).score != score {
		r.update(i, score)
	}
}

// remove removes the member at a place in the dict.
func (r *ranking) remove(i int) {
	r.take(r.entry(i))
	r.members.remove(i)
}

// put adds an entry to the tree.
func (r *ranking) put(s scored) {
	if r.root == nil {
		r.root = &rankNode{}
	}
	sibling, split := r.root.insert(s)
	if split {
		old := branch{least: r.root.least(), n: r.root.count(), node: r.root}
		r.root = &rankNode{branches: append(make([]branch, 0, maxBranches), old, sibling)}
	}
}

// take removes an entry, which is there, from the tree.
func (r *ranking) take(s scored) {
	r.root.remove(s)
	for len(r.root.branches) == 1 {
		r.root = r.root.branches[0].node
	}
	if r.root.count() == 0 {
		r.root = nil
	}
}

// rank returns how many come before a member with its score.
func (r *ranking) rank(s scored) int {
	return r.search(func(e scored) bool { return compareScored(e, s) < 0 })
}

// search returns how many entries there are for which before is true; these must
// be the first in order.
func (r *ranking) search(before func(scored) bool) (rank int) {
	if r.root == nil {
		return 0
	}
	n := r.root
	for n.branches != nil {
		// The last branch whose least is before may have others that are not.
		k := max(0, sort.Search(len(n.branches), func(i int) bool { return !before(n.branches[i].least) })-1)
		for _, b := range n.branches[:k] {
			rank += b.n
		}
		n = n.branches[k].node
	}
	return rank + sort.Search(len(n.entries), func(i int) bool { return !before(n.entries[i]) })
}

// at returns the entry at a rank, which must be there.
func (r *ranking) at(rank int) scored {
	n := r.root
	for n.branches != nil {
		k := 0
		for ; rank >= n.branches[k].n; k++ {
			rank -= n.branches[k].n
		}
		n = n.branches[k].node
	}
	return n.entries[rank]
}

// all returns the entries of the ranks from lo to before hi, the last of them
// first if reverse. The ranking must not change meanwhile.
func (r *ranking) all(lo, hi int, reverse bool) iter.Seq[scored] {
	return func(yield func(scored) bool) {
		if lo = max(lo, 0); lo < min(hi, r.len()) {
			r.root.walk(lo, min(hi, r.len()), reverse, yield)
		}
	}
}

func (n *rankNode) walk(lo, hi int, reverse bool, yield func(scored) bool) bool {
	if n.branches == nil {
		part := n.entries[lo:hi]
		for i := range part {
			if reverse {
				i = len(part) - 1 - i
			}
			if !yield(part[i]) {
				return false
			}
		}
		return true
	}
	start := 0 // the rank at which the branch begins
	if reverse {
		for _, b := range n.branches {
			start += b.n
		}
	}
	for i := range n.branches {
		if reverse {
			i = len(n.branches) - 1 - i
		}
		b := &n.branches[i]
		if reverse {
			start -= b.n
		}
		from, to := max(lo-start, 0), min(hi-start, b.n)
		if from < to && !b.node.walk(from, to, reverse, yield) {
			return false
		}
		if !reverse {
			start += b.n
		}
		if !reverse && start >= hi || reverse && start <= lo {
			break
		}
	}
	return true
}

func (n *rankNode) least() scored {
	if n.branches != nil {
		return n.branches[0].least
	}
	return n.entries[0]
}

// insert adds an entry. If the node is full it splits: it keeps the first part,
// and what it returns has the rest. Entries that come in order leave full nodes
// behind.
func (n *rankNode) insert(s scored) (sibling branch, split bool) {
	if n.branches == nil {
		i, _ := slices.BinarySearchFunc(n.entries, s, compareScored)
		if len(n.entries) < maxLeaf {
			n.entries = slices.Insert(n.entries, i, s)
			return sibling, false
		}
		half := maxLeaf / 2
		if i == maxLeaf {
			half = maxLeaf
		}
		right := &rankNode{entries: append(make([]scored, 0, maxLeaf), n.entries[half:]...)}
		clear(n.entries[half:])
		if n.entries = n.entries[:half]; i < half {
			n.entries = slices.Insert(n.entries, i, s)
		} else {
			right.entries = slices.Insert(right.entries, i-half, s)
		}
		return branch{least: right.entries[0], n: len(right.entries), node: right}, true
	}
	k := n.branchOf(s)
	b := &n.branches[k]
	if b.n++; compareScored(s, b.least) < 0 {
		b.least = s
	}
	below, split := b.node.insert(s)
	if !split {
		return sibling, false
	}
	b.n -= below.n
	k++
	if len(n.branches) < maxBranches {
		n.branches = slices.Insert(n.branches, k, below)
		return sibling, false
	}
	half := maxBranches / 2
	if k == maxBranches {
		half = maxBranches
	}
	right := &rankNode{branches: append(make([]branch, 0, maxBranches), n.branches[half:]...)}
	clear(n.branches[half:])
	if n.branches = n.branches[:half]; k < half {
		n.branches = slices.Insert(n.branches, k, below)
	} else {
		right.branches = slices.Insert(right.branches, k-half, below)
	}
	return branch{least: right.branches[0].least, n: right.count(), node: right}, true
}

// count returns how many entries there are below a node.
func (n *rankNode) count() (sum int) {
	for i := range n.branches {
		sum += n.branches[i].n
	}
	return sum + len(n.entries)
}

// branchOf returns the number of the branch that an entry belongs to.
func (n *rankNode) branchOf(s scored) int {
	return max(0, sort.Search(len(n.branches), func(i int) bool { return compareScored(n.branches[i].least, s) > 0 })-1)
}

// remove removes an entry, which is there.
func (n *rankNode) remove(s scored) {
	if n.branches == nil {
		i, _ := slices.BinarySearchFunc(n.entries, s, compareScored)
		n.entries = slices.Delete(n.entries, i, i+1)
		return
	}
	k := n.branchOf(s)
	b := &n.branches[k]
	b.n--
	b.node.remove(s)
	if size, full := b.node.size(); b.n == 0 {
		n.branches = slices.Delete(n.branches, k, k+1)
	} else if size <= full/4 {
		n.merge(k)
	}
}

// merge joins a branch that has become small with one next to it, if what they
// have fits into one.
func (n *rankNode) merge(k int) {
	for _, i := range []int{k - 1, k} {
		if i < 0 || i+1 >= len(n.branches) {
			continue
		}
		a, b := &n.branches[i], &n.branches[i+1]
		size, full := a.node.size()
		if more, _ := b.node.size(); size+more > full*3/4 {
			continue
		}
		a.node.entries = append(a.node.entries, b.node.entries...)
		a.node.branches = append(a.node.branches, b.node.branches...)
		a.n += b.n
		n.branches = slices.Delete(n.branches, i+1, i+2)
		return
	}
}

// size returns how many entries or branches a node has and how many it can have.
func (n *rankNode) size() (size, full int) {
	if n.branches != nil {
		return len(n.branches), maxBranches
	}
	return len(n.entries), maxLeaf
}
