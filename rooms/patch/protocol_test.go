package patch

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// The examples by which PROTOCOL.md teaches patches are right.
func TestExamplesOfTheProtocol(t *testing.T) {
	text, err := os.ReadFile("../../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(.*?)` \\| `(.*?)` \\| `(.*?)` \\| ").FindAllSubmatch(text, -1)
	examples := 0
	for _, row := range rows {
		if row[1][0] != '{' && row[1][0] != '[' {
			continue // a table of something else
		}
		examples++
		old, change, want := msgpackOf(t, row[1]), msgpackOf(t, row[2]), msgpackOf(t, row[3])
		got, err := Apply(nil, old, change)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s + %s = %s (%v), not %s", row[1], row[2], toJSON(t, got), err, row[3])
		}
	}
	if examples < 8 {
		t.Errorf("%d examples found, there are at least 8", examples)
	}
}

// msgpackOf turns JSON into msgpack, keys that are integers into integers.
func msgpackOf(t *testing.T, text []byte) []byte {
	t.Helper()
	return state(t, withIndices(fromJSON(t, string(text))))
}

func withIndices(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withIndices(v[i])
		}
	case object:
		for i := range v {
			if n, err := strconv.ParseInt(v[i].key.(string), 10, 64); err == nil {
				v[i].key = n
			}
			v[i].value = withIndices(v[i].value)
		}
	}
	return v
}
