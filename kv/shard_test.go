package kv

import (
	"bytes"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv/engine"
)

// An owner drives a shard as a worker does, with a log and page records that are
// slices, and hears what it says.
type owner struct {
	t     testing.TB
	shard *Shard
	epoch uint64
	now   time.Time
	log   [][]byte // entries
	pages [Pages][]byte
	said  map[string][]item // by session's inbox
	news  []string
}

func newOwner(t testing.TB) *owner {
	o := &owner{t: t, epoch: 1, now: time.UnixMilli(1e12), said: map[string][]item{}}
	o.shard = NewShard(1, subjectsOf(t))
	o.shard.Begin(o.now)
	return o
}

func subjectsOf(t testing.TB) bus.Subjects {
	conn, err := bus.Open(t.Context(), bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.Subjects()
}

// ask serves a request and commits what it changed.
func (o *owner) ask(q request, body []byte) []item {
	o.t.Helper()
	q.deadline = o.now.UnixMilli() + 1000
	inbox := o.inbox(q.session)
	if err := o.shard.Serve(o.now, append(appendRequest(nil, q), body...), inbox); err != nil {
		o.t.Fatal(err)
	}
	o.said[inbox] = nil
	o.commit()
	return o.said[inbox]
}

func (o *owner) inbox(session uint64) string {
	return o.shard.subjects.StoreInbox(fmt.Sprint(session))
}

func (o *owner) commit() {
	if entry, changed := o.shard.AppendEntry(nil); changed {
		o.log = append(o.log, entry)
		o.shard.Committed(uint64(len(o.log)), 0)
	}
	o.shard.Answers(func(subject string, b []byte) {
		if n, ok := parseNews(b); ok && strings.Contains(subject, ".news.") {
			o.news = append(o.news, string(n.channel)+":"+string(n.text))
			return
		}
		_, ok := parseAnswer(b, func(uint64) bool { return true }, func(it item) {
			it.reply = bytes.Clone(it.reply)
			o.said[subject] = append(o.said[subject], it)
		})
		if !ok {
			o.t.Fatalf("malformed answer %q", b)
		}
	})
}

// pass lets time go by.
func (o *owner) pass(d time.Duration) {
	for end := o.now.Add(d); o.now.Before(end); {
		o.now = o.now.Add(lookEvery * time.Millisecond)
		o.shard.Tick(o.now)
		o.commit()
	}
}

// replaced makes the next owner, from the pages and the log.
func (o *owner) replaced() {
	o.t.Helper()
	next := NewShard(o.epoch+1, o.shard.subjects)
	for i, page := range o.pages {
		if page == nil {
			continue
		}
		if err := next.Load(i, page); err != nil {
			o.t.Fatal(err)
		}
	}
	for i, entry := range o.log {
		if err := next.Replay(uint64(i+1), entry); err != nil {
			o.t.Fatal(err)
		}
	}
	for _, i := range next.Fresh() {
		o.pages[i] = next.AppendPage(nil, i)
	}
	next.Begin(o.now)
	o.epoch++
	o.shard = next
}

func run(n uint64, argv ...string) []byte {
	return appendArgs(appendNumber(nil, opRun, n), bytesOf(argv))
}

func (o *owner) want(got []item, want ...item) {
	o.t.Helper()
	if fmt.Sprintf("%v", got) != fmt.Sprintf("%v", want) {
		o.t.Fatalf("items %v, want %v", got, want)
	}
}

func reply(n uint64, text string) item { return item{number: n, kind: itemReply, reply: []byte(text)} }

func TestCommandAskedAgainRunsOnce(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true}
	o.want(o.ask(q, run(1, "INCR", "n")), reply(1, ":1\r\n"))
	o.want(o.ask(q, run(1, "INCR", "n")), reply(1, ":1\r\n"))
	o.replaced()
	o.want(o.ask(q, run(1, "INCR", "n")), reply(1, ":1\r\n"))
	o.pages = [Pages][]byte{}
	o.replaced() // from the log alone
	o.want(o.ask(q, run(1, "INCR", "n")), reply(1, ":1\r\n"))
	q.over = 1
	o.want(o.ask(q, run(1, "INCR", "n"))) // a straggler
	o.want(o.ask(q, run(2, "GET", "n")), reply(2, "$1\r\n1\r\n"))
}

func TestRepliesThatArrivedAreForgotten(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true}
	for n := uint64(1); n <= 100; n++ {
		q.over = n - 1
		o.ask(q, run(n, "INCR", "n"))
	}
	q.over, q.done = 99, []uint64{100}
	o.ask(q, nil)
	if kept := o.shard.sessions[7].kept; len(kept) != 0 {
		t.Errorf("%d replies are kept, want none", len(kept))
	}
}

func TestElementGoesBackUnlessItsArrivalIsConfirmed(t *testing.T) {
	for name, next := range map[string]bool{"same owner": false, "next owner": true} {
		t.Run(name, func(t *testing.T) {
			o := newOwner(t)
			dead, alive := request{session: 7, hello: true}, request{session: 8, hello: true}
			o.want(o.ask(dead, run(1, "BRPOP", "list", "0")))
			o.want(o.ask(alive, run(1, "RPUSH", "list", "a", "b")), reply(1, ":2\r\n"))
			handed := item{number: 1, kind: itemHanded, reply: []byte("*2\r\n$4\r\nlist\r\n$1\r\nb\r\n")}
			o.want(o.said[o.inbox(7)], handed)
			if next {
				o.replaced()
			}
			o.pass(11 * time.Second)
			o.want(o.ask(alive, run(2, "LRANGE", "list", "0", "-1")), reply(2, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"))
			o.want(o.ask(dead, appendNumber(nil, opConfirm, 1)), item{number: 1, kind: itemWithdrawn})
		})
	}
}

func TestConfirmedElementIsGone(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true}
	o.ask(q, run(1, "RPUSH", "list", "a"))
	o.want(o.ask(q, run(2, "BLPOP", "list", "0")), item{number: 2, kind: itemHanded, reply: []byte("*2\r\n$4\r\nlist\r\n$1\r\na\r\n")})
	o.replaced()
	o.want(o.ask(q, appendNumber(nil, opConfirm, 2)), item{number: 2, kind: itemConfirmed})
	o.want(o.ask(q, appendNumber(nil, opConfirm, 2)), item{number: 2, kind: itemConfirmed})
	o.pass(time.Minute)
	o.want(o.ask(q, run(3, "LLEN", "list")), reply(3, ":0\r\n"))
}

func TestDeclinedElementGoesToTheNextWaiter(t *testing.T) {
	o := newOwner(t)
	first, second, third := request{session: 7, hello: true}, request{session: 8, hello: true}, request{session: 9, hello: true}
	o.ask(first, run(1, "BLPOP", "list", "0"))
	o.ask(second, run(1, "BLPOP", "list", "0"))
	o.ask(third, run(1, "RPUSH", "list", "a"))
	handed := item{number: 1, kind: itemHanded, reply: []byte("*2\r\n$4\r\nlist\r\n$1\r\na\r\n")}
	o.want(o.said[o.inbox(7)], handed)
	first.done = []uint64{1} // as a store says in the same request
	o.ask(first, appendNumber(nil, opDecline, 1))
	o.want(o.said[o.inbox(8)], handed)
}

func TestCancelledWaitTakesNothing(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true}
	o.ask(q, run(1, "BLPOP", "list", "0"))
	o.want(o.ask(q, appendNumber(nil, opCancel, 1)), reply(1, "_\r\n"))
	o.ask(q, run(2, "RPUSH", "list", "a"))
	o.want(o.ask(q, run(3, "LLEN", "list")), reply(3, ":1\r\n"))
}

func TestSilentSessionLosesItsPlaceAndIsTold(t *testing.T) {
	o := newOwner(t)
	q, other := request{session: 7, hello: true}, request{session: 8, hello: true}
	o.ask(q, run(1, "BLPOP", "list", "0"))
	o.ask(q, appendListen(appendNumber(nil, opListen, 2), listened{false, "news"}, 3))
	before := o.shard.sessions[7].tenure
	o.want(o.ask(other, run(1, "PUBLISH", "news", "x")), reply(1, ":3\r\n"))
	o.pass(11 * time.Second)
	o.want(o.ask(other, run(2, "PUBLISH", "news", "y")), reply(2, ":0\r\n"))
	if o.shard.Waiting() != 0 || o.shard.engine.Waiting() != 0 {
		t.Error("it still waits")
	}
	if o.shard.sessions[7].tenure == before {
		t.Error("its tenure is the same: it would wait for ever")
	}
	if fmt.Sprint(o.news) != "[news:x news:y]" {
		t.Errorf("published %q", o.news)
	}
}

func TestIdleSessionEndsAndHearsOfIt(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true}
	o.ask(q, run(1, "INCR", "n"))
	o.pass(3 * time.Minute)
	q.hello = false
	o.want(o.ask(q, run(2, "INCR", "n")), item{kind: itemUnknown})
	o.replaced()
	if len(o.shard.sessions) != 0 {
		t.Error("the next owner still has it")
	}
}

func TestRequestPastItsDeadlineIsNotRun(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true, deadline: o.now.UnixMilli() - 1}
	err := o.shard.Serve(o.now, append(appendRequest(nil, q), run(1, "INCR", "n")...), o.inbox(7))
	if err != nil || o.shard.Keys() != 0 {
		t.Errorf("Serve = %v, %d keys", err, o.shard.Keys())
	}
}

func TestSessionsAreBounded(t *testing.T) {
	o := newOwner(t)
	for i := range uint64(maxSessions) {
		o.ask(request{session: i + 1, hello: true}, nil)
	}
	o.want(o.ask(request{session: maxSessions + 1, hello: true}, run(1, "INCR", "n")), item{kind: itemFull})
}

func TestLargeReplyComesInParts(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true}
	value := strings.Repeat("x", 2*maxAnswer)
	o.ask(q, run(1, "SET", "k", value))
	var whole []byte
	items := o.ask(q, run(2, "GET", "k"))
	for _, it := range items {
		whole = append(whole, it.reply...)
	}
	if want := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value); string(whole) != want || len(items) != 4 {
		t.Errorf("%d bytes in %d items, want %d in 4", len(whole), len(items), len(want))
	}
}

// Whatever is written when: pages of any age and the log make the shard again.
func TestShardIsMadeAgainFromPagesOfAnyAge(t *testing.T) {
	for seed := range int64(20) {
		r := rand.New(rand.NewSource(seed))
		o := newOwner(t)
		words := []string{"a", "b", "c", "d{a}", "e"}
		word := func() string { return words[r.Intn(len(words))] }
		commands := []func() []string{
			func() []string { return []string{"INCR", "n" + word()} },
			func() []string { return []string{"HINCRBY", "h" + word(), word(), "1"} },
			func() []string { return []string{"RPUSH", "l" + word(), word(), word()} },
			func() []string { return []string{"LPOP", "l" + word()} },
			func() []string { return []string{"BRPOP", "l" + word(), "l" + word(), "0"} },
			func() []string { return []string{"SADD", "s" + word(), word()} },
			func() []string { return []string{"ZADD", "z" + word(), fmt.Sprint(r.Intn(5)), word()} },
			func() []string { return []string{"PEXPIRE", "l" + word(), fmt.Sprint(r.Intn(5000))} },
			func() []string { return []string{"DEL", "h" + word(), "s" + word()} },
			func() []string { return []string{"SUNIONSTORE", "s" + word(), "s" + word(), "s" + word()} },
		}
		next := map[uint64]uint64{}
		for range 300 {
			session := uint64(1 + r.Intn(3))
			next[session]++
			q := request{session: session, hello: true, over: next[session] / 2}
			if r.Intn(3) == 0 {
				q.done = []uint64{next[session] - 1, next[session] - 2}
			}
			o.ask(q, run(next[session], commands[r.Intn(len(commands))]()...))
			if r.Intn(3) == 0 {
				o.ask(q, appendNumber(nil, opConfirm, uint64(r.Intn(int(next[session])+1))))
			}
			if r.Intn(10) == 0 {
				o.pass(time.Second)
			}
			if i, first, _ := o.shard.Oldest(); first != 0 && r.Intn(4) == 0 {
				number := o.shard.Number()
				o.pages[i] = o.shard.BeginPage(i)
				o.shard.Wrote(i, number, nil)
			}
		}
		var want [engine.Pages][]byte
		for i := range want {
			want[i] = o.shard.engine.AppendPage(nil, i)
		}
		sessions := sessionsOf(o.shard)
		if seed == 0 && sessions == "" {
			t.Error("nobody was handed anything")
		}
		o.replaced()
		for i := range want {
			if got := o.shard.engine.AppendPage(nil, i); len(got) != len(want[i]) {
				t.Fatalf("seed %d: page %d is %q, want %q", seed, i, got, want[i])
			}
		}
		if got := sessionsOf(o.shard); got != sessions {
			t.Fatalf("seed %d: sessions\n%s, want\n%s", seed, got, sessions)
		}
	}
}

// sessionsOf shows what sessions were handed and have not confirmed. (Other
// replies that were forgotten since the last entry may be there again.)
func sessionsOf(s *Shard) string {
	var b strings.Builder
	for id := uint64(1); id < 10; id++ {
		if c := s.sessions[id]; c != nil {
			fmt.Fprint(&b, id, ": ")
			for _, k := range c.kept {
				if k.handed() {
					fmt.Fprintf(&b, "%d %d %q, ", k.number, k.kind, k.reply)
				}
			}
		}
	}
	return b.String()
}

func FuzzServe(f *testing.F) {
	subjects := subjectsOf(f)
	f.Add(run(1, "INCR", "n"))
	f.Add(appendListen(appendNumber(nil, opListen, 2), listened{true, "a*"}, 3))
	f.Add(append(run(1, "BLPOP", "l", "0"), run(2, "RPUSH", "l", "x")...))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := NewShard(1, subjects)
		now := time.UnixMilli(1e12)
		s.Begin(now)
		q := request{session: 7, hello: true, deadline: 2e12}
		if s.Serve(now, append(appendRequest(nil, q), body...), subjects.StoreInbox("x")) != nil {
			return
		}
		s.Tick(now.Add(time.Hour))
		entry, changed := s.AppendEntry(nil)
		if !changed {
			t.Fatal("the session is not in an entry")
		}
		next := NewShard(2, subjects)
		if err := next.Replay(1, entry); err != nil {
			t.Fatal(err)
		}
		if next.Keys() != s.Keys() {
			t.Fatalf("%d keys after replay, want %d", next.Keys(), s.Keys())
		}
	})
}

func FuzzReplay(f *testing.F) {
	subjects := subjectsOf(f)
	s := NewShard(1, subjects)
	s.Begin(time.UnixMilli(1e12))
	q := request{session: 7, hello: true, deadline: 2e12}
	if err := s.Serve(time.UnixMilli(1e12), append(appendRequest(nil, q), run(1, "RPUSH", "l", "x")...), subjects.StoreInbox("x")); err != nil {
		f.Fatal(err)
	}
	entry, _ := s.AppendEntry(nil)
	f.Add(entry, s.AppendPage(nil, engine.PageOf([]byte("l"))))
	f.Fuzz(func(t *testing.T, entry, page []byte) {
		s := NewShard(1, subjects)
		_ = s.Load(3, page) // whatever they are: no panic
		_ = s.Load(sessionsPage, page)
		_ = s.Replay(1, entry)
	})
}

func TestEmptyArgumentIsAnArgument(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true}
	o.want(o.ask(q, run(1, "SET", "", "")), reply(1, "+OK\r\n"))
	o.want(o.ask(q, run(2, "SET", "a", "b", "EX", "")), reply(2, "-ERR value is not an integer or out of range\r\n"))
}

func TestOneRequestCannotAskForEverything(t *testing.T) {
	o := newOwner(t)
	q := request{session: 7, hello: true}
	o.ask(q, run(1, "SET", "k", strings.Repeat("x", 1<<20)))
	var body []byte
	const n = 200
	for i := range uint64(n) {
		body = append(body, run(2+i, "GET", "k")...)
	}
	size, answered, refused := 0, 0, 0
	for _, it := range o.ask(q, body) {
		size += len(it.reply)
		switch {
		case it.kind != itemReply:
		case bytes.Equal(it.reply, replyTooMuch):
			refused++
		default:
			answered++
		}
	}
	if size > refuseAt+2<<20 || answered < 32 || answered+refused != n {
		t.Errorf("%d bytes, %d answered, %d refused, want all in %d bytes at most", size, answered, refused, refuseAt)
	}
}
