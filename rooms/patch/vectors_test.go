package patch

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors.json from the table")

const vectorsFile = "testdata/vectors.json"

// A vector is an example of a patch, in JSON: what clients are tested with too.
// In this form all keys are strings, those of arrays ("-1", "-2" and indices)
// included.
type vector struct {
	Name  string          `json:"name"`
	Old   json.RawMessage `json:"old"`
	New   json.RawMessage `json:"new"`
	Patch json.RawMessage `json:"patch"`
}

func v(name, old, new, patch string) vector {
	return vector{name, json.RawMessage(old), json.RawMessage(new), json.RawMessage(patch)}
}

var (
	history  = lines(0, 50)
	history1 = lines(1, 51)
)

// lines is a history of chat messages.
func lines(from, to int) string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf(`{"from":"user%d","text":"message number %d","at":%d}`, i%7, i, 1700000000+i))
	}
	return "[" + strings.Join(out, ",") + "]"
}

var vectors = []vector{
	v("integer goes up", `{"score":10}`, `{"score":13}`, `{"score":3}`),
	v("integer goes down", `{"score":10}`, `{"score":-30}`, `{"score":-40}`),
	v("integer is cheaper to set", `{"score":100000}`, `{"score":5}`, `{"score":[5]}`),
	v("integer at the root", `1000`, `1001`, `1`),
	v("integer too large for a delta", `{"a":9007199254740990,"s":"stays the same"}`, `{"a":9007199254740992,"s":"stays the same"}`, `{"a":[9007199254740992]}`),
	v("string is replaced", `{"name":"Ada","x":1}`, `{"name":"Bob","x":1}`, `{"name":["Bob"]}`),
	v("float is replaced", `{"speed":1.5,"x":1}`, `{"speed":2.5,"x":1}`, `{"speed":[2.5]}`),
	v("bool is replaced", `{"open":true,"x":1}`, `{"open":false,"x":1}`, `{"open":[false]}`),
	v("value becomes nil", `{"a":"long enough","b":1}`, `{"a":null,"b":1}`, `{"a":[null]}`),
	v("nil becomes a value", `{"a":null,"b":1}`, `{"a":7,"b":1}`, `{"a":[7]}`),
	v("type changes", `{"a":{"b":1},"c":1}`, `{"a":[1],"c":1}`, `{"a":[[1]]}`),
	v("root is replaced", `{"a":1}`, `[1]`, `[[1]]`),
	v("all is new", `{"a":1,"b":2}`, `{"x":1}`, `[{"x":1}]`),
	v("key is inserted", `{"a":1}`, `{"a":1,"b":2}`, `{"b":[2]}`),
	v("array of one is inserted", `{"a":1,"c":"ccc"}`, `{"a":1,"b":[2],"c":"ccc"}`, `{"b":[[2]]}`),
	v("key is deleted", `{"a":1,"b":2,"c":3}`, `{"a":1,"c":3}`, `{"b":null}`),
	v("insert, delete and change", `{"a":1,"b":2,"c":{"d":"deep","e":5}}`, `{"a":4,"c":{"d":"deep","e":6},"f":"new"}`, `{"a":3,"b":null,"c":{"e":1},"f":["new"]}`),
	v("deep change", `{"a":{"b":{"c":{"d":1,"e":"stays"}}}}`, `{"a":{"b":{"c":{"d":2,"e":"stays"}}}}`, `{"a":{"b":{"c":{"d":1}}}}`),
	v("empty map fills", `{"a":{},"b":"stays"}`, `{"a":{"c":"one"},"b":"stays"}`, `{"a":{"c":["one"]}}`),
	v("keys of JavaScript's own", `{"__proto__":{"x":1,"s":"stays"},"constructor":1,"toString":2}`, `{"__proto__":{"x":2,"s":"stays"},"constructor":3,"toString":2}`, `{"__proto__":{"x":1},"constructor":2}`),
	v("element changes", `["one","two","three","four"]`, `["one","two","3","four"]`, `{"2":["3"]}`),
	v("element is appended", `[1,2,3]`, `[1,2,3,4]`, `{"3":[4]}`),
	v("elements are appended", `["first"]`, `["first","a","b"]`, `[0,["a"],["b"]]`),
	v("elements are appended to many", `["a","b","c","d"]`, `["a","b","c","d","e","f"]`, `{"4":["e"],"5":["f"]}`),
	v("array is truncated", `["a","b","c","d"]`, `["a","b","c"]`, `{"-1":3}`),
	v("array is emptied", `["a","b","c","d"]`, `[]`, `[[]]`),
	v("front is dropped", `["a","b","c","d","e"]`, `["c","d","e"]`, `{"-2":2}`),
	v("front is dropped, end appended", `["aa","bb","cc","dd"]`, `["cc","dd","ee"]`, `{"2":["ee"],"-2":2}`),
	v("front, middle and end change", `["aaaa","bbbb","cccc","dddd","eeee","ffff"]`, `["bbbb","cccc","DDDD","eeee"]`, `{"2":["DDDD"],"-1":4,"-2":1}`),
	v("list of elements that change", `[100,200,300]`, `[101,202,303]`, `[1,2,3]`),
	v("list with a gap", `[100,"same",300,400]`, `[101,"same",303,404]`, `[1,0,3,4]`),
	v("list that appends", `[100,200,300]`, `[101,202,303,1]`, `[1,2,3,[1]]`),
	v("history moves on", history, history1, `{"49":[{"at":1700000050,"from":"user1","text":"message number 50"}],"-2":1}`),
	v("one avatar moves",
		`{"1":{"x":100,"y":200,"name":"Ada"},"2":{"x":300,"y":400,"name":"Bob"}}`,
		`{"1":{"x":103,"y":198,"name":"Ada"},"2":{"x":300,"y":400,"name":"Bob"}}`,
		`{"1":{"x":3,"y":-2}}`),
	v("avatars move: a table",
		`{"tick":7,"avatars":{"1":{"x":100,"y":200,"name":"Ada"},"2":{"x":300,"y":400,"name":"Bob"},"3":{"x":500,"y":600,"name":"Cyd"},"4":{"x":5,"y":6,"name":"Dan"}}}`,
		`{"tick":8,"avatars":{"1":{"x":103,"y":198,"name":"Ada"},"2":{"x":300,"y":405,"name":"Bob"},"3":{"x":499,"y":600,"name":"Cyd"},"4":{"x":5,"y":6,"name":"Dan"}}}`,
		`{"tick":1,"avatars":["x","y",{"1":[3,-2],"2":[0,5],"3":[-1,0]}]}`),
	v("avatars move, come, go and talk",
		`{"1":{"position_x":100,"position_y":200,"says":""},"2":{"position_x":300,"position_y":400,"says":""},"3":{"position_x":1,"position_y":2,"says":""},"4":{"position_x":9,"position_y":9,"says":"so"}}`,
		`{"1":{"position_x":103,"position_y":198,"says":"hi"},"2":{"position_x":301,"position_y":405,"says":""},"4":{"position_x":9,"position_y":9,"says":""},"5":{"position_x":0,"position_y":0,"says":"I am new"}}`,
		`["says","position_x","position_y",{"1":[["hi"],3,-2],"2":[0,1,5],"3":null,"4":[[""],0],"5":[{"position_x":0,"position_y":0,"says":"I am new"}]}]`),
	v("avatars in an array: a table with a list",
		`[{"x":100,"y":200},{"x":300,"y":400},{"x":500,"y":600}]`,
		`[{"x":103,"y":198},{"x":302,"y":404},{"x":505,"y":606}]`,
		`["x","y",[[3,-2],[2,4],[5,6]]]`),
	v("avatars in an array, the first leaves",
		`[{"health":"full","name":"Ada"},{"health":100,"name":"Bob"},{"health":200,"name":"Cyd"},{"health":300,"name":"Dan"},{"health":400,"name":"Eve"}]`,
		`[{"health":100,"name":"Bob"},{"health":200,"name":"Cyd"},{"health":299,"name":"Dan"},{"health":398,"name":"Eve"}]`,
		`["health",{"2":[-1,0],"3":[-2,0],"-2":1}]`),
	v("one long name: rows end in a zero",
		`{"a":{"hitpoints":10},"b":{"hitpoints":20},"c":{"hitpoints":30}}`,
		`{"a":{"hitpoints":9},"b":{"hitpoints":19},"c":{"hitpoints":29}}`,
		`["hitpoints",{"a":[-1,0],"b":[-1,0],"c":[-1,0]}]`),
	v("a cell of a row deletes",
		`{"a":{"n":100,"name":"Ada Lovelace","talk":"x"},"b":{"n":200,"name":"Bob","talk":"y"},"c":{"n":300,"name":"Cyd","talk":"z"}}`,
		`{"a":{"n":101,"name":"Ada Lovelace"},"b":{"n":201,"name":"Bob"},"c":{"n":301,"name":"Cyd"}}`,
		`["n","talk",{"a":[1,null],"b":[1,null],"c":[1,null]}]`),
	v("avatars as arrays",
		`{"1":[100,200,"Ada"],"2":[300,400,"Bob"],"3":[500,600,"Cyd"]}`,
		`{"1":[103,198,"Ada"],"2":[302,400,"Bob"],"3":[505,606,"Cyd"]}`,
		`{"1":[3,-2],"2":{"0":2},"3":[5,6]}`),
}

func TestDiffGivesTheVectorsPatches(t *testing.T) {
	for _, c := range vectors {
		t.Run(c.Name, func(t *testing.T) {
			old, new := state(t, fromJSON(t, string(c.Old))), state(t, fromJSON(t, string(c.New)))
			patch, err := Diff(nil, old, new)
			if err != nil {
				t.Fatalf("Diff(%s, %s): %v", c.Old, c.New, err)
			}
			if got, want := toJSON(t, patch), toJSON(t, state(t, fromJSON(t, string(c.Patch)))); got != want {
				t.Errorf("Diff(%s, %s) = %s, want %s", c.Old, c.New, got, want)
			}
			checkRoundTrip(t, old, new)
		})
	}
}

func TestVectorsFileIsTheTable(t *testing.T) {
	var want bytes.Buffer
	want.WriteString("[\n")
	for i, c := range vectors {
		name, err := json.Marshal(c.Name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&want, " {\"name\": %s,\n  \"old\": %s,\n  \"new\": %s,\n  \"patch\": %s}", name, c.Old, c.New, c.Patch)
		if i < len(vectors)-1 {
			want.WriteByte(',')
		}
		want.WriteByte('\n')
	}
	want.WriteString("]\n")
	if !json.Valid(want.Bytes()) {
		t.Fatal("the table is not JSON")
	}
	if *update {
		if err := os.WriteFile(vectorsFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the table says; run go test -update", vectorsFile)
	}
}

// The JavaScript in testdata, written from doc.go, comes to the same states, for
// the vectors and for random rooms.
func TestJavaScriptApplyAgrees(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs node")
	}
	all := vectors
	for seed := range uint64(300) {
		all = append(all, randomVector(t, rand.New(rand.NewPCG(seed, 3))))
	}
	in, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "testdata/check.mjs")
	cmd.Stdin = bytes.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.HasPrefix(out, fmt.Appendf(nil, "%d agree\n", len(all))) {
		t.Errorf("check.mjs: %v\n%.2000s", err, out)
	}
}

// randomVector is a room's change in JSON; keys are strings, as JSON has them.
func randomVector(t *testing.T, r *rand.Rand) vector {
	one := randomJSON(r, 4)
	two := varied(r, one)
	patch, err := Diff(nil, state(t, one), state(t, two))
	if err != nil {
		t.Fatal(err)
	}
	if len(patch) == 0 {
		patch = []byte{0} // "nothing changed" is no patch; a zero says the same
	}
	text := func(v any) string { return toJSON(t, state(t, v)) }
	return v("random", text(one), text(two), toJSON(t, patch))
}

func randomJSON(r *rand.Rand, depth int) any {
	switch kind := r.IntN(6); {
	case depth > 0 && kind < 3:
		o, shape := object{}, randomJSON(r, depth-1)
		for i := range r.IntN(20) {
			if kind == 0 {
				shape = randomJSON(r, depth-2)
			}
			o = append(o, field{fmt.Sprintf("k%d", i*7), varied(r, shape)})
		}
		return o
	case depth > 0 && kind == 3:
		a, shape := []any{}, randomJSON(r, depth-1)
		for range r.IntN(20) {
			a = append(a, varied(r, shape))
		}
		return a
	case kind == 4:
		return fmt.Sprint("text ", r.IntN(100))
	default:
		return r.Int64N(5000)
	}
}

func varied(r *rand.Rand, v any) any {
	switch v := v.(type) {
	case int64:
		return v + r.Int64N(60) - 30
	case object:
		out := object{}
		for _, f := range v {
			if r.IntN(15) > 0 {
				out = append(out, field{f.key, varied(r, f.value)})
			}
		}
		if r.IntN(4) == 0 {
			out = append(out, field{fmt.Sprint("new", len(out), "-", r.Uint32()), randomJSON(r, 1)})
		}
		return out
	case []any:
		out := []any{}
		drop := r.IntN(3)
		for i, e := range v {
			if i >= drop {
				if r.IntN(3) == 0 {
					e = varied(r, e)
				}
				out = append(out, e)
			}
		}
		if r.IntN(2) == 0 {
			return append(out, randomJSON(r, 1))
		}
		return out[:len(out)-min(len(out), r.IntN(3))]
	}
	return v
}
