package edge

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"roomd/bus"
)

// Things that move while they are in use: rooms from worker to worker, sessions
// from edge to edge.

// A room goes back and forth between two workers, each of which leaves service
// in order, under a stream of commands.
func TestCommandsAreAppliedOnceInOrderWhileTheirRoomMoves(t *testing.T) {
	conn := openBus(t)
	store := openStore(t, conn)
	stop := startWorker(t, conn, store, "worker-0")
	s := startEdge(t, conn, unlimited(Config{Loops: 2}))
	a, watcher := connect(t, s, nativeName, "Ann"), connect(t, s, jsonName, "Watcher")
	ja, jw := a.join(1, "synced", "moving"), watcher.join(1, "synced", "moving")

	const moves, each, inFlight = 4, 400, 60
	sent, answered := 0, 0
	reply := func() { // the next one, which must be of the next command, without an error
		for f := a.next(); ; f = a.next() {
			switch {
			case strings.HasPrefix(f, "[4,"):
				answered++
				if want := fmt.Sprintf(`[4,%d,%d,null]`, ja.Room, answered); f != want {
					t.Fatalf("got  %s\nwant %s", f, want)
				}
				return
			case strings.HasPrefix(f, "[0,"), strings.HasPrefix(f, "[3,"), strings.HasPrefix(f, "[13,"), strings.Contains(f, `"reset"`):
				t.Fatalf("got %s", f)
			}
		}
	}
	stream := func(until int) {
		for sent < until {
			for sent-answered >= inFlight {
				reply()
			}
			sent++
			a.send(fmt.Sprintf(`[4,%d,%d,"cast",%d,%d]`, ja.Room, sent, sent, answered))
		}
	}
	for i := range moves {
		next := startWorker(t, conn, store, fmt.Sprintf("worker-%d", i+1))
		stream(sent + each/2)
		var leaving sync.WaitGroup
		leaving.Go(stop)
		stream(sent + each/2)
		leaving.Wait()
		stop = next
	}
	for answered < sent {
		reply()
	}
	got, _ := watcher.castsOf(sent, jw.Seq)
	for i, data := range got {
		if data != fmt.Sprint(i+1) {
			t.Fatalf("cast %d is %s: a command was lost, applied twice or out of order", i+1, data)
		}
	}
	again := connect(t, s, nativeName, "Late")
	if j := again.join(1, "synced", "moving"); fmt.Sprint(j.State) != fmt.Sprintf("map[casts:%d]", sent) || j.Epoch < moves+1 {
		t.Errorf("state %v in epoch %d, want %d casts after %d moves", j.State, j.Epoch, sent, moves)
	}
}

// castsOf is messagesOf for a client whose room moves: it hears of that, but
// misses nothing.
func (c *testClient) castsOf(n int, seq uint64) (data []string, last uint64) {
	c.t.Helper()
	for len(data) < n {
		f := c.next()
		var typ, room int
		var got uint64
		var event string
		var d any
		switch {
		case strings.HasPrefix(f, "[7,"):
			c.scan(f, typeMessage, &room, &got, &event, &d)
			data = append(data, fmt.Sprint(d))
		case strings.HasPrefix(f, "[9,"):
			c.scan(f, typePresence, &room, &got)
		case strings.Contains(f, `"reset"`), strings.HasPrefix(f, "[3,"), strings.HasPrefix(f, "[0,"), strings.HasPrefix(f, "[13,"):
			c.t.Fatalf("got %s", f)
		default:
			continue
		}
		if seq++; got != seq {
			c.t.Fatalf("%s after seq %d (type %d)", f, seq-1, typ)
		}
	}
	return data, seq
}

// twoEdges share a secret, one worker and one bus.
func twoEdges(t *testing.T) (first, second *Server, stopFirst func()) {
	t.Helper()
	conn := openBus(t)
	startWorker(t, conn, openStore(t, conn), "worker")
	own, err := conn.Dial(t.Context(), "edge-2")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	cfg := unlimited(Config{Secret: []byte("0123456789abcdef")})
	first, stopFirst = startEdgeUntil(t, conn, cfg)
	return first, startEdge(t, own, cfg), stopFirst
}

func TestEdgeThatLeavesTellsEveryClientWhenToComeBackAndTheyKeepTheirSeats(t *testing.T) {
	first, second, stopFirst := twoEdges(t)
	const n = 40
	clients := make([]*testClient, n)
	welcomes, seats := make([]welcomed, n), make([]joinedMap, n)
	for i := range clients {
		clients[i] = dial(t, first, protocolNames()[i%2])
		clients[i].send(`[1,{"user":"Ann"}]`)
		welcomes[i] = clients[i].welcome()
		seats[i] = clients[i].join(1, "echo", fmt.Sprintf("room%d", i%3))
	}
	silent := dial(t, first, nativeName) // no hello: is told too
	var leaving sync.WaitGroup
	leaving.Go(stopFirst)
	for _, c := range append(clients, silent) {
		var code, text string
		delay := -1
		f := c.until("[13,")
		if c.scan(f, typeBye, &code, &text, &delay); code != bus.Shutdown || delay < 0 || delay > maxSpread {
			t.Fatalf("got %s, want code %s and a delay", f, bus.Shutdown)
		}
		c.wantClose(closeShutdown)
	}
	leaving.Wait()
	for i, w := range welcomes {
		c := dial(t, second, protocolNames()[i%2])
		c.send(fmt.Sprintf(`[1,{"resume":%q}]`, w.Resume))
		c.welcome()
		j := c.join(2, "echo", seats[i].ID, "null", fmt.Sprintf(`[%d,%d,1,0]`, seats[i].Epoch, seats[i].Seq))
		if !j.Resumed || !j.Recovered || j.Member != seats[i].Member {
			t.Errorf("joined %+v, want the seat of before, %d", j, seats[i].Member)
		}
	}
}

func TestEdgeThatASeatHasMovedFromCannotCallItsMemberAway(t *testing.T) {
	first, second, _ := twoEdges(t)
	a := dial(t, first, nativeName)
	a.send(`[1,{"user":"Ann"}]`)
	w := a.welcome()
	ja := a.join(1, "synced", "room")
	moved := dial(t, second, nativeName)
	moved.send(fmt.Sprintf(`[1,{"resume":%q}]`, w.Resume))
	moved.welcome()
	moved.join(2, "synced", "room", "null", fmt.Sprintf(`[%d,%d,1,0]`, ja.Epoch, ja.Seq))
	a.until("[13,")
	a.wantClose(closeReplaced)
	onLoop(t, first, func(lp *sessions) { // its conn went at the same time
		r := lp.roomFor(bus.Key("synced", "room"))
		lp.command(r, &bus.Command{Op: bus.OpAway, Member: ja.Member})
		lp.tidy(r)
	})
	onLoop(t, first, func(lp *sessions) {}) // it is published
	if err := first.conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	// It does nothing itself: that would bring it back.
	late := connect(t, second, nativeName, "Late").join(1, "synced", "room")
	if got, want := fmt.Sprint(late.Members), fmt.Sprintf("[%d Ann false]", ja.Member); !strings.Contains(got, want) {
		t.Errorf("members %s, want %s: there, not away", got, want)
	}
}

// until reads frames up to one that begins like that, and returns it.
func (c *testClient) until(prefix string) string {
	c.t.Helper()
	f := c.next()
	for !strings.HasPrefix(f, prefix) {
		f = c.next()
	}
	return f
}
