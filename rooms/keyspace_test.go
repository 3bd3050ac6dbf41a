package rooms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// openStore opens a store over a connection of its own.
func (b *testBus) openStore(t testing.TB, name string) kv.Store {
	t.Helper()
	conn, err := b.conn.Dial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	store, err := kv.Open(t.Context(), conn, kv.Config{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		store.Close()
		conn.Close()
	})
	return store
}

func TestSharedDataSurvivesWorkersThatDieAndLeave(t *testing.T) {
	b := startBus(t)
	_, stopFirst := b.worker(t, "first", Config{})
	store := b.openStore(t, "client")
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(store.Set(ctx, "a", "1"))
	must(store.SetEx(ctx, "brief", "1", time.Hour))
	for i := range 200 {
		_, err := store.HSet(ctx, fmt.Sprint("hash", i%20), kv.Field{Name: fmt.Sprint(i), Value: "v"})
		must(err)
	}
	second, stopSecond := b.worker(t, "second", Config{})
	stopFirst() // hands the shard over
	must(store.Set(ctx, "b", "2"))
	if _, err := store.RPush(ctx, "list", "x", "y", "z"); err != nil {
		t.Fatal(err)
	}
	_, _ = b.worker(t, "third", Config{})
	b.cut[second]() // dies
	n, err := store.Incr(ctx, "a")
	if err != nil || n != 2 {
		t.Fatalf("Incr = %d, %v, want 2", n, err)
	}
	stopSecond()
	if v, ok, err := store.Get(ctx, "b"); v != "2" || !ok || err != nil {
		t.Errorf("Get b = %q, %v, %v, want 2", v, ok, err)
	}
	if list, err := store.LRange(ctx, "list", 0, -1); fmt.Sprint(list) != "[x y z]" || err != nil {
		t.Errorf("LRange = %q, %v", list, err)
	}
	if ttl, err := store.TTL(ctx, "brief"); ttl < 50*time.Minute || err != nil {
		t.Errorf("TTL = %v, %v", ttl, err)
	}
	for i := range 20 {
		if n, err := store.HLen(ctx, fmt.Sprint("hash", i)); n != 10 || err != nil {
			t.Errorf("HLen = %d, %v, want 10", n, err)
		}
	}
}

func TestNoIncrementIsLostOrDoubledWhileWorkersDie(t *testing.T) {
	b := startBus(t)
	var workers []*Worker
	for i := range 3 {
		w, _ := b.worker(t, fmt.Sprint("w", i), Config{})
		workers = append(workers, w)
	}
	var acked atomic.Int64
	var running sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		store := b.openStore(t, fmt.Sprint("client", i))
		for range 4 {
			running.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := store.Incr(t.Context(), "n"); err != nil {
						t.Errorf("Incr: %v", err) // every worker that dies is replaced in time
						return
					}
					acked.Add(1)
				}
			})
		}
	}
	reach := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(patience); acked.Load() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d increments, want %d", acked.Load(), n)
			}
		}
	}
	for range 2 {
		reach(acked.Load() + 500)
		for i, w := range workers {
			if w != nil && w.room(kv.ShardKey(0)) != nil {
				b.cut[w]()
				workers[i] = nil
				break
			}
		}
	}
	reach(acked.Load() + 500)
	close(stop)
	running.Wait()
	store := b.openStore(t, "reader")
	if v, _, err := store.Get(t.Context(), "n"); v != fmt.Sprint(acked.Load()) || err != nil {
		t.Errorf("Get n = %q, %v, want %d", v, err, acked.Load())
	}
}

func TestKindsOnDifferentWorkersShareData(t *testing.T) {
	b := startBus(t)
	kind := func(name string) Kind {
		return Kind{Name: name, New: func() Handler {
			return &scene{receive: func(r *Room, m *Member, msg *Message) error {
				n, err := r.KV().HIncrBy(t.Context(), "rooms", r.Kind(), 1)
				if err != nil {
					return err
				}
				all, err := r.KV().HGetAll(t.Context(), "rooms")
				if err != nil {
					return err
				}
				msg.Reply(map[string]any{"n": n, "all": all})
				return nil
			}}
		}}
	}
	b.worker(t, "w1", Config{}, kind("duel"))
	b.worker(t, "w2", Config{}, kind("race"))
	e := b.edge(t, "e1")
	ask := func(name string) string {
		key := e.open(name, "1")
		joined := e.join(key, "ann")
		return fmt.Sprint(unpack[map[string]any](t, e.call(key, joined.To, 1, "add", nil).Data))
	}
	if got := ask("duel"); got != "map[all:map[duel:1] n:1]" {
		t.Errorf("duel says %s", got)
	}
	if got := ask("race"); got != "map[all:map[duel:1 race:1] n:1]" {
		t.Errorf("race says %s", got)
	}
}

func TestElementForAWaiterThatDiedGoesToTheNext(t *testing.T) {
	b := startBus(t)
	w, _ := b.worker(t, "w", Config{})
	conn, err := b.conn.Dial(t.Context(), "doomed")
	if err != nil {
		t.Fatal(err)
	}
	doomed, err := kv.Open(t.Context(), conn, kv.Config{})
	if err != nil {
		t.Fatal(err)
	}
	store := b.openStore(t, "other")
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		doomed.BLPop(context.Background(), 0, "list") // ends when the store is closed
	}()
	waits := w.sumKeys(func(k *keyspace) int64 { return k.waiting.Load() })
	waitFor(t, "the doomed one to wait", func() bool { return waits() == 1 })
	conn.Close() // as if its process was gone
	if _, err := store.RPush(t.Context(), "list", "x"); err != nil {
		t.Fatal(err)
	}
	_, v, ok, err := store.BLPop(t.Context(), patience, "list")
	if v != "x" || !ok || err != nil {
		t.Errorf("BLPop = %q, %v, %v, want x", v, ok, err)
	}
	doomed.Close()
	<-waiting
}

func TestShardsOfAnotherNumberAreRefused(t *testing.T) {
	b := startBus(t)
	_, stop := b.worker(t, "four", Config{KVShards: 4})
	store := b.openStore(t, "client")
	for i := range 50 {
		if err := store.Set(t.Context(), fmt.Sprint("k", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := store.Keys(t.Context(), "*")
	if len(keys) != 50 || err != nil {
		t.Errorf("Keys = %d keys, %v, want 50", len(keys), err)
	}
	if n, err := store.Del(t.Context(), keys...); n != 50 || err != nil {
		t.Errorf("Del = %d, %v, want 50", n, err)
	}
	err = store.Atomically(t.Context(), []string{"k1", "k2"}, func(tx kv.Tx) error { tx.Set("k1", "a"); return nil })
	if !errors.Is(err, kv.ErrCrossSlot) {
		t.Errorf("Atomically over shards = %v, want %v", err, kv.ErrCrossSlot)
	}
	err = store.Atomically(t.Context(), []string{"{a}1", "{a}2"}, func(tx kv.Tx) error { tx.Set("{a}1", "a"); return nil })
	if err != nil {
		t.Errorf("Atomically with a tag = %v", err)
	}
	stop()
	w, _ := b.worker(t, "one", Config{KVShards: 1})
	err = w.open(t.Context(), w.kinds[kv.ShardKind], "0")
	if bus.CodeOf(err) != bus.BadOptions {
		t.Errorf("open with another number of shards = %v, want %s", err, bus.BadOptions)
	}
}

func TestLargeAnswersToManyRequestsAllArrive(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w", Config{})
	value := strings.Repeat("x", 1<<20)
	stores := []kv.Store{b.openStore(t, "c0"), b.openStore(t, "c1"), b.openStore(t, "c2")}
	if err := stores[0].Set(t.Context(), "k", value); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for _, store := range stores {
		for range 8 {
			running.Go(func() {
				for range 2 {
					if v, _, err := store.Get(t.Context(), "k"); v != value || err != nil {
						t.Errorf("Get = %d bytes, %v", len(v), err)
					}
				}
			})
		}
	}
	running.Wait()
}
