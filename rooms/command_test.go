package rooms

import (
	"fmt"
	"testing"
	"time"

	"roomd/bus"
)

func TestCommandsOfAMemberRunInOrderAndEachGetsItsReply(t *testing.T) {
	b := startBus(t)
	const n = 5000
	kind := counterKind()
	kind.MaxMailbox = 2 * n
	b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	var batch []bus.Command
	for i := range uint64(n) {
		batch = append(batch, bus.Command{Op: bus.OpSend, Member: m, N: i + 1, Acked: max(i, 64) - 64, Event: []byte("add")})
		if len(batch) == 7 || i == n-1 {
			e.send(key, batch...)
			batch = nil
		}
	}
	for i := range uint64(n) {
		it := e.awaitOp(bus.ItemReply)
		if it.N != i+1 || it.Code != "" || unpack[uint64](t, it.Data) != i+1 {
			t.Fatalf("reply %d = N %d, code %q, data %x", i+1, it.N, it.Code, it.Data)
		}
	}
}

func TestAllMembersSeeBroadcastsInTheSameOrderWithoutGap(t *testing.T) { // R4
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e1, e2 := b.edge(t, "e1"), b.edge(t, "e2")
	key := e1.open("counter", "a")
	m1, m2 := e1.join(key, "Ann").To, e2.join(key, "Ben").To
	const n = 500
	for i := range n {
		e1.send(key, bus.Command{Op: bus.OpSend, Member: m1, Event: []byte("cast"), Data: pack(i)})
		e2.send(key, bus.Command{Op: bus.OpSend, Member: m2, Event: []byte("cast"), Data: pack(i)})
	}
	heard := make(map[uint64]string)
	last := [2]uint64{}
	for i, e := range []*testEdge{e1, e2} {
		for range 2 * n {
			it := e.awaitOp(bus.ItemMessage)
			if text := fmt.Sprintf("%x", it.Data); heard[it.Seq] == "" {
				heard[it.Seq] = text
			} else if heard[it.Seq] != text {
				t.Fatalf("seq %d is %s here and %s there", it.Seq, text, heard[it.Seq])
			}
			if it.Seq <= last[i] {
				t.Fatalf("seq %d after %d", it.Seq, last[i])
			}
			last[i] = it.Seq
		}
	}
}

func TestRetriedCommandGetsItsFirstReplyAndChangesNothing(t *testing.T) { // R6
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	first := e.call(key, m, 1, "add", nil)
	again := e.call(key, m, 1, "add", nil)
	if string(first.Data) != string(again.Data) || again.Code != "" {
		t.Errorf("retry got %x %q, the first reply was %x", again.Data, again.Code, first.Data)
	}
	if got := e.call(key, m, 2, "add", nil); unpack[int](t, got.Data) != 2 {
		t.Errorf("count after two commands and a retry = %x, want 2", got.Data)
	}
	// Acknowledged: nothing is answered any more.
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 1, Acked: 2, Event: []byte("add")})
	if got := ops(e.drain(key, m), bus.ItemReply); len(got) != 0 {
		t.Errorf("an acknowledged command was answered: %+v", got)
	}
	if got := e.call(key, m, 3, "add", nil); unpack[int](t, got.Data) != 3 {
		t.Errorf("count = %x, want 3", got.Data)
	}
}

func TestNumbersMustFollowUnlessTheEdgeSkippedThem(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	add := bus.Command{Op: bus.OpSend, Member: m, Event: []byte("add")}
	steps := []struct {
		n, skipped uint64
		code       string
	}{
		{2, 0, bus.OutOfOrder},
		{1, 0, ""},
		{4, 1, bus.OutOfOrder},
		{4, 2, ""},
		{5, 9, ""}, // more skipped than needed: the room knew already
		{3, 0, bus.OutOfOrder},
	}
	for _, s := range steps {
		add.N, add.Skipped = s.n, s.skipped
		e.send(key, add)
		if got := e.reply(m, s.n); got.Code != s.code {
			t.Errorf("number %d with %d skipped: code %q, want %q", s.n, s.skipped, got.Code, s.code)
		}
	}
}

func TestLateCommandIsNotRunAndItsSuccessorsWaitForTheRetry(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	add := func(n uint64) bus.Command {
		return bus.Command{Op: bus.OpSend, Member: m, N: n, Event: []byte("add")}
	}
	e.sendAs(key, envelope{deadline: time.Now().Add(-time.Second)}, add(1))
	e.send(key, add(2))
	for n := range uint64(2) {
		if got := e.reply(m, n+1); got.Code != bus.Timeout {
			t.Errorf("command %d: code %q, want %q", n+1, got.Code, bus.Timeout)
		}
	}
	e.send(key, add(1), add(2))
	for n := range uint64(2) {
		if got := e.reply(m, n+1); got.Code != "" || unpack[uint64](t, got.Data) != n+1 {
			t.Errorf("retry of %d: code %q data %x", n+1, got.Code, got.Data)
		}
	}
}

func TestCommandForAnEarlierEpochIsRefused(t *testing.T) {
	b := startBus(t)
	_, stop := b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	e.open("counter", "a")
	stop()
	b.worker(t, "w1", Config{}, counterKind())
	key := e.open("counter", "a")
	joined := e.join(key, "Ann")
	e.sendAs(key, envelope{epoch: joined.Joined.At.Epoch - 1}, bus.Command{Op: bus.OpSend, Member: joined.To, N: 1, Event: []byte("add")})
	if got := e.reply(joined.To, 1); got.Code != bus.Unavailable {
		t.Errorf("code %q, want %q", got.Code, bus.Unavailable)
	}
	if got := e.call(key, joined.To, 1, "add", nil); unpack[int](t, got.Data) != 1 {
		t.Errorf("count = %x, want 1: the refused command must not have run", got.Data)
	}
}

func TestCommandFromElsewhereThanTheMemberIsRefused(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e1, e2 := b.edge(t, "e1"), b.edge(t, "e2")
	key := e1.open("counter", "a")
	m := e1.join(key, "Ann").To
	for _, member := range []uint32{m, m + 1} {
		e2.send(key, bus.Command{Op: bus.OpSend, Member: member, N: 1, Event: []byte("add")})
		if got := e2.reply(member, 1); got.Code != bus.NotJoined {
			t.Errorf("member %d: code %q, want %q", member, got.Code, bus.NotJoined)
		}
		e2.send(key, bus.Command{Op: bus.OpSend, Member: member, Event: []byte("add")})
		if got := e2.awaitOp(bus.ItemError); got.Code != bus.NotJoined {
			t.Errorf("member %d without number: code %q, want %q", member, got.Code, bus.NotJoined)
		}
	}
}

func TestFullMailboxRefusesWithOverloadedAndGoesOn(t *testing.T) { // R7
	b := startBus(t)
	entered, leave := make(chan bool), make(chan bool)
	kind := Kind{Name: "slow", MaxMailbox: 8, New: func() Handler {
		return &scene{receive: func(r *Room, m *Member, msg *Message) error {
			if msg.Event == "block" {
				entered <- true
				<-leave
			}
			return nil
		}}
	}}
	w, _ := b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("slow", "a")
	m := e.join(key, "Ann").To
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: 1, Event: []byte("block")})
	<-entered
	const n = 100
	for i := range uint64(n) {
		e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: i + 2, Event: []byte("x")})
	}
	room := w.room(key)
	waitFor(t, "the mailbox to have dropped something", func() bool {
		room.box.mu.Lock()
		defer room.box.mu.Unlock()
		return room.box.lossy && len(w.shards[0].in) == 0
	})
	leave <- true
	codes := make(map[string]int)
	for i := range uint64(4 * 8) {
		codes[e.reply(m, i+2).Code]++
	}
	if codes[""] != 8 || codes[bus.Overloaded] != 3*8 {
		t.Errorf("codes of the commands that were taken: %v, want 8 run and 24 overloaded", codes)
	}
	// What was dropped leaves a hole; the room says so, takes the retry and
	// goes on.
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, N: n + 2, Event: []byte("x")})
	if got := e.reply(m, n+2); got.Code != bus.Timeout {
		t.Errorf("command behind a hole: code %q, want %q", got.Code, bus.Timeout)
	}
	if got := e.call(key, m, 34, "x", nil); got.Code != "" {
		t.Errorf("retry of the first one dropped: code %q", got.Code)
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestTooLargeAndUndecodableDataIsRefusedWithItsCode(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	kind.MaxMessageBytes = 100
	b.worker(t, "w1", Config{}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	for n, c := range []struct {
		event string
		data  []byte
		code  string
	}{
		{"log", make([]byte, 101), bus.TooLarge},
		{"log", pack(5), bus.BadData},
		{"log", []byte{0xdf, 0xff, 0xff, 0xff, 0xff}, bus.BadData},
		{"log", []byte{0xc1}, bus.BadData},
		{"nonsense", nil, bus.UnknownEvent},
		{"log", pack("fine"), ""},
	} {
		if got := e.call(key, m, uint64(n+1), c.event, c.data); got.Code != c.code {
			t.Errorf("%s %.10x: code %q, want %q", c.event, c.data, got.Code, c.code)
		}
	}
}

func TestMalformedEnvelopesHarmNobody(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	good := bus.Command{Op: bus.OpSend, Member: m, N: 1, Event: []byte("add")}
	whole := good.Append(bus.AppendCommands(nil, e.addr, 0, time.Now().Add(time.Minute)))
	for n := range whole {
		if err := e.conn.Publish(e.conn.Subjects().In(key), whole[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.conn.Publish(e.conn.Subjects().In(key), append(whole[:len(whole):len(whole)], 200, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if got := e.reply(m, 1); unpack[int](t, got.Data) != 1 {
		t.Errorf("count = %x, want 1", got.Data)
	}
	if got := e.call(key, m, 2, "add", nil); unpack[int](t, got.Data) != 2 {
		t.Errorf("count = %x, want 2", got.Data)
	}
	if w.Len() != 1 {
		t.Errorf("%d rooms, want 1", w.Len())
	}
}
