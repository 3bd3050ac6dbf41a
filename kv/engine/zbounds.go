package engine

import (
	"math"
	"strings"

	"roomd/kv/resp"
)

// This file decides which ranks of a sorted set a range means, be it one of
// ranks, of scores or, in a set whose scores are equal, of members.

// A scoreBound is one end of a range of scores.
type scoreBound struct {
	score float64
	open  bool // the score itself is outside
}

// parseScoreBound reads a number with an opening bracket before it if it is itself
// outside. As in Redis, nothing at all is zero, blanks may come first, and what a
// float64 cannot hold is taken for what is nearest.
func parseScoreBound(arg []byte) (b scoreBound, ok bool) {
	text, open := strings.CutPrefix(string(arg), "(")
	b.open = open
	if text == "" {
		return b, true
	}
	score, err := resp.NearestFloat(strings.TrimLeft(text, " \t\n\v\f\r"))
	b.score = score
	return b, err == nil
}

// byScore returns the ranks from lo to before hi that have scores from low to high.
func (r *ranking) byScore(low, high scoreBound) (lo, hi int) {
	lo = r.search(func(s scored) bool { return s.score < low.score || low.open && s.score == low.score })
	hi = r.search(func(s scored) bool { return s.score < high.score || !high.open && s.score == high.score })
	return lo, max(lo, hi)
}

// A lexBound is one end of a range of members.
type lexBound struct {
	member string
	open   bool // the member itself is outside
	end    int  // -1 is before all members, 1 after all
}

// parseLexBound reads - or + for the ends of all, or a member after [ or, if it is
// itself outside, (.
func parseLexBound(arg []byte) (b lexBound, ok bool) {
	switch {
	case string(arg) == "-":
		return lexBound{end: -1}, true
	case string(arg) == "+":
		return lexBound{end: 1}, true
	case len(arg) > 0 && (arg[0] == '[' || arg[0] == '('):
		return lexBound{member: string(arg[1:]), open: arg[0] == '('}, true
	}
	return b, false
}

// compare says on which side of b a member is; one that is b's own is put on the
// side ifEqual.
func (b lexBound) compare(member string, ifEqual int) int {
	if b.end != 0 {
		return -b.end
	}
	if c := strings.Compare(member, b.member); c != 0 {
		return c
	}
	return ifEqual
}

// byLex returns the ranks from lo to before hi that have members from low to high.
func (r *ranking) byLex(low, high lexBound) (lo, hi int) {
	below, above := 1, -1
	if low.open {
		below = -1
	}
	if high.open {
		above = 1
	}
	lo = r.search(func(s scored) bool { return low.compare(s.member, below) < 0 })
	hi = r.search(func(s scored) bool { return high.compare(s.member, above) < 0 })
	return lo, max(lo, hi)
}

// byIndex returns the numbers from lo to before hi of n that start to stop mean,
// that one included. Negative ones count from the end.
func byIndex(start, stop int64, n int) (lo, hi int) {
	if start < 0 {
		start = max(0, start+int64(n))
	}
	if stop < 0 {
		stop += int64(n)
	}
	if start > stop || start >= int64(n) {
		return 0, 0
	}
	return int(start), int(min(stop, int64(n)-1)) + 1
}

// limited returns the part of the ranks lo to hi that is left if offset of them
// are passed over and count taken, beginning at the high end if reverse. A
// negative count takes all, a negative offset none.
func limited(lo, hi int, reverse bool, offset, count int64) (int, int) {
	n := int64(hi - lo)
	if offset < 0 || offset >= n {
		return lo, lo
	}
	if count < 0 || count > n-offset {
		count = n - offset
	}
	if reverse {
		return hi - int(offset+count), hi - int(offset)
	}
	return lo + int(offset), lo + int(offset+count)
}

// newScore says whether a score that has been computed can be kept; a zero has no sign.
func newScore(score float64) (float64, bool) { return score + 0, !math.IsNaN(score) }
