package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// request builds one from lines; HOST is the server's address.
func (s *testServer) request(lines ...string) string {
	return strings.ReplaceAll(strings.Join(lines, "\r\n")+"\r\n\r\n", "HOST", s.addr)
}

// good are the lines of an upgrade that succeeds, without any that begin with
// one of the given names.
func good(without ...string) (lines []string) {
	all := []string{"GET /ws HTTP/1.1", "Host: HOST", "Connection: keep-alive, Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: test"}
line:
	for _, line := range all {
		for _, name := range without {
			if strings.HasPrefix(line, name) {
				continue line
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func with(lines []string, more ...string) []string { return append(lines, more...) }

// upgradeCases: what is asked and what is answered.
var upgradeCases = []struct {
	name   string
	lines  []string
	status int
}{
	{"plain", good(), 101},
	{"query", with([]string{"GET /ws?a=b HTTP/1.1"}, good("GET")...), 101},
	{"names in other case", append(good("Upgrade", "Host"), "uPGRADE: WebSocket", "hOST: HOST"), 101},
	{"no space after colon", append(good("Host"), "Host:HOST"), 101},
	{"same origin", with(good(), "Origin: http://HOST"), 101},
	{"content-length 0", with(good(), "Content-Length: 0"), 101},
	{"second offered protocol", append(good("Sec-WebSocket-Protocol"), "Sec-WebSocket-Protocol: other, test2"), 101},
	{"protocols in two lines", append(good("Sec-WebSocket-Protocol"), "Sec-WebSocket-Protocol: other", "Sec-WebSocket-Protocol: test"), 101},
	{"compression offered", with(good(), "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), 101},
	{"malformed compression offer", with(good(), "Sec-WebSocket-Extensions: permessage-deflate; bogus=1"), 101},

	{"no upgrade", good("Upgrade", "Connection"), 426},
	{"upgrade to h2c", append(good("Upgrade"), "Upgrade: h2c"), 426},
	{"other path", with([]string{"GET / HTTP/1.1"}, good("GET")...), 404},
	{"longer path", with([]string{"GET /ws/ HTTP/1.1"}, good("GET")...), 404},
	{"POST", with([]string{"POST /ws HTTP/1.1"}, good("GET")...), 405},
	{"HTTP/1.0", with([]string{"GET /ws HTTP/1.0"}, good("GET")...), 505},
	{"HTTP/2.0", with([]string{"GET /ws HTTP/2.0"}, good("GET")...), 400},
	{"no host", good("Host"), 400},
	{"no connection", good("Connection"), 400},
	{"no version", good("Sec-WebSocket-Version"), 400},
	{"version 8", append(good("Sec-WebSocket-Version"), "Sec-WebSocket-Version: 8"), 426},
	{"no key", good("Sec-WebSocket-Key"), 400},
	{"short key", append(good("Sec-WebSocket-Key"), "Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="), 400},
	{"key of 24 that is no base64", append(good("Sec-WebSocket-Key"), "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!=="), 400},
	{"key of 18 bytes", append(good("Sec-WebSocket-Key"), "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSEh"), 400},
	{"no protocol", good("Sec-WebSocket-Protocol"), 400},
	{"unknown protocol", append(good("Sec-WebSocket-Protocol"), "Sec-WebSocket-Protocol: other"), 400},
	{"foreign origin", with(good(), "Origin: https://evil.example"), 403},
	{"null origin", with(good(), "Origin: null"), 403},
	{"origin of which host is a prefix", with(good(), "Origin: http://HOST.evil.example"), 403},

	{"two hosts", with(good(), "Host: other"), 400},
	{"two keys", with(good(), "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400},
	{"two versions", with(good(), "Sec-WebSocket-Version: 13"), 400},
	{"two upgrades", with(good(), "Upgrade: websocket"), 400},
	{"two origins", with(good(), "Origin: http://HOST", "Origin: http://HOST"), 400},
	{"content-length 5", with(good(), "Content-Length: 5"), 400},
	{"chunked body", with(good(), "Transfer-Encoding: chunked"), 400},
	{"space before colon", with(good(), "X-A : b"), 400},
	{"space in name", with(good(), "X A: b"), 400},
	{"no colon", with(good(), "nonsense"), 400},
	{"empty name", with(good(), ": b"), 400},
	{"folded line", with(good(), "X-A: b", " c"), 400},
	{"NUL in value", with(good(), "X-A: b\x00c"), 400},
	{"bare CR in value", with(good(), "X-A: b\rc"), 400},
	{"bare LF", with(good(), "X-A: b\nX-B: c"), 400},
	{"bare LF at first", []string{"GET /ws HTTP/1.1\nHost: HOST"}, 400},
	{"tab in path", with([]string{"GET /w\ts HTTP/1.1"}, good("GET")...), 400},
	{"no path", with([]string{"GET  HTTP/1.1"}, good("GET")...), 400},
	{"four words", with([]string{"GET /ws x HTTP/1.1"}, good("GET")...), 400},
	{"TLS", []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n"}, 400},
	{"head of 9 KiB", with(good(), "X-A: "+strings.Repeat("a", 9<<10)), 431},
	{"line without end", []string{"GET /" + strings.Repeat("a", 70<<10)}, 431},
}

// TestUpgradeAnswers plays each case at once and byte by byte.
func TestUpgradeAnswers(t *testing.T) {
	s := newServer(t, Config{}, nil)
	for _, test := range upgradeCases {
		t.Run(test.name, func(t *testing.T) {
			on := *s
			on.t = t
			all := on.request(test.lines...)
			for _, size := range []int{len(all), 1 + len(all)/1000} {
				c := on.dial()
				for _, piece := range pieces(all, size) {
					if _, err := io.WriteString(c, piece); err != nil {
						break // answered already
					}
				}
				if got := c.response(); got != test.status {
					t.Errorf("in pieces of %d: status %d, want %d", size, got, test.status)
				} else if got == 101 {
					c.text("hello")
					c.want(ws.OpText, "hello")
				}
				c.Close()
			}
		})
	}
}

func TestUpgradeNamesTheProtocolAndNoExtension(t *testing.T) {
	picked := make(chan uint8, 1)
	s := newServer(t, Config{}, func(h *testHooks) {
		h.onOpened = func(c *conn) { picked <- c.protocol }
	})
	c := s.dial()
	c.write(s.request(append(good("Sec-WebSocket-Protocol"), "Sec-WebSocket-Protocol: x, test2, test", "Sec-WebSocket-Extensions: permessage-deflate")...))
	var head strings.Builder
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
		head.WriteString(line)
	}
	for _, want := range []string{"HTTP/1.1 101 ", "Sec-WebSocket-Protocol: test2\r\n", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"} {
		if !strings.Contains(head.String(), want) {
			t.Errorf("response %q lacks %q", head.String(), want)
		}
	}
	if strings.Contains(head.String(), "Extensions") {
		t.Errorf("response %q names an extension", head.String())
	}
	if got := <-picked; got != 1 {
		t.Errorf("c.protocol = %d, want 1", got)
	}
}

func TestFramesSentWithTheRequestAreKept(t *testing.T) {
	s := newServer(t, Config{}, nil)
	all := upgradeRequest(s.addr, "") + f(fin|opText, "early") + f(opText, "in two ")
	for _, size := range []int{len(all), 7} {
		c := s.dial()
		for _, piece := range pieces(all, size) {
			c.write(piece)
		}
		if got := c.response(); got != 101 {
			t.Fatalf("status %d, want 101", got)
		}
		c.want(ws.OpText, "early")
		c.write(f(fin|opContinuation, "parts"))
		c.want(ws.OpText, "in two parts")
	}
}

func TestOriginsAreThoseConfigured(t *testing.T) {
	for _, test := range []struct {
		name    string
		allowed []string
		origin  string
		status  int
	}{
		{"named", []string{"https://a.example", "https://b.example"}, "https://B.example", 101},
		{"not named", []string{"https://a.example"}, "https://a.example.evil", 403},
		{"other scheme", []string{"https://a.example"}, "http://a.example", 403},
		{"any", []string{"*"}, "https://x.example", 101},
		{"own host isn't enough", []string{"https://a.example"}, "http://HOST", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, Config{Origins: test.allowed}, nil)
			c := s.dial()
			c.write(s.request(with(good(), "Origin: "+test.origin)...))
			if got := c.response(); got != test.status {
				t.Errorf("status %d, want %d", got, test.status)
			}
		})
	}
}

func TestForwardedAddressCountsOnlyBehindAProxy(t *testing.T) {
	for _, test := range []struct {
		name    string
		trust   bool
		headers string
		want    string
	}{
		{"not trusted", false, "X-Forwarded-For: 10.1.2.3\r\n", "127.0.0.1"},
		{"trusted", true, "X-Forwarded-For: 10.1.2.3\r\n", "10.1.2.3"},
		{"the last of a list", true, "X-Forwarded-For: 10.1.2.3, 10.4.5.6\r\n", "10.4.5.6"},
		{"the last of two lines", true, "X-Forwarded-For: 10.1.2.3\r\nX-Forwarded-For: 10.7.8.9\r\n", "10.7.8.9"},
		{"with port", true, "X-Forwarded-For: 10.1.2.3:555\r\n", "10.1.2.3"},
		{"IPv6 with port", true, "X-Forwarded-For: [2001:db8::1]:555\r\n", "2001:db8::1"},
		{"nonsense", true, "X-Forwarded-For: unknown\r\n", "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ip := make(chan string, 1)
			s := newServer(t, Config{TrustProxy: test.trust}, func(h *testHooks) {
				h.onOpened = func(c *conn) { ip <- c.ip().String() }
			})
			s.dial().write(upgradeRequest(s.addr, test.headers))
			if got := <-ip; got != test.want {
				t.Errorf("ip = %s, want %s", got, test.want)
			}
		})
	}
}

func TestUnfinishedRequestEndsAtTheDeadline(t *testing.T) {
	s := newServer(t, Config{HandshakeTimeout: 100 * time.Millisecond}, nil)
	c := s.dial()
	c.write("GET /ws HTTP/1.1\r\nHost: x\r\n")
	if got := c.response(); got != 408 {
		t.Errorf("status %d, want 408", got)
	}
	if got := s.stats().refused[refusedTooSlow]; got != 1 {
		t.Errorf("refused as too slow = %d, want 1", got)
	}
}

func TestRequestsUnderWayAreBounded(t *testing.T) {
	const most = 4
	s := newServer(t, Config{MaxHalfOpen: most}, nil)
	var waiting []*client
	for i := range most + 2 {
		c := s.dial()
		c.write("GET /ws HTTP/1.1\r\n")
		waiting = append(waiting, c)
		s.await("the request begins", func() bool { return s.stats().accepts == uint64(i+1) })
	}
	waiting[0].wantReset()
	waiting[1].wantReset()
	if got := s.stats(); got.halfOpen != most || got.refused[refusedHalfOpen] != 2 {
		t.Errorf("half open = %d, dropped = %d, want %d, 2", got.halfOpen, got.refused[refusedHalfOpen], most)
	}
	waiting[2].write(strings.TrimPrefix(upgradeRequest(s.addr, ""), "GET /ws HTTP/1.1\r\n"))
	if got := waiting[2].response(); got != 101 {
		t.Errorf("one that was not dropped got %d, want 101", got)
	}
}

func TestConnsAreBounded(t *testing.T) {
	s := newServer(t, Config{MaxConns: 2, Loops: 2}, nil)
	first := s.open()
	s.open()
	third := s.dial()
	third.write(upgradeRequest(s.addr, ""))
	if got := third.response(); got != 503 {
		t.Errorf("third conn got %d, want 503", got)
	}
	first.closes(1000, "")
	first.wantClose(1000)
	first.wantEnd()
	s.await("the place is free", func() bool { return s.stats().open == 1 })
	s.open()
}

func TestConnsOfOneIPAreBounded(t *testing.T) {
	s := newServer(t, Config{MaxConnsPerIP: 1, TrustProxy: true}, nil)
	status := func(ip string) int {
		c := s.dial()
		c.write(upgradeRequest(s.addr, "X-Forwarded-For: "+ip+"\r\n"))
		return c.response()
	}
	for _, test := range []struct {
		ip   string
		want int
	}{{"10.0.0.1", 101}, {"10.0.0.1", 429}, {"10.0.0.2", 101}} {
		if got := status(test.ip); got != test.want {
			t.Errorf("conn of %s got %d, want %d", test.ip, got, test.want)
		}
	}
	s.on(func(h *testHooks) {
		for c := range h.conns {
			c.abort()
		}
	})
	s.await("closed", func() bool { return s.stats().open == 0 })
	if got := status("10.0.0.1"); got != 101 {
		t.Errorf("after the first was gone: %d, want 101", got)
	}
	s.on(func(h *testHooks) {
		for c := range h.conns {
			c.abort()
		}
	})
	s.await("closed", func() bool { return s.stats().open == 0 })
	if n := len(s.tr.perIP.n); n != 0 {
		t.Errorf("%d addresses are still counted", n)
	}
}

func TestOtherRequestsGoToHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "page for %s", r.RemoteAddr)
	})
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	})
	before := openFiles(t)
	s := newServer(t, Config{HTTP: mux, CloseTimeout: 50 * time.Millisecond}, nil)
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	get := func(method, path string, body io.Reader) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if status, body := get("GET", "/page", nil); status != 200 || !strings.HasPrefix(body, "page for 127.0.0.1:") {
		t.Errorf("GET /page = %d %q", status, body)
	}
	if status, body := get("POST", "/sum", strings.NewReader(strings.Repeat("x", 300<<10))); status != 200 || body != "307200 <nil>" {
		t.Errorf("POST /sum = %d %q", status, body)
	}
	if status, _ := get("GET", "/none", nil); status != 404 {
		t.Errorf("GET /none = %d, want 404", status)
	}
	if status, _ := get("GET", "/ws", nil); status != 426 {
		t.Errorf("GET /ws = %d, want 426", status)
	}
	c := s.dial() // in pieces, so that the poller knows the socket when it is handed over
	for _, piece := range pieces("GET /page HTTP/1.1\r\nHost: x\r\n\r\n", 3) {
		c.write(piece)
	}
	if got := c.response(); got != 200 {
		t.Errorf("GET /page in pieces = %d, want 200", got)
	}
	c.Close()
	s.open()
	if got := s.stats(); got.handedOff != 4 || got.open != 1 {
		t.Errorf("handed off %d, open %d, want 4, 1", got.handedOff, got.open)
	}
	s.stop()
	hc.CloseIdleConnections()
	await(t, "descriptors are closed", func() bool { return openFiles(t) <= before+1 }) // s.open's client
}

func TestRequestsToHTTPAreBounded(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, Config{HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })}, nil)
	s.tr.front.held.Store(s.tr.front.most - 1) // as if
	first, second := s.dial(), s.dial()
	first.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	s.await("the first is handed over", func() bool { return s.stats().handedOff == 1 })
	second.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := second.response(); got != 503 {
		t.Errorf("one too many got %d, want 503", got)
	}
	close(release)
	if got := first.response(); got != 200 {
		t.Errorf("the last that fits got %d, want 200", got)
	}
	s.await("the place is free", func() bool { return s.tr.front.held.Load() == s.tr.front.most-1 })
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	other := newServer(t, Config{Loops: 2}, nil) // shares its port among its own loops, with nobody else
	for name, addr := range map[string]string{"any listener": ln.Addr().String(), "another edge": other.addr} {
		_, err := listen(Config{Addr: addr, Loops: 2})
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another process listens on "+addr) {
			t.Errorf("%s: listen = %v, want address in use", name, err)
		}
	}
	for name, cfg := range map[string]Config{
		"MaxConns":    {MaxConns: -1},
		"IdleTimeout": {IdleTimeout: -1},
		"Path":        {Path: "ws"},
	} {
		if _, err := listen(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("listen with bad %s = %v", name, err)
		}
	}
}

func TestAbandonFreesTheAddress(t *testing.T) {
	cfg := Config{Addr: "127.0.0.1:0", Loops: 2, Log: slog.New(slog.DiscardHandler)}
	tr, err := listen(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	tr.abandon()
	cfg.Addr = tr.addr.String()
	again, err := listen(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	again.abandon()
	if err := again.serve(context.Background(), nil); err == nil {
		t.Error("serve after abandon = nil, want an error")
	}
}
