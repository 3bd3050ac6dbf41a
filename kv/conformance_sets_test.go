package kv_test

import (
	"fmt"
	"testing"
)

var setCases = []conformanceCase{
	{"sets/a member is there once", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 2)(s.SAdd(ctx, "a", "x", "y", "x"))
		want(t, 1)(s.SAdd(ctx, "a", "y", "z"))
		want(t, 0)(s.SAdd(ctx, "a", "x"))
		want(t, 3)(s.SCard(ctx, "a"))
		wantAll(t, "x", "y", "z")(s.SMembers(ctx, "a"))
		want(t, true)(s.SIsMember(ctx, "a", "z"))
		want(t, false)(s.SIsMember(ctx, "a", "Z"))
		want(t, 2)(s.SRem(ctx, "a", "x", "none", "y", "x"))
		want(t, 0)(s.SRem(ctx, "a", "x"))
		wantAll(t, "z")(s.SMembers(ctx, "a"))
	}},
	{"sets/one that is not there is empty", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 0)(s.SRem(ctx, "a", "x"))
		want(t, 0)(s.SCard(ctx, "a"))
		want(t, false)(s.SIsMember(ctx, "a", "x"))
		wantAll(t)(s.SMembers(ctx, "a"))
		want(t, 0)(s.Exists(ctx, "a"))
	}},
	{"sets/odd members", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, len(odd))(s.SAdd(ctx, "a", odd...))
		want(t, 0)(s.SAdd(ctx, "a", odd...))
		wantAll(t, odd...)(s.SMembers(ctx, "a"))
		for i, member := range odd {
			want(t, true)(s.SIsMember(ctx, "a", member))
			want(t, 1)(s.SRem(ctx, "a", member))
			want(t, false)(s.SIsMember(ctx, "a", member))
			want(t, len(odd)-1-i)(s.SCard(ctx, "a"))
		}
	}},
	{"sets/numbers are members like others", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 5)(s.SAdd(ctx, "a", "1", "01", "1.0", "-1", "+1"))
		want(t, 1)(s.SRem(ctx, "a", "1"))
		wantAll(t, "01", "1.0", "-1", "+1")(s.SMembers(ctx, "a"))
	}},
	{"sets/inter, union and diff", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 4)(s.SAdd(ctx, "a", "1", "2", "3", "x"))
		want(t, 3)(s.SAdd(ctx, "b", "2", "3", "4"))
		want(t, 2)(s.SAdd(ctx, "c", "3", "5"))
		wantAll(t, "3")(s.SInter(ctx, "a", "b", "c"))
		wantAll(t, "2", "3")(s.SInter(ctx, "b", "a"))
		wantAll(t, "1", "2", "3", "x")(s.SInter(ctx, "a"))
		wantAll(t, "1", "2", "3", "4", "5", "x")(s.SUnion(ctx, "a", "b", "c"))
		wantAll(t, "1", "x")(s.SDiff(ctx, "a", "b", "c"))
		wantAll(t, "4")(s.SDiff(ctx, "b", "a"))
		wantAll(t)(s.SDiff(ctx, "a", "a"))
		wantAll(t, "3", "5")(s.SUnion(ctx, "c", "c"))
		want(t, 4)(s.SCard(ctx, "a"))
	}},
	{"sets/one that is not there takes part as an empty one", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 2)(s.SAdd(ctx, "a", "1", "2"))
		wantAll(t)(s.SInter(ctx, "a", "none"))
		wantAll(t)(s.SInter(ctx, "none", "a"))
		wantAll(t, "1", "2")(s.SUnion(ctx, "none", "a"))
		wantAll(t, "1", "2")(s.SDiff(ctx, "a", "none"))
		wantAll(t)(s.SDiff(ctx, "none", "a"))
	}},
	{"sets/each member is added once by somebody", func(t *testing.T, s site) {
		ctx := t.Context()
		added := make([]int, 8)
		inParallel(t, len(added), func(i int) error {
			for m := range 50 {
				n, err := s.SAdd(ctx, "a", fmt.Sprint(m))
				if err != nil {
					return err
				}
				added[i] += n
			}
			return nil
		})
		sum := 0
		for _, n := range added {
			sum += n
		}
		want(t, sum)(s.SCard(ctx, "a"))
		if sum != 50 {
			t.Errorf("%d members were added, want 50", sum)
		}
	}},
}
