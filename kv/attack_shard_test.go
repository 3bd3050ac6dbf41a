package kv

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv/resp"
)

// quietLink is a link without its goroutine: the test does what that does.
func quietLink(t *testing.T, blocks bool) *link {
	conn, err := bus.Open(t.Context(), bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	l := newLink(conn, 0, blocks)
	l.begin()
	return l
}

// hears has a link hear the answers that a shard has made.
func (l *link) hears(answers [][]byte) {
	for _, b := range answers {
		l.receive(&bus.Msg{Subject: l.inbox, Data: b})
	}
}

func answersTo(t *testing.T, s *Shard, l *link, body []byte) (answers [][]byte) {
	now := time.Now()
	q := request{session: l.session, hello: true, deadline: now.UnixMilli() + 1000}
	if err := s.Serve(now, append(appendRequest(nil, q), body...), l.inbox); err != nil {
		t.Fatal(err)
	}
	s.AppendEntry(nil)
	s.Answers(func(_ string, b []byte) { answers = append(answers, bytes.Clone(b)) })
	return answers
}

func TestLargeReplyWithoutItsBeginningIsNotGiven(t *testing.T) {
	l := quietLink(t, false)
	s := NewShard(1, l.conn.Subjects())
	value := strings.Repeat("x", 3*maxAnswer)
	answersTo(t, s, l, run(100, "SET", "k", value))
	var got []byte
	l.start(&call{op: opRun, body: appendArgs(nil, bytesOf([]string{"GET", "k"})), done: func(b []byte, err error) {
		if err != nil {
			t.Error(err)
		}
		got = b
	}})
	l.takeQueue()
	l.send()
	ask := run(1, "GET", "k")
	want := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)

	answers := answersTo(t, s, l, ask)
	l.hears(answers[:1])
	l.again() // as when a worker has said that the shard is open
	l.hears(answers[1:])
	if got != nil && string(got) != want {
		t.Fatalf("%d bytes were given, want %d", len(got), len(want))
	}
	answers = answersTo(t, s, l, ask)
	l.hears(append(answers[:1:1], answers[2:]...)) // NATS lost one
	if got != nil && string(got) != want {
		t.Fatalf("%d bytes were given, want %d", len(got), len(want))
	}
	l.hears(answersTo(t, s, l, ask))
	if string(got) != want {
		t.Fatalf("%d bytes were given, want %d", len(got), len(want))
	}
}

func TestLinkForgetsWhatItNoLongerListensTo(t *testing.T) {
	l := quietLink(t, false)
	s := NewShard(1, l.conn.Subjects())
	for i := range uint64(10) {
		what := listened{name: "news"}
		c := &call{op: opListen, body: appendListen(nil, what, int(1-i%2)), what: what, ends: i%2 == 1, done: func([]byte, error) {}}
		l.start(c)
		l.takeQueue()
		l.send()
		l.hears(answersTo(t, s, l, appendListen(appendNumber(nil, opListen, i+1), what, int(1-i%2))))
	}
	if len(l.listens) != 0 {
		t.Errorf("%d are remembered, want none", len(l.listens))
	}
}

func TestManySubscriptionsAreToldToTheNextOwner(t *testing.T) {
	l := quietLink(t, false)
	for i := range 20_000 {
		what := listened{name: fmt.Sprintf("%080d", i)}
		l.listens[what] = &call{op: opListen, state: over, body: appendListen(nil, what, 1), what: what}
	}
	in := make(chan *bus.Msg, 1000)
	if _, err := l.conn.Subscribe(l.subject, "", in); err != nil {
		t.Fatal(err)
	}
	l.again()
	l.send()
	if err := l.conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := NewShard(1, l.conn.Subjects())
	for len(in) > 0 {
		m := <-in
		if err := s.Serve(time.Now(), m.Data, m.Reply); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.listeners.channels); n != 20_000 {
		t.Errorf("the next owner knows of %d, want 20000", n)
	}
}

func TestBlockingCommandWhoseRequestWasLostIsAskedAgain(t *testing.T) {
	l := quietLink(t, true)
	s := NewShard(1, l.conn.Subjects())
	in := make(chan *bus.Msg, 100)
	if _, err := l.conn.Subscribe(l.subject, "", in); err != nil {
		t.Fatal(err)
	}
	l.start(&call{op: opRun, body: appendArgs(nil, bytesOf([]string{"BLPOP", "l", "0"})), done: func([]byte, error) {}})
	l.takeQueue()
	l.send()
	<-in // the shard's mailbox is full
	now := time.Now()
	for range 40 { // as its clock says, it is heard all the time
		now = now.Add(aliveEvery)
		l.look(now)
		l.send()
		if err := l.conn.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for len(in) > 0 {
			m := <-in
			if err := s.Serve(time.Now(), m.Data, m.Reply); err != nil {
				t.Fatal(err)
			}
		}
		s.AppendEntry(nil)
		s.Answers(func(_ string, b []byte) { l.hears([][]byte{bytes.Clone(b)}) })
	}
	if s.Waiting() != 1 {
		t.Error("it does not wait")
	}
}

func TestWaitWithoutACallerTakesNothing(t *testing.T) {
	o := newOwner(t)
	q, other := request{session: 7, hello: true}, request{session: 8, hello: true}
	o.ask(other, run(1, "RPUSH", "list", "a"))
	o.want(o.ask(q, run(5, "BLPOP", "list", "0")), item{number: 5, kind: itemHanded, reply: []byte("*2\r\n$4\r\nlist\r\n$1\r\na\r\n")})
	o.ask(q, run(7, "BLPOP", "list", "0"))
	o.ask(q, run(9, "INCR", "n"))
	q.over = 10 // it does not want any of these
	o.ask(q, nil)
	o.ask(q, appendNumber(nil, opDecline, 7))
	o.want(o.ask(other, run(2, "LRANGE", "list", "0", "-1")), reply(2, "*1\r\n$1\r\na\r\n"))
	if o.shard.Waiting() != 0 {
		t.Error("something waits")
	}
}

func TestElementsGoBackInTheirOrder(t *testing.T) {
	for name, leave := range map[string]func(o *owner){
		"lapse": func(o *owner) { o.pass(11 * time.Second) },
		"over":  func(o *owner) { o.ask(request{session: 7, over: 2}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOwner(t)
			dead, other := request{session: 7, hello: true}, request{session: 8, hello: true}
			o.ask(other, run(1, "RPUSH", "list", "a", "b", "c"))
			o.ask(dead, run(1, "BLPOP", "list", "0"))
			o.ask(dead, run(2, "BLPOP", "list", "0"))
			leave(o)
			o.want(o.ask(other, run(2, "LRANGE", "list", "0", "-1")), reply(2, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"))
		})
	}
}

func TestElementThatDidNotFitGoesBackAtTheNextOwner(t *testing.T) {
	for name, pages := range map[string]bool{"log": false, "pages": true} {
		t.Run(name, func(t *testing.T) {
			o := newOwner(t)
			q, other := request{session: 7, hello: true}, request{session: 8, hello: true}
			o.ask(other, run(1, "RPUSH", "list", "a"))
			o.ask(q, run(1, "BLPOP", "list", "0"))
			o.ask(other, run(2, "SET", "list", "in the way"))
			q.over = 1
			o.ask(q, run(2, "INCR", "n"))
			o.replaced()
			if pages {
				o.replaced()
			}
			o.ask(other, run(3, "DEL", "list"))
			o.pass(11 * time.Second)
			o.want(o.ask(other, run(4, "LRANGE", "list", "0", "-1")), reply(4, "*1\r\n$1\r\na\r\n"))
			o.replaced()
			o.pass(11 * time.Second)
			o.want(o.ask(other, run(5, "LRANGE", "list", "0", "-1")), reply(5, "*1\r\n$1\r\na\r\n"))
		})
	}
}

func TestWaitEndsThoughAnElementCannotBeConfirmed(t *testing.T) {
	l := quietLink(t, true)
	s := NewShard(1, l.conn.Subjects())
	var ended error
	c := &call{op: opRun, body: appendArgs(nil, bytesOf([]string{"BLPOP", "l", "0"})), done: func(_ []byte, err error) { ended = err }}
	l.start(c)
	l.takeQueue()
	l.send()
	l.hears(answersTo(t, s, l, append(run(100, "RPUSH", "l", "a"), run(1, "BLPOP", "l", "0")...)))
	l.send()
	l.stop(c, true) // from here the shard is not heard any more
	l.takeQueue()
	l.look(time.Now().Add(time.Minute))
	if bus.CodeOf(ended) != bus.Timeout {
		t.Errorf("ended with %v, want code timeout", ended)
	}
}

func severalShards(t *testing.T, n int) Store {
	conn, err := bus.Open(t.Context(), bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for i := range n {
		driveShard(t, conn, i)
	}
	store := OpenShards(conn, Config{Timeout: 2 * time.Second}, n)
	t.Cleanup(store.Close)
	return store
}

func said(t *testing.T, store Store, argv ...string) string {
	t.Helper()
	b, err := store.Do(t.Context(), bytesOf(argv))
	if err != nil {
		t.Fatalf("%q: %v", argv[:min(len(argv), 5)], err)
	}
	return string(b)
}

func TestLastValueOfAKeyCountsOverShards(t *testing.T) {
	store := severalShards(t, 3)
	for i := range 50 {
		said(t, store, "MSET", "a", "1", "b", "1", "c", "1", "d", "1", "a", "2", "b", "2", "c", "2", "d", fmt.Sprint(i))
		if got := said(t, store, "MGET", "a", "b", "a", "c", "x", "d"); got != fmt.Sprintf("*6\r\n$1\r\n2\r\n$1\r\n2\r\n$1\r\n2\r\n$1\r\n2\r\n_\r\n$%d\r\n%d\r\n", len(fmt.Sprint(i)), i) {
			t.Fatalf("MGET = %q", got)
		}
	}
	if got := said(t, store, "EXISTS", "a", "b", "a", "c", "x", "d"); got != ":5\r\n" {
		t.Errorf("EXISTS = %q", got)
	}
	if got := said(t, store, "DEL", "a", "b", "a", "c", "x", "d"); got != ":4\r\n" {
		t.Errorf("DEL = %q", got)
	}
	if got := said(t, store, "MSET", "a", "1", "b"); !strings.HasPrefix(got, "-ERR wrong number of arguments") {
		t.Errorf("MSET = %q", got)
	}
}

func TestManyKeysOverShardsAreNotTooManyCommands(t *testing.T) {
	store := severalShards(t, 2)
	argv := []string{"MSET"}
	for i := range maxCalls * 3 {
		argv = append(argv, fmt.Sprint("k", i), "v")
	}
	if got := said(t, store, argv...); got != "+OK\r\n" {
		t.Errorf("MSET = %q", got)
	}
}

func TestUnavailableMeansThatNothingHappenedOnAnyShard(t *testing.T) {
	store := severalShards(t, 2)
	var keys [2]string
	s := store.(inTurn).Store.(*remote)
	for i := range 20 {
		key := fmt.Sprint("k", i)
		keys[s.shardOf([]byte(key))] = key
	}
	said(t, store, "SET", keys[0], "1")
	l := s.shards[1].link
	l.mu.Lock()
	l.asked = maxCalls // it refuses
	l.mu.Unlock()
	_, err := store.Do(t.Context(), bytesOf([]string{"MSET", keys[0], "2", keys[1], "2"}))
	l.mu.Lock()
	l.asked = 0
	l.mu.Unlock()
	if bus.CodeOf(err) != bus.Timeout {
		t.Errorf("MSET = %v though a part of it happened, want code timeout", err)
	}
}

func TestWordPublishAsAValueIsNoPublish(t *testing.T) {
	store := severalShards(t, 2)
	for i := range 8 {
		key := fmt.Sprint("k", i)
		if got := said(t, store, "EXEC", "0", "3", "SET", key, "publish"); got != "*1\r\n+OK\r\n" {
			t.Errorf("EXEC = %q", got)
		}
		said(t, store, "EXEC", "1", key, "5", "3", "SET", key, "publish")
	}
	refused := 0
	for i := range 8 {
		key := fmt.Sprint("k", i)
		if got := said(t, store, "EXEC", "0", "3", "SET", key, "x", "3", "PUBLISH", "c", "y"); strings.HasPrefix(got, "-CROSSSLOT") {
			refused++
		}
	}
	if refused == 0 || refused == 8 {
		t.Errorf("%d of 8 transactions that publish were refused", refused)
	}
}

func TestScanOverShardsFindsEveryKey(t *testing.T) {
	store := severalShards(t, 3)
	for i := range 500 {
		said(t, store, "SET", fmt.Sprint("k", i), "v")
	}
	seen := map[string]bool{}
	for cursor := "0"; ; {
		v, _, err := resp.Parse([]byte(said(t, store, "SCAN", cursor, "COUNT", "7")))
		if err != nil || len(v.Elems) != 2 {
			t.Fatalf("SCAN = %v, %v", v, err)
		}
		for _, k := range v.Elems[1].Elems {
			seen[string(k.Text)] = true
		}
		if cursor = string(v.Elems[0].Text); cursor == "0" {
			break
		}
	}
	if len(seen) != 500 {
		t.Errorf("%d keys, want 500", len(seen))
	}
	if got := said(t, store, "SCAN", "18446744073709551615"); got == "" {
		t.Error("no answer")
	}
}

func TestHoldSurvivesASlowTakeover(t *testing.T) {
	o := newOwner(t)
	q, other := request{session: 7, hello: true}, request{session: 8, hello: true}
	o.want(o.ask(q, run(1, "HOLD", "lock", "mine", "1000")), reply(1, ":1\r\n"))
	o.now = o.now.Add(time.Minute)
	o.replaced()
	o.shard.Tick(o.now)
	o.want(o.ask(other, run(1, "HOLD", "lock", "theirs", "1000")))
	o.want(o.ask(q, run(2, "RENEW", "lock", "mine", "1000")), reply(2, ":1\r\n"))
	o.pass(2 * time.Second)
	o.want(o.said[o.inbox(8)], reply(1, ":2\r\n"))
}
