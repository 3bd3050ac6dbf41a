package edge

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"roomd/bus"
	"roomd/kv"
	"roomd/rooms"
)

// With real rooms: what a client sees from socket to room and back.

// A parrot is a room that repeats.
type parrot struct{ state *parrotState }

type parrotState struct {
	Casts int `msgpack:"casts"`
}

func (p *parrot) State() any { return p.state }

func (p *parrot) Join(r *rooms.Room, m *rooms.Member) error {
	m.Send("welcome", m.User())
	return nil
}

func (p *parrot) Leave(*rooms.Room, *rooms.Member, rooms.Reason) {}

func (p *parrot) Receive(r *rooms.Room, m *rooms.Member, msg *rooms.Message) error {
	switch msg.Event {
	case "echo":
		msg.Reply(msg.Raw())
	case "cast":
		p.state.Casts++
		r.Broadcast("cast", msg.Raw())
	case "kick":
		m.Kick("rude", "")
	case "close":
		r.Close("over")
	default:
		return rooms.Errorf("unknown_event", "")
	}
	return nil
}

func parrotKind(name string, change func(k *rooms.Kind)) rooms.Kind {
	k := rooms.Kind{Name: name, New: func() rooms.Handler { return &parrot{new(parrotState)} }}
	if change != nil {
		change(&k)
	}
	return k
}

// startWorker runs a worker of parrots until the test ends.
func startWorker(t testing.TB, conn *bus.Conn, store *kv.Records, name string) (stop func()) {
	t.Helper()
	_, stop = runWorker(t, conn, store, name, rooms.Config{})
	return stop
}

// runWorker is startWorker with a configuration and more kinds.
func runWorker(t testing.TB, conn *bus.Conn, store *kv.Records, name string, cfg rooms.Config, more ...rooms.Kind) (w *rooms.Worker, stop func()) {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	own, err := conn.Dial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	w, err = rooms.NewWorker(own, store, kv.OpenLogs(own, kv.Storage{Memory: true}), cfg, append(more,
		parrotKind("echo", nil),
		parrotKind("synced", func(k *rooms.Kind) { k.Sync = time.Millisecond }),
		parrotKind("one", func(k *rooms.Kind) { k.Seats = 1 }))...)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	runCtx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		if err := w.Run(runCtx); err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait(); own.Close() })
	t.Cleanup(stop)
	ctx, cancelWait := context.WithTimeout(t.Context(), patience)
	defer cancelWait()
	for own.Flush(ctx) == nil { // it serves when it answers
		if _, err := conn.Request(ctx, conn.Subjects().Worker(name, "list"), bus.AppendString(nil, "")); err == nil {
			return w, stop
		}
	}
	t.Fatal("the worker is not ready")
	return w, stop
}

func openStore(t testing.TB, conn *bus.Conn) *kv.Records {
	t.Helper()
	store, err := kv.OpenRecords(t.Context(), conn, kv.Storage{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// startAll is a bus, a worker and an edge.
func startAll(t testing.TB, cfg Config) *Server {
	t.Helper()
	conn := openBus(t)
	startWorker(t, conn, openStore(t, conn), "worker")
	return startEdge(t, conn, cfg)
}

// unlimited is for tests that send a lot at once.
func unlimited(cfg Config) Config {
	cfg.CommandsPerSecond, cfg.CommandBurst = 1_000_000, 1_000_000
	return cfg
}

// messagesOf reads frames until n messages to all have come, and returns their
// data and the last seq; presence and other frames are passed over, seqs must
// rise without gap.
func (c *testClient) messagesOf(n int, seq uint64) (data []string, last uint64) {
	c.t.Helper()
	for len(data) < n {
		f := c.next()
		var typ, room int
		var got uint64
		switch {
		case strings.HasPrefix(f, "[7,"):
			var event string
			var d any
			c.scan(f, typeMessage, &room, &got, &event, &d)
			data = append(data, fmt.Sprint(d))
		case strings.HasPrefix(f, "[9,"):
			c.scan(f, typePresence, &room, &got)
		default:
			continue
		}
		if seq++; got != seq {
			c.t.Fatalf("%s after seq %d (type %d)", f, seq-1, typ)
		}
	}
	return data, seq
}

func TestTwoClientsSeeEachOthersMessagesInOrder(t *testing.T) {
	s := startAll(t, unlimited(Config{Loops: 2}))
	for _, protocols := range [][2]string{{nativeName, nativeName}, {nativeName, jsonName}} {
		t.Run(protocols[0]+" and "+protocols[1], func(t *testing.T) {
			a, b := connect(t, s, protocols[0], "Ann"), connect(t, s, protocols[1], "Bo")
			id := protocols[1][len("roomd.v1."):]
			ja, jb := a.join(1, "echo", id), b.join(1, "echo", id)
			a.want(fmt.Sprintf(`[8,%d,%d,1,"welcome","Ann"]`, ja.Room, ja.Seq))
			const each = 500
			for i := range each {
				a.send(fmt.Sprintf(`[4,%d,0,"cast",%d]`, ja.Room, i))
				b.send(fmt.Sprintf(`[4,%d,0,"cast",%d]`, jb.Room, each+i))
			}
			ofA, _ := a.messagesOf(2*each, ja.Seq)
			ofB, _ := b.messagesOf(2*each, jb.Seq)
			next := [2]int{0, each}
			for i := range ofA {
				if ofA[i] != ofB[i] {
					t.Fatalf("message %d: %s and %s, want the same for both", i, ofA[i], ofB[i])
				}
				var n int
				fmt.Sscan(ofA[i], &n)
				if n != next[n/each] {
					t.Fatalf("message %d is %d, want %d: a sender's order", i, n, next[n/each])
				}
				next[n/each]++
			}
		})
	}
}

func TestCommandsAreAnsweredOnceInOrder(t *testing.T) {
	s := startAll(t, unlimited(Config{}))
	c := connect(t, s, nativeName, "Ann")
	j := c.join(1, "echo", "a")
	c.want(fmt.Sprintf(`[8,%d,%d,1,"welcome","Ann"]`, j.Room, j.Seq))
	for c.next()[:3] != "[9," { // one's own arrival
	}
	const n = 300
	for i := 1; i <= n; i++ {
		if i > 64 {
			c.want(fmt.Sprintf(`[4,%d,%d,{"i":%d}]`, j.Room, i-64, i-64))
		}
		c.send(fmt.Sprintf(`[4,%d,%d,"echo",{"i":%d},%d]`, j.Room, i, i, max(0, i-65)))
	}
	for i := n - 63; i <= n; i++ {
		c.want(fmt.Sprintf(`[4,%d,%d,{"i":%d}]`, j.Room, i, i))
	}
	c.send(fmt.Sprintf(`[4,%d,%d,"echo",{"i":%d}]`, j.Room, n, n)) // sent again: the same answer
	c.want(fmt.Sprintf(`[4,%d,%d,{"i":%d}]`, j.Room, n, n))
	c.send(fmt.Sprintf(`[4,%d,%d,"what"]`, j.Room, n+1), fmt.Sprintf(`[4,%d,0,"what"]`, j.Room))
	c.want(fmt.Sprintf(`[4,%d,%d,null,["unknown_event"]]`, j.Room, n+1), fmt.Sprintf(`[0,"unknown_event","",4,%d]`, j.Room))
}

func TestResumeBringsExactlyWhatWasMissed(t *testing.T) {
	conn := openBus(t)
	startWorker(t, conn, openStore(t, conn), "worker")
	secret := []byte("0123456789abcdef")
	second, err := conn.Dial(t.Context(), "edge-2")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	edges := []*Server{
		startEdge(t, conn, unlimited(Config{Secret: secret})),
		startEdge(t, second, unlimited(Config{Secret: secret})),
	}
	for i, protocol := range []string{nativeName, jsonName, nativeName} {
		t.Run(fmt.Sprintf("%s to edge %d", protocol, i%2+1), func(t *testing.T) {
			id := fmt.Sprintf("resume%d", i)
			other := connect(t, edges[0], nativeName, "Other")
			jo := other.join(1, "synced", id)
			c := dial(t, edges[0], protocol)
			c.send(`[1,{"user":"Ann"}]`)
			w := c.welcome()
			j := c.join(1, "synced", id)
			c.want(fmt.Sprintf(`[8,%d,%d,1,"welcome","Ann"]`, j.Room, j.Seq))
			cast := func(from, to int) {
				for i := from; i < to; i++ {
					other.send(fmt.Sprintf(`[4,%d,0,"cast",%d]`, jo.Room, i))
				}
			}
			cast(0, 10)
			had, since := c.messagesOf(10, j.Seq)
			c.hangUp()
			cast(10, 60)
			back := dial(t, edges[i%2], protocol)
			back.send(fmt.Sprintf(`[1,{"resume":%q}]`, w.Resume))
			if got := back.welcome(); got.Session != w.Session || got.User != "Ann" {
				t.Fatalf("welcome %+v", got)
			}
			again := back.join(2, "synced", id, "null", fmt.Sprintf(`[%d,%d,1,0]`, j.Epoch, since))
			if !again.Resumed || !again.Recovered || again.Member != j.Member || again.Seq != since || again.State == nil {
				t.Fatalf("joined %+v, want the seat and everything since %d", again, since)
			}
			cast(60, 70)
			missed, _ := back.messagesOf(60, since)
			for i, data := range append(had, missed...) {
				if data != fmt.Sprint(i) {
					t.Fatalf("message %d is %s", i, data)
				}
			}
		})
	}
}

func TestOneSeatRoomsAndListing(t *testing.T) {
	s := startAll(t, unlimited(Config{}))
	a, b := connect(t, s, nativeName, "Ann"), connect(t, s, nativeName, "Bo")
	ja, jb := a.join(1, "one", ""), b.join(1, "one", "")
	if ja.ID == jb.ID || ja.Seats != 1 {
		t.Errorf("rooms %q and %q of %d seats, want two of one", ja.ID, jb.ID, ja.Seats)
	}
	c := connect(t, s, jsonName, "Cy")
	c.send(fmt.Sprintf(`[2,1,"one",%q]`, ja.ID))
	c.want(`[2,1,null,["room_full"]]`)
	var list [][]any
	for deadline := time.Now().Add(patience); len(list) < 2; { // workers hear of each other within a second
		if time.Now().After(deadline) {
			t.Fatalf("list %v, want the two rooms", list)
		}
		var ref int
		c.send(`[6,5,"one"]`)
		if c.scan(c.next(), typeList, &ref, &list); ref != 5 {
			t.Fatalf("ref %d, want 5", ref)
		}
	}
	if list[0][0] != "one" {
		t.Errorf("list %v", list)
	}
	c.send(`[6,6,"no such.kind"]`)
	c.want(`[6,6,null,["bad_name","kind: 1 to 32 of a-z 0-9 _ -"]]`)
}

// Bad input gets its code, the server stays up, nobody else notices, and
// nothing is left behind.
func TestBadInput(t *testing.T) {
	s := startAll(t, Config{})
	witness := connect(t, s, nativeName, "Witness")
	jw := witness.join(1, "echo", "quiet")
	goroutines := runtime.NumGoroutine()

	joined := func(t *testing.T, protocol string) (*testClient, joinedMap) {
		c := connect(t, s, protocol, "Eve")
		j := c.join(1, "echo", "target")
		for c.next()[:3] != "[9," {
		}
		return c, j
	}
	t.Run("ten thousand commands at once", func(t *testing.T) {
		c, j := joined(t, nativeName)
		defer c.hangUp()
		floodWithCommands(t, c, j.Room)
	})
	t.Run("join twice, send without joining, large data", func(t *testing.T) {
		c, j := joined(t, jsonName)
		defer c.hangUp()
		c.send(`[2,2,"echo","target"]`, `[4,99999,1,"echo"]`, `[3,3,99999]`)
		c.want(`[2,2,null,["already_joined"]]`, `[4,99999,1,null,["not_joined"]]`, `[3,99999,"not_joined","",3]`)
		c.send(fmt.Sprintf(`[4,%d,1,"echo",%q]`, j.Room, strings.Repeat("x", 20_000)))
		c.want(fmt.Sprintf(`[4,%d,1,null,["too_large","the limit is 16384 bytes"]]`, j.Room))
	})
	t.Run("message over the limit", func(t *testing.T) {
		c, _ := joined(t, nativeName)
		c.raw(ws.OpBinary, make([]byte, 65<<10))
		c.wantClose(1009)
	})
	t.Run("invalid UTF-8", func(t *testing.T) {
		c, j := joined(t, nativeName)
		c.raw(ws.OpBinary, append(encode(t, []any{4, j.Room, 1})[:0:0], 0x94, 4, byte(j.Room), 1, 0xa1, 0xff)) // as event
		c.want(fmt.Sprintf(`[4,%d,1,null,["bad_name"]]`, j.Room))
		c.raw(ws.OpBinary, []byte{0x94, 2, 7, 0xa4, 'e', 'c', 'h', 'o', 0xa1, 0xff}) // as id
		c.want(`[2,7,null,["bad_name","room id: 1 to 64 of A-Z a-z 0-9 _ -"]]`)
		c.raw(ws.OpBinary, []byte{0x95, 4, byte(j.Room), 0, 0xa1, 'e', 0xa1, 0xff}) // in data
		c.wantClose(closeBadFrame, `[13,"bad_frame","not a frame of this protocol",-1]`)
		c = dial(t, s, jsonName)
		c.raw(ws.OpText, []byte("[1,{\"user\":\"\xff\"}]"))
		c.wantClose(1007)
	})
	witness.send(fmt.Sprintf(`[4,%d,1,"echo","still here"]`, jw.Room))
	for f := ""; f != fmt.Sprintf(`[4,%d,1,"still here"]`, jw.Room); f = witness.next() {
		if strings.HasPrefix(f, "[13,") {
			t.Fatalf("the witness got %s", f)
		}
	}
	waitFor(t, s, "the others to be gone", func(lp *sessions) bool { return lp.counts.sessions == 1 && len(lp.rooms) == 1 && len(lp.flights) == 0 })
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > goroutines+2 && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines+2 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
}

// floodWithCommands sends 10,000 at once: each gets one answer.
func floodWithCommands(t *testing.T, c *testClient, room int) {
	var frames []string
	for n := 1; n <= 10_000; n++ {
		frames = append(frames, fmt.Sprintf(`[4,%d,%d,"echo",1]`, room, n))
		if len(frames) == 1000 {
			c.send(frames...)
			frames = nil
		}
	}
	codes := map[string]int{}
	seen := make([]bool, 10_001)
	for range 10_000 {
		var of, n int
		var result any
		var refusal []string
		c.scan(c.next(), typeSend, &of, &n, &result, &refusal)
		if seen[n] {
			t.Fatalf("command %d was answered twice", n)
		}
		seen[n] = true
		codes[strings.Join(refusal, " ")]++
	}
	if codes[""] == 0 || codes["rate_limited"]+codes["in_flight"] < 5000 || codes[""]+codes["rate_limited"]+codes["in_flight"] != 10_000 {
		t.Errorf("answers %v, want some to go well and the others refused for the rate or in flight", codes)
	}
}

func TestSlowReaderIsCutAndOthersAreServed(t *testing.T) {
	s := startAll(t, unlimited(Config{SendBufferBytes: 4096, OutboxBytes: 128 << 10}))
	slow, quick := connect(t, s, nativeName, "Slow"), connect(t, s, nativeName, "Quick")
	slow.join(1, "echo", "busy")
	j := quick.join(1, "echo", "busy")
	slow.stall()
	pad := strings.Repeat("x", 10_000)
	sent := 0
	for cut := false; !cut; sent++ {
		if sent > 2000 {
			t.Fatal("20 MB later the slow client is still there")
		}
		quick.send(fmt.Sprintf(`[4,%d,%d,"cast",%q]`, j.Room, sent+1, pad))
		for !strings.HasPrefix(quick.next(), fmt.Sprintf(`[4,%d,%d,`, j.Room, sent+1)) {
		}
		onLoop(t, s, func(lp *sessions) { cut = lp.counts.closed[indexOf(closeCodes[:], closeSlow)] == 1 })
	}
}

func TestRoomsMoveToAnotherWorkerUnderTheirMembers(t *testing.T) {
	conn := openBus(t)
	store := openStore(t, conn)
	stopFirst := startWorker(t, conn, store, "worker-1")
	s := startEdge(t, conn, unlimited(Config{}))
	c := connect(t, s, nativeName, "Ann")
	j := c.join(1, "echo", "a")
	startWorker(t, conn, store, "worker-2")
	stopFirst()
	for n := 1; n <= 20; n++ {
		c.send(fmt.Sprintf(`[4,%d,%d,"echo",%d]`, j.Room, n, n))
		for want := fmt.Sprintf(`[4,%d,%d,%d]`, j.Room, n, n); ; {
			f := c.next()
			if strings.HasPrefix(f, "[3,") || strings.HasPrefix(f, "[4,") && f != want {
				t.Fatalf("got %s, want %s", f, want)
			}
			if f == want {
				break
			}
		}
	}
}
