package engine

import (
	"bytes"
	"math"
	"math/big"

	"roomd/kv/resp"
)

// Redis adds floating point numbers in C's long double and writes them with 17
// digits behind the point. big.Float with as many bits gives the same.
const (
	longDoubleBits = 64
	longDoubleExp  = 16384
	floatDigits    = 17
	maxFloatText   = 5 << 10 // bytes; Redis's buffer
)

// plusFloat adds a number to one given as text. If that is none or the sum is too
// large, the error is the reply: bad in the first case.
func (c *call) plusFloat(old []byte, by *big.Float, bad string) (sum []byte, ok bool) {
	a, ok := longDouble(old)
	if !ok {
		c.fail(bad)
		return nil, false
	}
	if a.IsInf() || by.IsInf() || a.Add(a, by).MantExp(nil) > longDoubleExp {
		c.fail("ERR increment would produce NaN or Infinity")
		return nil, false
	}
	sum = a.Append(nil, 'f', floatDigits)
	sum = bytes.TrimRight(sum, "0")
	sum = bytes.TrimSuffix(sum, []byte("."))
	if string(sum) == "-0" {
		sum = sum[1:]
	}
	return sum, true
}

// longDouble reads a number. What a float64 cannot hold counts as infinite.
func longDouble(s []byte) (*big.Float, bool) {
	if len(s) == 0 || len(s) >= maxFloatText {
		return nil, false
	}
	near, err := resp.NearestFloat(string(s))
	if err != nil {
		return nil, false
	}
	f := new(big.Float).SetPrec(longDoubleBits)
	if math.IsInf(near, 0) {
		return f.SetInf(near < 0), true
	}
	_, _, err = f.Parse(string(s), 0) // which takes hexadecimals
	return f, err == nil
}
