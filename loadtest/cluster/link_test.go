package cluster

import (
	"io"
	"net"
	"testing"
	"time"
)

// parrot answers every byte on loopback until the test ends.
func parrot(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			io.Copy(conn, conn) // one at a time is enough here
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func dial(t *testing.T, l *Link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func say(conn net.Conn, text string) (string, error) {
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	b := make([]byte, len(text))
	_, err := io.ReadFull(conn, b)
	return string(b), err
}

func TestLinkCutsAndHeals(t *testing.T) {
	l, err := newLink([]string{parrot(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	conn := dial(t, l)
	if got, err := say(conn, "one"); got != "one" || err != nil {
		t.Fatalf("through a fine link: %q, %v", got, err)
	}
	l.Cut()
	if got, err := say(conn, "two"); err == nil {
		t.Errorf("a cut link answers %q", got)
	}
	if again, err := net.Dial("tcp", l.addrs[0]); err == nil { // else it was broken at once
		defer again.Close()
		if got, err := say(again, "three"); err == nil {
			t.Errorf("a cut link takes a new connection, and answers %q", got)
		}
	}
	l.Heal()
	if got, err := say(dial(t, l), "four"); got != "four" || err != nil {
		t.Errorf("through a healed link: %q, %v", got, err)
	}
}

func TestStalledLinkDeliversWhenItHeals(t *testing.T) {
	l, err := newLink([]string{parrot(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	conn := dial(t, l)
	if got, err := say(conn, "one"); got != "one" || err != nil {
		t.Fatalf("through a fine link: %q, %v", got, err)
	}
	l.Stall()
	if _, err := io.WriteString(conn, "two"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if n, err := conn.Read(b); err == nil {
		t.Errorf("a stalled link delivered %q", b[:n])
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	l.Heal()
	if _, err := io.ReadFull(conn, b); string(b) != "two" || err != nil {
		t.Errorf("after it healed: %q, %v", b, err)
	}
}

func TestClosingAStalledLinkWaitsForNobody(t *testing.T) {
	l, err := newLink([]string{parrot(t)})
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, l)
	l.Stall()
	dial(t, l) // one that is not served yet
	if _, err := io.WriteString(conn, "lost"); err != nil {
		t.Fatal(err)
	}
	l.close()
}
