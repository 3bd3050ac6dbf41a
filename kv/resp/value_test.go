package resp

import (
	"errors"
	"math"
	"testing"
)

func TestNumbersAreReadAsRedisReadsThem(t *testing.T) {
	inf := math.Inf(1)
	for text, want := range map[string]struct {
		f       float64
		refused bool // as a score
	}{
		"0": {}, "-0": {}, "0e-400": {}, "0x0p-1080": {}, "0x.0e": {f: 14. / 256},
		"1": {f: 1}, "-.5": {f: -.5}, "1e308": {f: 1e308}, "1.5E3": {f: 1500}, "0x10": {f: 16}, "0x1.8p1": {f: 3}, "0x1e": {f: 30},
		"inf": {f: inf}, "-Infinity": {f: -inf}, "+INF": {f: inf},
		"5e-324": {f: 5e-324}, "4.9e-324": {f: 5e-324}, "1e-310": {f: 1e-310}, // small, but not zero
		"1e400": {inf, true}, "-1e400": {-inf, true}, "1.7976931348623159e308": {inf, true}, "0x1p1024": {inf, true},
		"1e-400": {0, true}, "-1e-400": {0, true}, "1e-324": {0, true}, "0x1p-1080": {0, true}, "0xap-1080": {0, true},
	} {
		if f, err := NearestFloat(text); f != want.f || err != nil {
			t.Errorf("NearestFloat(%q) = %v, %v, want %v", text, f, err, want.f)
		}
		switch f, err := ParseFloat(text); {
		case want.refused && !errors.Is(err, ErrMalformed):
			t.Errorf("ParseFloat(%q) = %v, %v, want it refused", text, f, err)
		case !want.refused && (f != want.f || err != nil):
			t.Errorf("ParseFloat(%q) = %v, %v, want %v", text, f, err, want.f)
		}
	}
	for _, text := range []string{"", " 1", "1 ", "1_0", "1e", "nan", "x", "1.2.3", "0x", "in"} {
		if f, err := ParseFloat(text); err == nil {
			t.Errorf("ParseFloat(%q) = %v, want it refused", text, f)
		}
		if f, err := NearestFloat(text); err == nil {
			t.Errorf("NearestFloat(%q) = %v, want it refused", text, f)
		}
	}
}
