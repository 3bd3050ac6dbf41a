package bus

import (
	"encoding/binary"
	"errors"
	"math"
)

// Envelopes are made of four things: bytes, unsigned integers as varints,
// strings and byte strings with their length as a varint in front. They are
// written by appending and read with a Reader.

// errEnvelope is the one error of reading an envelope: it was cut off or was
// never one. What exactly is wrong with bytes of another node of ours does not
// help anybody.
var errEnvelope = errors.New("malformed envelope")

// AppendUint appends v as a varint.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendString appends s with its length.
func AppendString[T string | []byte | Address](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// A Reader takes an envelope apart. The first thing that does not fit makes it
// fail for good: later reads return zeros, and Err says so. So callers read
// all fields and check once. What it returns aliases the envelope.
type Reader struct {
	b      []byte
	failed bool
}

// NewReader returns a Reader of b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err is nil as long as everything read was there.
func (r *Reader) Err() error {
	if r.failed {
		return errEnvelope
	}
	return nil
}

// More reports whether there is something left to read.
func (r *Reader) More() bool { return !r.failed && len(r.b) > 0 }

// Rest returns everything that has not been read yet.
func (r *Reader) Rest() []byte {
	rest := r.b
	r.b = nil
	return rest
}

func (r *Reader) fail() {
	r.failed = true
	r.b = nil
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// Bool reads a byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	c := r.Byte()
	if c > 1 {
		r.fail()
	}
	return c == 1
}

// Uint reads a varint.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Uint32 reads a varint that must fit 32 bits.
func (r *Reader) Uint32() uint32 {
	v := r.Uint()
	if v > math.MaxUint32 {
		r.fail()
		return 0
	}
	return uint32(v)
}

// Bytes reads a byte string; nil if it is empty.
func (r *Reader) Bytes() []byte {
	n := r.Uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// String reads a string.
func (r *Reader) String() string { return string(r.Bytes()) }

// Count reads the number of things that follow, each of which takes at least
// one byte: a count that cannot be true fails before anything is allocated.
func (r *Reader) Count() int {
	n := r.Uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}
