package patch

import "bytes"

// maxDropTries bounds how many places of the old array are looked at closely as
// the possible start of the new one.
const maxDropTries = 8

// arrayNode is node for two arrays. It compares them element by element, after
// it has guessed how many the old one lost at its front.
func (d *differ) arrayNode(dst []byte, depth int) ([]byte, error) {
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
	drop, err := frontDrop(items{reader: d.old, left: oldLeft}, items{reader: d.new, left: newLeft})
	if err != nil {
		return dst, err
	}
	return d.arrayEdits(dst, oldLeft, newLeft, drop, depth)
}

// arrayEdits appends the node for an array whose first elements go. The keys
// come in canonical order: indices ascending, then -2, then -1.
func (d *differ) arrayEdits(dst []byte, oldLeft, newLeft, drop, depth int) ([]byte, error) {
	n := newMapNode(dst)
	var err error
	if d.old.i, err = skipItems(d.old.b, d.old.i, drop, depth-1); err != nil {
		return dst, err
	}
	kept := oldLeft - drop
	for i := range newLeft {
		n.index(i)
		if i < kept {
			n.dst, err = d.node(n.dst, depth-1)
		} else {
			var v []byte
			v, err = d.new.value(depth - 1)
			n.dst = appendSet(n.dst, v)
		}
		if err != nil {
			return dst, err
		}
		n.done()
	}
	if newLeft < kept {
		if d.old.i, err = skipItems(d.old.b, d.old.i, kept-newLeft, depth-1); err != nil {
			return dst, err
		}
	}
	plain := drop == 0 && newLeft >= kept
	if drop > 0 {
		n.index(keyDrop)
		n.dst = appendInt(n.dst, int64(drop))
		n.done()
	}
	if newLeft < kept {
		n.index(keyLength)
		n.dst = appendInt(n.dst, int64(newLeft))
		n.done()
	}
	start := n.start
	dst, err = n.close()
	if err != nil || !plain || len(dst) == start {
		return dst, err
	}
	return enlist(dst, start)
}

// frontDrop guesses how many elements old lost at its front: it looks for new's
// first element in old, and believes what it finds when that saves bytes and at
// least half of what follows agrees. A wrong guess costs bytes, never
// correctness.
func frontDrop(old, new items) (int, error) {
	if old.left == 0 || new.left == 0 {
		return 0, nil
	}
	peek := new
	if err := peek.next(); err != nil {
		return 0, err
	}
	first := peek.value // no encoding is the start of another, so a prefix is the element
	if bytes.HasPrefix(old.rest(), first) {
		return 0, nil
	}
	tries := 0
	for drop := 1; old.left > 1 && tries < maxDropTries; drop++ {
		if err := old.next(); err != nil {
			return 0, err
		}
		if !bytes.HasPrefix(old.rest(), first) {
			continue
		}
		pays, err := dropPays(old, new)
		if err != nil {
			return 0, err
		}
		if pays {
			return drop, nil
		}
		tries++
	}
	return 0, nil
}

// dropPays compares what is left of old with new, element by element. Each that
// agrees saves a node; the drop costs two bytes, and each element that is
// appended for it two more than a node would.
func dropPays(old, new items) (bool, error) {
	both := min(old.left, new.left)
	cost := 2 + 2*(new.left-both)
	equal, saved := 0, 0
	for range both {
		if err := old.next(); err != nil {
			return false, err
		}
		if err := new.next(); err != nil {
			return false, err
		}
		if !bytes.Equal(old.value, new.value) {
			continue
		}
		equal++
		if isInt(new.value[0]) {
			saved++
		} else {
			saved += 1 + len(new.value)
		}
	}
	return 2*equal >= both && saved > cost, nil
}
