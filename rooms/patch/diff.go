package patch

import "bytes"

// maxExact is the largest integer every client counts with exactly: a JavaScript
// number. Beyond it integers are replaced, so that no client's copy drifts by
// rounding sums.
const maxExact = 1<<53 - 1

// Diff appends to dst the patch that turns old into new, two states in
// canonical form, and nothing when they are equal. The patch is canonical
// msgpack itself and never longer than new by more than a byte. States that are
// not canonical give a wrong patch, states that differ and are not msgpack an
// error, and then dst comes back as it was. Diff allocates nothing but dst's growth; dst
// must not overlap old or new.
func Diff(dst, old, new []byte) ([]byte, error) {
	if bytes.Equal(old, new) {
		return dst, nil
	}
	d := differ{old: reader{b: old}, new: reader{b: new}}
	out, err := d.node(dst, MaxDepth)
	if err == nil && (d.old.i < len(old) || d.new.i < len(new)) {
		err = errTrailing
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// A differ reads both states from front to back, once.
type differ struct{ old, new reader }

// node reads a value on both sides and appends the node that turns one into the
// other: nothing if they are the same.
func (d *differ) node(dst []byte, depth int) ([]byte, error) {
	if d.old.i >= len(d.old.b) || d.new.i >= len(d.new.b) {
		return dst, errTruncated
	}
	old, new := d.old.b[d.old.i:], d.new.b[d.new.i:]
	a, b := old[0], new[0]
	if w := int(widths[a]); w != 0 && w <= len(old) && bytes.HasPrefix(new, old[:w]) {
		d.old.i += w
		d.new.i += w
		return dst, nil
	}
	start, from := len(dst), d.new.i
	var err error
	switch {
	case isMap(a) && isMap(b):
		dst, err = d.mapNode(dst, depth)
	case isArray(a) && isArray(b):
		dst, err = d.arrayNode(dst, depth)
	default:
		return d.scalarNode(dst, depth)
	}
	if size := d.new.i - from; err == nil && len(dst)-start > 1+size {
		dst = appendSet(dst[:start], new[:size])
	}
	return dst, err
}

// scalarNode is node where there are not two maps nor two arrays to compare.
func (d *differ) scalarNode(dst []byte, depth int) ([]byte, error) {
	old, err := d.old.value(depth)
	if err != nil {
		return dst, err
	}
	new, err := d.new.value(depth)
	if err != nil || bytes.Equal(old, new) {
		return dst, err
	}
	start := len(dst)
	if isInt(old[0]) && isInt(new[0]) {
		dst = appendDelta(dst, old, new)
	}
	if size := len(dst) - start; size == 0 || size > 1+len(new) {
		dst = appendSet(dst[:start], new)
	}
	return dst, nil
}

func appendSet(dst, value []byte) []byte {
	return append(append(dst, codeArray1), value...)
}

// appendDelta appends nothing when the integers are too large for a delta.
func appendDelta(dst, old, new []byte) []byte {
	a, okA := integer(old)
	b, okB := integer(new)
	if !okA || !okB || max(a, b) > maxExact || min(a, b) < -maxExact {
		return dst
	}
	return appendInt(dst, b-a)
}

// mapNode merges the entries of two maps, both sorted by key.
func (d *differ) mapNode(dst []byte, depth int) ([]byte, error) {
	if depth == 0 {
		return dst, errDepth
	}
	oldLeft, err := d.old.head()
	if err != nil {
		return dst, err
	}
	newLeft, err := d.new.head()
	if err != nil {
		return dst, err
	}
	oldKey, err := nextKey(&d.old, &oldLeft)
	if err != nil {
		return dst, err
	}
	newKey, err := nextKey(&d.new, &newLeft)
	if err != nil {
		return dst, err
	}
	n := newMapNode(dst)
	for oldKey != nil || newKey != nil {
		order := compareKeys(oldKey, newKey)
		if order <= 0 {
			n.key(oldKey)
		} else {
			n.key(newKey)
		}
		switch {
		case order < 0:
			n.dst = append(n.dst, codeNil)
			_, err = d.old.value(depth - 1)
		case order > 0:
			var v []byte
			v, err = d.new.value(depth - 1)
			n.dst = appendSet(n.dst, v)
		default:
			n.dst, err = d.node(n.dst, depth-1)
		}
		if err != nil {
			return dst, err
		}
		n.done()
		if order <= 0 {
			if oldKey, err = nextKey(&d.old, &oldLeft); err != nil {
				return dst, err
			}
		}
		if order >= 0 {
			if newKey, err = nextKey(&d.new, &newLeft); err != nil {
				return dst, err
			}
		}
	}
	return n.close()
}

// A mapNode is a map node being written, one entry after the other.
type mapNode struct {
	dst        []byte
	start      int // of the node
	entry, val int // of the entry at hand
	n          int // entries
	maps       int // entries that are map nodes
}

func newMapNode(dst []byte) mapNode {
	return mapNode{dst: append(dst, codeMap0), start: len(dst)}
}

// key starts an entry; the caller appends its node to dst, or nothing.
func (n *mapNode) key(k []byte) {
	n.entry = len(n.dst)
	n.dst = append(n.dst, k...)
	n.val = len(n.dst)
}

// index is key for an array's.
func (n *mapNode) index(i int) {
	n.entry = len(n.dst)
	n.dst = appendInt(n.dst, int64(i))
	n.val = len(n.dst)
}

// done ends an entry. One without a node is taken back.
func (n *mapNode) done() {
	if len(n.dst) == n.val {
		n.dst = n.dst[:n.entry]
		return
	}
	n.n++
	if isMap(n.dst[n.val]) {
		n.maps++
	}
}

// close ends the node, as a table if that is shorter. Without entries there is
// no node.
func (n *mapNode) close() ([]byte, error) {
	if n.n == 0 {
		return n.dst[:n.start], nil
	}
	dst := setHead(n.dst, n.start, 1, codeMap0, n.n)
	if n.maps < 2 {
		return dst, nil
	}
	return tabulate(dst, n.start)
}

// nextKey reads the next key of a map that has left entries to come: nil if none.
func nextKey(r *reader, left *int) ([]byte, error) {
	if *left == 0 {
		return nil, nil
	}
	*left--
	return r.value(0)
}

// compareKeys orders encoded keys; nil, the end of a map, comes after all.
func compareKeys(a, b []byte) int {
	switch {
	case a == nil:
		return 1
	case b == nil:
		return -1
	case a[0] != b[0]: // mostly so: a string's first byte has its length in it
		return int(a[0]) - int(b[0])
	default:
		return bytes.Compare(a, b)
	}
}
