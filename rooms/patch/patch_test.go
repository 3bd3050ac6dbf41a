package patch

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

// Patches that Diff doesn't make, or not for these states, but that the format
// allows. All are JSON but for keys that must be integers, hence object.
func TestApplyTakesEveryFormOfPatch(t *testing.T) {
	type o = object
	for name, c := range map[string]struct {
		old   string
		patch any
		want  string
	}{
		"delta at the root":            {`40`, int64(2), `42`},
		"root replaced":                {`{"a":1}`, []any{int64(7)}, `7`},
		"zero leaves anything":         {`{"a":"x"}`, o{{"a", int64(0)}}, `{"a":"x"}`},
		"empty map changes nothing":    {`{"a":{"b":1}}`, o{{"a", o{}}}, `{"a":{"b":1}}`},
		"set, insert and delete":       {`{"a":1,"b":2}`, o{{"c", []any{"new"}}, {"b", nil}, {"a", []any{"x"}}}, `{"a":"x","c":"new"}`},
		"set to an array of one":       {`{"a":1}`, o{{"a", []any{[]any{"x"}}}}, `{"a":["x"]}`},
		"drop, truncate, then indices": {`[1,2,3,4,5]`, o{{int64(0), int64(10)}, {int64(2), []any{"end"}}, {int64(-1), int64(2)}, {int64(-2), int64(1)}}, `[12,3,"end"]`},
		"all dropped":                  {`[1,2]`, o{{int64(-2), int64(2)}}, `[]`},
		"truncated to nothing":         {`[1,2]`, o{{int64(-1), int64(0)}}, `[]`},
		"negative keys of maps":        {`{"a":{}}`, o{{"a", o{{int64(-1), []any{int64(5)}}}}}, `{"a":{"-1":5}}`},
		"list on an array":             {`[1,2,3]`, []any{int64(1), int64(0), int64(-3)}, `[2,2,0]`},
		"list that appends":            {`[1]`, []any{int64(0), []any{"b"}, []any{"c"}}, `[1,"b","c"]`},
		"zeros past the end":           {`[1]`, []any{int64(4), int64(0), int64(0)}, `[5]`},
		"table over a map":             {`{"a":{"x":1,"y":2},"b":{"x":1}}`, []any{"y", "x", o{{"b", []any{[]any{int64(8)}, int64(1)}}, {"a", []any{nil, int64(5)}}}}, `{"a":{"x":6},"b":{"x":2,"y":8}}`},
		"table over an array":          {`[{"x":1},{"x":2}]`, []any{"x", o{{int64(-2), int64(1)}, {int64(0), []any{int64(5), int64(0)}}}}, `[{"x":7}]`},
		"table with a list of rows":    {`[{"x":1},{"x":2}]`, []any{"x", []any{[]any{int64(1), int64(0)}, []any{int64(2), int64(0)}}}, `[{"x":2},{"x":4}]`},
		"table with other children":    {`{"a":{"x":1},"b":5,"c":[1,2],"d":1}`, []any{"x", o{{"a", o{{"x", int64(1)}}}, {"b", int64(1)}, {"c", []any{int64(1), int64(1)}}, {"d", nil}, {"e", []any{"new"}}}}, `{"a":{"x":2},"b":6,"c":[2,3],"e":"new"}`},
		"table in a row of a table": {
			`{"a":{"m":{"p":{"x":1,"y":1},"q":{"x":2,"y":2}},"n":1,"o":1},"b":{"n":1,"o":5}}`,
			[]any{"m", "n", "o", o{
				{"a", []any{[]any{"x", "y", o{{"p", []any{int64(1), int64(2)}}, {"q", []any{int64(2), int64(4)}}}}, int64(1), int64(41)}},
				{"b", []any{int64(0), int64(1), int64(1)}},
			}},
			`{"a":{"m":{"p":{"x":2,"y":3},"q":{"x":4,"y":6}},"n":2,"o":42},"b":{"n":2,"o":6}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Apply(nil, state(t, fromJSON(t, c.old)), encode(nil, c.patch, nil))
			if err != nil {
				t.Fatalf("Apply(%s, %v): %v", c.old, c.patch, err)
			}
			want := state(t, fromJSON(t, c.want))
			if name == "negative keys of maps" {
				want = state(t, o{{"a", o{{int64(-1), int64(5)}}}})
			}
			if !bytes.Equal(got, want) {
				t.Errorf("Apply(%s, %v) = %s, want %s", c.old, c.patch, toJSON(t, got), c.want)
			}
		})
	}
}

func TestApplyRefusesPatchesThatDoNotFit(t *testing.T) {
	type o = object
	many := make([]any, maxNames+2)
	for i := range many {
		many[i] = strings.Repeat("n", i+1)
	}
	many[maxNames+1] = o{}
	for name, c := range map[string]struct {
		old   string
		patch any
	}{
		"delta on a string":         {`"a"`, int64(1)},
		"delta on a float":          {`1.5`, int64(1)},
		"delta beyond int64":        {`9223372036854775807`, int64(1)},
		"delta below int64":         {`-9223372036854775808`, int64(-1)},
		"delta that is no int64":    {`1`, uint64(math.MaxUint64)},
		"nil at the root":           {`1`, nil},
		"string as node":            {`1`, "x"},
		"empty array as node":       {`[1]`, []any{}},
		"descent into a scalar":     {`{"a":1}`, o{{"a", o{{"b", int64(1)}}}}},
		"delete of a missing key":   {`{}`, o{{"a", nil}}},
		"delta on a missing key":    {`{}`, o{{"a", int64(1)}}},
		"descent to a missing key":  {`{}`, o{{"a", o{}}}},
		"delete in an array":        {`[1]`, o{{int64(0), nil}}},
		"index out of range":        {`[1]`, o{{int64(2), []any{int64(1)}}}},
		"delta behind the end":      {`[1]`, o{{int64(1), int64(1)}}},
		"index that is a string":    {`[1]`, o{{"0", int64(1)}}},
		"unknown negative index":    {`[1]`, o{{int64(-3), int64(1)}}},
		"drop of too many":          {`[1]`, o{{int64(-2), int64(2)}}},
		"drop of less than nothing": {`[1]`, o{{int64(-2), int64(-1)}}},
		"drop that is no number":    {`[1]`, o{{int64(-2), "1"}}},
		"truncation to more":        {`[1,2]`, o{{int64(-2), int64(1)}, {int64(-1), int64(2)}}},
		"list on a map":             {`{"a":1}`, []any{int64(1), int64(1)}},
		"list longer than the rest": {`[1]`, []any{int64(0), int64(1)}},
		"table on a scalar":         {`1`, []any{"x", o{}}},
		"table without a node":      {`{}`, []any{"x", "y"}},
		"table of sets":             {`[1]`, []any{"x", []any{int64(1)}}},
		"table with a name twice":   {`{}`, []any{"x", "x", o{}}},
		"table's name no string":    {`{}`, []any{"x", int64(1), o{}}},
		"table with too many names": {`{}`, many},
		"row longer than the names": {`{"a":{"x":1}}`, []any{"x", o{{"a", []any{int64(1), int64(1)}}}}},
		"row's grandchild is a row": {`{"a":{"x":{"x":1}}}`, []any{"x", o{{"a", []any{[]any{int64(1), int64(0)}, int64(0)}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			dst := []byte("kept")
			got, err := Apply(dst, state(t, fromJSON(t, c.old)), encode(nil, c.patch, nil))
			if !errors.Is(err, ErrMismatch) {
				t.Errorf("Apply(%s, %v) = % x, %v, want %v", c.old, c.patch, got, err, ErrMismatch)
			}
			if string(got) != "kept" {
				t.Errorf("Apply(%s, %v) left % x in dst", c.old, c.patch, got)
			}
		})
	}
}

func TestMismatchNamesThePlace(t *testing.T) {
	old := state(t, fromJSON(t, `{"avatars":[{"name":"Ada"}]}`))
	patch := encode(nil, object{{"avatars", object{{int64(0), object{{"name", int64(1)}}}}}}, nil)
	_, err := Apply(nil, old, patch)
	want := `"avatars": 0: "name": patch does not fit the state: delta on what is no integer`
	if err == nil || err.Error() != want {
		t.Errorf("Apply = %v, want %s", err, want)
	}
}

func TestCanonicalRefuses(t *testing.T) {
	deep := func(n int) []byte { return append(bytes.Repeat([]byte{0x91}, n), 0xc0) }
	for name, c := range map[string]struct {
		src  []byte
		want error
	}{
		"nothing":                  {nil, errTruncated},
		"trailing bytes":           {[]byte{0xc0, 0xc0}, errTrailing},
		"key twice":                {[]byte{0x82, 0x01, 0xc0, 0x01, 0xc0}, errDuplicate},
		"key twice, two widths":    {[]byte{0x83, 0x01, 0xc0, 0x00, 0xc0, 0xcc, 0x01, 0xc0}, errDuplicate},
		"map too deep":             {append(bytes.Repeat([]byte{0x81, 0x00}, MaxDepth+1), 0xc0), errDepth},
		"array too deep":           {deep(MaxDepth + 1), errDepth},
		"empty array too deep":     {append(bytes.Repeat([]byte{0x91}, MaxDepth), 0x90), errDepth},
		"ext":                      {[]byte{0xd4, 0x01, 0x00}, errExt},
		"timestamp of odd length":  {[]byte{0xc7, 0x04, 0xff, 0, 0, 0, 0}, errExt},
		"reserved byte":            {[]byte{0xc1}, errReserved},
		"float as key":             {append([]byte{0x81, 0xcb}, make([]byte, 9)...), errKey},
		"array as key":             {[]byte{0x81, 0x90, 0xc0}, errKey},
		"array of 4 billion":       {[]byte{0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0}, errTruncated},
		"map of 4 billion":         {[]byte{0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0}, errTruncated},
		"string of 4 billion":      {[]byte{0xdb, 0xff, 0xff, 0xff, 0xff, 'a'}, errTruncated},
		"bin of 4 billion":         {[]byte{0xc6, 0xff, 0xff, 0xff, 0xff, 'a'}, errTruncated},
		"header cut short":         {[]byte{0xde, 0x00}, errTruncated},
		"integer cut short":        {[]byte{0xce, 0x00, 0x00}, errTruncated},
		"map without its last":     {[]byte{0x81, 0x01}, errTruncated},
		"timestamp cut short":      {[]byte{0xd6, 0xff, 0x00}, errTruncated},
		"ext without type or body": {[]byte{0xc7, 0x00}, errTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Canonical([]byte("kept"), c.src)
			if err != c.want || !errors.Is(err, ErrMalformed) || string(got) != "kept" {
				t.Errorf("Canonical(kept, % x) = % x, %v, want %v", c.src, got, err, c.want)
			}
		})
	}
	if _, err := Canonical(nil, deep(MaxDepth)); err != nil {
		t.Errorf("Canonical of depth %d: %v", MaxDepth, err)
	}
}

func TestCanonicalForms(t *testing.T) {
	long := strings.Repeat("s", 300)
	for name, c := range map[string]struct{ src, want []byte }{
		"wide integer":      {[]byte{0xd3, 0, 0, 0, 0, 0, 0, 0, 5}, []byte{5}},
		"wide negative":     {[]byte{0xd1, 0xff, 0xff}, []byte{0xff}},
		"signed positive":   {[]byte{0xd2, 0, 0, 0, 200}, []byte{0xcc, 200}},
		"largest uint64":    {[]byte{0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte{0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		"wide string":       {[]byte{0xdb, 0, 0, 0, 1, 'a'}, []byte{0xa1, 'a'}},
		"str 16":            {append([]byte{0xdb, 0, 0, 1, 44}, long...), append([]byte{0xda, 1, 44}, long...)},
		"wide bin":          {[]byte{0xc6, 0, 0, 0, 1, 'a'}, []byte{0xc4, 1, 'a'}},
		"bin 16":            {append([]byte{0xc6, 0, 0, 1, 44}, long...), append([]byte{0xc5, 1, 44}, long...)},
		"wide headers":      {[]byte{0xdf, 0, 0, 0, 1, 1, 0xdc, 0, 0}, []byte{0x81, 1, 0x90}},
		"map out of order":  {[]byte{0x83, 0xa1, 'b', 1, 0x02, 2, 0xa1, 'a', 3}, []byte{0x83, 0x02, 2, 0xa1, 'a', 3, 0xa1, 'b', 1}},
		"float keeps width": {[]byte{0xca, 0, 0, 0, 0}, []byte{0xca, 0, 0, 0, 0}},
		"timestamp 32":      {[]byte{0xd6, 0xff, 1, 2, 3, 4}, []byte{0xd6, 0xff, 1, 2, 3, 4}},
		"timestamp 64":      {[]byte{0xd7, 0xff, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{0xd7, 0xff, 1, 2, 3, 4, 5, 6, 7, 8}},
		"timestamp 96":      {append([]byte{0xc7, 12, 0xff}, make([]byte, 12)...), append([]byte{0xc7, 12, 0xff}, make([]byte, 12)...)},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Canonical(nil, c.src); err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("Canonical(% x) = % x, %v, want % x", c.src, got, err, c.want)
			}
		})
	}
}

func TestNextTakesWhatCanonicalRefusesButIsWellFormed(t *testing.T) {
	for name, b := range map[string][]byte{
		"ext":          {0xd4, 0x01, 0x00},
		"ext 8":        {0xc7, 0x01, 0x05, 0x00},
		"fixext 16":    append([]byte{0xd8, 0x05}, make([]byte, 16)...),
		"array as key": {0x81, 0x90, 0xc0},
		"key twice":    {0x82, 0x01, 0xc0, 0x01, 0xc0},
	} {
		if n, err := Next(b); n != len(b) || err != nil {
			t.Errorf("%s: Next(% x) = %d, %v, want %d", name, b, n, err, len(b))
		}
	}
}

func TestNextAllocatesNothingOnHostileBytes(t *testing.T) {
	for name, b := range map[string][]byte{
		"array of 4 billion": {0xdd, 0xff, 0xff, 0xff, 0xff},
		"reserved byte":      {0x91, 0xc1},
		"very deep":          bytes.Repeat([]byte{0x91}, 1<<16),
		"wide and deep":      bytes.Repeat([]byte{0xdc, 0x00, 0x10}, 1<<10),
	} {
		if n := testing.AllocsPerRun(10, func() {
			if _, err := Next(b); err == nil {
				t.Errorf("%s: Next says nil", name)
			}
		}); n != 0 {
			t.Errorf("%s: Next allocates %v times", name, n)
		}
	}
}

func TestDiffOfDeepestStatesApplies(t *testing.T) {
	deep := func(leaf byte) []byte { return append(bytes.Repeat([]byte{0x81, 0x00}, MaxDepth), leaf) }
	checkRoundTrip(t, deep(1), deep(2))
	checkRoundTrip(t, []byte{1}, deep(2))
	if _, err := Apply(nil, deep(1), append(bytes.Repeat([]byte{0x81, 0x00}, MaxDepth), 0x91, 0x90)); !errors.Is(err, ErrMalformed) {
		t.Errorf("Apply made a state deeper than MaxDepth: %v", err)
	}
}

func TestIntegersThatJavaScriptCannotCountAreReplaced(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want any }{
		"both exact":        {int64(maxExact - 1), int64(maxExact), int64(1)},
		"new not exact":     {int64(maxExact), int64(maxExact + 1), []any{int64(maxExact + 1)}},
		"old not exact":     {int64(-maxExact - 1), int64(-maxExact), []any{int64(-maxExact)}},
		"no int64":          {uint64(math.MaxUint64), uint64(math.MaxUint64 - 1), []any{uint64(math.MaxUint64 - 1)}},
		"difference beyond": {int64(math.MinInt64), int64(math.MaxInt64), []any{int64(math.MaxInt64)}},
	} {
		got, err := Diff(nil, state(t, c.old), state(t, c.new))
		if want := state(t, c.want); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: Diff(%v, %v) = % x, %v, want % x", name, c.old, c.new, got, err, want)
		}
	}
}
