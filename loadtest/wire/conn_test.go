package wire

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/kv/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection and the server's end of it.
func pair(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := Dial(t.Context(), ln.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		server.Close()
	})
	return c, server
}

func TestAnswersAreReadHoweverTheyAreCut(t *testing.T) {
	c, server := pair(t)
	long := strings.Repeat("x", 100_000)
	sent := make(chan error, 1)
	go func() {
		var err error
		for _, part := range []string{":4", "2\r\n*2\r\n$1\r\na\r\n$100000\r\n" + long[:50_000], long[50_000:] + "\r\n-ERR no\r\n+OK\r\n"} {
			_, e := io.WriteString(server, part)
			err = errors.Join(err, e)
		}
		sent <- err
	}()
	if v, err := c.Do("INCR", "a"); err != nil || v.Int != 42 {
		t.Errorf("first answer %v, %v", v, err)
	}
	if v, err := c.Do("BRPOP", "a"); err != nil || len(v.Elems) != 2 || string(v.Elems[1].Text) != long {
		t.Errorf("second answer has %d parts, %v", len(v.Elems), err)
	}
	var seen []int
	err := c.Batch([][]string{{"SET", "a", "b"}, {"PING"}}, func(i int, v resp.Value) { seen = append(seen, i) })
	var refusal Refusal
	if !errors.As(err, &refusal) || refusal != "ERR no" || len(seen) != 1 || seen[0] != 1 {
		t.Errorf("Batch() = %v, having seen %v", err, seen)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestSilenceAndNonsenseAreErrors(t *testing.T) {
	silent, _ := pair(t)
	if _, err := silent.DoWithin(time.Millisecond, "PING"); err == nil {
		t.Error("no answer is no error")
	}
	c, server := pair(t)
	if _, err := io.WriteString(server, "hello\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do("PING"); !errors.Is(err, resp.ErrMalformed) {
		t.Errorf("nonsense is %v", err)
	}
}
