package resp

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestDowngradeIsWhatVersion2Had(t *testing.T) {
	cases := map[string]struct {
		reply string
		as    Shape
		want  string
	}{
		"status":              {"+OK\r\n", Plain, "+OK\r\n"},
		"error":               {"-ERR x\r\n", Plain, "-ERR x\r\n"},
		"number":              {":-7\r\n", Plain, ":-7\r\n"},
		"string":              {"$2\r\n\r\n\r\n", Plain, "$2\r\n\r\n\r\n"},
		"text":                {"=7\r\ntxt:a\nb\r\n", Plain, "$3\r\na\nb\r\n"},
		"null":                {"_\r\n", Plain, "$-1\r\n"},
		"null array":          {"_\r\n", NullArray, "*-1\r\n"},
		"null in null array":  {"*1\r\n_\r\n", NullArray, "*1\r\n$-1\r\n"},
		"true":                {"#t\r\n", Plain, ":1\r\n"},
		"false":               {"#f\r\n", Plain, ":0\r\n"},
		"double":              {",2.5\r\n", Plain, "$3\r\n2.5\r\n"},
		"infinite":            {",-inf\r\n", Plain, "$4\r\n-inf\r\n"},
		"array":               {"*2\r\n:1\r\n*1\r\n_\r\n", Plain, "*2\r\n:1\r\n*1\r\n$-1\r\n"},
		"set":                 {"~1\r\n$1\r\na\r\n", Plain, "*1\r\n$1\r\na\r\n"},
		"map":                 {"%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n", Plain, "*4\r\n+a\r\n:1\r\n+b\r\n*0\r\n"},
		"push":                {">2\r\n+a\r\n:1\r\n", Plain, "*2\r\n+a\r\n:1\r\n"},
		"pairs":               {"*2\r\n*2\r\n+a\r\n,1\r\n*2\r\n+b\r\n,inf\r\n", Flat, "*4\r\n+a\r\n$1\r\n1\r\n+b\r\n$3\r\ninf\r\n"},
		"no pairs":            {"*0\r\n", Flat, "*0\r\n"},
		"members":             {"*2\r\n+a\r\n+b\r\n", Flat, "*2\r\n+a\r\n+b\r\n"},
		"pairs that are kept": {"*1\r\n*1\r\n+a\r\n", Plain, "*1\r\n*1\r\n+a\r\n"},
		"error instead":       {"-ERR x\r\n", Flat, "-ERR x\r\n"},
	}
	for name, test := range cases {
		got, err := Downgrade([]byte("before"), []byte(test.reply), test.as)
		if err != nil || string(got) != "before"+test.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
	}
}

func TestDowngradeOfDamagedRepliesFailsAndLeavesDst(t *testing.T) {
	for _, reply := range []string{
		"", "+", "+OK", "+OK\r", "\r\n", "x\r\n", "$3\r\nab\r\n", "$2\r\nabcd", "$x\r\n", "$-2\r\n", "*1\r\n", "*-1\r\n", "%1\r\n+a\r\n",
		"*99999999999\r\n", "#x\r\n", "=2\r\nab\r\n", "+a\r\n+b\r\n", strings.Repeat("*1\r\n", 100) + ":1\r\n",
	} {
		for _, as := range []Shape{Plain, NullArray, Flat} {
			got, err := Downgrade([]byte("before"), []byte(reply), as)
			if err == nil || string(got) != "before" {
				t.Errorf("Downgrade(%.20q) = %q, %v", reply, got, err)
			}
		}
	}
	if got, err := Downgrade(nil, []byte("*2\r\n*1\r\n:1\r\n*2\r\n:1\r\n:2\r\n"), Flat); err == nil {
		t.Errorf("pairs of different lengths: %q", got)
	}
}

func TestCutAndElemsTakeRepliesApart(t *testing.T) {
	n, rest, err := Elems([]byte("%2\r\n+a\r\n*2\r\n:1\r\n$1\r\nx\r\n+b\r\n_\r\ntail"))
	if n != 4 || err != nil {
		t.Fatalf("Elems = %d, %v", n, err)
	}
	var got []string
	for range n {
		var first []byte
		if first, rest, err = Cut(rest); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(first))
	}
	if want := "+a\r\n|*2\r\n:1\r\n$1\r\nx\r\n|+b\r\n|_\r\n"; strings.Join(got, "|") != want || string(rest) != "tail" {
		t.Errorf("%q, rest %q", got, rest)
	}
	if _, _, err := Elems([]byte("+a\r\n")); err == nil {
		t.Error("a status has elements")
	}
}

func TestWhatIsAppendedParses(t *testing.T) {
	b := AppendMap(nil, 1)
	b = AppendDouble(AppendBulk(b, "k\r\n"), math.Inf(-1))
	b = AppendBool(AppendNull(AppendSet(b, 2)), true)
	b = AppendInt(AppendPush(b, 1), -5)
	b = AppendError(AppendStatus(b, "a\r\nb"), "ERR x")
	var kinds []byte
	for len(b) > 0 {
		v, rest, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		kinds, b = append(kinds, v.Kind), rest
	}
	if string(kinds) != "%~>+-" {
		t.Errorf("read %q", kinds)
	}
}

func FuzzDowngrade(f *testing.F) {
	f.Add([]byte("*2\r\n*2\r\n+a\r\n,1\r\n*2\r\n+b\r\n_\r\n"), uint8(2))
	f.Add([]byte("%1\r\n$1\r\na\r\n~1\r\n#t\r\n"), uint8(0))
	f.Fuzz(func(t *testing.T, reply []byte, as uint8) {
		got, err := Downgrade(nil, reply, Shape(as%3))
		if err != nil {
			return
		}
		if i := bytes.IndexAny(got[:1], "_#,~%>="); i >= 0 {
			t.Errorf("%q is of version 3", got)
		}
		if first, rest, err := Cut(got); err != nil || len(rest) > 0 || len(first) != len(got) {
			t.Errorf("%q became %q, which is not one value: %v", reply, got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("%1\r\n$1\r\na\r\n~1\r\n#t\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := Parse(b)
		if err != nil {
			return
		}
		// Cut is stricter where Parse only has to trust our own engine.
		if first, behind, err := Cut(b); err == nil && (len(behind) != len(rest) || len(first) == 0) {
			t.Errorf("Parse(%q) = %+v with rest %q; Cut leaves %q", b, v, rest, behind)
		}
	})
}
