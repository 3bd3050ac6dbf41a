package edge

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"roomd/bus"
)

// A scriptedWorker opens rooms that do nothing by themselves: the test reads the
// commands and writes the output, so that it can lose envelopes, repeat them
// and take rooms over.
type scriptedWorker struct {
	t    testing.TB
	conn *bus.Conn
	open func(kind, id string) (string, error) // nil: any id

	mu    sync.Mutex
	rooms map[string]*scriptedRoom
	made  chan *scriptedRoom
}

type scriptedRoom struct {
	t        testing.TB
	conn     *bus.Conn
	key      string
	in       chan *bus.Msg
	sub      *bus.Subscription
	from     bus.Address // of the last envelope
	epoch    uint64
	seq, ver uint64
	commands []bus.Command // read and not looked at yet
}

func newScriptedWorker(t testing.TB, conn *bus.Conn, kind string) *scriptedWorker {
	t.Helper()
	w := &scriptedWorker{t: t, conn: conn, rooms: make(map[string]*scriptedRoom), made: make(chan *scriptedRoom, 100)}
	stop, err := conn.Handle(conn.Subjects().Open(kind), "open", func(ctx context.Context, body []byte) ([]byte, error) {
		r := bus.NewReader(body)
		kind, id := r.String(), r.String()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.open != nil {
			var err error
			if id, err = w.open(kind, id); err != nil {
				return nil, err
			}
		}
		if id == "" {
			id = "any"
		}
		if w.rooms[id] == nil {
			w.start(kind, id)
		}
		return bus.AppendString(nil, id), w.conn.Flush(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return w
}

// start begins a room; w.mu is held.
func (w *scriptedWorker) start(kind, id string) {
	r := &scriptedRoom{t: w.t, conn: w.conn, key: bus.Key(kind, id), in: make(chan *bus.Msg, 1000), epoch: 1}
	var err error
	if r.sub, err = w.conn.Subscribe(w.conn.Subjects().In(r.key), "", r.in); err != nil {
		w.t.Error(err)
	}
	w.rooms[id] = r
	w.made <- r
}

// next is the next room that was opened.
func (w *scriptedWorker) next() *scriptedRoom {
	w.t.Helper()
	select {
	case r := <-w.made:
		return r
	case <-time.After(patience):
		w.t.Fatal("no room was opened")
		return nil
	}
}

// die makes a room's owner vanish.
func (w *scriptedWorker) die(r *scriptedRoom) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, id, _ := bus.SplitKey(r.key)
	delete(w.rooms, id)
	if err := r.sub.Unsubscribe(); err != nil {
		w.t.Error(err)
	}
	if err := w.conn.Flush(context.Background()); err != nil {
		w.t.Error(err)
	}
}

// command is the next command that arrives; its op must be op.
func (r *scriptedRoom) command(op bus.Op) bus.Command {
	r.t.Helper()
	for len(r.commands) == 0 {
		r.receive()
	}
	c := r.commands[0]
	r.commands = r.commands[1:]
	if c.Op != op {
		r.t.Fatalf("command %+v, want op %d", c, op)
	}
	return c
}

// say sends one envelope and moves the room's position on.
func (r *scriptedRoom) say(items ...bus.Item) {
	r.t.Helper()
	b := bus.AppendOutput(nil, r.key, r.epoch, r.seq, r.ver)
	for i := range items {
		b = items[i].Append(b)
		switch items[i].Op {
		case bus.ItemMessage, bus.ItemPresence:
			r.seq++
		case bus.ItemPatch:
			r.ver++
		}
	}
	if err := r.conn.Publish(r.conn.Subjects().Out(r.from), b); err != nil {
		r.t.Error(err)
	}
}

// admit answers an OpJoin.
func (r *scriptedRoom) admit(c bus.Command, member uint32, change func(j *bus.Joined)) bus.Item {
	j := bus.Joined{At: bus.Position{Epoch: r.epoch, Seq: r.seq, Ver: r.ver}, Size: 1}
	if change != nil {
		change(&j)
	}
	if j.N != 0 && j.Applied == 0 {
		j.Applied = j.N // unless the test says otherwise
	}
	return bus.Item{Op: bus.ItemJoined, To: member, Session: c.Session, Try: c.Try, Ref: c.Ref, Joined: j}
}

// refuseJoin answers an OpJoin with a code.
func refuseJoin(c bus.Command, code bus.Code, text string) bus.Item {
	return bus.Item{Op: bus.ItemRefused, Session: c.Session, Try: c.Try, Ref: c.Ref, Code: code, Text: text}
}

func message(event string, data string) bus.Item {
	return bus.Item{Op: bus.ItemMessage, Event: []byte(event), Data: fromJSON(data)}
}

func patchItem(data string) bus.Item { return bus.Item{Op: bus.ItemPatch, Data: fromJSON(data)} }

func replyTo(c bus.Command, data string) bus.Item {
	return bus.Item{Op: bus.ItemReply, To: c.Member, N: c.N, Data: fromJSON(data)}
}

// receive waits for an envelope.
func (r *scriptedRoom) receive() {
	r.t.Helper()
	select {
	case m := <-r.in:
		e, err := bus.ParseCommands(m.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		r.from = bus.Address(string(e.From))
		for c := (bus.Command{}); e.Next(&c); {
			c.Event, c.Data = slices.Clone(c.Event), slices.Clone(c.Data)
			r.commands = append(r.commands, c)
		}
		if e.Err() != nil {
			r.t.Fatal(e.Err())
		}
	case <-time.After(patience):
		r.t.Fatal("no command")
	}
}
