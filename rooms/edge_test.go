package rooms

import (
	"fmt"
	"testing"
	"time"

	"roomd/bus"
)

// A testEdge is one loop of an edge: it sends commands and reads output, and
// checks on the way that no output is missing.
type testEdge struct {
	t    testing.TB
	conn *bus.Conn
	addr bus.Address
	in   chan *bus.Msg
	at   map[string]*edgeRoom
	todo []bus.Item // read, not yet asked for
	next uint64     // last session and ref
}

// An edgeRoom is what a loop knows of a room.
type edgeRoom struct {
	epoch, seq, ver uint64
	first           uint64 // epoch that was heard
	members         map[uint32]bool
}

func (b *testBus) edge(t testing.TB, name string) *testEdge {
	t.Helper()
	conn, err := b.conn.Dial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	e := &testEdge{t: t, conn: conn, addr: bus.NewAddress(name, 0), in: make(chan *bus.Msg, 1<<16), at: make(map[string]*edgeRoom)}
	if _, err := conn.Subscribe(conn.Subjects().Loop(e.addr), "", e.in); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// open opens a room and returns its key.
func (e *testEdge) open(kind, id string) string {
	e.t.Helper()
	key, err := e.tryOpen(kind, id)
	passing := func() bool { return bus.CodeOf(err) == bus.Unavailable || bus.CodeOf(err) == bus.Timeout }
	for deadline := time.Now().Add(patience); err != nil && passing() && time.Now().Before(deadline); {
		key, err = e.tryOpen(kind, id) // the worker is about to listen
	}
	if err != nil {
		e.t.Fatalf("open %s.%s: %v", kind, id, err)
	}
	return key
}

func (e *testEdge) tryOpen(kind, id string) (string, error) {
	answer, err := e.conn.Request(e.t.Context(), e.conn.Subjects().Open(kind), bus.AppendString(bus.AppendString(nil, kind), id))
	if err != nil {
		return "", err
	}
	return bus.Key(kind, bus.NewReader(answer).String()), nil
}

// envelope is how commands are sent; zeros mean: any epoch, in a minute.
type envelope struct {
	epoch    uint64
	deadline time.Time
}

func (e *testEdge) send(key string, commands ...bus.Command) { e.sendAs(key, envelope{}, commands...) }

func (e *testEdge) sendAs(key string, env envelope, commands ...bus.Command) {
	e.t.Helper()
	if env.deadline.IsZero() {
		env.deadline = time.Now().Add(time.Minute)
	}
	b := bus.AppendCommands(nil, e.addr, env.epoch, env.deadline)
	for i := range commands {
		b = commands[i].Append(b)
		if r := e.at[key]; r != nil && commands[i].Op == bus.OpAway {
			delete(r.members, commands[i].Member)
		}
	}
	s := e.conn.Subjects()
	if err := e.conn.PublishReply(s.In(key), s.NoResponders(e.addr, 1), b); err != nil {
		e.t.Fatal(err)
	}
}

// read waits for an envelope and takes it apart. It reports false if nothing
// comes before the limit.
func (e *testEdge) read(limit <-chan time.Time) bool {
	e.t.Helper()
	var m *bus.Msg
	select {
	case m = <-e.in:
	case <-limit:
		return false
	}
	if bus.NoResponders(m) {
		e.todo = append(e.todo, bus.Item{Code: "no responders"})
		return true
	}
	out, err := bus.ParseOutput(m.Data)
	if err != nil {
		e.t.Fatal(err)
	}
	r := e.at[string(out.Key)]
	if r == nil {
		r = &edgeRoom{members: make(map[uint32]bool)}
		e.at[string(out.Key)] = r
	}
	if len(r.members) > 0 && r.epoch == out.Epoch && (r.seq != out.Seq || r.ver != out.Ver) {
		e.t.Errorf("output of %s goes on at seq %d ver %d, after seq %d ver %d", out.Key, out.Seq, out.Ver, r.seq, r.ver)
	}
	r.epoch, r.seq, r.ver = out.Epoch, out.Seq, out.Ver
	if r.first == 0 {
		r.first = r.epoch
	}
	for it := (bus.Item{}); out.Next(&it); {
		switch it.Op {
		case bus.ItemMessage:
			r.seq++
			it.Seq = r.seq
		case bus.ItemPresence:
			r.seq++
			it.Seq = r.seq
		case bus.ItemPatch:
			r.ver++
			it.Ver = r.ver
		case bus.ItemJoined:
			r.members[it.To] = true
		case bus.ItemLeft:
			delete(r.members, it.To)
		case bus.ItemClosed:
			clear(r.members)
		}
		e.todo = append(e.todo, it)
	}
	if out.Err() != nil {
		e.t.Fatal(out.Err())
	}
	return true
}

// await returns the next item for which want holds; those before it are
// dropped.
func (e *testEdge) await(what string, want func(*bus.Item) bool) bus.Item {
	e.t.Helper()
	limit := time.After(patience)
	var last bus.Item
	for {
		for i := range e.todo {
			if it := e.todo[i]; want(&it) {
				e.todo = e.todo[i+1:]
				return it
			}
		}
		if len(e.todo) > 0 {
			last = e.todo[len(e.todo)-1]
		}
		e.todo = nil
		if !e.read(limit) {
			e.t.Fatalf("no %s; last read: %.300s", what, fmt.Sprintf("%+v", last))
		}
	}
}

func (e *testEdge) awaitOp(op bus.ItemOp) bus.Item {
	e.t.Helper()
	return e.await(fmt.Sprintf("item %d", op), func(it *bus.Item) bool { return it.Op == op })
}

// session makes a new session id.
func (e *testEdge) session() uint64 {
	e.next++
	return e.next
}

// join takes a seat and returns the answer.
func (e *testEdge) join(key, user string) bus.Item {
	e.t.Helper()
	return e.joinAs(key, bus.Command{User: user})
}

func (e *testEdge) joinAs(key string, c bus.Command) bus.Item {
	e.t.Helper()
	c.Op = bus.OpJoin
	if c.Session == 0 {
		c.Session = e.session() + uint64(len(e.addr))<<32 + uint64(e.addr[0])<<40 + uint64(e.addr[len(e.addr)-3])<<48
	}
	e.next++
	c.Ref = e.next
	e.send(key, c)
	return e.await("answer to the join", func(it *bus.Item) bool {
		return (it.Op == bus.ItemJoined || it.Op == bus.ItemRefused) && it.Ref == c.Ref
	})
}

// call sends a numbered command and returns the reply.
func (e *testEdge) call(key string, member uint32, n uint64, event string, data []byte) bus.Item {
	e.t.Helper()
	e.send(key, bus.Command{Op: bus.OpSend, Member: member, N: n, Event: []byte(event), Data: data})
	return e.reply(member, n)
}

func (e *testEdge) reply(member uint32, n uint64) bus.Item {
	e.t.Helper()
	return e.await(fmt.Sprintf("reply %d", n), func(it *bus.Item) bool {
		return it.Op == bus.ItemReply && it.To == member && it.N == n
	})
}

// quietRoom reads everything that the room says until a command sent now is
// answered, and returns it.
func (e *testEdge) drain(key string, member uint32) []bus.Item {
	e.t.Helper()
	e.send(key, bus.Command{Op: bus.OpSend, Member: member, Event: []byte("no such event")})
	var items []bus.Item
	e.await("answer to the last command", func(it *bus.Item) bool {
		if it.Op == bus.ItemError && it.To == member {
			return true
		}
		items = append(items, *it)
		return false
	})
	return items
}
