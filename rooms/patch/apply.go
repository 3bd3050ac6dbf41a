package patch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// ErrMismatch is wrapped by every error of [Apply] about a patch that is well
// formed but not made for this state. Whoever gets it has missed a patch and
// needs the whole state.
var ErrMismatch = errors.New("patch does not fit the state")

// Apply appends to dst the state that patch makes of state, which must be
// canonical; the result is canonical too. The patch need not be: it may have
// gone through a decoder that forgot the order of maps. An empty patch changes
// nothing.
//
// An error wraps [ErrMalformed] or [ErrMismatch] and names the place; dst then
// comes back as it was, as nothing is applied by halves. The work is linear in
// the sizes of state and patch. dst must overlap neither.
func Apply(dst, state, patch []byte) ([]byte, error) {
	if err := whole(state); err != nil {
		return dst, fmt.Errorf("state: %w", err)
	}
	if len(patch) == 0 {
		return append(dst, state...), nil
	}
	base := len(dst)
	out, err := canonical(dst, patch, maxPatchDepth)
	if err != nil {
		return dst, fmt.Errorf("patch: %w", err)
	}
	node := out[base:]
	var a applier
	if out, err = a.node(out, state, node, nil, MaxDepth); err != nil {
		return dst, err
	}
	n := copy(out[base:], out[base+len(node):])
	return out[:base+n], nil
}

// An applier holds scratch for one Apply.
type applier struct {
	rows []byte // a stack of the rows at hand, written out as map nodes
}

// names are the columns of a table, and their order by encoded key.
type names struct {
	keys   [maxNames][]byte
	sorted [maxNames]int
	n      int
}

// node appends what the node makes of the value; rows is what lists in the
// place of a map are read by, nil outside of tables. Depth is how deep the
// result may still be.
func (a *applier) node(dst, value, node []byte, rows *names, depth int) ([]byte, error) {
	switch c := node[0]; {
	case isInt(c):
		return addDelta(dst, value, node)
	case isMap(c):
		return a.edit(dst, value, node, nil, nil, depth)
	case !isArray(c):
		return dst, mismatch("node is neither integer, map nor array")
	}
	list, err := itemsOf(node)
	if err != nil {
		return dst, err
	}
	if list.left == 0 {
		return dst, mismatch("node is an empty array")
	}
	whole := list
	if err := list.next(); err != nil {
		return dst, err
	}
	if whole.left == 1 {
		if _, err := skip(list.value, depth); err != nil {
			return dst, err
		}
		return append(dst, list.value...), nil
	}
	if !isStr(list.value[0]) {
		return a.edit(dst, value, node, rows, nil, depth)
	}
	var cols names
	inner, err := cols.read(whole)
	if err != nil {
		return dst, err
	}
	return a.edit(dst, value, inner, nil, &cols, depth)
}

// addDelta adds the delta to the integer. A delta of 0 changes nothing,
// whatever there is.
func addDelta(dst, value, delta []byte) ([]byte, error) {
	d, ok := integer(delta)
	if ok && d == 0 {
		return append(dst, value...), nil
	}
	if !isInt(value[0]) {
		return dst, mismatch("delta on what is no integer")
	}
	v, okValue := integer(value)
	sum := v + d
	if !ok || !okValue || (d > 0) != (sum > v) {
		return dst, mismatch("delta leaves the range of int64")
	}
	return appendInt(dst, sum), nil
}

// read takes the names of a table and returns the node behind them.
func (s *names) read(table items) (node []byte, err error) {
	s.n = table.left - 1
	if s.n > maxNames {
		return nil, mismatch("table has too many names")
	}
	for i := range s.n {
		if err := table.next(); err != nil {
			return nil, err
		}
		if !isStr(table.value[0]) {
			return nil, mismatch("table's name is no string")
		}
		s.keys[i], s.sorted[i] = table.value, i
	}
	sorted := s.sorted[:s.n]
	slices.SortFunc(sorted, func(a, b int) int { return bytes.Compare(s.keys[a], s.keys[b]) })
	for i := 1; i < s.n; i++ {
		if bytes.Equal(s.keys[sorted[i-1]], s.keys[sorted[i]]) {
			return nil, mismatch("table has a name twice")
		}
	}
	if err := table.next(); err != nil {
		return nil, err
	}
	return table.value, nil
}

// edit appends what a map node or a list makes of a map or array. A list on a
// map is a row, read by rows; cols is for the rows among the node's children.
func (a *applier) edit(dst, value, node []byte, rows, cols *names, depth int) ([]byte, error) {
	if !isMap(node[0]) && !isArray(node[0]) {
		return dst, mismatch("table ends in neither map nor array")
	}
	switch {
	case isArray(value[0]):
		e, err := editsOf(node)
		if err != nil {
			return dst, err
		}
		return a.array(dst, value, e, cols, depth)
	case !isMap(value[0]):
		return dst, mismatch("descent into what is neither map nor array")
	case isMap(node[0]):
		return a.mapping(dst, value, node, cols, depth)
	case rows == nil:
		return dst, mismatch("list on a map")
	}
	// A cell of the row may be a table, so rows can be open within rows.
	base := len(a.rows)
	var err error
	if a.rows, err = rows.expand(a.rows, node); err != nil {
		return dst, err
	}
	dst, err = a.mapping(dst, value, a.rows[base:], nil, depth)
	a.rows = a.rows[:base]
	return dst, err
}

// expand appends the map node that a row stands for.
func (s *names) expand(dst, row []byte) ([]byte, error) {
	var cells [maxNames][]byte
	list, err := itemsOf(row)
	if err != nil {
		return dst, err
	}
	used := 0
	for i := 0; list.left > 0; i++ {
		if err := list.next(); err != nil {
			return dst, err
		}
		if list.value[0] == 0 {
			continue
		}
		if i >= s.n {
			return dst, mismatch("row is longer than its table's names")
		}
		cells[i] = list.value
		used++
	}
	dst = appendHead(dst, codeMap0, used)
	for _, at := range s.sorted[:s.n] {
		if cells[at] != nil {
			dst = append(append(dst, s.keys[at]...), cells[at]...)
		}
	}
	return dst, nil
}

// mapping merges a map node into a map, both sorted by key.
func (a *applier) mapping(dst, value, node []byte, cols *names, depth int) ([]byte, error) {
	v, err := pairsOf(value)
	if err != nil {
		return dst, err
	}
	e, err := pairsOf(node)
	if err != nil {
		return dst, err
	}
	start, n := len(dst), v.left
	dst = appendHead(dst, codeMap0, n)
	reserved := len(dst) - start
	if err = v.next(); err == nil {
		err = e.next()
	}
	for err == nil && (v.key != nil || e.key != nil) {
		order := compareKeys(v.key, e.key)
		switch {
		case order < 0: // nothing to do for this entry
			dst = append(append(dst, v.key...), v.value...)
		case order > 0 && !isSet(e.value):
			err = mismatch("no such key")
		case e.value[0] == codeNil:
			n--
		default:
			if order > 0 {
				n++
			}
			dst, err = a.node(append(dst, e.key...), v.value, e.value, cols, depth-1)
		}
		if err != nil {
			return dst, at(e.key, err)
		}
		if order <= 0 {
			err = v.next()
		}
		if order >= 0 && err == nil {
			err = e.next()
		}
	}
	return setHead(dst, start, reserved, codeMap0, n), err
}

// isSet tells a node [v], the only one that may stand where nothing is yet.
func isSet(node []byte) bool { return node[0] == codeArray1 }

func mismatch(why string) error { return fmt.Errorf("%w: %s", ErrMismatch, why) }

// at says in an error at which key it happened.
func at(key []byte, err error) error {
	if v, ok := integer(key); ok {
		return fmt.Errorf("%d: %w", v, err)
	}
	if start, n, bad := payload(key); bad == nil {
		return fmt.Errorf("%.40q: %w", key[start:start+n], err)
	}
	return err
}

// whole checks that b is exactly one value.
func whole(b []byte) error {
	n, err := Next(b)
	if err == nil && n < len(b) {
		err = errTrailing
	}
	return err
}
