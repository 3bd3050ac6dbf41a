package engine

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// element draws strings short and long, some often the same, around the sizes
// where lengths need one more byte and chunks are full.
func element(t *rapid.T) []byte {
	n := rapid.OneOf(rapid.IntRange(0, 3), rapid.SampledFrom([]int{100, 125, 126, 127, 128, 2000, maxChunk - 5, maxChunk, 17000})).Draw(t, "length")
	return bytes.Repeat([]byte{byte(rapid.IntRange('a', 'c').Draw(t, "letter"))}, n)
}

func TestDequeIsLikeASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d deque
		var model [][]byte
		left := func() bool { return rapid.Bool().Draw(t, "left") }
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				l, n, v := left(), rapid.IntRange(1, 60).Draw(t, "n"), element(t)
				for range n {
					d.push(l, v)
				}
				model = slices.Insert(model, end(l, len(model)), slices.Repeat([][]byte{v}, n)...)
			},
			"pop": func(t *rapid.T) {
				l := left()
				for range rapid.IntRange(1, 40).Draw(t, "n") {
					v, ok := d.pop(l)
					if ok != (len(model) > 0) {
						t.Fatalf("pop of %d elements: ok = %v", len(model), ok)
					}
					if !ok {
						return
					}
					i := end(l, len(model)-1)
					if !bytes.Equal(v, model[i]) {
						t.Fatalf("pop = %.20q (%d), want %.20q (%d)", v, len(v), model[i], len(model[i]))
					}
					model = slices.Delete(model, i, i+1)
				}
			},
			"set": func(t *rapid.T) {
				if len(model) == 0 {
					return
				}
				i, v := rapid.IntRange(0, len(model)-1).Draw(t, "i"), element(t)
				d.set(i, v)
				model[i] = v
			},
			"insert": func(t *rapid.T) {
				i, v := rapid.IntRange(0, len(model)).Draw(t, "i"), element(t)
				d.insert(i, v)
				model = slices.Insert(model, i, v)
			},
			"remove": func(t *rapid.T) {
				l, limit, v := left(), rapid.IntRange(1, 80).Draw(t, "limit"), element(t)
				got := d.remove(l, limit, v)
				var want int
				if model, want = without(model, l, limit, v); got != want {
					t.Fatalf("remove = %d, want %d", got, want)
				}
			},
			"drop": func(t *rapid.T) {
				l, n := left(), rapid.IntRange(0, 100).Draw(t, "n")
				d.drop(l, n)
				if n = min(n, len(model)); l {
					model = slices.Delete(model, 0, n)
				} else {
					model = model[:len(model)-n]
				}
			},
			"": func(t *rapid.T) { checkDeque(t, &d, model) },
		})
	})
}

// end is 0 or, if it is the right one, right.
func end(left bool, right int) int {
	if left {
		return 0
	}
	return right
}

// without removes up to limit elements v from a slice, from the left or the right.
func without(model [][]byte, left bool, limit int, v []byte) (_ [][]byte, removed int) {
	if !left {
		slices.Reverse(model)
	}
	model = slices.DeleteFunc(model, func(e []byte) bool {
		if removed == limit || !bytes.Equal(e, v) {
			return false
		}
		removed++
		return true
	})
	if !left {
		slices.Reverse(model)
	}
	return model, removed
}

func checkDeque(t *rapid.T, d *deque, model [][]byte) {
	if d.len() != len(model) {
		t.Fatalf("len = %d, want %d", d.len(), len(model))
	}
	i := 0
	for v := range d.from(0) {
		if !bytes.Equal(v, model[i]) {
			t.Fatalf("element %d = %.20q (%d), want %.20q (%d)", i, v, len(v), model[i], len(model[i]))
		}
		i++
	}
	if i != len(model) {
		t.Fatalf("from gives %d elements, want %d", i, len(model))
	}
	if i > 0 {
		k := rapid.IntRange(0, i-1).Draw(t, "at")
		if v := d.at(k); !bytes.Equal(v, model[k]) {
			t.Fatalf("at(%d) = %.20q, want %.20q", k, v, model[k])
		}
		if got, want := d.index(model[k]), slices.IndexFunc(model, func(e []byte) bool { return bytes.Equal(e, model[k]) }); got != want {
			t.Fatalf("index = %d, want %d", got, want)
		}
	}
	size, n, prev := 0, 0, (*chunk)(nil)
	for c := d.first; c != nil; c = c.next {
		if c.prev != prev || c.n == 0 || int(c.n) != countEntries(c.buf[c.head:]) || c.n > 1 && c.used() > maxChunk {
			t.Fatalf("chunk of %d elements, %d bytes: damaged", c.n, c.used())
		}
		size, n, prev = size+chunkBytes+cap(c.buf), n+int(c.n), c
	}
	if d.last != prev || size != d.bytes() || n != d.n {
		t.Fatalf("chunks: %d elements in %d bytes; the deque says %d in %d", n, size, d.n, d.bytes())
	}
}

func TestQueueThatIsShortStaysSmall(t *testing.T) {
	var d deque
	for i := range 100000 {
		d.push(false, fmt.Appendf(nil, "job %d", i))
		if i >= 5 {
			if v, _ := d.pop(true); string(v) != fmt.Sprintf("job %d", i-5) {
				t.Fatalf("pop = %q at %d", v, i)
			}
		}
	}
	if d.size > 512 {
		t.Errorf("a queue of 5 short elements has %d bytes", d.size)
	}
}

func TestRemovingNearlyAllLeavesFewBytes(t *testing.T) {
	var d deque
	for i := range 100000 {
		if i%1000 == 0 {
			d.push(false, []byte("keep"))
		} else {
			d.push(false, []byte("drop"))
		}
	}
	if got := d.remove(true, 1<<30, []byte("drop")); got != 99900 {
		t.Fatalf("remove = %d, want 99900", got)
	}
	if d.size > 1500 {
		t.Errorf("100 short elements have %d bytes", d.size)
	}
}

func BenchmarkDequeQueue(b *testing.B) {
	for _, n := range []int{1, 1000000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var d deque
			v := make([]byte, 100)
			for range n {
				d.push(false, v)
			}
			for b.Loop() {
				d.push(false, v)
				d.pop(true)
			}
			b.ReportMetric(float64(d.size)/float64(n), "B/element")
		})
	}
}
