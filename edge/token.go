package edge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"time"

	"roomd/bus"
)

// A resume token says which session its bearer may bring back. It is signed, so
// that an edge need not remember sessions and any edge with the same Secret can
// take it. In base64url:
//
//	session  8 bytes
//	expiry   8 bytes, Unix seconds
//	user     to the end but
//	mac      32 bytes, HMAC-SHA256 of all before it
const (
	tokenFixed = 16
	tokenMax   = tokenFixed + bus.MaxUser + sha256.Size
)

// tokens signs and checks. It is for one goroutine.
type tokens struct {
	mac hash.Hash
	ttl time.Duration
	sum [sha256.Size]byte
}

func newTokens(secret []byte, ttl time.Duration) *tokens {
	return &tokens{mac: hmac.New(sha256.New, secret), ttl: ttl}
}

func (t *tokens) sign(b []byte) []byte {
	t.mac.Reset()
	t.mac.Write(b) // a hash takes everything
	return t.mac.Sum(t.sum[:0])
}

func (t *tokens) issue(session uint64, user string, now time.Time) string {
	b := make([]byte, 0, tokenMax)
	b = binary.BigEndian.AppendUint64(b, session)
	b = binary.BigEndian.AppendUint64(b, uint64(now.Add(t.ttl).Unix()))
	b = append(b, user...)
	b = append(b, t.sign(b)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// check returns whose token it is; ok is false if it was not issued with this
// secret or is over its time.
func (t *tokens) check(token []byte, now time.Time) (session uint64, user string, ok bool) {
	if len(token) > base64.RawURLEncoding.EncodedLen(tokenMax) {
		return 0, "", false
	}
	var room [tokenMax]byte
	n, err := base64.RawURLEncoding.Strict().Decode(room[:], token)
	if err != nil || n < tokenFixed+1+sha256.Size {
		return 0, "", false
	}
	body, mac := room[:n-sha256.Size], room[n-sha256.Size:n]
	if !hmac.Equal(mac, t.sign(body)) {
		return 0, "", false
	}
	if now.Unix() > int64(binary.BigEndian.Uint64(body[8:])) {
		return 0, "", false
	}
	return binary.BigEndian.Uint64(body), string(body[tokenFixed:]), true
}

// sessionName is how a session's id is shown to clients.
func sessionName(id uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], id)
	return base64.RawURLEncoding.EncodeToString(b[:])
}
