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

// What is held one way doesn't arrive, and what goes the other way does.
func TestHoldIsOfOneDirection(t *testing.T) {
	heard := make(chan string, 8)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for b := make([]byte, 64); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			heard <- string(b[:n])
			if _, err := conn.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	l, err := newLink([]string{ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	conn := dial(t, l)
	if got, err := say(conn, "one"); got != "one" || err != nil {
		t.Fatalf("through a fine link: %q, %v", got, err)
	}
	<-heard
	l.Hold(Back)
	if _, err := io.WriteString(conn, "two"); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "two" {
		t.Errorf("the server heard %q", got)
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if n, err := conn.Read(b); err == nil {
		t.Errorf("%q came back although that way is held", b[:n])
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if did := l.Heal(); did.Bytes != 3 || did.Broken > 0 {
		t.Errorf("Heal() = %+v after 3 bytes were held", did)
	}
	if _, err := io.ReadFull(conn, b); string(b) != "two" || err != nil {
		t.Errorf("after it healed: %q, %v", b, err)
	}
	l.Hold(There)
	if _, err := io.WriteString(conn, "three"); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		t.Errorf("%q got there although that way is held", got)
	case <-time.After(50 * time.Millisecond):
	}
	l.Heal()
	if got := <-heard; got != "three" {
		t.Errorf("after it healed the server heard %q", got)
	}
}

// What is delayed arrives, in order, and not before its time.
func TestDelayIsOfAllBytesInOrder(t *testing.T) {
	l, err := newLink([]string{parrot(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	conn := dial(t, l)
	if got, err := say(conn, "one"); got != "one" || err != nil {
		t.Fatalf("through a fine link: %q, %v", got, err)
	}
	const by = 60 * time.Millisecond
	for name, c := range map[string]struct {
		ways  []Way
		least time.Duration
	}{"there": {[]Way{There}, by}, "back": {[]Way{Back}, by}, "both": {[]Way{There, Back}, 2 * by}} {
		l.Delay(by, c.ways...)
		sent := time.Now()
		for _, part := range []string{"a", "bc", "def"} {
			if _, err := io.WriteString(conn, part); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, 6)
		if _, err := io.ReadFull(conn, b); string(b) != "abcdef" || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if took := time.Since(sent); took < c.least {
			t.Errorf("%s: delayed by %v, but it took %v", name, by, took)
		}
		if did := l.Heal(); did.Bytes < 6 {
			t.Errorf("%s: Heal() = %+v", name, did)
		}
	}
}

// A cut also ends what is delayed or held.
func TestCutEndsWhatIsHeld(t *testing.T) {
	l, err := newLink([]string{parrot(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	conn := dial(t, l)
	if got, err := say(conn, "one"); got != "one" || err != nil {
		t.Fatalf("through a fine link: %q, %v", got, err)
	}
	l.Delay(time.Hour, There)
	l.Hold(Back)
	if _, err := io.WriteString(conn, "lost"); err != nil {
		t.Fatal(err)
	}
	l.Cut()
	if _, err := conn.Read(make([]byte, 4)); err == nil || err == io.EOF {
		t.Errorf("a connection that was cut ends with %v, want a reset", err)
	}
	if did := l.Heal(); did.Broken < 1 {
		t.Errorf("Heal() = %+v", did)
	}
	if got, err := say(dial(t, l), "two"); got != "two" || err != nil {
		t.Errorf("through a healed link: %q, %v", got, err)
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
