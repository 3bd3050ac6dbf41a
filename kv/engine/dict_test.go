package engine

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// A dict finds exactly what was added and not removed, with few elements and with
// many, and one that was changed in the same way has the same order.
func TestDictHoldsWhatWasAddedAndNotRemoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d, twin dict[int]
		want := map[string]int{}
		for step := range rapid.IntRange(0, 600).Draw(t, "steps") {
			name := fmt.Sprint("n", rapid.IntRange(0, 199).Draw(t, "name"))
			i := d.find([]byte(name))
			val, has := want[name]
			switch {
			case has != (i >= 0) || i != d.findText(name) || has && d.items[i].val != val:
				t.Fatalf("find(%q) = %d, want it there: %v", name, i, has)
			case has && step%600 < 300 == (step%5 == 0): // grows, then shrinks
				d.remove(i)
				twin.remove(twin.findText(name))
				delete(want, name)
			case !has:
				d.add(name, step)
				twin.add(name, step)
				want[name] = step
			}
		}
		names := 0
		for i, it := range d.items {
			names += len(it.name)
			if want[it.name] != it.val || d.findText(it.name) != i || twin.items[i] != it {
				t.Fatalf("element %d is %q: %d", i, it.name, it.val)
			}
		}
		if d.len() != len(want) || d.len() != twin.len() || names != d.names {
			t.Fatalf("%d elements with names of %d bytes, want %d, %d", d.len(), d.names, len(want), names)
		}
	})
}
