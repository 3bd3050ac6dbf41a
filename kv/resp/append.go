package resp

import (
	"math"
	"strconv"
)

// AppendStatus appends a short text that is no error, such as OK.
func AppendStatus(b []byte, text string) []byte { return appendLine(b, '+', text) }

// AppendError appends an error: a word in capitals and, after a space, a text.
func AppendError(b []byte, text string) []byte { return appendLine(b, '-', text) }

// AppendInt appends a number.
func AppendInt(b []byte, n int64) []byte { return appendHead(b, ':', n) }

// AppendBulk appends a string of any bytes.
func AppendBulk[T string | []byte](b []byte, s T) []byte {
	b = appendHead(b, '$', int64(len(s)))
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendNull appends the absence of a value.
func AppendNull(b []byte) []byte { return append(b, "_\r\n"...) }

// AppendBool appends true or false.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, "#t\r\n"...)
	}
	return append(b, "#f\r\n"...)
}

// AppendDouble appends a floating point number, in as few digits as say which.
func AppendDouble(b []byte, f float64) []byte {
	b = append(b, ',')
	b = AppendFloat(b, f)
	return append(b, '\r', '\n')
}

// AppendFloat appends a number as Redis writes it where it is a text.
func AppendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	case f == math.Trunc(f) && math.Abs(f) < 1e17:
		if f == 0 && math.Signbit(f) {
			return append(b, "-0"...)
		}
		return strconv.AppendInt(b, int64(f), 10)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// AppendArray begins an array of n values, which follow.
func AppendArray(b []byte, n int) []byte { return appendHead(b, '*', int64(n)) }

// AppendSet begins a set of n values, which follow.
func AppendSet(b []byte, n int) []byte { return appendHead(b, '~', int64(n)) }

// AppendMap begins a map of n pairs, which follow, each a key and a value.
func AppendMap(b []byte, n int) []byte { return appendHead(b, '%', int64(n)) }

// AppendPush begins a message of n values that answers no command.
func AppendPush(b []byte, n int) []byte { return appendHead(b, '>', int64(n)) }

// AppendCommand appends a command as clients send it.
func AppendCommand[T string | []byte](b []byte, argv ...T) []byte {
	b = AppendArray(b, len(argv))
	for _, arg := range argv {
		b = AppendBulk(b, arg)
	}
	return b
}

func appendHead(b []byte, kind byte, n int64) []byte {
	b = append(b, kind)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}

func appendLine(b []byte, kind byte, text string) []byte {
	b = append(b, kind)
	for i := range len(text) { // a line break would end it
		if c := text[i]; c == '\r' || c == '\n' {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	return append(b, '\r', '\n')
}

// AppendText appends a text that is meant for people and may have many lines.
func AppendText[T string | []byte](b []byte, s T) []byte {
	b = appendHead(b, '=', int64(len(s)+4))
	b = append(b, "txt:"...)
	b = append(b, s...)
	return append(b, '\r', '\n')
}
