package kv_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/kv/resp"
)

// startRedis runs a real Redis of its own until the test ends, and returns how
// to reach it. It is what says who is right.
func startRedis(t *testing.T) address {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed, and without it nothing says what is right: run `make setup`")
	}
	dir, err := os.MkdirTemp("", "roomd-redis") // TempDir's names are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := address{network: "unix", addr: filepath.Join(dir, "redis")}
	cmd := exec.Command(path, "--port", "0", "--unixsocket", at.addr, "--dir", dir, "--save", "", "--appendonly", "no")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	var output sync.WaitGroup
	var log bytes.Buffer
	output.Go(func() {
		said := sync.OnceFunc(func() { close(ready) })
		defer said()
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if strings.Contains(lines.Text(), "ready to accept connections") {
				said()
			}
		}
	})
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		output.Wait()
		_ = cmd.Wait() // says that it was killed
		if t.Failed() && testing.Verbose() {
			t.Logf("redis-server said:\n%s", log.Bytes())
		}
	})
	<-ready
	return at
}

// An address is where a server listens that speaks Redis's protocol.
type address struct{ network, addr string }

// A wire is a connection to such a server, without a client library between. It
// is not for several goroutines.
type wire struct {
	conn net.Conn
	in   []byte // read, and not yet parsed
	out  []byte
}

// dial connects until the test ends, in RESP2 or RESP3.
func (a address) dial(t *testing.T, version string) *wire {
	t.Helper()
	w, err := a.open(t.Context(), version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.conn.Close() })
	return w
}

func (a address) open(ctx context.Context, version string) (*wire, error) {
	conn, err := new(net.Dialer).DialContext(ctx, a.network, a.addr)
	if err != nil {
		return nil, err
	}
	w := &wire{conn: conn}
	if _, err := w.call("HELLO", version); err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) call(argv ...string) (resp.Value, error) {
	reply, err := w.do(bytesOf(argv...))
	if err != nil {
		return resp.Value{}, err
	}
	v, _, err := resp.Parse(reply)
	if err == nil && v.Kind == '-' {
		err = fmt.Errorf("%s", v.Text)
	}
	return v, err
}

// do sends a command and returns the reply's bytes, which are the caller's.
func (w *wire) do(argv [][]byte) ([]byte, error) {
	w.out = resp.AppendCommand(w.out[:0], argv...)
	if err := w.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := w.conn.Write(w.out); err != nil {
		return nil, err
	}
	for {
		if len(w.in) > 0 {
			_, rest, err := resp.Parse(w.in)
			if err == nil {
				reply := w.in[: len(w.in)-len(rest) : len(w.in)-len(rest)]
				w.in = rest
				return reply, nil
			}
			if err != resp.ErrShort {
				return nil, fmt.Errorf("%w: %q", err, w.in)
			}
		}
		b := make([]byte, 64<<10)
		n, err := w.conn.Read(b)
		if err != nil {
			return nil, err
		}
		w.in = append(w.in[:len(w.in):len(w.in)], b[:n]...)
	}
}

func bytesOf(argv ...string) [][]byte {
	b := make([][]byte, len(argv))
	for i, arg := range argv {
		b[i] = []byte(arg)
	}
	return b
}
