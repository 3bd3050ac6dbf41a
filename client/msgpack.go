package client

import (
	"encoding/binary"
	"errors"
	"math"
)

// errShort says that a value ends before its end, or is none at all.
var errShort = errors.New("malformed msgpack")

// A cursor reads msgpack values in place, front to back. After the first
// malformed value bad stays true and everything reads as zero, so a caller
// checks once, at the end. What it returns aliases b.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() { c.bad, c.b = true, nil }

// take cuts n bytes off the front.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail()
		return nil
	}
	head := c.b[:n:n]
	c.b = c.b[n:]
	return head
}

// size reads a big-endian unsigned integer of width bytes.
func (c *cursor) size(width int) uint64 {
	b := c.take(width)
	if b == nil {
		return 0
	}
	switch width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

// length is size for what counts bytes or elements.
func (c *cursor) length(width int) int {
	n := c.size(width)
	if n > uint64(len(c.b)) {
		c.fail()
		return 0
	}
	return int(n)
}

func (c *cursor) tag() byte {
	if len(c.b) == 0 {
		c.fail()
		return 0xc1 // never used by msgpack
	}
	t := c.b[0]
	c.b = c.b[1:]
	return t
}

// int reads an integer; nil reads as 0.
func (c *cursor) int() int64 {
	switch t := c.tag(); {
	case t <= 0x7f || t >= 0xe0:
		return int64(int8(t))
	case t >= 0xcc && t <= 0xcf:
		n := c.size(1 << (t - 0xcc))
		if n > math.MaxInt64 {
			c.fail()
		}
		return int64(n)
	case t == 0xd0:
		return int64(int8(c.size(1)))
	case t == 0xd1:
		return int64(int16(c.size(2)))
	case t == 0xd2:
		return int64(int32(c.size(4)))
	case t == 0xd3:
		return int64(c.size(8))
	case t == 0xc0:
		return 0
	}
	c.fail()
	return 0
}

// uint reads an integer that must not be negative.
func (c *cursor) uint() uint64 {
	n := c.int()
	if n < 0 {
		c.fail()
		return 0
	}
	return uint64(n)
}

// bool reads a boolean; nil reads as false.
func (c *cursor) bool() bool {
	switch c.tag() {
	case 0xc3:
		return true
	case 0xc2, 0xc0:
		return false
	}
	c.fail()
	return false
}

// bytes reads a string or bytes; nil reads as nothing.
func (c *cursor) bytes() []byte {
	switch t := c.tag(); {
	case t >= 0xa0 && t <= 0xbf:
		return c.take(int(t & 0x1f))
	case t == 0xc4 || t == 0xd9:
		return c.take(c.length(1))
	case t == 0xc5 || t == 0xda:
		return c.take(c.length(2))
	case t == 0xc6 || t == 0xdb:
		return c.take(c.length(4))
	case t == 0xc0:
		return nil
	}
	c.fail()
	return nil
}

// array reads an array's head and tells its length; nil reads as 0.
func (c *cursor) array() int {
	switch t := c.tag(); {
	case t >= 0x90 && t <= 0x9f:
		return int(t & 0x0f)
	case t == 0xdc:
		return c.length(2)
	case t == 0xdd:
		return c.length(4)
	case t == 0xc0:
		return 0
	}
	c.fail()
	return 0
}

// fields reads a map's head and tells the number of its pairs; nil reads as 0.
func (c *cursor) fields() int {
	switch t := c.tag(); {
	case t >= 0x80 && t <= 0x8f:
		return int(t & 0x0f)
	case t == 0xde:
		return c.length(2)
	case t == 0xdf:
		return c.length(4)
	case t == 0xc0:
		return 0
	}
	c.fail()
	return 0
}

// raw cuts off one whole value, however deep.
func (c *cursor) raw() []byte {
	start := c.b
	for left := 1; left > 0 && !c.bad; left-- {
		left += c.skipHead()
	}
	if c.bad {
		return nil
	}
	n := len(start) - len(c.b)
	return start[:n:n]
}

// skipHead skips a scalar, or the head of a container, and tells how many values
// follow as its content.
func (c *cursor) skipHead() int {
	switch t := c.tag(); {
	case t <= 0x7f || t >= 0xe0 || t == 0xc0 || t == 0xc2 || t == 0xc3:
	case t <= 0x8f:
		return 2 * int(t&0x0f)
	case t <= 0x9f:
		return int(t & 0x0f)
	case t <= 0xbf:
		c.take(int(t & 0x1f))
	case t >= 0xc4 && t <= 0xc6:
		c.take(c.length(1 << (t - 0xc4)))
	case t >= 0xc7 && t <= 0xc9: // ext: a type byte besides
		c.take(c.length(1<<(t-0xc7)) + 1)
	case t == 0xca || t == 0xce || t == 0xd2:
		c.take(4)
	case t == 0xcb || t == 0xcf || t == 0xd3:
		c.take(8)
	case t == 0xcc || t == 0xd0:
		c.take(1)
	case t == 0xcd || t == 0xd1:
		c.take(2)
	case t >= 0xd4 && t <= 0xd8: // fixext
		c.take(1<<(t-0xd4) + 1)
	case t >= 0xd9 && t <= 0xdb:
		c.take(c.length(1 << (t - 0xd9)))
	case t == 0xdc:
		return c.length(2)
	case t == 0xdd:
		return c.length(4)
	case t == 0xde:
		return 2 * c.length(2)
	case t == 0xdf:
		return 2 * c.length(4)
	default:
		c.fail()
	}
	return 0
}

// appendArray appends the head of an array of n < 16 elements.
func appendArray(b []byte, n int) []byte { return append(b, 0x90|byte(n)) }

func appendUint(b []byte, n uint64) []byte {
	switch {
	case n <= 0x7f:
		return append(b, byte(n))
	case n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), n)
}

func appendString(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = append(b, 0xd9, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}

// AppendBin appends p as a msgpack bin, ready to be a command's data.
func AppendBin(b, p []byte) []byte {
	switch n := len(p); {
	case n <= math.MaxUint8:
		b = append(b, 0xc4, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xc5), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(n))
	}
	return append(b, p...)
}

// Bytes tells the content of data if it is a msgpack bin or str. It aliases data.
func Bytes(data []byte) (p []byte, ok bool) {
	c := cursor{b: data}
	p = c.bytes()
	return p, !c.bad && len(c.b) == 0 && p != nil
}
