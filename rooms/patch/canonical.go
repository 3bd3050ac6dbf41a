package patch

import (
	"encoding/binary"
	"math"
)

// Canonical appends to dst the canonical form of src, which must be exactly one
// msgpack value: the entries of every map sorted by the bytes of their encoded
// keys, and integers and headers in their shortest form. Two encodings of the
// same value have the same canonical form; a canonical src is returned as it is.
//
// Refused are trailing and missing bytes, values nested deeper than [MaxDepth],
// duplicate keys, keys that are neither integers nor strings, and extension
// types other than msgpack's timestamp. Floats keep their width, and strings are
// not checked for UTF-8. On an error dst comes back as it was. src is not
// kept; dst must not overlap it.
func Canonical(dst, src []byte) ([]byte, error) {
	return canonical(dst, src, MaxDepth)
}

func canonical(dst, src []byte, depth int) ([]byte, error) {
	c := canonizer{src: src}
	out, err := c.value(dst, depth)
	if c.order != nil {
		orders.Put(c.order)
	}
	if err == nil && len(c.src) > 0 {
		err = errTrailing
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// A canonizer reads src from the front.
type canonizer struct {
	src   []byte
	order *[]entry // nil until a map had to be sorted
}

// value moves one value from src to dst.
func (c *canonizer) value(dst []byte, depth int) ([]byte, error) {
	b := c.src
	if len(b) == 0 {
		return dst, errTruncated
	}
	switch code := b[0]; {
	case code <= 0x7f || code >= 0xe0:
		c.src = b[1:]
		return append(dst, code), nil
	case code&0xe0 == 0xa0 && int(code&0x1f) < len(b):
		n := 1 + int(code&0x1f)
		c.src = b[n:]
		return append(dst, b[:n]...), nil
	case isStr(code):
		return c.str(dst)
	case isMap(code):
		return c.mapping(dst, depth)
	case isArray(code):
		return c.array(dst, depth)
	case isInt(code):
		return c.integer(dst)
	default:
		return c.opaque(dst)
	}
}

// integer moves an integer that is not a fixint.
func (c *canonizer) integer(dst []byte) ([]byte, error) {
	n := int(widths[c.src[0]])
	if n > len(c.src) {
		return dst, errTruncated
	}
	b := c.src[:n]
	c.src = c.src[n:]
	if v, ok := integer(b); ok {
		return appendInt(dst, v), nil
	}
	return append(dst, b...), nil // above MaxInt64 there is only one form
}

func (c *canonizer) str(dst []byte) ([]byte, error) {
	start, n, err := payload(c.src)
	if err != nil {
		return dst, err
	}
	b := c.src[start : start+n]
	c.src = c.src[start+n:]
	switch {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n <= math.MaxUint8:
		dst = append(dst, 0xd9, byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, b...), nil
}

// opaque moves what has no parts and no order: nil, bools, floats, bins and
// timestamps.
func (c *canonizer) opaque(dst []byte) ([]byte, error) {
	n, err := scalarSize(c.src)
	if err != nil {
		return dst, err
	}
	if n > len(c.src) {
		return dst, errTruncated
	}
	b := c.src[:n]
	c.src = c.src[n:]
	switch code := b[0]; {
	case code >= 0xc4 && code <= 0xc6:
		return appendBin(dst, b)
	case code >= 0xc7 && code <= 0xc9 || code >= 0xd4 && code <= 0xd8:
		if !isTimestamp(b) {
			return dst, errExt
		}
	}
	return append(dst, b...), nil
}

func appendBin(dst, b []byte) ([]byte, error) {
	start, n, err := payload(b)
	if err != nil {
		return dst, err
	}
	switch {
	case n <= math.MaxUint8:
		dst = append(dst, 0xc4, byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xc5), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc6), uint32(n))
	}
	return append(dst, b[start:]...), nil
}

// isTimestamp tells whether an ext is msgpack's timestamp (type -1) in one of
// its three forms: fixext 4, fixext 8, or ext 8 of 12 bytes.
func isTimestamp(b []byte) bool {
	switch b[0] {
	case 0xd6, 0xd7:
		return b[1] == 0xff
	case 0xc7:
		return b[1] == 12 && b[2] == 0xff
	}
	return false
}

func (c *canonizer) array(dst []byte, depth int) ([]byte, error) {
	n, size, err := head(c.src)
	if err != nil {
		return dst, err
	}
	if depth == 0 {
		return dst, errDepth
	}
	c.src = c.src[size:]
	dst = appendHead(dst, codeArray0, n)
	for ; n > 0; n-- {
		if dst, err = c.value(dst, depth-1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}
