package rooms

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roomd/bus"

	"pgregory.net/rapid"
)

func TestFifoKeepsOrderAndBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			n uint64
			b []byte
		}
		var q fifo
		var want []entry
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(want) > 0 && rapid.Bool().Draw(t, "drop") {
				n, b := q.first()
				if n != want[0].n || !bytes.Equal(b, want[0].b) {
					t.Fatalf("first = %d %x, want %+v", n, b, want[0])
				}
				q.drop()
				want = want[1:]
				continue
			}
			e := entry{rapid.Uint64().Draw(t, "n"), rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "b")}
			q.push(e.n, e.b)
			want = append(want, e)
		}
		i := 0
		for n, b := range q.all {
			if n != want[i].n || !bytes.Equal(b, want[i].b) {
				t.Fatalf("entry %d = %d %x, want %+v", i, n, b, want[i])
			}
			i++
		}
		if i != len(want) || q.count != len(want) {
			t.Fatalf("%d entries, count %d, want %d", i, q.count, len(want))
		}
	})
}

func TestFifoDoesNotGrowWhenItsLengthIsSteady(t *testing.T) {
	var q fifo
	b := make([]byte, 100)
	for i := range uint64(100_000) {
		q.push(i, b)
		if q.count > 50 {
			q.drop()
		}
	}
	if cap(q.buf) > 4*50*110 {
		t.Errorf("fifo of 50 entries of 100 bytes has grown to %d", cap(q.buf))
	}
}

func TestAlarmsWakeEachRoomOnceAndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		clock := func() int64 { return int64(time.Since(start)) + 1 }
		var mu sync.Mutex
		var woken []string
		names := make(map[*Room]string)
		a := newAlarms(clock, func(rooms []*Room) {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range rooms {
				woken = append(woken, fmt.Sprintf("%s %v", names[r], time.Since(start)))
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		go a.run(ctx)
		rooms := make([]*Room, 5)
		for i := range rooms {
			rooms[i] = &Room{}
			names[rooms[i]] = string(rune('a' + i))
		}
		at := func(d time.Duration) int64 { return int64(d) + 1 }
		a.set(rooms[0], at(30*time.Millisecond))
		a.set(rooms[1], at(10*time.Millisecond))
		a.set(rooms[2], at(20*time.Millisecond))
		a.set(rooms[0], at(15*time.Millisecond)) // earlier counts
		a.set(rooms[1], at(40*time.Millisecond)) // later does not
		a.set(rooms[3], at(5*time.Millisecond))
		a.clear(rooms[3])
		a.set(rooms[4], at(time.Hour))
		time.Sleep(time.Second)
		synctest.Wait()
		cancel()
		if want := []string{"b 10ms", "a 15ms", "c 20ms"}; !slices.Equal(woken, want) {
			t.Errorf("woken %q, want %q", woken, want)
		}
	})
}

func TestAlarmHeapKeepsItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := int64(0)
		a := newAlarms(func() int64 { return now }, nil)
		rooms := make([]*Room, 20)
		for i := range rooms {
			rooms[i] = &Room{}
		}
		want := make(map[*Room]int64)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			r := rooms[rapid.IntRange(0, len(rooms)-1).Draw(t, "room")]
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				a.clear(r)
				delete(want, r)
			case 1:
				now += rapid.Int64Range(0, 20).Draw(t, "passed")
				due, _ := a.due(nil)
				for _, r := range due {
					if want[r] == 0 || want[r] > now {
						t.Fatalf("room due at %d was woken at %d", want[r], now)
					}
					delete(want, r)
				}
				for _, when := range want {
					if when <= now {
						t.Fatalf("room due at %d was not woken at %d", when, now)
					}
				}
			default:
				when := now + rapid.Int64Range(1, 100).Draw(t, "wait")
				a.set(r, when)
				if want[r] == 0 || when < want[r] {
					want[r] = when
				}
			}
		}
	})
}

func TestRunQueueAddsRunnersOnlyWhenAllAreHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runners sync.WaitGroup
		var q *runQueue
		var mu sync.Mutex
		ran := 0
		held := make(chan bool)
		q = newRunQueue(1, func() {
			runners.Go(func() {
				for r := q.next(); r != nil; r = q.next() {
					if r.key == "held" {
						<-held
					}
					mu.Lock()
					ran++
					mu.Unlock()
				}
			})
		})
		q.open()
		for range 100 {
			q.add(&Room{key: "quick"})
		}
		synctest.Wait()
		if q.runners != 1 || ran != 100 {
			t.Errorf("%d runners, %d rooms run, want 1 and 100", q.runners, ran)
		}
		q.add(&Room{key: "held"}, &Room{key: "held"}, &Room{key: "quick"})
		time.Sleep(5 * stuckAfter)
		synctest.Wait()
		if ran != 101 || q.runners != 2 {
			t.Errorf("%d rooms run, %d runners left, want 101 and the 2 that are held up", ran, q.runners)
		}
		close(held)
		synctest.Wait()
		if ran != 103 || q.runners != 1 {
			t.Errorf("%d rooms run, %d runners left, want 103 and 1", ran, q.runners)
		}
		q.close()
		runners.Wait()
	})
}

func TestRoomBehindOneThatHoldsUpTheLastIdleRunnerGetsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runners sync.WaitGroup
		held, ran := make(chan bool), make(chan string, 3)
		var q *runQueue
		q = newRunQueue(2, func() {
			runners.Go(func() {
				for r := q.next(); r != nil; r = q.next() {
					if r.key == "held" {
						<-held
					}
					ran <- r.key
				}
			})
		})
		q.open()
		synctest.Wait()
		q.add(&Room{key: "held"})
		synctest.Wait()
		// The idle runner is woken by the first of these and takes it; nothing
		// is added after that.
		q.mu.Lock()
		idle := q.idle
		q.mu.Unlock()
		if idle != 1 {
			t.Fatalf("%d runners idle, want 1", idle)
		}
		q.add(&Room{key: "held"}, &Room{key: "quick"})
		time.Sleep(5 * stuckAfter)
		synctest.Wait()
		if len(ran) != 1 {
			t.Errorf("%d rooms have run, want the quick one", len(ran))
		}
		close(held)
		synctest.Wait()
		q.close()
		runners.Wait()
	})
}

func TestMailboxTakesUpToItsLimitRefusesUpToFourTimesAndDropsTheRest(t *testing.T) {
	var b mailbox
	var got []string
	for range 12 {
		res := b.put(bus.Commands{}, 5, 10, 10)
		got = append(got, fmt.Sprint(res.schedule, res.refused, res.dropped))
	}
	want := slices.Concat(
		[]string{"true false false", "false false false"},
		slices.Repeat([]string{"false true false"}, 6),
		slices.Repeat([]string{"false false true"}, 4))
	if !slices.Equal(got, want) {
		t.Errorf("put = %q, want %q", got, want)
	}
	taken := b.take()
	if len(taken.entries) != 8 || !taken.lossy || b.batch != nil {
		t.Errorf("took %d entries, lossy %v, want 8 and true", len(taken.entries), taken.lossy)
	}
	if res := b.put(bus.Commands{}, 500, 1<<20, 10); res.refused || res.dropped {
		t.Error("an empty mailbox must take any envelope")
	}
	if !b.rest() {
		t.Error("there is something in the mailbox, but no turn follows")
	}
	b.take()
	if b.rest() {
		t.Error("the mailbox is empty, but a turn follows")
	}
}
