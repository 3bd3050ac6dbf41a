package kv_test

import (
	"testing"
)

// letters puts a list of one-letter values.
func letters(t *testing.T, s site, key, values string) {
	t.Helper()
	for i := range values {
		_, err := s.RPush(t.Context(), key, values[i:i+1])
		done(t, err)
	}
}

// wantLetters wants such a list.
func wantLetters(t *testing.T, s site, key, values string) {
	t.Helper()
	var all []string
	for i := range values {
		all = append(all, values[i:i+1])
	}
	want(t, all)(s.LRange(t.Context(), key, 0, -1))
}

var listCases = []conformanceCase{
	{"lists/have two ends", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 2)(s.LPush(ctx, "l", "b", "a"))
		want(t, 4)(s.RPush(ctx, "l", "c", "d"))
		want(t, 5)(s.LPush(ctx, "l", "a"))
		wantLetters(t, s, "l", "aabcd")
		want(t, 5)(s.LLen(ctx, "l"))
		wantHas(t, "a", true)(s.LPop(ctx, "l"))
		wantHas(t, "d", true)(s.RPop(ctx, "l"))
		wantLetters(t, s, "l", "abc")
	}},
	{"lists/one that is not there is empty", func(t *testing.T, s site) {
		ctx := t.Context()
		wantHas(t, "", false)(s.LPop(ctx, "l"))
		wantHas(t, "", false)(s.RPop(ctx, "l"))
		want(t, 0)(s.LLen(ctx, "l"))
		wantLetters(t, s, "l", "")
		want(t, 0)(s.LRem(ctx, "l", 0, "a"))
		wantHas(t, "", false)(s.LIndex(ctx, "l", 0))
		done(t, s.LTrim(ctx, "l", 0, 1))
		want(t, 0)(s.Exists(ctx, "l"))
	}},
	{"lists/a list is gone with its last element", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, 1)(s.LPush(ctx, "l", "a"))
		wantHas(t, "a", true)(s.RPop(ctx, "l"))
		wantHas(t, "", false)(s.RPop(ctx, "l"))
		want(t, 0)(s.Exists(ctx, "l"))
	}},
	{"lists/odd values", func(t *testing.T, s site) {
		ctx := t.Context()
		want(t, len(odd))(s.RPush(ctx, "l", odd...))
		want(t, odd)(s.LRange(ctx, "l", 0, -1))
		for i, value := range odd {
			wantHas(t, value, true)(s.LIndex(ctx, "l", i))
		}
		want(t, 1)(s.LRem(ctx, "l", 0, odd[20]))
		want(t, 1)(s.LPush(ctx, "other", odd[20]))
		for i, value := range odd {
			if i != 20 {
				wantHas(t, value, true)(s.LPop(ctx, "l"))
			}
		}
		wantHas(t, odd[20], true)(s.RPop(ctx, "other"))
	}},
	{"lists/LRange", func(t *testing.T, s site) {
		ctx := t.Context()
		letters(t, s, "l", "abcde")
		for _, r := range []struct {
			start, stop int
			found       []string
		}{
			{0, 0, []string{"a"}},
			{1, 3, []string{"b", "c", "d"}},
			{-2, -1, []string{"d", "e"}},
			{-100, 1, []string{"a", "b"}},
			{3, 100, []string{"d", "e"}},
			{0, -2, []string{"a", "b", "c", "d"}},
			{-3, 3, []string{"c", "d"}},
			{3, 1, nil},
			{5, 9, nil},
			{-9, -6, nil},
			{-1, -2, nil},
			{1 << 40, 1 << 50, nil},
			{-1 << 50, 1 << 50, []string{"a", "b", "c", "d", "e"}},
		} {
			t.Logf("from %d to %d", r.start, r.stop)
			want(t, r.found)(s.LRange(ctx, "l", r.start, r.stop))
		}
	}},
	{"lists/LIndex", func(t *testing.T, s site) {
		ctx := t.Context()
		letters(t, s, "l", "abc")
		wantHas(t, "a", true)(s.LIndex(ctx, "l", 0))
		wantHas(t, "c", true)(s.LIndex(ctx, "l", 2))
		wantHas(t, "", false)(s.LIndex(ctx, "l", 3))
		wantHas(t, "c", true)(s.LIndex(ctx, "l", -1))
		wantHas(t, "a", true)(s.LIndex(ctx, "l", -3))
		wantHas(t, "", false)(s.LIndex(ctx, "l", -4))
	}},
	{"lists/LRem", func(t *testing.T, s site) {
		ctx := t.Context()
		letters(t, s, "l", "abacadaxa")
		want(t, 0)(s.LRem(ctx, "l", 0, "none"))
		want(t, 2)(s.LRem(ctx, "l", 2, "a"))
		wantLetters(t, s, "l", "bcadaxa")
		want(t, 1)(s.LRem(ctx, "l", -1, "a"))
		wantLetters(t, s, "l", "bcadax")
		want(t, 2)(s.LRem(ctx, "l", -5, "a"))
		wantLetters(t, s, "l", "bcdx")
		letters(t, s, "all", "aaa")
		want(t, 3)(s.LRem(ctx, "all", 0, "a"))
		want(t, 0)(s.Exists(ctx, "all"))
	}},
	{"lists/LTrim", func(t *testing.T, s site) {
		ctx := t.Context()
		for _, r := range []struct {
			start, stop int
			left        string
		}{
			{0, -1, "abcde"}, {1, 3, "bcd"}, {-2, -1, "de"}, {0, 0, "a"}, {-100, 100, "abcde"}, {2, 100, "cde"}, {3, 1, ""}, {5, 9, ""}, {0, -6, ""},
		} {
			_, err := s.Del(ctx, "l")
			done(t, err)
			letters(t, s, "l", "abcde")
			done(t, s.LTrim(ctx, "l", r.start, r.stop))
			wantLetters(t, s, "l", r.left)
			want(t, min(len(r.left), 1))(s.Exists(ctx, "l"))
		}
	}},
	{"lists/nothing is popped twice or lost", func(t *testing.T, s site) {
		ctx := t.Context()
		const each = 40
		popped := make(chan string, 8*each)
		inParallel(t, 8, func(i int) error {
			for n := range each {
				if _, err := s.LPush(ctx, "l", string(rune('a'+i))+string(rune('0'+n))); err != nil {
					return err
				}
				value, ok, err := s.RPop(ctx, "l")
				if err != nil || !ok {
					t.Errorf("RPop after a push of one's own = %v, %v", ok, err)
				}
				popped <- value
			}
			return nil
		})
		close(popped)
		seen := map[string]int{}
		for value := range popped {
			seen[value]++
		}
		if len(seen) != 8*each {
			t.Errorf("%d values were popped, want %d", len(seen), 8*each)
		}
		want(t, 0)(s.LLen(ctx, "l"))
	}},
}
