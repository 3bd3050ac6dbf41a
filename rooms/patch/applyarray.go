package patch

// array appends what the edits make of an array.
func (a *applier) array(dst, value []byte, e edits, cols *names, depth int) ([]byte, error) {
	v, err := itemsOf(value)
	if err != nil {
		return dst, err
	}
	if e.drop < 0 || e.drop > int64(v.left) {
		return dst, mismatch("more elements dropped than there are")
	}
	for range e.drop {
		if err := v.next(); err != nil {
			return dst, err
		}
	}
	if e.length > int64(v.left) {
		return dst, mismatch("truncation to more elements than there are")
	}
	kept := v.left
	if e.length >= 0 {
		kept = int(e.length)
	}
	start, n := len(dst), 0
	dst = appendHead(dst, codeArray0, kept)
	reserved := len(dst) - start
	err = e.next()
	for ; err == nil && (n < kept || e.node != nil); n++ {
		var old []byte
		if n < kept {
			if err := v.next(); err != nil {
				return dst, err
			}
			old = v.value
		}
		switch {
		case e.node == nil || e.index != int64(n):
			if old == nil {
				return dst, mismatch("index beyond the end")
			}
			dst = append(dst, old...)
			continue
		case old == nil && !isSet(e.node):
			err = mismatch("no such element")
		default:
			dst, err = a.node(dst, old, e.node, cols, depth-1)
		}
		if err != nil {
			return dst, at(appendInt(nil, int64(n)), err)
		}
		err = e.next()
	}
	return setHead(dst, start, reserved, codeArray0, n), err
}

// An edits walks the nodes for an array's elements, indices ascending, whether
// they stand in a map or in a list.
type edits struct {
	byIndex pairs
	list    items
	isList  bool
	drop    int64 // elements to drop first
	length  int64 // elements to keep of the rest; -1 for all

	index int64
	node  []byte // nil behind the last
	pos   int64  // of the next element of the list
}

func editsOf(node []byte) (edits, error) {
	e := edits{length: -1}
	var err error
	if isArray(node[0]) {
		e.isList = true
		e.list, err = itemsOf(node)
		if err == nil && e.list.left < 2 {
			err = mismatch("list of less than two nodes")
		}
		return e, err
	}
	if e.byIndex, err = pairsOf(node); err != nil {
		return e, err
	}
	// In canonical order the negative keys are the last.
	all := e.byIndex
	for all.left > 0 {
		if err := all.next(); err != nil {
			return e, err
		}
		index, ok := integer(all.key)
		if !ok {
			return e, mismatch("array's key is no index")
		}
		if index >= 0 {
			continue
		}
		n, ok := integer(all.value)
		if !ok || n < 0 || index < keyDrop {
			return e, mismatch("array's drop or length is no count")
		}
		if index == keyDrop {
			e.drop = n
		} else {
			e.length = n
		}
		e.byIndex.left--
	}
	return e, nil
}

func (e *edits) next() error {
	e.node = nil
	if !e.isList {
		err := e.byIndex.next()
		if err == nil && e.byIndex.key != nil {
			e.index, _ = integer(e.byIndex.key)
			e.node = e.byIndex.value
		}
		return err
	}
	for e.list.left > 0 && e.node == nil {
		if err := e.list.next(); err != nil {
			return err
		}
		if e.list.value[0] != 0 {
			e.index, e.node = e.pos, e.list.value
		}
		e.pos++
	}
	return nil
}
