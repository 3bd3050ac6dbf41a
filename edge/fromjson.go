package edge

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// A jsonReader turns JSON into msgpack. It takes exactly what RFC 8259 calls a
// JSON text.
type jsonReader struct {
	b   []byte
	at  int
	out []byte
}

// read appends the next value of r.b to r.out.
func (r *jsonReader) read(depth int) bool {
	r.space()
	switch c := r.peek(); {
	case c == '{':
		return depth > 0 && r.object(depth-1)
	case c == '[':
		return depth > 0 && r.array(depth-1)
	case c == '"':
		return r.string()
	case c == '-' || isDigit(c):
		return r.number()
	case c == 't':
		r.out = append(r.out, mpTrue)
		return r.word("true")
	case c == 'f':
		r.out = append(r.out, mpFalse)
		return r.word("false")
	case c == 'n':
		r.out = append(r.out, mpNil)
		return r.word("null")
	}
	return false
}

// peek is the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	if r.at < len(r.b) {
		return r.b[r.at]
	}
	return 0
}

func (r *jsonReader) space() {
	for r.at < len(r.b) {
		switch r.b[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

func (r *jsonReader) word(w string) bool {
	if len(r.b)-r.at < len(w) || string(r.b[r.at:r.at+len(w)]) != w {
		return false
	}
	r.at += len(w)
	return true
}

// take passes over space and then c, if it is there.
func (r *jsonReader) take(c byte) bool {
	r.space()
	if r.peek() != c {
		return false
	}
	r.at++
	return true
}

func (r *jsonReader) array(depth int) bool {
	r.at++
	start, n := len(r.out), 0
	if r.take(']') {
		r.out = append(r.out, 0x90)
		return true
	}
	for {
		if !r.read(depth) {
			return false
		}
		n++
		if r.take(']') {
			break
		}
		if !r.take(',') {
			return false
		}
	}
	r.insertHead(start, appendArrayHead, n)
	return true
}

func (r *jsonReader) object(depth int) bool {
	r.at++
	start, n := len(r.out), 0
	if r.take('}') {
		r.out = append(r.out, 0x80)
		return true
	}
	first := 0 // where the first value begins
	for {
		if r.space(); r.peek() != '"' || !r.string() || !r.take(':') {
			return false
		}
		if n == 0 {
			first = len(r.out)
		}
		if !r.read(depth) {
			return false
		}
		n++
		if r.take('}') {
			break
		}
		if !r.take(',') {
			return false
		}
	}
	if n == 1 && string(r.out[start:first]) == "\xa4"+binKey {
		return r.bytes(start, first)
	}
	r.insertHead(start, appendMapHead, n)
	return true
}

// insertHead puts the head of an array or map in front of what it holds, which
// is only counted afterwards.
func (r *jsonReader) insertHead(start int, appendHead func([]byte, int) []byte, n int) {
	var room [5]byte
	h := appendHead(room[:0], n)
	end := len(r.out)
	r.out = append(r.out, h...)
	copy(r.out[start+len(h):], r.out[start:end])
	copy(r.out[start:], h)
}

// bytes replaces the pair at start, {"$bin": value}, with the bytes that it
// stands for.
func (r *jsonReader) bytes(start, value int) bool {
	h, ok := readMpHead(r.out[value:])
	if !ok || h.sort != sortStr {
		return false
	}
	text := r.out[value+h.size:]
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(decoded, text)
	if err != nil {
		return false
	}
	r.out = appendMpBin(r.out[:start], decoded[:n])
	return true
}

// number: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (r *jsonReader) number() bool {
	start, integer := r.at, true
	if r.peek() == '-' {
		r.at++
	}
	if r.peek() == '0' {
		r.at++
	} else if !r.digits() {
		return false
	}
	if r.peek() == '.' {
		integer = false
		if r.at++; !r.digits() {
			return false
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		integer = false
		r.at++
		if c := r.peek(); c == '+' || c == '-' {
			r.at++
		}
		if !r.digits() {
			return false
		}
	}
	return r.appendNumber(string(r.b[start:r.at]), integer)
}

// appendNumber appends an integer that fits 64 bits as one and all else as a
// float64. A float that is out of range is refused; -0 is a float, as no
// integer is.
func (r *jsonReader) appendNumber(s string, integer bool) bool {
	if integer && s != "-0" {
		if v, err := strconv.ParseInt(s, 10, 64); err == nil {
			r.out = appendMpInt(r.out, v)
			return true
		}
		if v, err := strconv.ParseUint(s, 10, 64); err == nil {
			r.out = appendMpUint(r.out, v)
			return true
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return false
	}
	r.out = appendMpFloat(r.out, v)
	return true
}

func (r *jsonReader) digits() bool {
	start := r.at
	for isDigit(r.peek()) {
		r.at++
	}
	return r.at > start
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// string appends a string; the head is put in front when its length is known.
func (r *jsonReader) string() bool {
	r.at++
	start := len(r.out)
	for {
		from := r.at
		for r.at < len(r.b) && r.b[r.at] >= 0x20 && r.b[r.at] != '"' && r.b[r.at] != '\\' {
			r.at++
		}
		r.out = append(r.out, r.b[from:r.at]...)
		switch r.peek() {
		case '"':
			r.at++
			if !utf8.Valid(r.out[start:]) {
				return false
			}
			r.insertHead(start, appendMpStrHead, len(r.out)-start)
			return true
		case '\\':
			r.at++
			if !r.escape() {
				return false
			}
		default:
			return false // a control character, or the end
		}
	}
}

func (r *jsonReader) escape() bool {
	c := r.peek()
	r.at++
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return r.unicode()
	default:
		return false
	}
	r.out = append(r.out, c)
	return true
}

// unicode reads XXXX, or XXXX\uXXXX if that is a pair of surrogates. Half a pair
// becomes U+FFFD.
func (r *jsonReader) unicode() bool {
	u, ok := r.hex4()
	if !ok {
		return false
	}
	if u >= 0xd800 && u < 0xdc00 && r.at+1 < len(r.b) && r.b[r.at] == '\\' && r.b[r.at+1] == 'u' {
		before := r.at
		r.at += 2
		low, ok := r.hex4()
		if !ok {
			return false
		}
		if low >= 0xdc00 && low < 0xe000 {
			u = 0x10000 + (u-0xd800)<<10 + (low - 0xdc00)
		} else {
			r.at = before
		}
	}
	r.out = utf8.AppendRune(r.out, u)
	return true
}

func (r *jsonReader) hex4() (u rune, ok bool) {
	if len(r.b)-r.at < 4 {
		return 0, false
	}
	var v [2]byte
	for i := range v {
		hi, lo := unhex(r.b[r.at+2*i]), unhex(r.b[r.at+2*i+1])
		if hi > 15 || lo > 15 {
			return 0, false
		}
		v[i] = hi<<4 | lo
	}
	r.at += 4
	return rune(binary.BigEndian.Uint16(v[:])), true
}

// unhex is the value of a hex digit, 255 for anything else.
func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
