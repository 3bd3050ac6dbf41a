package edge

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"roomd/bus"
)

// newBench is a loop's sessions that nobody serves: sends end in outboxes, and
// empty drops them.
func newBench(b *testing.B) *sessions {
	b.Helper()
	cfg, err := unlimited(Config{Addr: "127.0.0.1:0", Loops: 1, Log: slog.New(slog.DiscardHandler)}).withSessionDefaults()
	if err != nil {
		b.Fatal(err)
	}
	t, err := listen(cfg, protocolNames()...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(t.abandon)
	conn := openBus(b)
	s := &Server{conn: conn, cfg: t.cfg, nodes: bus.NewNodes(conn, "edge", nil, nil)}
	return newSessions(s, t.loops[0])
}

// empty throws away what the turn has gathered.
func (lp *sessions) empty() {
	for _, c := range lp.l.dirty {
		c.flags &^= flagDirty
		lp.l.giveOutbox(c.out)
		c.out = nil
	}
	clear(lp.l.dirty)
	lp.l.dirty = lp.l.dirty[:0]
	lp.l.refs = 0
	for _, r := range lp.dirty {
		lp.spareBuffer(r.pending)
		r.pending = nil
	}
	lp.dirty = lp.dirty[:0]
}

// seated adds a conn that is a member of the room with that key.
func (lp *sessions) seated(key string, protocol uint8, member uint32) *conn {
	c := lp.l.slab.take(lp.l)
	c.state, c.protocol = stateOpen, protocol
	lp.opened(c)
	s := c.user.(*session)
	lp.begin(s, fmt.Sprintf("user%05d", member))
	m := lp.add(s)
	lp.beginEntry(m)
	lp.enter(m, key)
	r := lp.roomFor(key)
	lp.joined(r, &bus.Item{Op: bus.ItemJoined, To: member, Session: s.id, Try: m.entry.try})
	lp.deliver(r)
	lp.empty()
	return c
}

func benchmarkFanout(b *testing.B, members, jsonMembers, messages, replies int) {
	lp := newBench(b)
	for i := range members {
		protocol := uint8(0)
		if i < jsonMembers {
			protocol = 1
		}
		lp.seated("chat.a", protocol, uint32(i+1))
	}
	env := bus.AppendOutput(nil, "chat.a", 0, 0, 0)
	data := encode(b, map[string]any{"from": "Ann", "text": strings.Repeat("x", 100)})
	for range messages {
		env = (&bus.Item{Op: bus.ItemMessage, Event: []byte("said"), Data: data}).Append(env)
	}
	for i := range replies {
		env = (&bus.Item{Op: bus.ItemReply, To: uint32(i + 1), N: 1, Data: data}).Append(env)
	}
	r := lp.rooms["chat.a"]
	b.ReportAllocs()
	for b.Loop() {
		r.seq = 0
		lp.output(env)
		lp.empty()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*(members*messages+replies)), "ns/delivery")
}

func BenchmarkFanout(b *testing.B) {
	for _, c := range []struct {
		name                             string
		members, json, messages, replies int
	}{
		{"1000 members, 1 message", 1000, 0, 1, 0},
		{"1000 members, 4 messages", 1000, 0, 4, 0},
		{"1000 members, half JSON", 1000, 500, 1, 0},
		{"10 members, 1 message", 10, 0, 1, 0},
		{"100 members, 10 messages, 10 replies", 100, 0, 10, 10},
		{"100 members, 100 replies", 100, 0, 0, 100},
		{"1 member, 1 reply", 1, 0, 0, 1},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkFanout(b, c.members, c.json, c.messages, c.replies) })
	}
}

func BenchmarkSendFrame(b *testing.B) {
	for _, protocol := range protocolNames() {
		b.Run(protocol, func(b *testing.B) {
			lp := newBench(b)
			p := uint8(indexOf(protocolNames(), protocol))
			c := lp.seated("chat.a", p, 1)
			json := fmt.Sprintf(`[4,%d,1,"echo",%q]`, lp.lastNo, strings.Repeat("x", 64))
			frame := []byte(json)
			if p == 0 {
				frame = fromJSON(json)
			}
			m := c.user.(*session).first
			b.ReportAllocs()
			for b.Loop() {
				m.taken = 0
				lp.message(c, p == 1, frame)
				lp.answered(m.flight, 0)
				lp.empty()
			}
		})
	}
}

// BenchmarkIdleMember tells what a conn in a room of ten costs the edge; the
// transport's share is in its own benchmark.
func BenchmarkIdleMember(b *testing.B) {
	lp := newBench(b)
	lp.seated("chat.a", 0, 1)
	const n = 20 * pageConns
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			lp.seated(fmt.Sprintf("chat.room%d", i/10), 0, uint32(i%10+1))
		}
		lp.greeting = nil // they were welcomed
		lp.spare = nil
		lp.dirty = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/conn")
		if b.N == 1 {
			break
		}
	}
}
