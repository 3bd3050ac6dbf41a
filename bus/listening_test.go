package bus

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// listening asks who listens, and waits for the answer.
func listening(t *testing.T, c *Conn, subject string) Listening {
	t.Helper()
	found := make(chan Listening, 1)
	c.Listens(subject, func(l Listening) { found <- l })
	return <-found
}

// eavesdrop is what an operator, or a system beside ours, may do: it subscribes
// to everything, and keeps everything in a stream.
func eavesdrop(t *testing.T, c *Conn) {
	t.Helper()
	if _, err := c.Subscribe(">", "", make(chan *Msg, 1<<16)); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitJetStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{Name: "everything", Subjects: []string{"r.>"}, Storage: jetstream.MemoryStorage}
	for {
		_, err := c.js.CreateStream(t.Context(), cfg)
		if err == nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestNATSSaysWhoListens(t *testing.T) {
	one := open(t, Config{})
	systems := map[string][]*Conn{"one server": {one, one, one}, "a cluster": clusterOf(t, 3)}
	for name, conns := range systems {
		t.Run(name, func(t *testing.T) {
			asks, has, hears := conns[0], conns[1], conns[2]
			sub, err := has.Subscribe("r.room.chat.a.in", "", make(chan *Msg, 1))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := has.Subscribe("r.open.chat", "open", make(chan *Msg, 1)); err != nil {
				t.Fatal(err)
			}
			await(t, func() bool { return listening(t, asks, "r.room.chat.a.in").There })
			want := func(subject string, want Listening) {
				t.Helper()
				var got Listening
				await(t, func() bool { got = listening(t, asks, subject); return got == want })
			}
			want("r.room.chat.a.in", Listening{Known: true, There: true})
			want("r.room.chat.b.in", Listening{Known: true})
			eavesdrop(t, hears)
			want("r.room.chat.a.in", Listening{Known: true, There: true, Other: true})
			want("r.open.chat", Listening{Known: true, There: true, Other: true})
			want("r.room.chat.b.in", Listening{Known: true, Other: true})
			if err := sub.Unsubscribe(); err != nil {
				t.Fatal(err)
			}
			want("r.room.chat.a.in", Listening{Known: true, Other: true})
		})
	}
}

func TestNobodyListensIsHeardThoughEverythingIsListenedTo(t *testing.T) {
	c := open(t, Config{})
	eavesdrop(t, c)
	began := time.Now()
	done := make(chan error, 1)
	c.Call("r.open.none", nil, time.Minute, func(_ []byte, err error) { done <- err })
	if err := <-done; CodeOf(err) != Unavailable {
		t.Errorf("request to nobody = %v, want %s", err, Unavailable)
	}
	t.Log("after", time.Since(began))
	stop, err := c.Handle("r.open.chat", "open", func(context.Context, []byte) ([]byte, error) { return []byte("here"), nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	body, err := c.Request(t.Context(), "r.open.chat", nil)
	if err != nil || string(body) != "here" {
		t.Errorf("request = %q, %v, want our own answer", body, err)
	}
	if c.Foreigners() == 0 {
		t.Error("the stream's answers are not counted")
	}
}

func TestTracesWithoutAnAnswerAreNotKnown(t *testing.T) {
	c := open(t, Config{})
	c.calls.inbox = "r.elsewhere" // so that none arrives, as with a server that knows no traces
	if l := listening(t, c, "r.x"); l.Known {
		t.Errorf("got %+v, want not known", l)
	}
	if n := len(c.traces.waiting) + len(c.traces.bySubject); n != 0 {
		t.Errorf("%d traces are left", n)
	}
}
