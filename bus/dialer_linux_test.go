package bus

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

// closeWaits counts this process's sockets to a port of this machine that the
// other side has closed and this one has not.
func closeWaits(t *testing.T, port int) (n int) {
	t.Helper()
	f, err := os.Open("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // number, local, remote, state, …
		if len(fields) > 3 && strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", port)) && fields[3] == "08" {
			n++
		}
	}
	return n
}

func TestFailedReconnectsLeaveNoSocketsBehind(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close them by and by
	addr := freePort(t)
	server, err := Open(context.Background(), Config{Server: ServerConfig{Addr: addr}})
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, Config{URL: "nats://" + addr, Name: "worker"})
	server.Close()
	ln, err := net.Listen("tcp", addr) // a balancer with nothing behind it
	if err != nil {
		t.Fatal(err)
	}
	const tries = 20
	for range tries {
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if n := closeWaits(t, ln.Addr().(*net.TCPAddr).Port); n > 1 { // of the last one
		t.Errorf("%d sockets are left of %d tries", n, tries)
	}
	ln.Close()
	server, err = Open(context.Background(), Config{Server: ServerConfig{Addr: addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	await(t, c.Connected)
}
