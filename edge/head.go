package edge

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"strings"
)

// Reading the head of an HTTP request, from memory. This is a filter before the
// real parsers (gobwas/ws for upgrades, net/http for the rest): it finds where
// the head ends, refuses what two parsers could understand differently, and
// finds out whom the request is for.

// maxHeadBytes is the longest head taken, request line and blank line included.
const maxHeadBytes = 8 << 10

// A requestHead is what decides about a request. Its slices alias the head.
type requestHead struct {
	method, target []byte
	host           []byte
	origin         []byte
	forwarded      []byte // last X-Forwarded-For
	key            []byte // Sec-WebSocket-Key
	upgrade        bool   // asks for a WebSocket
	hasBody        bool   // Content-Length other than 0, or Transfer-Encoding
	once           byte   // which of the headers that may come once were seen
	repeated       bool   // one of them came again
}

const (
	seenHost = 1 << iota
	seenKey
	seenVersion
	seenOrigin
	seenUpgrade
)

// headEnd looks for the blank line that ends the head at the start of b. Lines
// that end before from have been looked at; next is what to pass as from when
// there is more. A line that ends in a bare LF is refused. n is the length of
// the head with its blank line, or zero if that has not come yet.
func headEnd(b []byte, from int) (n, next int, ok bool) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0, from, true
		}
		if i == 0 || b[from+i-1] != '\r' {
			return 0, from, false
		}
		if i == 1 {
			return from + 2, from, true
		}
		from += i + 1
	}
}

// parseHead reads a head that headEnd has found. It refuses a request line that
// is not three words, control characters, folded lines, and names that are no
// tokens (so no space before the colon).
func parseHead(b []byte) (h requestHead, ok bool) {
	line, rest := cutLine(b)
	h.method, line, _ = bytes.Cut(line, []byte(" "))
	target, version, found := bytes.Cut(line, []byte(" "))
	if !found || !isToken(h.method) || !isVisible(target) || !isVersion(version) {
		return h, false
	}
	h.target = target
	for {
		line, rest = cutLine(rest)
		if len(line) == 0 {
			return h, true
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || !isToken(name) || !isValue(value) {
			return h, false
		}
		h.note(name, bytes.Trim(value, " \t"))
	}
}

// note keeps a header if it matters. The switch on the length spares comparing
// most names.
func (h *requestHead) note(name, value []byte) {
	switch len(name) {
	case 4:
		if isName(name, "host") {
			h.seen(seenHost)
			h.host = value
		}
	case 6:
		if isName(name, "origin") {
			h.seen(seenOrigin)
			h.origin = value
		}
	case 7:
		if isName(name, "upgrade") {
			h.seen(seenUpgrade)
			h.upgrade = h.upgrade || strings.EqualFold(string(value), "websocket")
		}
	case 14:
		if isName(name, "content-length") && string(value) != "0" {
			h.hasBody = true
		}
	case 15:
		if isName(name, "x-forwarded-for") {
			h.forwarded = value
		}
	case 17:
		if isName(name, "transfer-encoding") {
			h.hasBody = true
		} else if isName(name, "sec-websocket-key") {
			h.seen(seenKey)
			h.key = value
		}
	case 21:
		if isName(name, "sec-websocket-version") {
			h.seen(seenVersion)
		}
	}
}

func (h *requestHead) seen(bit byte) {
	h.repeated = h.repeated || h.once&bit != 0
	h.once |= bit
}

// path is the target without its query.
func (h *requestHead) path() []byte {
	path, _, _ := bytes.Cut(h.target, []byte("?"))
	return path
}

// validKey says whether the WebSocket key is 16 bytes in base64.
func (h *requestHead) validKey() bool {
	var nonce [18]byte
	if len(h.key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Strict().Decode(nonce[:], h.key)
	return err == nil && n == 16
}

// originAllowed compares the Origin with those allowed, or with the Host if
// none are named.
func (h *requestHead) originAllowed(allowed []string) bool {
	if h.once&seenOrigin == 0 {
		return true
	}
	if len(allowed) == 0 {
		_, host, found := bytes.Cut(h.origin, []byte("://"))
		return found && len(host) > 0 && bytes.EqualFold(host, h.host)
	}
	for _, o := range allowed {
		if o == "*" || strings.EqualFold(o, string(h.origin)) {
			return true
		}
	}
	return false
}

// forwardedFor is the last address of the last X-Forwarded-For, which is what
// the nearest proxy has written.
func (h *requestHead) forwardedFor() (netip.Addr, bool) {
	last := h.forwarded
	if i := bytes.LastIndexByte(last, ','); i >= 0 {
		last = last[i+1:]
	}
	s := string(bytes.TrimSpace(last))
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr, true
	}
	addr, err := netip.ParseAddrPort(s)
	return addr.Addr(), err == nil
}

// cutLine splits b after its first CRLF, which is there. What is left of the
// line holds neither CR nor LF if isToken, isVisible or isValue say so.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	return b[:i-1], b[i+1:]
}

// isName compares a header's name; lower is in lower case.
func isName(name []byte, lower string) bool {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func isVersion(b []byte) bool {
	return len(b) == 8 && string(b[:7]) == "HTTP/1." && (b[7] == '0' || b[7] == '1')
}

func isToken(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || !tokenChars[c] {
			return false
		}
	}
	return len(b) > 0
}

// tokenChars are what RFC 9110 allows in names: letters, digits and these.
var tokenChars = func() (set [128]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		set[c] = true
	}
	return set
}()

func isVisible(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7F {
			return false
		}
	}
	return len(b) > 0
}

func isValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}
