package kv_test

import (
	"math"
	"testing"

	"roomd/kv"
)

func ranking(membersAndScores ...any) (m []kv.Scored) {
	for i := 0; i < len(membersAndScores); i += 2 {
		score, ok := membersAndScores[i+1].(float64)
		if !ok {
			score = float64(membersAndScores[i+1].(int))
		}
		m = append(m, kv.Scored{Member: membersAndScores[i].(string), Score: score})
	}
	return m
}

var sortedSetCases = []conformanceCase{
	{"sorted sets/are in the order of scores, then of bytes", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 5)(s.ZAdd(ctx, "z", ranking("c", 2, "a", 2, "B", 2, "z", -1, "\xff", 0)...))
		want(t, ranking("z", -1, "\xff", 0, "B", 2, "a", 2, "c", 2))(s.ZRange(ctx, "z", 0, -1))
		want(t, ranking("c", 2, "a", 2, "B", 2, "\xff", 0, "z", -1))(s.ZRevRange(ctx, "z", 0, -1))
		want(t, 5)(s.ZCard(ctx, "z"))
		wantHas(t, 0, true)(s.ZRank(ctx, "z", "z"))
		wantHas(t, 3, true)(s.ZRank(ctx, "z", "a"))
		wantHas(t, 0, false)(s.ZRank(ctx, "z", "none"))
		wantHas(t, 2.0, true)(s.ZScore(ctx, "z", "c"))
		wantHas(t, 0.0, true)(s.ZScore(ctx, "z", "\xff"))
		wantHas(t, 0.0, false)(s.ZScore(ctx, "z", "none"))
	}},
	{"sorted sets/ZAdd counts only new members", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 2)(s.ZAdd(ctx, "z", ranking("a", 1, "b", 2)...))
		want(t, 1)(s.ZAdd(ctx, "z", ranking("a", 5, "c", 3)...))
		want(t, 1)(s.ZAdd(ctx, "z", ranking("d", 1, "d", 9)...))
		want(t, ranking("b", 2, "c", 3, "a", 5, "d", 9))(s.ZRange(ctx, "z", 0, -1))
		want(t, 2)(s.ZRem(ctx, "z", "a", "none", "b", "a"))
		want(t, ranking("c", 3, "d", 9))(s.ZRange(ctx, "z", 0, -1))
	}},
	{"sorted sets/one that is not there is empty", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 0)(s.ZRem(ctx, "z", "a"))
		want(t, 0)(s.ZCard(ctx, "z"))
		wantHas(t, 0.0, false)(s.ZScore(ctx, "z", "a"))
		wantHas(t, 0, false)(s.ZRank(ctx, "z", "a"))
		want(t, ranking())(s.ZRange(ctx, "z", 0, -1))
		want(t, ranking())(s.ZRevRange(ctx, "z", 0, -1))
		want(t, ranking())(s.ZRangeByScore(ctx, "z", math.Inf(-1), math.Inf(1)))
		want(t, ranking())(s.ZPopMin(ctx, "z", 3))
		want(t, 0)(s.Exists(ctx, "z"))
	}},
	{"sorted sets/ZIncrBy", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 2.5)(s.ZIncrBy(ctx, "z", 2.5, "a"))
		want(t, -1.25)(s.ZIncrBy(ctx, "z", -3.75, "a"))
		want(t, 0.1)(s.ZIncrBy(ctx, "z", 0.1, "b"))
		want(t, 0.30000000000000004)(s.ZIncrBy(ctx, "z", 0.2, "b"))
		want(t, math.Inf(1))(s.ZIncrBy(ctx, "z", math.Inf(1), "a"))
		failed[float64](t, "not a number")(s.ZIncrBy(ctx, "z", math.Inf(-1), "a"))
		wantHas(t, math.Inf(1), true)(s.ZScore(ctx, "z", "a"))
		failed[float64](t, "not a valid float")(s.ZIncrBy(ctx, "z", math.NaN(), "b"))
		want(t, ranking("b", 0.30000000000000004, "a", math.Inf(1)))(s.ZRange(ctx, "z", 0, -1))
	}},
	{"sorted sets/a score is any number and comes back as it was", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, score := range []float64{
			0, 1, -1, 0.1, 1.0 / 3, math.Pi, -1e-300, 1e300, 12345678901234567, 1 << 53, 123456789.123456789, math.MaxFloat64,
			math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), 1e21, 1e17, 1e16, 3.0e-5,
		} {
			_, err := s.ZAdd(ctx, "z", kv.Scored{Member: "m", Score: score})
			done(t, err)
			wantHas(t, score, true)(s.ZScore(ctx, "z", "m"))
			want(t, ranking("m", score))(s.ZRange(ctx, "z", 0, -1))
			want(t, ranking("m", score))(s.ZRangeByScore(ctx, "z", score, score))
		}
		failed[int](t, "not a valid float")(s.ZAdd(ctx, "z", kv.Scored{Member: "n", Score: math.NaN()}))
		want(t, 1)(s.ZCard(ctx, "z"))
	}},
	{"sorted sets/with one score that is none, no member is added", func(t *testing.T, s site) {
		ctx := t.Context()
		failed[int](t, "not a valid float")(s.ZAdd(ctx, "z", kv.Scored{Member: "a", Score: 1}, kv.Scored{Member: "b", Score: math.NaN()}))
		want(t, 0)(s.ZCard(ctx, "z"))
	}},
	{"sorted sets/odd members", func(t *testing.T, s site) {
		ctx := t.Context()
		for i, member := range odd {
			want(t, 1)(s.ZAdd(ctx, "z", kv.Scored{Member: member, Score: float64(i)}))
		}
		for i, member := range odd {
			wantHas(t, float64(i), true)(s.ZScore(ctx, "z", member))
			wantHas(t, i, true)(s.ZRank(ctx, "z", member))
			want(t, ranking(member, i))(s.ZRange(ctx, "z", i, i))
		}
		for _, member := range odd {
			want(t, 1)(s.ZRem(ctx, "z", member))
		}
		want(t, 0)(s.Exists(ctx, "z"))
	}},
	{"sorted sets/ranges by rank", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 4)(s.ZAdd(ctx, "z", ranking("a", 1, "b", 2, "c", 3, "d", 4)...))
		want(t, ranking("b", 2, "c", 3))(s.ZRange(ctx, "z", 1, 2))
		want(t, ranking("c", 3, "d", 4))(s.ZRange(ctx, "z", -2, 100))
		want(t, ranking("a", 1))(s.ZRange(ctx, "z", -100, 0))
		want(t, ranking())(s.ZRange(ctx, "z", 3, 1))
		want(t, ranking())(s.ZRange(ctx, "z", 4, 5))
		want(t, ranking("c", 3, "b", 2))(s.ZRevRange(ctx, "z", 1, 2))
		want(t, ranking("b", 2, "a", 1))(s.ZRevRange(ctx, "z", -2, -1))
		want(t, ranking())(s.ZRevRange(ctx, "z", 2, 1))
	}},
	{"sorted sets/ranges by score", func(t *testing.T, s site) {
		ctx := t.Context()
		all := ranking("low", math.Inf(-1), "a", -1.5, "b", 0, "c", 0, "d", 2.25, "high", math.Inf(1))
		want(t, 6)(s.ZAdd(ctx, "z", all...))
		want(t, all)(s.ZRangeByScore(ctx, "z", math.Inf(-1), math.Inf(1)))
		want(t, all[1:5])(s.ZRangeByScore(ctx, "z", -1.5, 2.25))
		want(t, all[2:4])(s.ZRangeByScore(ctx, "z", 0, 0))
		want(t, all[2:4])(s.ZRangeByScore(ctx, "z", -1.4999, 2.2499))
		want(t, ranking())(s.ZRangeByScore(ctx, "z", 1, -1))
		want(t, ranking())(s.ZRangeByScore(ctx, "z", 0.5, 1.5))
		want(t, all[:2])(s.ZRangeByScore(ctx, "z", math.Inf(-1), -1))
		failed[[]kv.Scored](t, "not a float")(s.ZRangeByScore(ctx, "z", math.NaN(), 1))
	}},
	{"sorted sets/ZPopMin takes the lowest", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 4)(s.ZAdd(ctx, "z", ranking("a", 3, "b", 1, "c", 1, "d", 2)...))
		want(t, ranking())(s.ZPopMin(ctx, "z", 0))
		want(t, ranking("b", 1))(s.ZPopMin(ctx, "z", 1))
		want(t, ranking("c", 1, "d", 2))(s.ZPopMin(ctx, "z", 2))
		want(t, ranking("a", 3))(s.ZPopMin(ctx, "z", 9))
		want(t, 0)(s.Exists(ctx, "z"))
	}},
}
