//go:build linux && !roomd_portable

package edge

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutDescriptorsClientsAreTurnedAway: and not left waiting at a
// listener that keeps the loop busy.
func TestWithoutDescriptorsClientsAreTurnedAway(t *testing.T) {
	s := newServer(t, Config{}, nil)
	before := s.open()
	c := s.dial() // the server accepts it when it has sent something
	next, err := unix.FcntlInt(uintptr(0), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(next); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = uint64(next) // the lowest that is free is one too many
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	c.write(upgradeRequest(s.addr, ""))
	got, err := io.ReadAll(c.br)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if len(got) > 0 {
		t.Errorf("read %q, %v, want the connection closed", got, err)
	}
	if n := s.stats().acceptErrors; n != 1 {
		t.Errorf("accept errors = %d, want 1", n)
	}
	before.text("still served")
	before.want(1, "still served")
	s.open()
}

// TestListenerIsLeftAloneWithoutAnyDescriptor: it stays ready, and would keep
// the loop busy; who waits there is served when there are descriptors again.
func TestListenerIsLeftAloneWithoutAnyDescriptor(t *testing.T) {
	s := newServer(t, Config{}, nil)
	c := s.dial()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	s.on(func(h *testHooks) { // a spare one that somebody else has got
		p := h.l.poll
		none := limit
		none.Cur = uint64(p.spare)
		for fd := range p.spare { // those below must be taken, too
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
				none.Cur = uint64(fd)
				break
			}
		}
		closeSocket(p.spare)
		p.spare = -1
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
			t.Error(err)
		}
	})
	c.write(upgradeRequest(s.addr, ""))
	s.await("the listener is left alone", func() bool {
		paused := false
		s.on(func(h *testHooks) { paused = h.l.poll.paused })
		return paused
	})
	restore()
	if got := c.response(); got != 101 {
		t.Errorf("status %d, want 101", got)
	}
	s.open()
	s.on(func(h *testHooks) {
		if p := h.l.poll; p.paused || p.spare < 0 {
			t.Errorf("paused %v, spare descriptor %d: want neither forgotten", p.paused, p.spare)
		}
	})
}

// TestHandedOverSocketIsNotWatched: its copy in HTTP keeps the socket open, and
// epoll would report it for ever.
func TestHandedOverSocketIsNotWatched(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	s := newServer(t, Config{HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	})}, nil)
	c := s.dial()
	c.write("GET /page")
	s.await("epoll knows the socket", func() bool { return watched(t, s) == 2 })
	c.write(" HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	if n := watched(t, s); n != 1 {
		t.Errorf("epoll watches %d descriptors, want the listener alone", n)
	}
	close(release)
	if got := c.response(); got != 200 {
		t.Errorf("status %d, want 200", got)
	}
}

// watched counts what is in the server's epoll.
func watched(t *testing.T, s *testServer) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", s.tr.loops[0].poll.epfd))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "tfd:")
}
