package edge

import (
	"bytes"
	"testing"
	"time"
)

func FuzzResumeToken(f *testing.F) {
	tk := newTokens([]byte("secret"), time.Hour)
	now := time.Unix(1e9, 0)
	good := tk.issue(7, "Ann", now)
	f.Add([]byte(good))
	f.Add([]byte(good[:len(good)-1]))
	f.Add([]byte(newTokens([]byte("another"), time.Hour).issue(7, "Ann", now)))
	f.Fuzz(func(t *testing.T, token []byte) {
		session, user, ok := tk.check(token, now)
		if !ok {
			return
		}
		// Nobody else can sign: what is accepted is what we would issue.
		if again := tk.issue(session, user, now); !bytes.Equal(token, []byte(again)) {
			t.Errorf("%q is accepted as session %d of %q, whose token is %q", token, session, user, again)
		}
	})
}
