package client

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Subprotocols that an edge speaks.
const (
	ProtocolMsgpack = "roomd.v1.msgpack"
	ProtocolJSON    = "roomd.v1.json"
)

const maxResponse = 8 << 10 // bytes an edge may use to answer an upgrade

// upgradeRequest is the request that opens a WebSocket, and the Accept value that
// answers it.
func upgradeRequest(u *url.URL, protocol string, nonce [16]byte) (request []byte, accept string) {
	key := base64.StdEncoding.EncodeToString(nonce[:])
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
		u.RequestURI(), u.Host, key, protocol)
	return request, base64.StdEncoding.EncodeToString(sum[:])
}

// cutResponse takes the answer to an upgrade off b, checks it and returns the
// bytes behind it. done is false while the answer is incomplete.
func cutResponse(b []byte, accept, protocol string) (rest []byte, done bool, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxResponse {
			return nil, true, errors.New("upgrade: endless response")
		}
		return b, false, nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	if !strings.HasPrefix(lines[0], "HTTP/1.1 101 ") && lines[0] != "HTTP/1.1 101" {
		return nil, true, fmt.Errorf("upgrade refused: %s", lines[0])
	}
	var gotAccept, gotProtocol string
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Sec-WebSocket-Accept"):
			gotAccept = value
		case strings.EqualFold(name, "Sec-WebSocket-Protocol"):
			gotProtocol = value
		}
	}
	if gotAccept != accept {
		return nil, true, errors.New("upgrade: the response answers another request")
	}
	if gotProtocol != protocol {
		return nil, true, fmt.Errorf("upgrade: subprotocol %q where %q is wanted", gotProtocol, protocol)
	}
	return b[end+4:], true, nil
}
