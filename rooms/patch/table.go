package patch

import (
	"bytes"
	"slices"
)

// This file makes patches shorter after the fact. Diff first writes every
// change by its key; enlist drops the indices of an array's changes where that
// pays, and tabulate takes the field names that many children of a map or
// array share, and writes them once. Fifty avatars that all move cost four bytes
// each this way, however long their fields' names are.

const (
	// keyDrop and keyLength are the keys of an array's patch that are no indices.
	keyDrop   = -2
	keyLength = -1

	// maxNames is how many names a table can have: with the node behind them they
	// just fit a one-byte array header, and rows of more zeros than that don't pay.
	maxNames = 14

	// maxSurvey is how many children are asked for their names. Among siblings that
	// are worth a table, so many are representative.
	maxSurvey = 32
)

// A column is a field name that the children of a map node use.
type column struct {
	name []byte // encoded
	uses int
}

// A sheet is what tabulate knows of a node's children.
type sheet struct {
	columns [maxNames]column
	n       int
	cells   [maxNames][]byte // the child being read: its nodes, by column
}

// tabulate replaces the map node at dst[start:], which should have two map nodes
// in it at least, with a table, if that is shorter: [name, name, ..., node], where children are rows of nodes.
func tabulate(dst []byte, start int) ([]byte, error) {
	node := dst[start:]
	var s sheet
	if err := s.survey(node); err != nil || s.n == 0 {
		return dst, err
	}
	slices.SortStableFunc(s.columns[:s.n], func(a, b column) int { return b.uses - a.uses })
	for s.n > 0 && s.columns[s.n-1].uses < 2 {
		s.n--
	}
	if s.n == 0 {
		return dst, nil
	}
	end := len(dst)
	dst, err := s.write(dst, node)
	if err != nil {
		return dst, err
	}
	size := len(dst) - end
	if size >= end-start {
		return dst[:end], nil
	}
	copy(dst[start:], dst[end:])
	return dst[:start+size], nil
}

// survey counts how often each name is used in the first children of a map node.
func (s *sheet) survey(node []byte) error {
	children, err := pairsOf(node)
	if err != nil {
		return err
	}
	for seen := 0; children.left > 0 && seen < maxSurvey; {
		if err := children.next(); err != nil {
			return err
		}
		if !isMap(children.value[0]) {
			continue
		}
		seen++
		fields, err := pairsOf(children.value)
		if err != nil {
			return err
		}
		for fields.left > 0 {
			if err := fields.next(); err != nil {
				return err
			}
			if !isStr(fields.key[0]) {
				break
			}
			at := s.find(fields.key)
			if at < 0 && s.n < maxNames {
				at = s.n
				s.columns[at].name = fields.key
				s.n++
			}
			if at >= 0 {
				s.columns[at].uses++
			}
		}
	}
	return nil
}

// find returns the column of a name, or -1.
func (s *sheet) find(name []byte) int {
	for i := range s.n {
		if bytes.Equal(s.columns[i].name, name) {
			return i
		}
	}
	return -1
}

// write appends the table: the names, then the map node with rows for those of
// its children that are shorter as rows.
func (s *sheet) write(dst, node []byte) ([]byte, error) {
	dst = appendHead(dst, codeArray0, s.n+1)
	for _, c := range s.columns[:s.n] {
		dst = append(dst, c.name...)
	}
	children, err := pairsOf(node)
	if err != nil {
		return dst, err
	}
	dst = appendHead(dst, codeMap0, children.left)
	for children.left > 0 {
		if err := children.next(); err != nil {
			return dst, err
		}
		dst = append(dst, children.key...)
		start := len(dst)
		if isMap(children.value[0]) {
			fits, err := s.read(children.value)
			if err != nil {
				return dst, err
			}
			if fits {
				dst = s.appendRow(dst)
			}
		}
		if size := len(dst) - start; size == 0 || size >= len(children.value) {
			dst = append(dst[:start], children.value...)
		}
	}
	return dst, nil
}

// read puts a child's nodes into cells; it doesn't fit if it has one that is in
// no column.
func (s *sheet) read(child []byte) (fits bool, err error) {
	clear(s.cells[:s.n])
	fields, err := pairsOf(child)
	if err != nil {
		return false, err
	}
	for guess := 0; fields.left > 0; guess++ {
		at := guess
		if at < s.n && bytes.HasPrefix(fields.b[fields.i:], s.columns[at].name) {
			// The usual case, done without looking at the key: no encoding is the start
			// of another, so a prefix is the key.
			fields.i += len(s.columns[at].name)
			fields.left--
			fields.value, err = fields.reader.value(maxPatchDepth)
		} else if err = fields.next(); err == nil {
			at = s.find(fields.key)
		}
		if err != nil || at < 0 {
			return false, err
		}
		s.cells[at] = fields.value
	}
	return true, nil
}

// appendRow appends the cells up to the last that has something, and a zero if
// that is only one: an array of one element would say "set".
func (s *sheet) appendRow(dst []byte) []byte {
	n := s.n
	for n > 2 && s.cells[n-1] == nil {
		n--
	}
	n = max(n, 2)
	dst = appendHead(dst, codeArray0, n)
	for _, cell := range s.cells[:n] {
		if cell == nil {
			dst = append(dst, 0)
			continue
		}
		dst = append(dst, cell...)
	}
	return dst
}

// enlist replaces the map node at dst[start:], whose keys are all indices in
// ascending order, or the map node inside the table there, with a list of nodes
// by position, if that is shorter.
func enlist(dst []byte, start int) ([]byte, error) {
	if isArray(dst[start]) {
		names, err := itemsOf(dst[start:])
		if err != nil {
			return dst, err
		}
		for names.left > 1 {
			if err := names.next(); err != nil {
				return dst, err
			}
		}
		start += names.i
	}
	node := dst[start:]
	edits, err := pairsOf(node)
	if err != nil || edits.left == 0 {
		return dst, err
	}
	end, length := len(dst), 0
	dst = append(dst, codeArray0)
	for edits.left > 0 {
		if err := edits.next(); err != nil {
			return dst, err
		}
		index, _ := integer(edits.key)
		if gap := int(index) - length; gap >= len(node) { // can't pay
			return dst[:end], nil
		}
		for ; length < int(index); length++ {
			dst = append(dst, 0)
		}
		dst = append(dst, edits.value...)
		length++
	}
	dst = setHead(dst, end, 1, codeArray0, length)
	size := len(dst) - end
	if length < 2 || size >= len(node) {
		return dst[:end], nil
	}
	copy(dst[start:], dst[end:])
	return dst[:start+size], nil
}
