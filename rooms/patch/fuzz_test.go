package patch

import (
	"bytes"
	"testing"
)

func seeds(f *testing.F, add func(old, new, patch []byte)) {
	f.Helper()
	for _, c := range vectors {
		old, new := state(f, fromJSON(f, string(c.Old))), state(f, fromJSON(f, string(c.New)))
		patch, err := Diff(nil, old, new)
		if err != nil {
			f.Fatal(err)
		}
		add(old, new, patch)
	}
}

// What Next accepts ends where Next says; Canonical never accepts more.
func FuzzNext(f *testing.F) {
	seeds(f, func(old, new, patch []byte) { f.Add(append(bytes.Clone(patch), old...)) })
	f.Add([]byte{0xdf, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x0c, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Next(b)
		if err != nil {
			if _, err := Canonical(nil, b); err == nil {
				t.Errorf("Canonical accepts % x, Next doesn't: %v", b, err)
			}
			return
		}
		if n < 1 || n > len(b) {
			t.Fatalf("Next(% x) = %d", b, n)
		}
		if again, err := Next(b[:n]); again != n || err != nil {
			t.Errorf("Next(% x) = %d, %v, want %d", b[:n], again, err, n)
		}
		if _, err := Next(b[:n-1]); err == nil {
			t.Errorf("Next accepts % x with its last byte missing", b[:n])
		}
	})
}

func FuzzCanonical(f *testing.F) {
	seeds(f, func(old, new, patch []byte) { f.Add(old); f.Add(patch) })
	f.Add([]byte{0x83, 0xd3, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0xa1, 'b', 2, 0x04, 0xd6, 0xff, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, src []byte) {
		once, err := Canonical(nil, src)
		if err != nil {
			return
		}
		if len(once) > len(src) {
			t.Errorf("Canonical(% x) grew to % x", src, once)
		}
		if n, err := Next(src); n != len(src) || err != nil {
			t.Errorf("Canonical accepts % x, Next = %d, %v", src, n, err)
		}
		if twice, err := Canonical(nil, once); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("Canonical(% x) = % x, %v: not the same", once, twice, err)
		}
	})
}

// Any two states: the patch between them applies. And any patch, on the first:
// if it applies, the result is canonical.
func FuzzDiffApply(f *testing.F) {
	seeds(f, func(old, new, patch []byte) { f.Add(old, new, patch) })
	f.Fuzz(func(t *testing.T, a, b, patch []byte) {
		if _, err := Diff(nil, a, b); err == nil && (!isOne(a) || !isOne(b)) && !bytes.Equal(a, b) {
			t.Errorf("Diff(% x, % x) takes what is not one value", a, b)
		}
		old, err := Canonical(nil, a)
		if err != nil {
			return
		}
		if new, err := Canonical(nil, b); err == nil {
			checkRoundTrip(t, old, new)
		}
		got, err := Apply(nil, old, patch)
		if err != nil {
			return
		}
		if same, err := Canonical(nil, got); err != nil || !bytes.Equal(same, got) {
			t.Errorf("Apply(% x, % x) = % x, not canonical: % x, %v", old, patch, got, same, err)
		}
	})
}

func isOne(b []byte) bool {
	n, err := Next(b)
	return err == nil && n == len(b)
}
