package resp

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// readAll returns the commands of src, each argument quoted, and what ended them.
func readAll(src io.Reader, limits Limits) (commands []string, err error) {
	rd := NewReader(src, limits)
	defer rd.Release()
	for {
		argv, err := rd.Next()
		if err != nil {
			return commands, err
		}
		var b strings.Builder
		for _, arg := range argv {
			b.WriteString(strconv.Quote(string(arg)))
		}
		commands = append(commands, b.String())
	}
}

func TestReaderReadsCommandsHoweverTheyArrive(t *testing.T) {
	large := strings.Repeat("x", 100_000)
	cases := map[string]struct {
		sent string
		want []string
	}{
		"array":          {"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", []string{`"GET""a"`}},
		"any bytes":      {"*2\r\n$3\r\nGET\r\n$4\r\n\r\n$\x00\r\n", []string{`"GET""\r\n$\x00"`}},
		"empty argument": {"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", []string{`"GET"""`}},
		"nothing":        {"*0\r\n*-1\r\n\r\n\n*1\r\n$4\r\nPING\r\n", []string{`"PING"`}},
		"several":        {"*1\r\n$4\r\nPING\r\nECHO hi\r\n*1\r\n$1\r\nx\r\n", []string{`"PING"`, `"ECHO""hi"`, `"x"`}},
		"large":          {"*2\r\n$1\r\na\r\n$100000\r\n" + large + "\r\nPING\n", []string{`"a""` + large + `"`, `"PING"`}},
		"words":          {"  SET k  v \r\n", []string{`"SET""k""v"`}},
		"double quotes":  {`SET "a\x41\n\"\q" ""` + "\r\n", []string{`"SET""aA\n\"q"""`}},
		"single quotes":  {`SET 'a\'\n'` + "\r\n", []string{`"SET""a'\\n"`}},
		"broken hex":     {`SET "\xg1\x4"` + "\n", []string{`"SET""xg1x4"`}},
	}
	for name, test := range cases {
		for way, src := range map[string]io.Reader{
			"at once":      strings.NewReader(test.sent),
			"byte by byte": iotest.OneByteReader(strings.NewReader(test.sent)),
			"halves":       iotest.HalfReader(strings.NewReader(test.sent)),
		} {
			got, err := readAll(src, Limits{})
			if err != io.EOF || strings.Join(got, "|") != strings.Join(test.want, "|") {
				t.Errorf("%s, %s: %.200q, %v, want %.200q", name, way, got, err, test.want)
			}
		}
	}
}

func TestReaderRefusesInRedissWords(t *testing.T) {
	cases := map[string]struct {
		sent   string
		limits Limits
		want   string
	}{
		"length of array":      {"*x\r\n", Limits{}, "invalid multibulk length"},
		"plus":                 {"*+1\r\n", Limits{}, "invalid multibulk length"},
		"leading zero":         {"*01\r\n", Limits{}, "invalid multibulk length"},
		"out of range":         {"*99999999999999999999\r\n", Limits{}, "invalid multibulk length"},
		"too many arguments":   {"*3\r\n", Limits{Args: 2}, "invalid multibulk length"},
		"endless head":         {"*" + strings.Repeat("1", 70_000), Limits{}, "too big mbulk count string"},
		"no string":            {"*1\r\n+x\r\n", Limits{}, "expected '$', got '+'"},
		"length of string":     {"*1\r\n$x\r\n", Limits{}, "invalid bulk length"},
		"negative":             {"*1\r\n$-1\r\n", Limits{}, "invalid bulk length"},
		"argument too large":   {"*1\r\n$11\r\n", Limits{Arg: 10}, "invalid bulk length"},
		"endless string head":  {"*1\r\n$" + strings.Repeat("1", 70_000), Limits{}, "too big bulk count string"},
		"endless line":         {strings.Repeat("x", 70_000), Limits{}, "too big inline request"},
		"line too long":        {strings.Repeat("x", 70_000) + "\n", Limits{}, "too big inline request"},
		"open quote":           {"SET \"a\r\n", Limits{}, "unbalanced quotes in request"},
		"text behind quote":    {"SET \"a\"b\r\n", Limits{}, "unbalanced quotes in request"},
		"strangers' arguments": {"*11\r\n", Limits{Stranger: true}, "unauthenticated multibulk length"},
		"strangers' bytes":     {"*1\r\n$16385\r\n", Limits{Stranger: true}, "unauthenticated bulk length"},
		"command too large":    {"*9\r\n$30\r\n" + strings.Repeat("x", 30) + "\r\n$60\r\n", Limits{Command: 90}, "too big request"},
	}
	for name, test := range cases {
		got, err := readAll(strings.NewReader(test.sent), test.limits)
		var wrong *ProtocolError
		if len(got) > 0 || !errors.As(err, &wrong) || wrong.Text != test.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
	}
}

func TestCommandCutOffIsUnexpectedEnd(t *testing.T) {
	whole := "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
	for i := 1; i < len(whole); i++ {
		if got, err := readAll(strings.NewReader(whole[:i]), Limits{}); err != io.ErrUnexpectedEOF || got != nil {
			t.Errorf("%q: %q, %v", whole[:i], got, err)
		}
	}
}

func TestParseDoesNotRead(t *testing.T) {
	rd := NewReader(iotest.ErrReader(errors.New("read")), Limits{})
	if argv, err := rd.Parse(); argv != nil || err != nil {
		t.Errorf("Parse = %q, %v", argv, err)
	}
}

func TestReaderIsSmallWhenNothingWaits(t *testing.T) {
	sent := AppendCommand(nil, "SET", "a", strings.Repeat("x", 1<<20))
	rd := NewReader(bytes.NewReader(sent), Limits{})
	if argv, err := rd.Next(); len(argv) != 3 || err != nil {
		t.Fatalf("%d arguments, %v", len(argv), err)
	}
	if _, err := rd.Next(); err != io.EOF {
		t.Fatal(err)
	}
	if len(rd.buf) != smallBuffer || rd.large != nil {
		t.Errorf("holds %d bytes", len(rd.buf))
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	one := AppendCommand(nil, "SET", "some:key", strings.Repeat("x", 100))
	src := bytes.NewReader(bytes.Repeat(one, 100))
	rd := NewReader(src, Limits{})
	allocs := testing.AllocsPerRun(100, func() {
		if src.Len() == 0 {
			src.Seek(0, io.SeekStart)
		}
		if argv, err := rd.Next(); len(argv) != 3 || err != nil {
			t.Fatal(argv, err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations a command", allocs)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING \"x\"\r\n"), 3)
	f.Add([]byte("*0\r\n*1\r\n$0\r\n\r\n'\\''\n"), 1)
	f.Fuzz(func(t *testing.T, sent []byte, piece int) {
		limits := Limits{Args: 100, Arg: 1000, Command: 10_000}
		got, err := readAll(bytes.NewReader(sent), limits)
		again, errAgain := readAll(&pieces{sent, max(piece, 1)}, limits)
		if strings.Join(got, "|") != strings.Join(again, "|") || err.Error() != errAgain.Error() {
			t.Errorf("at once: %q, %v; in pieces: %q, %v", got, err, again, errAgain)
		}
	})
}

// pieces gives a few bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.b)
	p.b = p.b[n:]
	return n, nil
}

func FuzzCommandsComeBack(f *testing.F) {
	f.Add("GET", "a", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		argv, err := NewReader(bytes.NewReader(AppendCommand(nil, a, b, c)), Limits{}).Next()
		if err != nil || len(argv) != 3 || string(argv[0]) != a || string(argv[1]) != b || string(argv[2]) != c {
			t.Errorf("%q, %v, want %q", argv, err, []string{a, b, c})
		}
	})
}

func BenchmarkReader(b *testing.B) {
	one := AppendCommand(nil, "SET", "some:key", strings.Repeat("x", 100))
	src := bytes.NewReader(bytes.Repeat(one, 1000))
	rd := NewReader(src, Limits{})
	b.SetBytes(int64(len(one)))
	b.ReportAllocs()
	for b.Loop() {
		if src.Len() == 0 {
			src.Seek(0, io.SeekStart)
		}
		if _, err := rd.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
