package resp

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
)

// A Value is a reply that was read. Text aliases what it was read from.
type Value struct {
	Kind  byte    // the first byte on the wire: + - : $ _ # , * ~ % >
	Int   int64   // of a number; 1 and 0 of true and false
	Float float64 // of a floating point number
	Text  []byte  // of a status, error or string, and of a floating point number as it was sent
	Elems []Value // of an array, set, push or map, a map's keys and values in turn
}

// Null reports whether v is the absence of a value, RESP2's forms of it included.
func (v Value) Null() bool { return v.Kind == '_' }

var (
	// ErrShort says that a value goes on behind the end of what there is.
	ErrShort = errors.New("value is cut off")
	// ErrMalformed says that there is no value.
	ErrMalformed = errors.New("malformed value")
)

// maxDepth is how deep values may be nested.
const maxDepth = 16

// Parse reads the first value of b, in RESP2 or RESP3, and returns what comes
// after it.
func Parse(b []byte) (v Value, rest []byte, err error) { return parse(b, maxDepth) }

func parse(b []byte, depth int) (v Value, rest []byte, err error) {
	if depth == 0 {
		return v, b, ErrMalformed
	}
	if len(b) == 0 {
		return v, b, ErrShort
	}
	v.Kind = b[0]
	line, rest, ok := bytes.Cut(b[1:], crlf)
	if !ok {
		return v, b, ErrShort
	}
	switch v.Kind {
	case '+', '-':
		v.Text = line
		return v, rest, nil
	case '_':
		return v, rest, nil
	case '#':
		if v.Int = 0; len(line) == 1 && line[0] == 't' {
			v.Int = 1
		}
		return v, rest, nil
	case ',':
		v.Text = line
		if v.Float, err = ParseFloat(string(line)); err != nil {
			return v, b, err
		}
		return v, rest, nil
	}
	n, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil {
		return v, b, ErrMalformed
	}
	switch v.Kind {
	case ':':
		v.Int = n
		return v, rest, nil
	case '$':
		return parseBulk(v, rest, n)
	case '*', '~', '>', '%':
		return parseElems(v, rest, n, depth)
	}
	return v, b, ErrMalformed
}

var crlf = []byte("\r\n")

func parseBulk(v Value, b []byte, n int64) (Value, []byte, error) {
	switch {
	case n == -1:
		return Value{Kind: '_'}, b, nil
	case n < 0 || n > math.MaxInt32:
		return v, b, ErrMalformed
	case int64(len(b)) < n+2:
		return v, b, ErrShort
	case !bytes.Equal(b[n:n+2], crlf):
		return v, b, ErrMalformed
	}
	v.Text = b[:n:n]
	return v, b[n+2:], nil
}

func parseElems(v Value, b []byte, n int64, depth int) (_ Value, rest []byte, err error) {
	if n == -1 {
		return Value{Kind: '_'}, b, nil
	}
	if n < 0 || n > math.MaxInt32 {
		return v, b, ErrMalformed
	}
	if v.Kind == '%' {
		n *= 2
	}
	if n > int64(len(b)) { // each has three bytes at least
		return v, b, ErrShort
	}
	v.Elems = make([]Value, n)
	for i := range v.Elems {
		if v.Elems[i], b, err = parse(b, depth-1); err != nil {
			return v, b, err
		}
	}
	return v, b, nil
}

// ParseFloat reads a number as Redis takes it: no blanks, hexadecimals too, inf
// and infinity in any case. One that a float64 cannot hold is refused, be it too
// large or too near to zero.
func ParseFloat(s string) (float64, error) {
	f, err := NearestFloat(s)
	tooLarge := math.IsInf(f, 0) && !strings.ContainsAny(s, "iI")
	if err != nil || tooLarge || f == 0 && !isZero(s) {
		return 0, ErrMalformed
	}
	return f, nil
}

// isZero reports whether a number that has been read has no digit but zeros.
func isZero(s string) bool {
	digits, exponent := "123456789", "eE"
	if strings.ContainsAny(s, "xX") {
		digits, exponent = digits+"abcdefABCDEF", "pP"
	}
	if i := strings.IndexAny(s, exponent); i >= 0 {
		s = s[:i]
	}
	return !strings.ContainsAny(s, digits)
}

// NearestFloat is ParseFloat, but what a float64 cannot hold becomes infinite or
// zero. That is how Redis reads the ends of ranges.
func NearestFloat(s string) (float64, error) {
	hex, power := false, false
	for i := range len(s) {
		switch s[i] {
		case '_':
			return 0, ErrMalformed
		case 'x', 'X':
			hex = true
		case 'p', 'P':
			power = true
		}
	}
	if hex && !power {
		s += "p0"
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !(errors.Is(err, strconv.ErrRange) && f != 0) || math.IsNaN(f) {
		return 0, ErrMalformed
	}
	return f, nil
}
