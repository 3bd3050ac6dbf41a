package front

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A line of testdata/dialog.txt: how many replies come, a colon, and what is sent.
type line struct {
	replies int
	send    string
}

func readDialog(t *testing.T) (lines []line) {
	t.Helper()
	b, err := os.ReadFile("testdata/dialog.txt")
	if err != nil {
		t.Fatal(err)
	}
	for scan := bufio.NewScanner(bytes.NewReader(b)); scan.Scan(); {
		count, send, ok := strings.Cut(scan.Text(), ":")
		if strings.HasPrefix(scan.Text(), "#") || !ok {
			continue
		}
		n, err := strconv.Atoi(count)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line{n, send})
	}
	return lines
}

// varies finds what differs from server to server: the number of the conn.
var varies = regexp.MustCompile(`(\$2\r\nid\r\n):\d+`)

// asRedis takes away from a reply what HELLO says beyond what Redis's does.
func asRedis(reply string) string {
	rest, ok := strings.CutSuffix(reply, "$11\r\nserver_name\r\n$5\r\nroomd\r\n")
	if !ok {
		return reply
	}
	return strings.NewReplacer("%8\r\n$6\r\nserver", "%7\r\n$6\r\nserver", "*16\r\n$6\r\nserver", "*14\r\n$6\r\nserver").Replace(rest)
}

// TestDialogIsRediss holds the dialog with a real Redis, in both versions of the
// protocol, and compares byte for byte.
func TestDialogIsRediss(t *testing.T) {
	redis := realRedis(t)
	lines := readDialog(t)
	if len(lines) < 100 {
		t.Fatalf("%d lines", len(lines))
	}
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			real, ours := dial(t, redis), dial(t, serve(t, store, Config{}).Addr())
			real.send("FLUSHALL")
			real.want("+OK\r\n")
			for _, l := range lines {
				real.send(l.send)
				ours.send(l.send)
				for range l.replies {
					want := varies.ReplaceAllString(real.reply(), "$1:n")
					if got := varies.ReplaceAllString(asRedis(ours.reply()), "$1:n"); got != want {
						t.Errorf("%s\ngot  %q\nwant %q", l.send, got, want)
					}
				}
			}
		})
	}
}

func TestWrongProtocolIsToldAsByRedis(t *testing.T) {
	redis, ours := realRedis(t), serve(t, memory(t), Config{}).Addr()
	for _, sent := range []string{
		"*3\r\n$3\r\nSET\r\n+x\r\n", "*x\r\n", "*01\r\n", "*1\r\n$x\r\n", "*1\r\n$-1\r\n", "*1\r\n$999999999999\r\n",
		"PING\r\nSET k \"a\r\n", "get \"a\"b\r\n", "POST / HTTP/1.1\r\nHost: x\r\n", "QUIT a b\r\n", "QUIT\r\nPING\r\n",
		"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nQUIT\r\n", "\r\n\r\n*0\r\n*-1\r\nPING\r\nQUIT\n", "*1\r\n$0\r\n\r\nQUIT\r\n",
	} {
		if got, want := talk(t, ours, sent), talk(t, redis, sent); got != want {
			t.Errorf("%.40q\ngot  %q\nwant %q", sent, got, want)
		}
	}
}

// talk sends all and returns all that comes until the other side closes.
func talk(t *testing.T, addr net.Addr, sent string) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, sent); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if os.IsTimeout(err) {
		t.Fatalf("%.40q: not closed", sent)
	}
	return string(got)
}
