package edge

import (
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"
)

// MessagePack as frames use it. What comes from clients is walked byte by byte
// before anything is believed: lengths that point past the end, nesting beyond
// maxDepth, extension types, map keys other than strings and integers, and
// strings that are not UTF-8 end at errMsgpack. Nothing here allocates.

// maxDepth is how many arrays and maps may be nested in one value.
const maxDepth = 64

var errMsgpack = errors.New("malformed msgpack")

// Type bytes of msgpack.
const (
	mpNil     = 0xc0
	mpFalse   = 0xc2
	mpTrue    = 0xc3
	mpBin8    = 0xc4
	mpFloat32 = 0xca
	mpFloat64 = 0xcb
	mpUint8   = 0xcc
	mpUint16  = 0xcd
	mpUint32  = 0xce
	mpUint64  = 0xcf
	mpInt8    = 0xd0
	mpInt16   = 0xd1
	mpInt32   = 0xd2
	mpInt64   = 0xd3
	mpStr8    = 0xd9
	mpArray16 = 0xdc
	mpArray32 = 0xdd
	mpMap16   = 0xde
	mpMap32   = 0xdf
)

// A mpSort is what a value is, whatever its width.
type mpSort uint8

const (
	sortInvalid mpSort = iota
	sortNil
	sortBool
	sortInt
	sortFloat
	sortStr
	sortBin
	sortArray
	sortMap
	sortExt
)

// mpHead is the first bytes of a value: its sort, how many bytes the head
// takes, and by sort the integer, the length in bytes or the number of
// elements or pairs.
type mpHead struct {
	sort   mpSort
	size   int
	n      int    // bytes, elements or pairs that follow the head; never more than there are bytes
	bits   uint64 // integer or float, as its bits
	signed bool   // integer: bits is an int64 below zero
}

// wide describes 0xc0 to 0xdf: sort, bytes behind the type byte.
var wide = [32]struct {
	sort mpSort
	size uint8
}{
	{sortNil, 0}, {sortInvalid, 0}, {sortBool, 0}, {sortBool, 0},
	{sortBin, 1}, {sortBin, 2}, {sortBin, 4},
	{sortExt, 1}, {sortExt, 2}, {sortExt, 4},
	{sortFloat, 4}, {sortFloat, 8},
	{sortInt, 1}, {sortInt, 2}, {sortInt, 4}, {sortInt, 8},
	{sortInt, 1}, {sortInt, 2}, {sortInt, 4}, {sortInt, 8},
	{sortExt, 0}, {sortExt, 0}, {sortExt, 0}, {sortExt, 0}, {sortExt, 0},
	{sortStr, 1}, {sortStr, 2}, {sortStr, 4},
	{sortArray, 2}, {sortArray, 4}, {sortMap, 2}, {sortMap, 4},
}

// readMpHead reads the head of the value that b starts with. ok is false if b is
// too short for the head or for what it announces.
func readMpHead(b []byte) (h mpHead, ok bool) {
	if len(b) == 0 {
		return h, false
	}
	c := b[0]
	switch {
	case c <= 0x7f:
		return mpHead{sort: sortInt, size: 1, bits: uint64(c)}, true
	case c >= 0xe0:
		return mpHead{sort: sortInt, size: 1, bits: uint64(int64(int8(c))), signed: true}, true
	case c >= 0xa0 && c <= 0xbf:
		h = mpHead{sort: sortStr, size: 1, n: int(c & 0x1f)}
		return h, h.n <= len(b)-1
	case c >= 0x90 && c <= 0x9f:
		h = mpHead{sort: sortArray, size: 1, n: int(c & 0x0f)}
		return h, h.n <= len(b)-1
	case c <= 0x8f:
		h = mpHead{sort: sortMap, size: 1, n: int(c & 0x0f)}
		return h, 2*h.n <= len(b)-1
	}
	return readWideMpHead(b)
}

func readWideMpHead(b []byte) (h mpHead, ok bool) {
	c := b[0]
	w := wide[c-0xc0]
	h = mpHead{sort: w.sort, size: 1 + int(w.size)}
	if len(b) < h.size {
		return h, false
	}
	v := uint64(0)
	for _, x := range b[1:h.size] {
		v = v<<8 | uint64(x)
	}
	switch h.sort {
	case sortInvalid:
		return h, false
	case sortBool:
		h.bits = uint64(c & 1)
	case sortFloat:
		h.bits = v
	case sortInt:
		if c >= mpInt8 {
			shift := 64 - 8*uint(w.size)
			v = uint64(int64(v<<shift) >> shift)
			h.signed = int64(v) < 0
		}
		h.bits = v
	case sortExt:
		if w.size == 0 { // fixext 1, 2, 4, 8, 16
			v = 1 << (c - 0xd4)
		}
		v++ // the type's byte
		fallthrough
	default:
		need := v
		if h.sort == sortMap {
			need *= 2
		}
		if need > uint64(len(b)-h.size) {
			return h, false
		}
		h.n = int(v)
	}
	return h, true
}

// float returns the value of a sortFloat; size tells its width.
func (h *mpHead) float() (v float64, bitSize int) {
	if h.size == 5 {
		return float64(math.Float32frombits(uint32(h.bits))), 32
	}
	return math.Float64frombits(h.bits), 64
}

// valueLen is the length of the value that b starts with, and an error unless
// it is one that a client may send.
func valueLen(b []byte) (int, error) { return valuesLen(b, 1, maxDepth) }

// valuesLen is the length of count values. Items may be any number: each takes
// a byte at least, and readMpHead has seen that the bytes are there.
func valuesLen(b []byte, count, depth int) (int, error) {
	at := 0
	for ; count > 0; count-- {
		h, ok := readMpHead(b[at:])
		if !ok {
			return 0, errMsgpack
		}
		at += h.size
		switch h.sort {
		case sortStr:
			if !utf8.Valid(b[at : at+h.n]) {
				return 0, errMsgpack
			}
			at += h.n
		case sortBin:
			at += h.n
		case sortArray, sortMap:
			n, err := insideLen(b[at:], &h, depth)
			if err != nil {
				return 0, err
			}
			at += n
		case sortExt:
			return 0, errMsgpack
		}
	}
	return at, nil
}

// insideLen is the length of what an array or map holds.
func insideLen(b []byte, h *mpHead, depth int) (int, error) {
	if depth == 0 {
		return 0, errMsgpack
	}
	if h.sort == sortArray {
		return valuesLen(b, h.n, depth-1)
	}
	at := 0
	for range h.n {
		key, ok := readMpHead(b[at:])
		if !ok || key.sort != sortStr && key.sort != sortInt {
			return 0, errMsgpack
		}
		n, err := valuesLen(b[at:], 2, depth-1)
		if err != nil {
			return 0, err
		}
		at += n
	}
	return at, nil
}

// An mpReader takes a frame apart. The first thing that does not fit makes it
// fail for good; callers check once. What it returns aliases the frame.
type mpReader struct {
	b    []byte
	left int // elements of the frame's array not yet read
	bad  bool
}

// more reports whether the frame has another element that is not nil; nil is
// taken and stands for one that was left out.
func (r *mpReader) more() bool {
	if r.left == 0 || r.bad {
		return false
	}
	if len(r.b) > 0 && r.b[0] == mpNil {
		r.left--
		r.b = r.b[1:]
		return false
	}
	return true
}

func (r *mpReader) head() (h mpHead) {
	h, ok := readMpHead(r.b)
	if !ok || r.bad {
		r.bad = true
		return mpHead{}
	}
	return h
}

// uint reads an optional unsigned integer.
func (r *mpReader) uint() uint64 {
	if !r.more() {
		return 0
	}
	h := r.head()
	if h.sort != sortInt || h.signed {
		r.bad = true
		return 0
	}
	r.left--
	r.b = r.b[h.size:]
	return h.bits
}

// text reads an optional string. Whether it is UTF-8 is left to whoever checks
// it as a name.
func (r *mpReader) text() []byte {
	if !r.more() {
		return nil
	}
	h := r.head()
	if h.sort != sortStr {
		r.bad = true
		return nil
	}
	r.left--
	s := r.b[h.size : h.size+h.n]
	r.b = r.b[h.size+h.n:]
	return s
}

// value reads an optional value as it stands; nil if it is not there.
func (r *mpReader) value() []byte {
	if !r.more() {
		return nil
	}
	n, err := valueLen(r.b)
	if err != nil {
		r.bad = true
		return nil
	}
	r.left--
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// skip passes over the elements that are left.
func (r *mpReader) skip() {
	if r.bad {
		return
	}
	n, err := valuesLen(r.b, r.left, maxDepth)
	if err != nil {
		r.bad = true
		return
	}
	r.b = r.b[n:]
	r.left = 0
}

// array opens an optional array; its elements are read from the result.
func (r *mpReader) array(fn func(in *mpReader)) {
	if !r.more() {
		return
	}
	h := r.head()
	if h.sort != sortArray {
		r.bad = true
		return
	}
	in := mpReader{b: r.b[h.size:], left: h.n}
	fn(&in)
	in.skip()
	r.left--
	r.b, r.bad = in.b, in.bad
}

// The shortest forms, for writing.

func appendArrayHead(b []byte, n int) []byte { return appendHead(b, 0x90, mpArray16, n) }
func appendMapHead(b []byte, n int) []byte   { return appendHead(b, 0x80, mpMap16, n) }

func appendHead(b []byte, fix, wide16 byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, fix|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, wide16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, wide16+1), uint32(n))
}

func appendMpUint(b []byte, v uint64) []byte {
	switch {
	case v <= math.MaxInt8:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, mpUint8, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, mpUint16), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, mpUint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, mpUint64), v)
}

func appendMpInt(b []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendMpUint(b, uint64(v))
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, mpInt8, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, mpInt16), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, mpInt32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, mpInt64), uint64(v))
}

func appendMpFloat(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, mpFloat64), math.Float64bits(v))
}

func appendMpBool(b []byte, v bool) []byte {
	if v {
		return append(b, mpTrue)
	}
	return append(b, mpFalse)
}

func appendMpStr[T string | []byte](b []byte, s T) []byte {
	return append(appendMpStrHead(b, len(s)), s...)
}

func appendMpStrHead(b []byte, n int) []byte {
	if n < 32 {
		return append(b, 0xa0|byte(n))
	}
	return appendMpLen(b, mpStr8, n)
}

func appendMpBin(b, v []byte) []byte { return append(appendMpLen(b, mpBin8, len(v)), v...) }

func appendMpLen(b []byte, wide8 byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(b, wide8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, wide8+1), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, wide8+2), uint32(n))
}

// appendMpRaw appends a value that is msgpack already; empty stands for nil.
func appendMpRaw(b, v []byte) []byte {
	if len(v) == 0 {
		return append(b, mpNil)
	}
	return append(b, v...)
}
