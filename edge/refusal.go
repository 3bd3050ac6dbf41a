package edge

import "fmt"

// A refusal is why a request got no WebSocket, as an index of what is counted.
type refusal uint8

const (
	refusedMalformed refusal = iota
	refusedTooLarge
	refusedTooSlow
	refusedNotFound
	refusedNoUpgrade
	refusedHandshake // what gobwas/ws found; it has its own text
	refusedOrigin
	refusedProtocol
	refusedPerIP
	refusedFull
	refusedHTTPBusy
	refusedHalfOpen // dropped without an answer
	refusedSockets  // so too, when clients have all the sockets they may
	refusals
)

// refusalTable says how each refusal is answered, and its name in the metrics.
var refusalTable = [refusals]struct {
	label  string
	status string
	header string
	text   string
}{
	refusedMalformed: {"malformed", "400 Bad Request", "", "malformed request"},
	refusedTooLarge:  {"head_too_large", "431 Request Header Fields Too Large", "", "the request's head is longer than 8 KiB"},
	refusedTooSlow:   {"timeout", "408 Request Timeout", "", "the request took too long"},
	refusedNotFound:  {"not_found", "404 Not Found", "", "not found"},
	refusedNoUpgrade: {"no_upgrade", "426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", "this is a WebSocket endpoint"},
	refusedHandshake: {label: "handshake"},
	refusedOrigin:    {"origin", "403 Forbidden", "", "pages of this origin may not connect"},
	refusedProtocol:  {"subprotocol", "400 Bad Request", "", "Sec-WebSocket-Protocol must offer a subprotocol spoken here"},
	refusedPerIP:     {"per_ip", "429 Too Many Requests", "Retry-After: 10\r\n", "too many connections from this address"},
	refusedFull:      {"full", "503 Service Unavailable", "Retry-After: 5\r\n", "all connections are taken"},
	refusedHTTPBusy:  {"http_busy", "503 Service Unavailable", "Retry-After: 1\r\n", "too many requests at once"},
	refusedHalfOpen:  {label: "half_open"},
	refusedSockets:   {label: "sockets"},
}

func (r refusal) String() string { return refusalTable[r].label }

// responses are the answers as bytes, made once.
var responses = func() (all [refusals][]byte) {
	for r := range all {
		t := &refusalTable[r]
		if t.status != "" {
			all[r] = fmt.Appendf(nil, "HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s\n",
				t.status, t.header, len(t.text)+1, t.text)
		}
	}
	return all
}()
