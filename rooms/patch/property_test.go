package patch

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestPatchTurnsOldIntoNew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := someTree(3).Draw(t, "old")
		second := someChange(t, first)
		old, new := mustState(t, first), mustState(t, second)
		checkRoundTrip(t, old, new)
		checkRoundTrip(t, new, old)
	})
}

func TestPatchTurnsOneRoomIntoTheNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := someRoom.Draw(t, "room")
		checkRoundTrip(t, mustState(t, room[0]), mustState(t, room[1]))
	})
}

func TestPatchTurnsAnyStateIntoAnyOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkRoundTrip(t, mustState(t, someTree(3).Draw(t, "old")), mustState(t, someTree(3).Draw(t, "new")))
	})
}

type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func checkRoundTrip(t tester, old, new []byte) {
	t.Helper()
	prefix := []byte("kept")
	patch, err := Diff(prefix, old, new)
	if err != nil {
		t.Fatalf("Diff(% x, % x): %v", old, new, err)
	}
	if !bytes.HasPrefix(patch, prefix) {
		t.Fatalf("Diff overwrote what dst had")
	}
	patch = patch[len(prefix):]
	if (len(patch) == 0) != bytes.Equal(old, new) {
		t.Fatalf("Diff(% x, % x) = % x", old, new, patch)
	}
	if len(patch) > len(new)+1 {
		t.Fatalf("Diff(% x, % x) is longer than the new state: % x", old, new, patch)
	}
	if len(patch) > 0 {
		if same, err := canonical(nil, patch, maxPatchDepth); err != nil || !bytes.Equal(same, patch) {
			t.Fatalf("Diff = % x, not canonical: % x, %v", patch, same, err)
		}
	}
	got, err := Apply(prefix, old, patch)
	if err != nil {
		t.Fatalf("Apply(% x, % x): %v", old, patch, err)
	}
	if !bytes.Equal(got, append(prefix, new...)) {
		t.Fatalf("Apply(% x, % x) = % x, want % x", old, patch, got, new)
	}
}

func TestCanonicalFormIgnoresOrderAndWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := someTree(3).Draw(t, "tree")
		want := mustState(t, v)
		seed := rapid.Uint64().Draw(t, "seed")
		src := encode(nil, v, rand.New(rand.NewPCG(seed, 1)))
		got, err := Canonical(nil, src)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Canonical(% x) = % x, %v, want % x", src, got, err, want)
		}
		if again, err := Canonical(nil, got); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("Canonical(% x) = % x, %v: not the same", got, again, err)
		}
	})
}

func TestCanonicalFormKeepsTheValue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src := encode(nil, someTree(3).Draw(rt, "tree"), rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1)))
		got, err := Canonical(nil, src)
		if err != nil {
			rt.Fatalf("Canonical(% x): %v", src, err)
		}
		if a, b := decode(t, src), decode(t, got); !reflect.DeepEqual(a, b) {
			rt.Fatalf("Canonical(% x) = % x: %v became %v", src, got, a, b)
		}
	})
}

func TestNextFindsTheEndOfAnyValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := encode(nil, someTree(3).Draw(t, "tree"), rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
		if n, err := Next(append(bytes.Clone(src), 0xc1, 0xc1)); n != len(src) || err != nil {
			t.Fatalf("Next(% x, garbage) = %d, %v, want %d", src, n, err, len(src))
		}
		cut := rapid.IntRange(0, len(src)-1).Draw(t, "cut")
		if n, err := Next(src[:cut]); err != errTruncated {
			t.Fatalf("Next(% x) = %d, %v, want %v", src[:cut], n, err, errTruncated)
		}
		if _, err := Canonical(nil, src[:cut]); err != errTruncated {
			t.Fatalf("Canonical(% x) = %v, want %v", src[:cut], err, errTruncated)
		}
	})
}

func TestPatchMeansTheSameInAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		room := someRoom.Draw(rt, "room")
		old, new := mustState(rt, room[0]), mustState(rt, room[1])
		patch, err := Diff(nil, old, new)
		if err != nil || len(patch) == 0 {
			return
		}
		shuffled := encode(nil, ordered(decode(t, patch)), rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1)))
		if got, err := Apply(nil, old, shuffled); err != nil || !bytes.Equal(got, new) {
			rt.Fatalf("Apply(% x, % x) = % x, %v, want % x", old, shuffled, got, err, new)
		}
	})
}

// ordered turns a decoded value into one that encode takes.
func ordered(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = ordered(v[i])
		}
	case map[any]any:
		var o object
		for key, value := range v {
			o = append(o, field{key, ordered(value)})
		}
		return o
	}
	return v
}

func mustState(t tester, v any) []byte {
	t.Helper()
	b, err := Canonical(nil, encode(nil, v, nil))
	if err != nil {
		t.Fatalf("Canonical: %v", err)
	}
	return b
}
