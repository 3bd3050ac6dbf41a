package resp

import (
	"bytes"
	"math"
	"strconv"
)

// A Shape says how a reply looked in version 2 where its form in version 3 does
// not tell.
type Shape uint8

const (
	Plain     Shape = iota
	NullArray       // that there is nothing is said with *-1, not $-1: BLPOP, EXEC, LPOP with a count
	Flat            // pairs inside the array are not arrays: ZRANGE WITHSCORES, ZPOPMIN with a count
)

// Downgrade appends a reply of version 3 as version 2 has it: maps, sets and
// pushes are arrays, true and false 1 and 0, other numbers and texts strings.
// The reply must be one whole value, else the error is [ErrShort] or
// [ErrMalformed] and dst comes back as it was.
func Downgrade(dst, reply []byte, as Shape) ([]byte, error) {
	out, rest, err := downgrade(dst, reply, as, maxDepth)
	if err == nil && len(rest) > 0 {
		err = ErrMalformed
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Cut returns the first value of b and what comes after it, of either version.
func Cut(b []byte) (first, rest []byte, err error) {
	if rest, err = skip(b, 1, maxDepth); err != nil {
		return nil, b, err
	}
	return b[:len(b)-len(rest)], rest, nil
}

// Elems returns how many values the array, set, push or map at the beginning of
// b has, twice the pairs for a map, and the bytes of the first.
func Elems(b []byte) (n int, rest []byte, err error) {
	kind, line, rest, err := cutLine(b)
	if err != nil {
		return 0, b, err
	}
	switch kind {
	case '*', '~', '>', '%':
		n, err = count(kind, line)
		return n, rest, err
	}
	return 0, b, ErrMalformed
}

func downgrade(dst, b []byte, as Shape, depth int) (_, rest []byte, err error) {
	if depth == 0 {
		return dst, b, ErrMalformed
	}
	kind, line, rest, err := cutLine(b)
	if err != nil {
		return dst, b, err
	}
	switch kind {
	case '+', '-', ':':
		return append(dst, b[:len(b)-len(rest)]...), rest, nil
	case '_':
		if as == NullArray {
			return append(dst, "*-1\r\n"...), rest, nil
		}
		return append(dst, "$-1\r\n"...), rest, nil
	case '#':
		if len(line) != 1 || line[0] != 't' && line[0] != 'f' {
			return dst, b, ErrMalformed
		}
		if line[0] == 't' {
			return append(dst, ":1\r\n"...), rest, nil
		}
		return append(dst, ":0\r\n"...), rest, nil
	case ',':
		return AppendBulk(dst, line), rest, nil
	case '$', '=':
		text, rest, err := cutBulk(line, rest)
		if err != nil {
			return dst, b, err
		}
		if kind == '=' {
			if len(text) < 4 {
				return dst, b, ErrMalformed
			}
			return AppendBulk(dst, text[4:]), rest, nil
		}
		return append(dst, b[:len(b)-len(rest)]...), rest, nil
	case '*', '~', '>', '%':
		n, err := count(kind, line)
		if err != nil || line[0] == '-' { // version 3 has another way to say that there is none
			return dst, b, ErrMalformed
		}
		if as == Flat && kind == '*' {
			return downgradePairs(dst, rest, n, depth)
		}
		return downgradeElems(AppendArray(dst, n), rest, n, depth)
	}
	return dst, b, ErrMalformed
}

func downgradeElems(dst, b []byte, n, depth int) (_, rest []byte, err error) {
	for range n {
		if dst, b, err = downgrade(dst, b, Plain, depth-1); err != nil {
			return dst, b, err
		}
	}
	return dst, b, nil
}

// downgradePairs writes the n values of an array. Those that are arrays have
// the same length, and their values take their place.
func downgradePairs(dst, b []byte, n, depth int) (_, rest []byte, err error) {
	if n == 0 || len(b) == 0 || b[0] != '*' {
		return downgradeElems(AppendArray(dst, n), b, n, depth)
	}
	each, _, err := Elems(b)
	if err != nil || each > math.MaxInt32/n {
		return dst, b, ErrMalformed
	}
	dst = AppendArray(dst, n*each)
	for range n {
		m, elems, err := Elems(b)
		if err != nil || m != each || b[0] != '*' {
			return dst, b, ErrMalformed
		}
		if dst, b, err = downgradeElems(dst, elems, m, depth-1); err != nil {
			return dst, b, err
		}
	}
	return dst, b, nil
}

// skip returns what comes after n values.
func skip(b []byte, n, depth int) (rest []byte, err error) {
	if depth == 0 {
		return b, ErrMalformed
	}
	for range n {
		kind, line, rest, err := cutLine(b)
		if err != nil {
			return b, err
		}
		switch kind {
		case '$', '=':
			if _, rest, err = cutBulk(line, rest); err != nil {
				return b, err
			}
		case '*', '~', '>', '%':
			elems, err := count(kind, line)
			if err != nil {
				return b, err
			}
			if rest, err = skip(rest, elems, depth-1); err != nil {
				return b, err
			}
		case '+', '-', ':', '_', '#', ',':
		default:
			return b, ErrMalformed
		}
		b = rest
	}
	return b, nil
}

func cutLine(b []byte) (kind byte, line, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, b, ErrShort
	}
	end := bytes.IndexByte(b, '\r')
	if end < 0 || end+1 >= len(b) {
		return 0, nil, b, ErrShort
	}
	if end == 0 || b[end+1] != '\n' {
		return 0, nil, b, ErrMalformed
	}
	return b[0], b[1:end], b[end+2:], nil
}

// cutBulk returns the string whose head had line, which may be absent.
func cutBulk(line, b []byte) (text, rest []byte, err error) {
	n, err := strconv.Atoi(string(line))
	switch {
	case err != nil || n < -1 || n > math.MaxInt32:
		return nil, b, ErrMalformed
	case n == -1:
		return nil, b, nil
	case len(b) < n+2:
		return nil, b, ErrShort
	case b[n] != '\r' || b[n+1] != '\n':
		return nil, b, ErrMalformed
	}
	return b[:n], b[n+2:], nil
}

// count returns how many values an array or the like has whose head had line.
// An array that is absent has none.
func count(kind byte, line []byte) (int, error) {
	n, err := strconv.Atoi(string(line))
	if err != nil || n < -1 || n > math.MaxInt32 {
		return 0, ErrMalformed
	}
	if kind == '%' {
		n *= 2
	}
	return max(n, 0), nil
}
