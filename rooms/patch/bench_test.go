package patch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// Avatars in the shapes that authors give them.
type (
	named struct {
		X int `msgpack:"x"`
		Y int `msgpack:"y"`
	}
	tuple struct {
		//lint:ignore U1000 tells the encoder
		_msgpack struct{} `msgpack:",as_array"`
		X, Y     int
	}
	// full has fields that don't change, in an order that isn't canonical.
	full struct {
		Name      string `msgpack:"name"`
		Colour    int    `msgpack:"colour"`
		PositionX int    `msgpack:"position_x"`
		PositionY int    `msgpack:"position_y"`
		Says      string `msgpack:"says"`
		Direction int    `msgpack:"dir"`
	}
)

var shapes = map[string]func(i, x, y int) any{
	"named": func(i, x, y int) any { return named{x, y} },
	"tuple": func(i, x, y int) any { return tuple{X: x, Y: y} },
	"full": func(i, x, y int) any {
		return full{fmt.Sprint("visitor ", i), i % 7, x, y, "hello there", 3}
	},
}

// plaza encodes n avatars twice, before and after each took a step of at most 30
// in both directions.
func plaza(tb testing.TB, shape func(i, x, y int) any, n int) (old, new []byte) {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, uint64(n)))
	before, after := map[int]any{}, map[int]any{}
	for i := range n {
		x, y := r.IntN(2000), r.IntN(2000)
		before[i] = shape(i, x, y)
		after[i] = shape(i, x+1+r.IntN(30), y-1-r.IntN(30))
	}
	for v, to := range map[*map[int]any]*[]byte{&before: &old, &after: &new} {
		b, err := msgpack.Marshal(map[string]any{"avatars": *v, "tick": len(*to)})
		if err != nil {
			tb.Fatal(err)
		}
		*to = b
	}
	return old, new
}

func plazaPatch(tb testing.TB, shape string, n int) (raw, old, new, patch []byte) {
	tb.Helper()
	before, raw := plaza(tb, shapes[shape], n)
	old, err := Canonical(nil, before)
	if err != nil {
		tb.Fatal(err)
	}
	if new, err = Canonical(nil, raw); err != nil {
		tb.Fatal(err)
	}
	if patch, err = Diff(nil, old, new); err != nil {
		tb.Fatal(err)
	}
	return raw, old, new, patch
}

func TestMovingAvatarCostsAtMostFiveBytes(t *testing.T) {
	for shape := range shapes {
		for _, n := range []int{50, 200} {
			_, old, new, patch := plazaPatch(t, shape, n)
			checkRoundTrip(t, old, new)
			const around = 32 // the way to the avatars, and the names of their fields
			if most := 5*n + around; len(patch) > most {
				t.Errorf("%d avatars %s: patch has %d bytes, want at most %d", n, shape, len(patch), most)
			}
		}
	}
}

func TestTickAllocatesNothingOnceBuffersHaveGrown(t *testing.T) {
	raw, old, new, patch := plazaPatch(t, "full", 200)
	buf := make([]byte, 0, 4*len(raw))
	for name, run := range map[string]func() error{
		"Diff": func() error { _, err := Diff(buf, old, new); return err },
		"Next": func() error { _, err := Next(patch); return err },
	} {
		if n := testing.AllocsPerRun(20, func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkPlaza(b *testing.B) {
	for _, shape := range []string{"named", "tuple", "full"} {
		for _, n := range []int{50, 200} {
			raw, old, new, patch := plazaPatch(b, shape, n)
			buf := make([]byte, 0, 4*len(raw))
			for _, op := range []struct {
				name string
				run  func() ([]byte, error)
			}{
				{"Canonical", func() ([]byte, error) { return Canonical(buf, raw) }},
				{"Diff", func() ([]byte, error) { return Diff(buf, old, new) }},
				{"Apply", func() ([]byte, error) { return Apply(buf, old, patch) }},
			} {
				b.Run(fmt.Sprintf("%s/%s/%d", op.name, shape, n), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, err := op.run(); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(len(patch))/float64(n), "B/avatar")
				})
			}
		}
	}
}
