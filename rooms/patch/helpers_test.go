package patch

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An object is a map in the order it is to be encoded in.
type object []field

type field struct{ key, value any }

// encode writes v with the keys of maps shuffled and integers and headers of any
// width that fits; with a nil r it writes them as they are, the smallest way.
func encode(dst []byte, v any, r *rand.Rand) []byte {
	coin := func() bool { return r != nil && r.IntN(2) == 0 }
	switch v := v.(type) {
	case object:
		switch {
		case coin():
			dst = append(dst, 0xde, byte(len(v)>>8), byte(len(v)))
		case coin():
			dst = append(dst, 0xdf, 0, 0, byte(len(v)>>8), byte(len(v)))
		default:
			dst = appendHead(dst, codeMap0, len(v))
		}
		order := make([]int, len(v))
		for i := range order {
			order[i] = i
		}
		if r != nil {
			order = r.Perm(len(v))
		}
		for _, i := range order {
			dst = encode(encode(dst, v[i].key, r), v[i].value, r)
		}
		return dst
	case []any:
		if coin() {
			dst = append(dst, 0xdc, byte(len(v)>>8), byte(len(v)))
		} else {
			dst = appendHead(dst, codeArray0, len(v))
		}
		for _, e := range v {
			dst = encode(dst, e, r)
		}
		return dst
	case int64:
		if coin() {
			return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(v))
		}
		return appendInt(dst, v)
	case string:
		if coin() {
			dst = append(dst, 0xda, byte(len(v)>>8), byte(len(v)))
			return append(dst, v...)
		}
	}
	b, err := msgpack.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return append(dst, b...)
}

// state is the canonical encoding of v.
func state(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := Canonical(nil, encode(nil, v, nil))
	if err != nil {
		tb.Fatalf("Canonical(%v): %v", v, err)
	}
	return b
}

// fromJSON turns JSON into what encode takes: integers are integers.
func fromJSON(tb testing.TB, text string) any {
	tb.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return fromNumbers(v)
}

func fromNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = fromNumbers(v[i])
		}
	case map[string]any:
		var o object
		for key, value := range v {
			o = append(o, field{key, fromNumbers(value)})
		}
		return o
	}
	return v
}

// toJSON is a state or patch as a JSON client sees it: with keys as strings.
func toJSON(tb testing.TB, b []byte) string {
	tb.Helper()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(withStringKeys(decode(tb, b))); err != nil {
		tb.Fatalf("JSON of % x: %v", b, err)
	}
	return strings.TrimSpace(out.String())
}

// decode uses a decoder that is not ours. Integers become int64 if they fit.
func decode(tb testing.TB, b []byte) any {
	tb.Helper()
	d := msgpack.NewDecoder(bytes.NewReader(b))
	d.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return d.DecodeUntypedMap() })
	v, err := d.DecodeInterface()
	if err != nil {
		tb.Fatalf("decode % x: %v", b, err)
	}
	return widen(v)
}

func widen(v any) any {
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return r.Int()
	case r.CanUint() && r.Uint() <= math.MaxInt64:
		return int64(r.Uint())
	}
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = widen(v[i])
		}
	case map[any]any:
		m := make(map[any]any, len(v))
		for key, value := range v {
			m[widen(key)] = widen(value)
		}
		return m
	}
	return v
}

func withStringKeys(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withStringKeys(v[i])
		}
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, value := range v {
			m[fmt.Sprint(key)] = withStringKeys(value)
		}
		return m
	}
	return v
}

// The generators draw trees in which maps have siblings of like shape now and
// then, since those are what tables are for.

var someInt = rapid.OneOf(
	rapid.Int64Range(-3, 3),
	rapid.Int64Range(-40, 300),
	rapid.SampledFrom([]int64{maxExact, maxExact + 1, -maxExact, -maxExact - 1, 1 << 62, -1 << 63, 1<<63 - 1, 65535, 65536}),
	rapid.Int64(),
)

var someScalar = rapid.OneOf(
	someInt.AsAny(), someInt.AsAny(),
	rapid.StringN(0, 12, 40).AsAny(),
	rapid.Bool().AsAny(),
	rapid.Float64Range(-1e9, 1e9).AsAny(),
	rapid.Just(any(nil)),
	rapid.Just(any(uint64(1<<64-1))),
	rapid.SliceOfN(rapid.Byte(), 0, 5).AsAny(),
)

func someTree(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kind := rapid.IntRange(0, 6).Draw(t, "kind")
		if depth == 0 || kind == 0 {
			return someScalar.Draw(t, "scalar")
		}
		if kind < 3 {
			return rapid.SliceOfN(someTree(depth-1), 0, 6).Draw(t, "array")
		}
		keys := rapid.SliceOfNDistinct(someKey, 0, []int{0, 4, 10, 20}[depth], rapid.ID[any]).Draw(t, "keys")
		var shape any
		if kind == 3 {
			shape = someTree(depth-1).Draw(t, "shape")
		}
		o := make(object, 0, len(keys))
		for _, key := range keys {
			if shape != nil {
				o = append(o, field{key, someChange(t, shape)})
				continue
			}
			o = append(o, field{key, someTree(depth-1).Draw(t, "value")})
		}
		return o
	})
}

var someKey = rapid.OneOf(
	rapid.SampledFrom([]string{"x", "y", "hp", "name", "position", "a rather long name"}).AsAny(),
	rapid.Int64Range(-2, 140).AsAny(),
	rapid.StringN(0, 10, 40).AsAny(),
)

// someChange returns a tree that is like v, but not quite.
func someChange(t *rapid.T, v any) any {
	what := rapid.IntRange(0, 9).Draw(t, "change")
	if what == 0 {
		return someTree(2).Draw(t, "other")
	}
	switch v := v.(type) {
	case int64:
		return v + rapid.Int64Range(-5, 40).Draw(t, "delta")
	case []any:
		out := make([]any, 0, len(v)+1)
		if what == 1 && len(v) > 0 {
			v = v[rapid.IntRange(1, len(v)).Draw(t, "drop"):]
		}
		for _, e := range v {
			if what > 5 {
				e = someChange(t, e)
			}
			out = append(out, e)
		}
		switch {
		case what < 4:
			out = append(out, someTree(1).Draw(t, "appended"))
		case what == 4 && len(out) > 0:
			out = out[:rapid.IntRange(0, len(out)).Draw(t, "length")]
		}
		return out
	case object:
		out := make(object, 0, len(v)+1)
		for _, f := range v {
			switch fate := rapid.IntRange(0, 7).Draw(t, "fate"); {
			case fate == 0 && what > 5:
			case fate < 4:
				out = append(out, f)
			default:
				out = append(out, field{f.key, someChange(t, f.value)})
			}
		}
		return out
	}
	return v
}

// someRoom draws two states as rooms have them: records of like shape, in maps
// or arrays, nested now and then, most of which change a little.
var someRoom = rapid.Custom(func(t *rapid.T) [2]any {
	old, new := drawRecords(t, 2)
	return [2]any{old, new}
})

func drawRecords(t *rapid.T, depth int) (old, new any) {
	fields := rapid.IntRange(1, 18).Draw(t, "fields")
	nested := depth > 0 && rapid.IntRange(0, 2).Draw(t, "nested") == 0
	var a, b []any
	for range rapid.IntRange(0, 20).Draw(t, "records") {
		seed := rapid.Uint64().Draw(t, "record")
		r := rand.New(rand.NewPCG(seed, 2))
		var before, after object
		for i := range fields {
			name, value := fmt.Sprintf("%c%s", 'a'+i, strings.Repeat("x", i%3)), r.Int64N(2000)
			if r.IntN(8) > 0 {
				before = append(before, field{name, value})
			}
			switch r.IntN(8) {
			case 0, 1, 2:
				after = append(after, field{name, value + r.Int64N(80) - 40})
			case 3:
				after = append(after, field{name, "text"})
			case 4:
			default:
				after = append(after, field{name, value})
			}
		}
		if nested && r.IntN(2) == 0 {
			o, n := drawRecords(t, depth-1)
			before, after = append(before, field{"inner", o}), append(after, field{"inner", n})
		}
		a, b = append(a, before), append(b, after)
	}
	if rapid.Bool().Draw(t, "array") {
		from := rapid.IntRange(0, min(len(a), 3)).Draw(t, "drop")
		to := rapid.IntRange(from, len(b)).Draw(t, "length")
		return a[:max(to-1, 0)], b[from:to]
	}
	return keyed(a), keyed(b)
}

func keyed(values []any) object {
	o := make(object, 0, len(values))
	for i, v := range values {
		o = append(o, field{int64(i * 20), v})
	}
	return o
}
