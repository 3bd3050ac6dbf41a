package patch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
)

// This file is the canonizer's work on maps: their entries in order of their
// encoded keys.

// smallMap is up to how many entries a map is sorted by insertion.
const smallMap = 16

// orders holds scratch for sorting. A room canonizes its state at each tick, and
// Go's maps come out in random order, so nearly every call needs some.
var orders = sync.Pool{New: func() any { return new([]entry) }}

// An entry is a place in the output where a map's key and value stand.
type entry struct {
	prefix   uint64 // first bytes of the key, so that most comparisons are one
	off, end int
	keyEnd   int
}

func (c *canonizer) mapping(dst []byte, depth int) ([]byte, error) {
	n, size, err := head(c.src)
	if err != nil {
		return dst, err
	}
	if depth == 0 {
		return dst, errDepth
	}
	c.src = c.src[size:]
	dst = appendHead(dst, codeMap0, n)
	if n <= smallMap {
		return c.small(dst, n, depth)
	}
	return c.large(dst, n, depth)
}

// key moves a map's key.
func (c *canonizer) key(dst []byte) ([]byte, error) {
	if len(c.src) > 0 && !isInt(c.src[0]) && !isStr(c.src[0]) {
		return dst, errKey
	}
	return c.value(dst, 0)
}

// small writes a map of few entries and moves each to its place at once. A
// struct's fields come in the order of their declaration, where only some are
// out of place.
func (c *canonizer) small(dst []byte, n, depth int) ([]byte, error) {
	var starts, keyEnds [smallMap]int // of the entries in dst, in order
	for i := range n {
		start := len(dst)
		var err error
		if dst, err = c.key(dst); err != nil {
			return dst, err
		}
		keyEnd := len(dst)
		if dst, err = c.value(dst, depth-1); err != nil {
			return dst, err
		}
		at := i
		for ; at > 0; at-- {
			order := compareKeys(dst[starts[at-1]:keyEnds[at-1]], dst[start:keyEnd])
			if order == 0 {
				return dst, errDuplicate
			}
			if order < 0 {
				break
			}
		}
		if at < i {
			to, size := starts[at], len(dst)-start
			dst = rotate(dst, to, start)
			for j := i; j > at; j-- {
				starts[j], keyEnds[j] = starts[j-1]+size, keyEnds[j-1]+size
			}
			start, keyEnd = to, to+keyEnd-start
		}
		starts[at], keyEnds[at] = start, keyEnd
	}
	return dst, nil
}

// rotate moves the bytes from dst[from:] to dst[to:], and what was between
// behind them.
func rotate(dst []byte, to, from int) []byte {
	end := len(dst)
	dst = append(dst, dst[from:]...)
	copy(dst[to+end-from:], dst[to:from])
	copy(dst[to:], dst[end:])
	return dst[:end]
}

// large writes the entries of a map in the order they come, and sorts the
// written ones if one was out of place.
func (c *canonizer) large(dst []byte, n, depth int) ([]byte, error) {
	start, sorted := len(dst), true
	last, lastEnd := start, start
	for i := range n {
		key := len(dst)
		var err error
		if dst, err = c.key(dst); err != nil {
			return dst, err
		}
		if i > 0 && sorted && bytes.Compare(dst[last:lastEnd], dst[key:]) >= 0 {
			sorted = false
		}
		last, lastEnd = key, len(dst)
		if dst, err = c.value(dst, depth-1); err != nil {
			return dst, err
		}
	}
	if sorted {
		return dst, nil
	}
	return c.sort(dst, start, n)
}

// sort puts the n entries at dst[start:] in order, with the room behind them as
// scratch.
func (c *canonizer) sort(dst []byte, start, n int) ([]byte, error) {
	if c.order == nil {
		c.order = orders.Get().(*[]entry)
	}
	order := (*c.order)[:0]
	for r := (reader{dst, start}); n > 0; n-- {
		off := r.i
		key, err := r.value(0)
		if err != nil {
			return dst, err
		}
		keyEnd := r.i
		if _, err := r.value(maxPatchDepth); err != nil {
			return dst, err
		}
		order = append(order, entry{prefix(key), off, r.i, keyEnd})
	}
	*c.order = order
	slices.SortFunc(order, func(a, b entry) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return bytes.Compare(dst[a.off:a.keyEnd], dst[b.off:b.keyEnd])
	})
	scratch := len(dst)
	for i, e := range order {
		if i > 0 {
			before := order[i-1]
			if e.prefix == before.prefix && bytes.Equal(dst[e.off:e.keyEnd], dst[before.off:before.keyEnd]) {
				return dst, errDuplicate
			}
		}
		dst = append(dst, dst[e.off:e.end]...)
	}
	copy(dst[start:], dst[scratch:])
	return dst[:scratch], nil
}

// prefix packs the first eight bytes of an encoded key. No encoded key is the
// start of another, so keys with equal prefixes are equal or longer than eight.
func prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var p uint64
	for i, b := range key {
		p |= uint64(b) << (56 - 8*i)
	}
	return p
}
