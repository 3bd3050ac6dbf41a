package rooms

import (
	"fmt"
	"testing"
	"time"

	"roomd/bus"
)

// missed is what a member gets after ItemJoined until its next reply, as text.
func missed(e *testEdge, key string, m uint32) (got []string) {
	e.t.Helper()
	for _, it := range e.drain(key, m) {
		switch it.Op {
		case bus.ItemReplay:
			got = append(got, fmt.Sprintf("%s %x seq %d", it.Event, it.Data, it.Seq))
		case bus.ItemReplayed:
			got = append(got, fmt.Sprintf("presence seq %d", it.Seq))
		case bus.ItemPrivate:
			got = append(got, fmt.Sprintf("%s %x count %d", it.Event, it.Data, it.Count))
		}
	}
	return got
}

func TestResumeOnAnotherEdgeBringsExactlyWhatWasMissed(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	b.worker(t, "w1", Config{PresenceEvery: time.Hour}, kind) // no presence between
	e1, e2, e3 := b.edge(t, "e1"), b.edge(t, "e2"), b.edge(t, "e3")
	key := e1.open("counter", "a")
	ann := e1.joinAs(key, bus.Command{Session: 7000, User: "Ann"}).To
	ben := e2.join(key, "Ben").To
	cast := func(v int) {
		e2.send(key, bus.Command{Op: bus.OpSend, Member: ben, Event: []byte("cast"), Data: pack(v)})
	}
	tell := func(m uint32) {
		e2.send(key, bus.Command{Op: bus.OpSend, Member: ben, Event: []byte("tell"), Data: pack(m)})
	}
	cast(1)
	tell(ann)
	e1.awaitOp(bus.ItemPrivate)
	had := bus.Position{Epoch: e1.at[key].first, Seq: 1, Count: 1}
	e1.send(key, bus.Command{Op: bus.OpAway, Member: ann})
	e1.drainUntilAway(key, ben, e2)
	cast(2)
	tell(ann)
	tell(ben) // not Ann's business
	tell(ben)
	tell(ben)
	cast(3)
	e2.drain(key, ben)

	back := e3.joinAs(key, bus.Command{Session: 7000, User: "Ann", Resume: true, Since: had})
	if !back.Joined.Resumed || !back.Joined.Recovered || back.To != ann || back.Joined.At != had || back.Joined.Members != nil {
		t.Errorf("came back as %d %+v, want everything recovered from %+v", back.To, back.Joined, had)
	}
	want := []string{"cast 02 seq 2", "told 02 count 2", "cast 03 seq 3"}
	if got := missed(e3, key, ann); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("replayed %q, want %q", got, want)
	}
	cast(4)
	if it := e3.awaitOp(bus.ItemMessage); it.Seq != 4 {
		t.Errorf("live again at seq %d, want 4", it.Seq)
	}
	// The same again, while being here: the edge repairs a gap.
	again := e3.joinAs(key, bus.Command{Session: 7000, User: "Ann", Resume: true, Since: bus.Position{Epoch: had.Epoch, Seq: 3, Count: 2}})
	if !again.Joined.Recovered {
		t.Errorf("repair = %+v, want recovered", again.Joined)
	}
	if got := missed(e3, key, ann); fmt.Sprint(got) != "[cast 04 seq 4]" {
		t.Errorf("repair replayed %q", got)
	}
}

// drainUntilAway waits until the room has seen what e sent before.
func (e *testEdge) drainUntilAway(key string, other uint32, o *testEdge) {
	e.t.Helper()
	if err := e.conn.Flush(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	o.drain(key, other)
}

func TestResumeBeyondTheHistorySaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		history int
		since   bus.Position // epochs are counted from the first
		want    bool
	}{
		"all there":              {8, bus.Position{Epoch: 1, Seq: 2}, true},
		"one message too old":    {8, bus.Position{Epoch: 1, Seq: 1}, false},
		"nothing missed":         {8, bus.Position{Epoch: 1, Seq: 10}, true},
		"from the future":        {8, bus.Position{Epoch: 1, Seq: 11}, false},
		"more private messages":  {8, bus.Position{Epoch: 1, Seq: 10, Count: 1}, false},
		"of another epoch":       {8, bus.Position{Epoch: 2, Seq: 5}, false},
		"of no epoch":            {8, bus.Position{Seq: 5}, false},
		"without history":        {-1, bus.Position{Epoch: 1, Seq: 9}, false},
		"up to date, no history": {-1, bus.Position{Epoch: 1, Seq: 10}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t)
			kind := counterKind()
			kind.History = c.history
			b.worker(t, "w1", Config{PresenceEvery: time.Hour}, kind)
			e := b.edge(t, "e1")
			key := e.open("counter", "a")
			m := e.joinAs(key, bus.Command{Session: 7000, User: "Ann"}).To
			for i := range 10 {
				e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("cast"), Data: pack(i)})
			}
			e.drain(key, m)
			if c.since.Epoch > 0 {
				c.since.Epoch += e.at[key].first - 1
			}
			back := e.joinAs(key, bus.Command{Session: 7000, User: "Ann", Resume: true, Since: c.since})
			if back.Joined.Recovered != c.want || !back.Joined.Resumed {
				t.Errorf("joined %+v, want recovered %v", back.Joined, c.want)
			}
			if !c.want && (back.Joined.At.Seq != 10 || len(back.Joined.Members) != 1) {
				t.Errorf("joined %+v, want the present position and the members", back.Joined)
			}
		})
	}
}

func TestHistoryIsBoundedInBytesAndForgottenWhenIdle(t *testing.T) {
	b := startBus(t)
	kind := counterKind()
	w, _ := b.worker(t, "w1", Config{PresenceEvery: time.Hour}, kind)
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	data := pack(make([]byte, 10_000))
	for range 40 {
		e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("cast"), Data: data})
	}
	e.drain(key, m)
	room := w.room(key)
	done := make(chan bool)
	w.post(room, func(r *Room) {
		if n := r.history.items.bytes(); n > historyBytes || n == 0 {
			t.Errorf("history has %d bytes, want 1 to %d", n, historyBytes)
		}
		r.history.last -= int64(r.kind.Linger + trimAfter)
		r.due[dueTrim] = r.turn.now
		done <- true
	})
	<-done
	w.post(room, func(r *Room) {
		if q := r.history.items; q.count != 0 || cap(q.buf) > spareFifoBytes || r.history.base != r.seq {
			t.Errorf("idle history: %d items, %d bytes, base %d at seq %d", q.count, cap(q.buf), r.history.base, r.seq)
		}
		done <- true
	})
	<-done
}

func TestSessionThatComesFromElsewhereReplacesItsOldPlace(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, counterKind())
	e1, e2 := b.edge(t, "e1"), b.edge(t, "e2")
	key := e1.open("counter", "a")
	ann := e1.joinAs(key, bus.Command{Session: 7000, User: "Ann"}).To
	if got := e2.joinAs(key, bus.Command{Session: 7000, User: "Ann"}); got.To != ann || !got.Joined.Resumed || got.Joined.Recovered {
		t.Errorf("joined as %d %+v, want the seat of %d", got.To, got.Joined, ann)
	}
	if it := e1.awaitOp(bus.ItemLeft); it.To != ann || it.Code != bus.Replaced || it.Session != 7000 {
		t.Errorf("the old place was told %+v", it)
	}
	// The old place may still say that its connection is gone.
	e1.send(key, bus.Command{Op: bus.OpAway, Member: ann})
	if err := e1.conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e2.call(key, ann, 1, "add", nil); got.Code != "" {
		t.Errorf("command from the new place: code %q", got.Code)
	}
}

func TestOutputLostAtTheEndOfABurstIsSeenByABeacon(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{PresenceEvery: time.Hour}, counterKind())
	e := b.edge(t, "e1")
	key := e.open("counter", "a")
	m := e.join(key, "Ann").To
	e.send(key, bus.Command{Op: bus.OpSend, Member: m, Event: []byte("cast"), Data: pack(1)})
	e.awaitOp(bus.ItemMessage)
	select {
	case msg := <-e.in:
		out, err := bus.ParseOutput(msg.Data)
		if err != nil || out.Next(&bus.Item{}) || out.Seq != 1 {
			t.Errorf("after the broadcast came %+v, %v, want an empty envelope at seq 1", out, err)
		}
	case <-time.After(patience):
		t.Error("no beacon")
	}
}

// An edge that stood still brings its members back in, one of whom has joined from
// another edge meanwhile.
func TestEdgeThatStoodStillDoesNotTakeTheSeatFromANewerConn(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w1", Config{}, commitKind())
	old, newer := b.edge(t, "e1"), b.edge(t, "e2")
	key := old.open("counter", "a")
	session := old.session()
	client := bus.Command{Session: session, User: "Ann", Try: 1}
	first := old.joinAs(key, client)
	client.Resume, client.Since, client.Try = true, first.Joined.At, 7
	back := newer.joinAs(key, client)
	again := newer.joinAs(key, client) // the same join, sent twice
	if first.Joined.Last >= back.Joined.Last || back.Joined.Last != again.Joined.Last {
		t.Errorf("joins are %d, %d and %d, want the second above the first, and the third the second", first.Joined.Last, back.Joined.Last, again.Joined.Last)
	}
	comesBack := func(e *testEdge, last uint64) bus.Item {
		t.Helper()
		e.next++
		e.send(key, bus.Command{
			Op: bus.OpJoin, Session: session, User: "Ann", Try: 100 + e.next, Resume: true, Since: first.Joined.At, Last: last,
		})
		try := 100 + e.next
		return e.await("answer to the return", func(it *bus.Item) bool {
			return (it.Op == bus.ItemJoined || it.Op == bus.ItemRefused) && it.Try == try
		})
	}
	for _, worker := range []string{"", "w2"} {
		if worker != "" { // the next owner knows as well
			b.die(w)
			b.worker(t, worker, Config{}, commitKind())
			old.open("counter", "a")
		}
		if it := comesBack(old, first.Joined.Last); it.Op != bus.ItemRefused || it.Code != bus.Replaced {
			t.Errorf("the edge that stood still got %+v, want replaced", it)
		}
		if it := comesBack(newer, back.Joined.Last); it.Op != bus.ItemJoined || it.Joined.Last != back.Joined.Last {
			t.Errorf("the edge with the client got %+v, want the seat", it)
		}
	}
	// Also if the seat was lost meanwhile and taken anew.
	newer.send(key, bus.Command{Op: bus.OpLeave, Member: back.To, Ref: 1})
	newer.awaitOp(bus.ItemLeft)
	client.Try = 8
	anew := newer.joinAs(key, client)
	if it := comesBack(old, first.Joined.Last); anew.Joined.Resumed || it.Op != bus.ItemRefused || it.Code != bus.Replaced {
		t.Errorf("after a new seat the edge that stood still got %+v, want replaced", it)
	}
}

// A client whose seat was lost is given a new one, and its answer is lost too. When
// the client asks again it must not be told that it has the seat that it had.
func TestNewSeatThatTheClientHasNotHeardOfIsNotTakenForItsOldOne(t *testing.T) {
	for name, durability := range map[string]Durability{"Commit": Commit, "None": None} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t)
			kind := counterKind()
			kind.Durability = durability
			b.worker(t, "w1", Config{}, kind)
			e, other := b.edge(t, "e1"), b.edge(t, "e2")
			key := e.open("counter", "a")
			session := e.session()
			client := bus.Command{Session: session, User: "Ann", Try: 1}
			old := e.joinAs(key, client)
			client.Resume, client.Since, client.Was, client.Try = true, old.Joined.At, old.To, 2
			e.send(key, bus.Command{Op: bus.OpLeave, Member: old.To, Ref: 1})
			e.awaitOp(bus.ItemLeft)
			for try, from := range []*testEdge{e, e, other} { // the second is the first once more
				client.Try = max(2, uint64(try)+1)
				if it := from.joinAs(key, client); it.To == old.To || it.Joined.Resumed || it.Joined.Recovered {
					t.Errorf("answer %d = member %d %+v, want a new seat", try, it.To, it.Joined)
				} else if try == 2 {
					client.Was, client.Since, client.Try = it.To, it.Joined.At, 9
				}
			}
			if it := e.joinAs(key, client); !it.Joined.Resumed || it.To != client.Was {
				t.Errorf("afterwards %+v, want the seat that the client has heard of", it)
			}
		})
	}
}
