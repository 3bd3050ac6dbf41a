package engine

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"roomd/kv/resp"
)

// Scripts in testdata are commands and, in the next line after a tab, what Redis
// 7.0.15 replies to them: "strings", +statuses, -errors, :integers, ,doubles,
// [arrays], ~[sets], %[maps] and _ for null.

func TestRepliesToListCommandsAreThoseOfRedis(t *testing.T)      { runScript(t, "testdata/list.txt") }
func TestRepliesToSortedSetCommandsAreThoseOfRedis(t *testing.T) { runScript(t, "testdata/zset.txt") }

func runScript(t *testing.T, file string) {
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	e := New(0, nil)
	lines := strings.Split(string(script), "\n")
	ran := 0
	for i, line := range lines {
		if line == "" || line[0] == '#' || line[0] == '\t' {
			continue
		}
		reply, blocked := e.Do(1000, words(line), nil)
		if blocked {
			t.Errorf("%s:%d: %s: blocked", file, i+1, line)
			continue
		}
		want := strings.TrimPrefix(lines[i+1], "\t")
		if got := rendered(t, reply); got != want {
			t.Errorf("%s:%d: %s\n got %s\nwant %s", file, i+1, line, got, want)
		}
		checkReplay(t, e)
		ran++
	}
	if ran < 100 {
		t.Errorf("%s: %d commands, want some hundred", file, ran)
	}
}

// words splits a line at blanks; a quoted word may have some, or be empty.
func words(line string) (argv [][]byte) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		word, rest, _ := strings.Cut(line, " ")
		if line[0] == '"' {
			word, rest, _ = strings.Cut(line[1:], `"`)
		}
		argv = append(argv, []byte(word))
		line = rest
	}
	return argv
}

func rendered(t *testing.T, reply []byte) string {
	t.Helper()
	v, rest, err := resp.Parse(reply)
	if err != nil || len(rest) > 0 {
		t.Fatalf("reply %q: rest %q, error %v", reply, rest, err)
	}
	return render(v)
}

func render(v resp.Value) string {
	switch v.Kind {
	case '$':
		return `"` + string(v.Text) + `"`
	case ':':
		return ":" + strconv.FormatInt(v.Int, 10)
	case '*', '~', '%':
		parts := make([]string, len(v.Elems))
		for i, e := range v.Elems {
			parts[i] = render(e)
		}
		return strings.TrimPrefix(string(v.Kind), "*") + "[" + strings.Join(parts, " ") + "]"
	}
	return string(v.Kind) + string(v.Text)
}

// checkReplay checks that an engine that has been given e's effects so far, and
// one that loads e's pages, are the same as e.
func checkReplay(t interface {
	Helper()
	Fatalf(string, ...any)
}, e *Engine) {
	t.Helper()
	replica := New(0, nil)
	if err := replica.Apply(e.Effects(), nil); err != nil {
		t.Fatalf("Apply(%q): %v", e.Effects(), err)
	}
	for p := range Pages {
		want := e.AppendPage(nil, p)
		if got := replica.AppendPage(nil, p); !bytes.Equal(got, want) {
			t.Fatalf("page %d after Apply(%q):\n got %q\nwant %q", p, e.Effects(), got, want)
		}
		if err := replica.LoadPage(p, want); err != nil {
			t.Fatalf("LoadPage(%d, %q): %v", p, want, err)
		}
		if got := replica.AppendPage(nil, p); !bytes.Equal(got, want) {
			t.Fatalf("page %d after LoadPage:\n got %q\nwant %q", p, got, want)
		}
	}
}
