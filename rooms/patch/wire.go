package patch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// This file knows msgpack's bytes: how long a value is, which kind its first
// byte says it is, and the shortest way to write headers and integers. What the
// values mean as states and patches is decided elsewhere.

// MaxDepth is how many arrays and maps may be nested in a state.
const MaxDepth = 64

// maxPatchDepth is deeper than MaxDepth, because one level of a state can take
// two of a patch (a table's array and the map in it), and [v] adds one.
const maxPatchDepth = 2*MaxDepth + 1

// ErrMalformed is wrapped by every error about bytes that are not one msgpack
// value of the sort this package accepts.
var ErrMalformed = errors.New("malformed msgpack")

// Made once, so that refusing a hostile value costs no allocation.
var (
	errTruncated = fmt.Errorf("%w: truncated", ErrMalformed)
	errTrailing  = fmt.Errorf("%w: bytes after the value", ErrMalformed)
	errReserved  = fmt.Errorf("%w: reserved byte 0xc1", ErrMalformed)
	errDepth     = fmt.Errorf("%w: nested more than %d deep", ErrMalformed, MaxDepth)
	errExt       = fmt.Errorf("%w: extension type that is not a timestamp", ErrMalformed)
	errKey       = fmt.Errorf("%w: map key that is neither integer nor string", ErrMalformed)
	errDuplicate = fmt.Errorf("%w: map key twice", ErrMalformed)
)

const (
	codeNil     = 0xc0
	codeMap0    = 0x80
	codeArray0  = 0x90
	codeArray1  = 0x91
	codeMap16   = 0xde
	codeMap32   = 0xdf
	codeArray16 = 0xdc
	codeArray32 = 0xdd
)

func isInt(c byte) bool   { return c <= 0x7f || c >= 0xe0 || c >= 0xcc && c <= 0xd3 }
func isStr(c byte) bool   { return c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb }
func isMap(c byte) bool   { return c&0xf0 == 0x80 || c == codeMap16 || c == codeMap32 }
func isArray(c byte) bool { return c&0xf0 == 0x90 || c == codeArray16 || c == codeArray32 }

// Next returns the length in bytes of the first msgpack value in b; what
// follows it is not looked at. It accepts every well-formed value up to MaxDepth
// deep, any extension type and any map key included, so it is the check for raw
// data that is only passed on. It neither allocates nor runs longer than b is,
// whatever lengths the value claims. Errors wrap [ErrMalformed].
func Next(b []byte) (int, error) {
	return skip(b, MaxDepth)
}

// skip is Next with a chosen depth.
func skip(b []byte, depth int) (int, error) {
	return skipItems(b, 0, 1, depth)
}

// widths holds the size of a value by its first byte, and 0 for those whose size
// depends on more. It never changes.
var widths = func() (w [256]uint8) {
	for c := range w {
		if isMap(byte(c)) || isArray(byte(c)) {
			continue
		}
		if n, err := scalarSize([]byte{byte(c)}); err == nil {
			w[c] = uint8(n)
		}
	}
	return w
}()

// skipItems returns the index behind the given number of values that start at
// b[i]. Items may be any number a header claims: each takes a byte at least.
func skipItems(b []byte, i, items, depth int) (int, error) {
	for ; items > 0; items-- {
		if i >= len(b) {
			return 0, errTruncated
		}
		c := b[i]
		if w := widths[c]; w != 0 {
			i += int(w)
			continue
		}
		if !isMap(c) && !isArray(c) {
			n, err := scalarSize(b[i:])
			if err != nil {
				return 0, err
			}
			i += n
			continue
		}
		n, size, err := head(b[i:])
		if err != nil {
			return 0, err
		}
		if depth == 0 {
			return 0, errDepth
		}
		if isMap(c) {
			n *= 2
		}
		if i, err = skipItems(b, i+size, n, depth-1); err != nil {
			return 0, err
		}
	}
	if i > len(b) {
		return 0, errTruncated
	}
	return i, nil
}

// head reads the header of the map or array that b starts with: its number of
// entries or elements, and the header's size. A number that b is too short for
// is refused here, so that nobody has to fear it.
func head(b []byte) (n, size int, err error) {
	switch c := b[0]; c {
	case codeMap16, codeArray16:
		if len(b) < 3 {
			return 0, 0, errTruncated
		}
		n, size = int(binary.BigEndian.Uint16(b[1:])), 3
	case codeMap32, codeArray32:
		if len(b) < 5 {
			return 0, 0, errTruncated
		}
		long := binary.BigEndian.Uint32(b[1:])
		if uint64(long) > uint64(len(b)) {
			return 0, 0, errTruncated
		}
		n, size = int(long), 5
	default:
		n, size = int(c&0x0f), 1
	}
	if n > len(b)-size {
		return 0, 0, errTruncated
	}
	return n, size, nil
}

// scalarSize is the size of the value b starts with, header included, for all
// that is neither map nor array. The caller checks that b is long enough.
func scalarSize(b []byte) (int, error) {
	switch c := b[0]; c {
	case 0xc1:
		return 0, errReserved
	case 0xc0, 0xc2, 0xc3: // nil, false, true
		return 1, nil
	case 0xcc, 0xd0:
		return 2, nil
	case 0xcd, 0xd1:
		return 3, nil
	case 0xca, 0xce, 0xd2:
		return 5, nil
	case 0xcb, 0xcf, 0xd3:
		return 9, nil
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext 1, 2, 4, 8, 16
		return 2 + 1<<(c-0xd4), nil
	case 0xc7, 0xc8, 0xc9: // ext: the type's byte follows the length
		start, n, err := payload(b)
		return start + 1 + n, err
	case 0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb:
		start, n, err := payload(b)
		return start + n, err
	default: // fixint, fixstr
		if c&0xe0 == 0xa0 {
			return 1 + int(c&0x1f), nil
		}
		return 1, nil
	}
}

// payload tells where the bytes behind a str, bin or ext header start, and how
// many the header claims: never more than b has.
func payload(b []byte) (start, n int, err error) {
	switch c := b[0]; c {
	case 0xc4, 0xc7, 0xd9:
		if len(b) < 2 {
			return 0, 0, errTruncated
		}
		start, n = 2, int(b[1])
	case 0xc5, 0xc8, 0xda:
		if len(b) < 3 {
			return 0, 0, errTruncated
		}
		start, n = 3, int(binary.BigEndian.Uint16(b[1:]))
	case 0xc6, 0xc9, 0xdb:
		if len(b) < 5 {
			return 0, 0, errTruncated
		}
		long := binary.BigEndian.Uint32(b[1:])
		if uint64(long) > uint64(len(b)) {
			return 0, 0, errTruncated
		}
		start, n = 5, int(long)
	default:
		start, n = 1, int(c&0x1f)
	}
	if n > len(b)-start {
		return 0, 0, errTruncated
	}
	return start, n, nil
}

// integer decodes the value b consists of. It is not ok when that is no integer
// or one above MaxInt64.
func integer(b []byte) (v int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	c := b[0]
	if c <= 0x7f || c >= 0xe0 {
		return int64(int8(c)), true
	}
	if c < 0xcc || c > 0xd3 || len(b) < int(widths[c]) {
		return 0, false
	}
	switch c {
	case 0xcc:
		return int64(b[1]), true
	case 0xcd:
		return int64(binary.BigEndian.Uint16(b[1:])), true
	case 0xce:
		return int64(binary.BigEndian.Uint32(b[1:])), true
	case 0xcf:
		u := binary.BigEndian.Uint64(b[1:])
		return int64(u), u <= math.MaxInt64
	case 0xd0:
		return int64(int8(b[1])), true
	case 0xd1:
		return int64(int16(binary.BigEndian.Uint16(b[1:]))), true
	case 0xd2:
		return int64(int32(binary.BigEndian.Uint32(b[1:]))), true
	default:
		return int64(binary.BigEndian.Uint64(b[1:])), true
	}
}

// appendInt appends v in its smallest form.
func appendInt(dst []byte, v int64) []byte {
	switch {
	case v >= -32 && v <= math.MaxInt8:
		return append(dst, byte(v))
	case v >= 0 && v <= math.MaxUint8:
		return append(dst, 0xcc, byte(v))
	case v >= 0 && v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(v))
	case v >= 0 && v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(v))
	case v >= 0:
		return binary.BigEndian.AppendUint64(append(dst, 0xcf), uint64(v))
	case v >= math.MinInt8:
		return append(dst, 0xd0, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(v))
	}
}

// appendHead appends the shortest header of a map (fix is codeMap0) or an array
// (codeArray0) with n entries or elements.
func appendHead(dst []byte, fix byte, n int) []byte {
	code16 := byte(codeMap16)
	if fix == codeArray0 {
		code16 = codeArray16
	}
	switch {
	case n <= 15:
		return append(dst, fix|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, code16), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(dst, code16+1), uint32(n))
	}
}

// setHead puts the shortest header in the place of the reserved bytes at start,
// moving what follows when the header needs more room or less.
func setHead(dst []byte, start, reserved int, fix byte, n int) []byte {
	var room [5]byte
	h := appendHead(room[:0], fix, n)
	if grow := len(h) - reserved; grow != 0 {
		end := len(dst)
		dst = append(dst, room[:max(grow, 0)]...)
		copy(dst[start+len(h):], dst[start+reserved:end])
		dst = dst[:end+grow]
	}
	copy(dst[start:], h)
	return dst
}
