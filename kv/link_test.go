package kv

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"roomd/bus"
)

// A driver runs a shard on a real bus, without a worker around it: nothing is
// kept, so tests can make the owner forget and be replaced.
type driver struct {
	shard *Shard
	conn  *bus.Conn
	do    chan func()
	mute  bool // answers are lost, news are not
	older bool // replies are confirmations, as an earlier version said to those that listen
}

func drive(t *testing.T, conn *bus.Conn) *driver {
	opened, err := conn.Handle(conn.Subjects().Open(ShardKind), "", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened)
	return driveShard(t, conn, 0)
}

func driveShard(t *testing.T, conn *bus.Conn, shard int) *driver {
	d := &driver{shard: NewShard(1, conn.Subjects()), conn: conn, do: make(chan func())}
	in := make(chan *bus.Msg, 1000)
	if _, err := conn.Subscribe(conn.Subjects().In(ShardKey(shard)), "", in); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case m := <-in:
				if err := d.shard.Serve(time.Now(), m.Data, m.Reply); err != nil {
					t.Error(err)
				}
			case f := <-d.do:
				f()
			case <-stop:
				return
			}
			d.shard.AppendEntry(nil)
			d.shard.Answers(func(subject string, b []byte) {
				if d.mute && conn.Subjects().IsStoreInbox(subject) {
					return
				}
				if d.older && conn.Subjects().IsStoreInbox(subject) {
					b = confirmations(b)
				}
				if err := conn.Publish(subject, b); err != nil {
					t.Error(err)
				}
			})
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-ended
	})
	return d
}

// confirmations makes all replies of an answer confirmations.
func confirmations(answer []byte) (b []byte) {
	var items []item
	tenure, _ := parseAnswer(answer, func(uint64) bool { return true }, func(it item) { items = append(items, it) })
	b = appendAnswer(nil, tenure)
	for _, it := range items {
		kind := it.kind
		if kind == itemReply {
			kind = itemConfirmed
		}
		b = appendItem(b, it.number, kind, it.reply)
	}
	return b
}

// then runs f where the shard runs, and waits for it.
func (d *driver) then(f func()) {
	done := make(chan struct{})
	d.do <- func() { f(); close(done) }
	<-done
}

func openDriven(t *testing.T) (*driver, Store) {
	conn, err := bus.Open(t.Context(), bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	d := drive(t, conn)
	store := OpenShards(conn, Config{}, 1)
	t.Cleanup(store.Close)
	return d, store
}

func TestStoreThatWasForgottenGoesOn(t *testing.T) {
	d, store := openDriven(t)
	heard := make(chan Message, 10)
	if _, err := store.NewSubscriber().Subscribe(t.Context(), "news", func(m Message) { heard <- m }); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if n, err := store.Incr(t.Context(), "n"); n != int64(i+1) || err != nil {
			t.Fatalf("Incr = %d, %v, want %d", n, err, i+1)
		}
		d.then(func() {
			for id, c := range d.shard.sessions {
				d.shard.lapse(c)
				delete(d.shard.sessions, id)
			}
		})
	}
	if _, _, err := store.Get(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Publish(t.Context(), "news", "x"); n != 1 || err != nil {
		t.Errorf("Publish = %d, %v, want 1", n, err)
	}
	if m := <-heard; m.Text != "x" {
		t.Errorf("heard %q", m.Text)
	}
}

// While a system is updated, workers of the version before own shards that stores
// of this one use.
func TestOwnerOfAnEarlierVersionIsListenedToAsWell(t *testing.T) {
	d, store := openDriven(t)
	d.then(func() { d.older = true })
	heard := make(chan Message, 10)
	stop, err := store.NewSubscriber().Subscribe(t.Context(), "news", func(m Message) { heard <- m })
	if err != nil {
		t.Fatal(err)
	}
	d.then(func() { d.older = false })
	if n, err := store.Publish(t.Context(), "news", "x"); n != 1 || err != nil {
		t.Errorf("Publish = %d, %v, want 1", n, err)
	}
	if m := <-heard; m.Text != "x" {
		t.Errorf("heard %q", m.Text)
	}
	d.then(func() { d.older = true })
	stop()
	d.then(func() { d.older = false })
	if n, err := store.Publish(t.Context(), "news", "x"); n != 0 || err != nil {
		t.Errorf("Publish = %d, %v, want 0", n, err)
	}
}

func TestSubscriptionsAreKnownToTheNextOwner(t *testing.T) {
	d, store := openDriven(t)
	sub := store.NewSubscriber()
	heard := make(chan string, 10)
	note := func(m Message) { heard <- m.Pattern + m.Text }
	if _, err := sub.Subscribe(t.Context(), "news", note); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.PSubscribe(t.Context(), "n*", note); err != nil {
		t.Fatal(err)
	}
	d.then(func() { d.shard = NewShard(2, d.conn.Subjects()) })
	for deadline := time.Now().Add(10 * time.Second); ; {
		n, err := store.Publish(t.Context(), "news", "x")
		if bus.CodeOf(err) == bus.Timeout { // it does not know yet that the owner is another
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			<-heard // also before the new owner knows how many there are
		}
		if n == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d receivers, want 2", n)
		}
	}
}

func TestPublishIsNotRepeatedAtTheNextOwner(t *testing.T) {
	d, store := openDriven(t)
	heard := make(chan string, 10)
	if _, err := store.NewSubscriber().Subscribe(t.Context(), "news", func(m Message) { heard <- m.Text }); err != nil {
		t.Fatal(err)
	}
	d.then(func() { d.mute = true })
	result := make(chan error, 1)
	go func() {
		_, err := store.Publish(t.Context(), "news", "once")
		result <- err
	}()
	if text := <-heard; text != "once" {
		t.Fatalf("heard %q", text)
	}
	d.then(func() { d.shard, d.mute = NewShard(2, d.conn.Subjects()), false })
	if err := <-result; bus.CodeOf(err) != bus.Timeout {
		t.Errorf("Publish = %v, want code timeout", err)
	}
	if _, err := store.Publish(t.Context(), "news", "again"); err != nil {
		t.Fatal(err)
	}
	if text := <-heard; text != "again" {
		t.Errorf("heard %q, want what came after", text)
	}
}

func TestAnswerOfAnOlderOwnerIsPassedOver(t *testing.T) {
	d, store := openDriven(t)
	d.then(func() { d.shard = NewShard(5, d.conn.Subjects()) })
	if _, err := store.Incr(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	d.then(func() { d.shard = NewShard(4, d.conn.Subjects()) })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if v, _, err := store.Get(ctx, "n"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get of an older owner = %q, %v", v, err)
	}
	d.then(func() { d.shard = NewShard(6, d.conn.Subjects()) })
	if n, err := store.Incr(t.Context(), "n"); n != 1 || err != nil {
		t.Errorf("Incr of the next = %d, %v", n, err)
	}
}

func TestCommandsOfOneCallerAreAppliedInOrder(t *testing.T) {
	_, store := openDriven(t)
	const n = 5000
	done := make(chan error, n)
	start := store.(interface {
		Start(context.Context, [][]byte, func([]byte, error))
	}).Start
	argv := [][]byte{[]byte("RPUSH"), []byte("l"), nil}
	for i := range n {
		argv[2] = []byte(fmt.Sprint(i))
		start(t.Context(), argv, func(_ []byte, err error) { done <- err })
	}
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.LRange(t.Context(), "l", 0, -1)
	if err != nil || len(got) != n {
		t.Fatalf("%d elements, %v", len(got), err)
	}
	for i, v := range got {
		if v != fmt.Sprint(i) {
			t.Fatalf("element %d is %s", i, v)
		}
	}
}

func TestACommandLargerThanNATSCarriesIsRefusedAsAWhole(t *testing.T) {
	_, store := openDriven(t)
	argv := []string{"MSET"}
	for i := range 10 << 10 {
		argv = append(argv, fmt.Sprint("k", i), string(make([]byte, 1<<10)))
	}
	if _, err := store.Do(t.Context(), bytesOf(argv)); !errors.Is(err, ErrCommandTooLarge) || !errors.Is(err, ErrTooLarge) {
		t.Errorf("MSET of 10 MiB = %v, want ErrCommandTooLarge", err)
	}
	if _, err := store.Do(t.Context(), bytesOf([]string{"SET", "k", string(make([]byte, 2<<20))})); errors.Is(err, ErrCommandTooLarge) || !errors.Is(err, ErrTooLarge) {
		t.Errorf("SET of 2 MiB = %v, want ErrTooLarge for the argument", err)
	}
	if _, ok, err := store.Get(t.Context(), "k0"); ok || err != nil {
		t.Errorf("Get = %v, %v: a part was done", ok, err)
	}
}
