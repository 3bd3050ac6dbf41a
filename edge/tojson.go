package edge

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// From MessagePack to JSON and back (PROTOCOL.md, "Connection"): bin is
// {"$bin": "<base64>"}, integer keys are decimal strings, NaN and infinities
// are null; an integer stays one, and a number with a fraction or an exponent is
// a float.

// binKey marks bytes in JSON.
const binKey = "$bin"

// jsonDepth is how deep a frame for clients may be: a patch can take two levels
// for each of the state's, and the frame has a few of its own.
const jsonDepth = 2*maxDepth + 8

// appendJSON appends the first value of b as JSON and returns what follows it.
// It never fails, as what rooms send must reach their members: extension types
// become null, bytes that are not UTF-8 become U+FFFD. Only a value that is cut
// off or too deep is refused; dst is then as it was.
func appendJSON(dst, b []byte) (out, rest []byte, ok bool) {
	out, rest, ok = jsonValue(dst, b, jsonDepth)
	if !ok {
		return dst, nil, false
	}
	return out, rest, true
}

func jsonValue(dst, b []byte, depth int) (out, rest []byte, ok bool) {
	h, ok := readMpHead(b)
	if !ok || depth == 0 && (h.sort == sortArray || h.sort == sortMap) {
		return dst, nil, false
	}
	b = b[h.size:]
	switch h.sort {
	case sortBool:
		return strconv.AppendBool(dst, h.bits != 0), b, true
	case sortInt:
		return appendJSONInt(dst, &h), b, true
	case sortFloat:
		return appendJSONFloat(dst, &h), b, true
	case sortStr:
		return appendJSONString(dst, b[:h.n]), b[h.n:], true
	case sortBin:
		dst = append(dst, `{"`+binKey+`":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, b[:h.n])
		return append(dst, `"}`...), b[h.n:], true
	case sortArray:
		return jsonArray(dst, b, h.n, depth-1)
	case sortMap:
		return jsonMap(dst, b, h.n, depth-1)
	}
	return append(dst, "null"...), b[h.n:], true // nil, and extension types
}

func jsonArray(dst, b []byte, n, depth int) (out, rest []byte, ok bool) {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, b, ok = jsonValue(dst, b, depth); !ok {
			return dst, nil, false
		}
	}
	return append(dst, ']'), b, true
}

func jsonMap(dst, b []byte, n, depth int) (out, rest []byte, ok bool) {
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		h, ok := readMpHead(b)
		if !ok {
			return dst, nil, false
		}
		switch h.sort {
		case sortStr:
			dst = appendJSONString(dst, b[h.size:h.size+h.n])
		case sortInt:
			dst = append(appendJSONInt(append(dst, '"'), &h), '"')
		default:
			return dst, nil, false
		}
		if dst, b, ok = jsonValue(append(dst, ':'), b[h.size+h.n:], depth); !ok {
			return dst, nil, false
		}
	}
	return append(dst, '}'), b, true
}

func appendJSONInt(dst []byte, h *mpHead) []byte {
	if h.signed {
		return strconv.AppendInt(dst, int64(h.bits), 10)
	}
	return strconv.AppendUint(dst, h.bits, 10)
}

// appendJSONFloat writes a float so that it reads as one again: 1 is "1.0".
func appendJSONFloat(dst []byte, h *mpHead) []byte {
	v, bits := h.float()
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, v, format, -1, bits)
	for _, c := range dst[start:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

const hexDigits = "0123456789abcdef"

func appendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRune(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscaped(dst, c)
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, `\n`...)
	case c >= utf8.RuneSelf: // a stray byte
		return append(dst, "\uFFFD"...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
