package engine

import (
	"bytes"
	"math/big"

	"roomd/kv/resp"
)

// Redis adds floating point numbers in C's long double and writes them with 17
// digits behind the point. big.Float with as many bits gives the same.
const (
	longDoubleBits = 64
	longDoubleExp  = 16384
	floatDigits    = 17
	maxFloatText   = 256 // bytes; Redis's buffer
)

// plusFloat adds two numbers given as text. If one is none or the sum is too
// large, the error is the reply: oldBad if it is about old.
func (c *call) plusFloat(old, by []byte, oldBad string) (sum []byte, ok bool) {
	a, ok := longDouble(old)
	if !ok {
		c.fail(oldBad)
		return nil, false
	}
	b, ok := longDouble(by)
	if !ok {
		c.notFloat()
		return nil, false
	}
	if a.IsInf() || b.IsInf() {
		c.fail("ERR increment would produce NaN or Infinity")
		return nil, false
	}
	a.Add(a, b)
	if a.MantExp(nil) > longDoubleExp {
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

func longDouble(s []byte) (*big.Float, bool) {
	if len(s) == 0 || len(s) >= maxFloatText {
		return nil, false
	}
	f := new(big.Float).SetPrec(longDoubleBits).SetMode(big.ToNearestEven)
	if d, err := resp.ParseFloat(string(s)); err == nil && d > -1e300 && d < 1e300 {
		// A decimal number that is not absurdly long in its exponent.
		f, _, err = f.Parse(string(s), 10)
		return f, err == nil
	} else if err == nil { // infinite, or nearly
		return f.SetInf(d < 0), true
	}
	return nil, false
}
