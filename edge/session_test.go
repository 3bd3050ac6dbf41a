package edge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"roomd/bus"
)

func TestHello(t *testing.T) {
	s := startEdge(t, openBus(t), Config{Secret: []byte("0123456789abcdef")})
	t.Run("a name is taken", func(t *testing.T) {
		c := dial(t, s, nativeName)
		c.send(`[1,{"user":"Änn"}]`)
		w := c.welcome()
		if w.User != "Änn" || len(w.Session) != 11 || w.Resume == "" || w.Ping != 25 {
			t.Errorf("welcome %+v", w)
		}
	})
	t.Run("without a name one is a guest", func(t *testing.T) {
		c := dial(t, s, jsonName)
		c.send(`[1]`)
		if w := c.welcome(); !strings.HasPrefix(w.User, "guest-") || len(w.User) != 10 {
			t.Errorf("user %q", w.User)
		}
	})
	t.Run("resume brings the session back", func(t *testing.T) {
		c := dial(t, s, nativeName)
		c.send(`[1,{"user":"Bo"}]`)
		first := c.welcome()
		again := dial(t, s, jsonName)
		again.send(fmt.Sprintf(`[1,{"user":"Eve","resume":%q}]`, first.Resume))
		if w := again.welcome(); w.Session != first.Session || w.User != "Bo" {
			t.Errorf("welcome %+v, want session %s of Bo", w, first.Session)
		}
	})
	t.Run("a bad resume token is told and ends the connection", func(t *testing.T) {
		c := dial(t, s, nativeName)
		c.send(`[1,{"resume":"abc"}]`)
		c.wantClose(closeUnauthorized,
			`[0,"bad_token","the resume token is not valid any more",1]`,
			`[13,"bad_token","the resume token is not valid any more",0]`)
	})
	t.Run("a bad name is told", func(t *testing.T) {
		c := dial(t, s, nativeName)
		c.send(`[1,{"user":"a\u0007b"}]`)
		c.wantClose(closeUnauthorized,
			`[0,"bad_name","user: 1 to 64 bytes of UTF-8 without control characters",1]`, `[13,"bad_name","",-1]`)
	})
	t.Run("anything before it is refused", func(t *testing.T) {
		c := dial(t, s, nativeName)
		c.send(`[2,1,"chat","a"]`)
		c.wantClose(closeUnauthorized, `[13,"unauthorized","the first frame must be a hello",-1]`)
	})
	t.Run("a second one is no frame", func(t *testing.T) {
		c := connect(t, s, nativeName, "Ann")
		c.send(`[1,{"user":"Ann"}]`)
		c.wantClose(closeBadFrame, `[13,"bad_frame","not a frame of this protocol",-1]`)
	})
}

func TestHelloMustComeInTime(t *testing.T) {
	s := startEdge(t, openBus(t), Config{HelloTimeout: time.Millisecond})
	dial(t, s, nativeName).wantClose(closeUnauthorized, `[13,"unauthorized","no hello in time",-1]`)
}

func TestAuthDecidesWithoutHoldingUpTheLoop(t *testing.T) {
	gate := make(chan struct{})
	s := startEdge(t, openBus(t), Config{Auth: func(ctx context.Context, token string) (string, error) {
		switch token {
		case "slow":
			<-gate
			return "Slow", nil
		case "down":
			return "", errors.New("database is away: secret detail")
		case "busy":
			return "", bus.Errorf(bus.Unavailable, "come back")
		case "":
			return "", bus.Errorf(bus.Unauthorized, "who are you?")
		}
		return "user-" + token, nil
	}})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	slow := dial(t, s, nativeName)
	slow.send(`[1,{"token":"slow"}]`, `[5,1]`) // what follows the hello waits with it
	slow.send(`[5,2]`)

	quick := dial(t, s, nativeName)
	quick.send(`[1,{"token":"x","user":"Eve"}]`)
	if w := quick.welcome(); w.User != "user-x" {
		t.Errorf("user %q, want Auth's", w.User)
	}
	none := dial(t, s, nativeName)
	none.send(`[1,{"user":"Eve"}]`)
	none.wantClose(closeUnauthorized, `[13,"unauthorized","who are you?",-1]`)
	for _, token := range []string{"down", "busy"} {
		c := dial(t, s, nativeName)
		c.send(fmt.Sprintf(`[1,{"token":%q}]`, token))
		var code, text string
		var retry int
		c.scan(c.next(), typeBye, &code, &text, &retry)
		if code != bus.Unavailable || text != "" || retry < 500 {
			t.Errorf("%s: bye %q %q %d, want to be sent away for a while without details", token, code, text, retry)
		}
		c.wantClose(closeLater)
	}
	open()
	if w := slow.welcome(); w.User != "Slow" {
		t.Errorf("user %q", w.User)
	}
	for i := 1; i <= 2; i++ {
		var x int
		if slow.scan(slow.next(), typePing, &x); x != i {
			t.Errorf("pong %d, want %d", x, i)
		}
	}
}

func TestWrongSortOfMessageCloses1003(t *testing.T) {
	s := startEdge(t, openBus(t), Config{})
	c := connect(t, s, nativeName, "Ann")
	c.raw(ws.OpText, []byte(`[5]`))
	c.wantClose(1003)
	c = connect(t, s, jsonName, "Ann")
	c.raw(ws.OpBinary, []byte{0x91, 5})
	c.wantClose(1003)
}

func TestGarbageCloses4100AndHarmsNobody(t *testing.T) {
	s := startEdge(t, openBus(t), Config{})
	other := connect(t, s, nativeName, "Other")
	for name, b := range map[string][]byte{
		"no msgpack": {0xc1}, "empty": {}, "half a frame": {0x93, 4}, "unknown type": {0x91, 77},
		"good, then bad": {0x91, 5, 0xc1}, "list without ref": {0x91, 6}, "join without ref": {0x91, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, s, nativeName, "Ann")
			c.raw(ws.OpBinary, b)
			if name == "good, then bad" {
				c.scan(c.next(), typePing)
			}
			c.wantClose(closeBadFrame, `[13,"bad_frame","not a frame of this protocol",-1]`)
		})
	}
	c := connect(t, s, jsonName, "Ann")
	c.raw(ws.OpText, []byte(`{"type":"hello"}`))
	c.wantClose(closeBadFrame, `[13,"bad_frame","not a frame of this protocol",-1]`)
	other.send(`[5,1]`)
	other.scan(other.next(), typePing)
}

func TestPingIsAnsweredWithTheTime(t *testing.T) {
	s := startEdge(t, openBus(t), Config{})
	for _, p := range protocolNames() {
		c := connect(t, s, p, "Ann")
		c.send(`[5,{"any":[1,"thing"]}]`)
		var x any
		var at int64
		c.scan(c.next(), typePing, &x, &at)
		if fmt.Sprint(x) != "map[any:[1 thing]]" || time.Since(time.UnixMilli(at)).Abs() > time.Minute {
			t.Errorf("%s: pong %v %d", p, x, at)
		}
	}
}

func TestRateLimitRefusesAndAbuseEnds(t *testing.T) {
	s := startEdge(t, openBus(t), Config{CommandsPerSecond: 1, CommandBurst: 5, AbuseLimit: 10})
	c := connect(t, s, nativeName, "Ann")
	for range 5 {
		c.send(`[5]`)
		c.scan(c.next(), typePing)
	}
	for i := range 11 {
		switch i % 3 {
		case 0:
			c.send(`[5]`)
			c.want(`[0,"rate_limited","",5]`)
		case 1:
			c.send(`[2,9,"chat","a"]`)
			c.want(`[2,9,null,["rate_limited"]]`)
		case 2:
			c.send(`[6,9]`)
			c.want(`[6,9,null,["rate_limited"]]`)
		}
	}
	c.wantClose(closeAbuse, `[13,"abuse","limits ignored for too long",-1]`)
}

func TestShutdownSaysGoodbyeWithAHint(t *testing.T) {
	s, stop := startEdgeUntil(t, openBus(t), Config{})
	c := connect(t, s, nativeName, "Ann")
	go stop()
	var code, text string
	var retry int
	c.scan(c.next(), typeBye, &code, &text, &retry)
	if code != bus.Shutdown || retry < 0 || retry > maxSpread {
		t.Errorf("bye %q after %d ms", code, retry)
	}
	c.wantClose(closeShutdown)
	stop()
}
