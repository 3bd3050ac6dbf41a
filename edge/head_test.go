package edge

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// FuzzHead holds the filter before the parsers to its word: what it lets
// through, net/http reads the same way.
func FuzzHead(f *testing.F) {
	s := &testServer{addr: "h:1"}
	for _, c := range upgradeCases {
		if all := s.request(c.lines...); len(all) < 1<<10 {
			f.Add([]byte(all), uint8(3))
		}
	}
	f.Add([]byte("GET /a?b HTTP/1.1\r\nX-Forwarded-For: ::1\r\nOrigin: \t http://x\t \r\n\r\nrest"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		n, ok := 0, true
		for end, next := 0, 0; ok && n == 0 && end < len(b); {
			end = min(end+int(piece)+1, len(b))
			n, next, ok = headEnd(b[:end], next)
		}
		if whole, _, wholeOK := headEnd(b, 0); whole != n && ok || wholeOK && !ok {
			t.Fatalf("headEnd(%q) = %d %v in pieces, %d %v at once", b, n, ok, whole, wholeOK)
		}
		if !ok || n == 0 {
			return
		}
		if want := bytes.Index(b, []byte("\r\n\r\n")) + 4; n != want && !bytes.HasPrefix(b, []byte("\r\n")) {
			t.Fatalf("headEnd(%q) = %d, want %d", b, n, want)
		}
		head, ok := parseHead(b[:n])
		if !ok {
			return
		}
		if head.validKey() && len(head.key) != 24 {
			t.Fatalf("key %q is valid", head.key)
		}
		_, _ = head.forwardedFor()
		_ = head.originAllowed(nil)
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n])))
		if err != nil {
			return // stricter than we are about targets, hosts and lengths; it will say so itself
		}
		compareHeads(t, &head, req)
	})
}

func compareHeads(t *testing.T, head *requestHead, req *http.Request) {
	if req.Method != string(head.method) || req.RequestURI != string(head.target) {
		t.Errorf("request line %q %q, net/http reads %q %q", head.method, head.target, req.Method, req.RequestURI)
	}
	for name, value := range map[string][]byte{"Origin": head.origin, "Sec-Websocket-Key": head.key} {
		if values := req.Header[name]; len(values) > 0 && values[len(values)-1] != string(value) {
			t.Errorf("%s is %q, net/http reads %q", name, value, values)
		}
	}
	if !head.hasBody && (req.ContentLength > 0 || len(req.TransferEncoding) > 0) {
		t.Errorf("no body seen, net/http reads length %d, encodings %q", req.ContentLength, req.TransferEncoding)
	}
	asked := false
	for _, v := range req.Header["Upgrade"] {
		asked = asked || strings.EqualFold(v, "websocket")
	}
	if asked != head.upgrade {
		t.Errorf("upgrade = %v, net/http reads %q", head.upgrade, req.Header["Upgrade"])
	}
}
