package edge

import "bytes"

// The JSON protocol: the same frames as JSON arrays, one to a line. It is for
// simple clients and for looking at with one's own eyes, and so it translates:
// each frame passes through its native encoding.

// jsonName is the subprotocol's name.
const jsonName = "roomd.v1.json"

// A jsonProtocol serves one loop: it keeps what it has translated last.
type jsonProtocol struct{ native []byte }

func (*jsonProtocol) text() bool { return true }

func (p *jsonProtocol) next(b []byte, f *frame) (rest []byte, err error) {
	r := jsonReader{b: b, out: p.native[:0]}
	if !r.read(maxDepth + 1) {
		return nil, errFrame
	}
	p.native = keepSmall(r.out)
	if after, err := parseFrame(r.out, f); err != nil || len(after) > 0 {
		return nil, errFrame
	}
	rest = bytes.TrimLeft(b[r.at:], " \t\r")
	if len(rest) > 0 && rest[0] != '\n' {
		return nil, errFrame
	}
	return bytes.TrimSpace(rest), nil
}

func (*jsonProtocol) add(payload, native []byte) []byte {
	for len(native) > 0 {
		next, rest, ok := appendJSON(payload, native)
		if !ok {
			break // what a room sent is no msgpack: there is nothing to show
		}
		payload, native = next, rest
		if len(native) > 0 {
			payload = append(payload, '\n')
		}
	}
	return payload
}

// keepSmall is b if it may be kept for reuse, and nil if it has grown too large.
func keepSmall(b []byte) []byte {
	if cap(b) > 64<<10 {
		return nil
	}
	return b[:0]
}
