package client

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
)

// FuzzUpgradeResponse reads what an edge, or whatever listens there, answers to an
// upgrade: in pieces it is the same as at once, and no answer without end is kept.
func FuzzUpgradeResponse(f *testing.F) {
	_, accept := upgradeRequest(&url.URL{Host: "edge", Path: "/ws"}, ProtocolMsgpack, [16]byte{1})
	good := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + accept + "\r\nSec-WebSocket-Protocol: " + ProtocolMsgpack + "\r\n\r\n"
	f.Add([]byte(good+"\x82\x01x"), 40)
	f.Add([]byte(strings.Replace(good, "101", "503", 1)), 3)
	f.Add([]byte("HTTP/1.1 101"), 0)
	f.Add(bytes.Repeat([]byte("x"), maxResponse+1), 5)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		rest, done, err := cutResponse(b, accept, ProtocolMsgpack)
		if !done && (err != nil || len(rest) > maxResponse) {
			t.Fatalf("%d bytes are kept, %v", len(rest), err)
		}
		if err == nil && done && len(rest) >= len(b) {
			t.Fatal("nothing was taken off")
		}
		cut = max(0, min(cut, len(b)))
		if _, early, earlyErr := cutResponse(b[:cut], accept, ProtocolMsgpack); early && earlyErr == nil && (err != nil || !done) {
			t.Errorf("%d bytes are an answer, %d are not: %v", cut, len(b), err)
		}
	})
}

func FuzzClose(f *testing.F) {
	f.Add([]byte{3, 232, 'b', 'y', 'e'})
	f.Add([]byte{3})
	f.Fuzz(func(t *testing.T, b []byte) {
		if code, reason := parseClose(b); code < 0 || code > 65535 || len(reason) > len(b) {
			t.Errorf("parseClose(%q) = %d, %q", b, code, reason)
		}
	})
}
