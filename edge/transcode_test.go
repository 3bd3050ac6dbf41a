package edge

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// encode is msgpack by the library that room authors use.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func toJSON(b []byte) string {
	out, rest, ok := appendJSON(nil, b)
	if !ok || len(rest) > 0 {
		return "refused"
	}
	return string(out)
}

// fromJSON is the msgpack of a JSON text, nil if it is refused.
func fromJSON(s string) []byte {
	r := jsonReader{b: []byte(s)}
	if !r.read(maxDepth) {
		return nil
	}
	if r.space(); r.at < len(r.b) {
		return nil
	}
	return r.out
}

func TestJSONOfMsgpack(t *testing.T) {
	for name, c := range map[string]struct {
		in   any
		want string
	}{
		"nil":                 {nil, `null`},
		"booleans":            {[]any{true, false}, `[true,false]`},
		"integers":            {[]any{0, -1, 127, 128, -32, -33, 1 << 40, uint64(math.MaxUint64), int64(math.MinInt64)}, `[0,-1,127,128,-32,-33,1099511627776,18446744073709551615,-9223372036854775808]`},
		"floats stay floats":  {[]any{1.0, 0.5, -2e300, float32(0.1)}, `[1.0,0.5,-2e+300,0.1]`},
		"NaN and infinities":  {[]any{math.NaN(), math.Inf(1), math.Inf(-1), float32(math.Inf(1))}, `[null,null,null,null]`},
		"text":                {"a\"b\\c\nd\x01é😀", `"a\"b\\c\nd\u0001é😀"`},
		"text that is broken": {"a\xffb", "\"a\uFFFDb\""},
		"bytes":               {[]byte{0, 1, 255}, `{"$bin":"AAH/"}`},
		"integer keys":        {map[int]string{-7: "x"}, `{"-7":"x"}`},
		"nested":              {map[string]any{"a": []any{map[string]any{}, []any{}}}, `{"a":[{},[]]}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := toJSON(encode(t, c.in)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if got := toJSON([]byte{0xd4, 5, 1}); got != `null` {
		t.Errorf("extension type: got %s, want null", got)
	}
}

func TestMsgpackOfJSON(t *testing.T) {
	for in, want := range map[string]any{
		`null`:                            nil,
		` [true , false ] `:               []any{true, false},
		`[0,-1,300,-9223372036854775808]`: []any{int8(0), int8(-1), uint16(300), int64(math.MinInt64)},
		`18446744073709551615`:            uint64(math.MaxUint64),
		`18446744073709551616`:            18446744073709551616.0,
		`[1.0,1e2,-0]`:                    []any{1.0, 100.0, math.Copysign(0, -1)},
		`"\u00e9\ud83d\ude00\n\/"`:        "é😀\n/",
		`"\ud83d!"`:                       "\uFFFD!",
		`{"$bin":"AAH/"}`:                 []byte{0, 1, 255},
		`{"$bin":"AAH/","x":1}`:           map[string]any{"$bin": "AAH/", "x": int8(1)},
		`{"7":{"a":[]}}`:                  map[string]any{"7": map[string]any{"a": []any{}}},
	} {
		b := fromJSON(in)
		if b == nil {
			t.Errorf("%s: refused", in)
			continue
		}
		var got any
		if err := msgpack.Unmarshal(b, &got); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, want %#v", in, got, want)
		}
	}
}

func TestJSONThatIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"nothing": ``, "garbage": `hello`, "two values": `1 2`, "comma at the end": `[1,]`, "no comma": `[1 2]`,
		"bare key": `{a:1}`, "leading zero": `01`, "leading plus": `+1`, "half a float": `1.`, "half an exponent": `1e`,
		"control character": "\"\x01\"", "half a string": `"abc`, "bad escape": `"\x"`, "bad hex": `"\u12g4"`,
		"bad UTF-8": "\"\xff\"", "bytes that are no base64": `{"$bin":"*"}`, "bytes that are no text": `{"$bin":1}`,
		"float out of range": `1e999`, "too deep": strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
		"word cut off": `tru`, "minus alone": `-`,
	} {
		if b := fromJSON(in); b != nil {
			t.Errorf("%s: %q became % x", name, in, b)
		}
	}
}

// Whatever encoding/json takes for JSON, we do, and the other way round, but
// for what PROTOCOL.md excludes.
func FuzzJSONToMsgpack(f *testing.F) {
	for _, s := range []string{`[1,"a",{"b":null}]`, `{"$bin":"AAH/"}`, `-0.5e+7`, `"\ud83d\ude00"`, `[[[[]]]]`, `{"a":1,"a":2}`, `"\ud83d\u0041"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := jsonReader{b: in}
		ok := r.read(maxDepth)
		if r.space(); r.at < len(in) {
			ok = false
		}
		if !ok {
			excluded := !utf8.Valid(in) || bytes.Contains(in, []byte(`$`)) || bytes.Contains(in, []byte(`\u`)) ||
				bytes.ContainsAny(in, "eE") || len(in) > 300 || bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) > maxDepth
			if !excluded && json.Valid(in) {
				t.Fatalf("%q was refused", in)
			}
			return
		}
		if !json.Valid(in) {
			t.Fatalf("%q was taken", in)
		}
		if n, err := valueLen(r.out); err != nil || n != len(r.out) {
			t.Fatalf("%q became % x, which is not one value: %v", in, r.out, err)
		}
		out, _, ok := appendJSON(nil, r.out)
		if !ok || !json.Valid(out) {
			t.Fatalf("%q came back as %q", in, out)
		}
		again := fromJSON(string(out))
		if !bytes.Equal(again, r.out) {
			t.Fatalf("%q became % x, then %q, then % x", in, r.out, out, again)
		}
	})
}

// Any msgpack that a client may send becomes JSON that encoding/json reads.
func FuzzMsgpackToJSON(f *testing.F) {
	for _, v := range []any{nil, []any{1, "x", 2.5}, map[string]any{"a": []byte{1}}, map[int]any{-1: nil}, "\x7f\u2028"} {
		f.Add(encode(f, v))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := valueLen(in)
		out, rest, ok := appendJSON([]byte("x"), in)
		if err == nil && (!ok || len(rest) != len(in)-n) {
			t.Fatalf("% x: refused, or %d bytes left instead of %d", in, len(rest), len(in)-n)
		}
		if ok && !json.Valid(out[1:]) {
			t.Fatalf("% x became %q", in, out)
		}
		if !ok && string(out) != "x" {
			t.Fatalf("% x was refused and left %q", in, out)
		}
	})
}
