package front

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"roomd/kv/resp"
)

func message(channel, text string) string {
	return string(resp.AppendBulk(resp.AppendBulk(resp.AppendBulk(resp.AppendArray(nil, 3), "message"), channel), text))
}

func TestMessagesComeBetweenTheConfirmations(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, store, Config{}).Addr()
			var loud sync.WaitGroup
			defer loud.Wait()
			over := make(chan struct{})
			defer close(over)
			loud.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-over:
						return
					default:
					}
					if _, err := store.Publish(t.Context(), "a", strconv.Itoa(i)); err != nil {
						return
					}
				}
			})
			c := dial(t, addr)
			for range 30 {
				c.send("SUBSCRIBE a")
				c.want("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
				var last int
				for i := range 10 {
					v, _, err := resp.Parse([]byte(c.reply()))
					if err != nil {
						t.Fatal(err)
					}
					n, err := strconv.Atoi(string(v.Elems[2].Text))
					if err != nil || i > 0 && n != last+1 {
						t.Fatalf("message %q after %d", v.Elems[2].Text, last)
					}
					last = n
				}
				c.send("UNSUBSCRIBE a", "ECHO on")
				for got := c.reply(); got != "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"; got = c.reply() {
					if !strings.HasPrefix(got, "*3\r\n$7\r\nmessage\r\n") {
						t.Fatalf("got %q", got)
					}
				}
				c.want("$2\r\non\r\n") // no message behind the confirmation
			}
		})
	}
}

func TestMessageBeforeTheConfirmationComesBehindIt(t *testing.T) {
	store := early{memory(t)}
	c := dial(t, serve(t, store, Config{}).Addr())
	c.send("SUBSCRIBE a")
	c.want("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
	if _, err := store.Publish(t.Context(), "a", "x"); err != nil {
		t.Fatal(err)
	}
	c.want(message("a", "early"), message("a", "x"))
}

func TestPatternsAndChannelsEachGetTheMessage(t *testing.T) {
	store := memory(t)
	c := dial(t, serve(t, store, Config{}).Addr())
	c.send("PSUBSCRIBE a*", "SUBSCRIBE ab", "PSUBSCRIBE ''")
	c.want("*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:1\r\n", "*3\r\n$9\r\nsubscribe\r\n$2\r\nab\r\n:2\r\n", "*3\r\n$10\r\npsubscribe\r\n$0\r\n\r\n:3\r\n")
	for channel, want := range map[string]int{"ab": 2, "": 1} {
		if n, err := store.Publish(t.Context(), channel, "x\r\n"); n != want || err != nil {
			t.Fatalf("Publish(%q) = %d, %v", channel, n, err)
		}
		got := map[string]bool{}
		for range want {
			got[c.reply()] = true
		}
		if channel == "ab" && (!got[message("ab", "x\r\n")] || !got["*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$3\r\nx\r\n\r\n"]) {
			t.Errorf("got %v", got)
		}
		if channel == "" && !got["*4\r\n$8\r\npmessage\r\n$0\r\n\r\n$0\r\n\r\n$3\r\nx\r\n\r\n"] {
			t.Errorf("got %v", got)
		}
	}
}

func TestClientThatReadsNoMessagesIsClosedAndHoldsUpNobody(t *testing.T) {
	store := memory(t)
	s := serve(t, store, Config{})
	slow, good := dial(t, s.Addr()), dial(t, s.Addr())
	for _, c := range []*client{slow, good} {
		c.send("SUBSCRIBE a")
		c.want("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
	}
	text := strings.Repeat("x", 1<<20)
	want := message("a", text)
	sent := 0
	for receivers := 2; receivers == 2; sent++ {
		var err error
		if receivers, err = store.Publish(t.Context(), "a", text); err != nil {
			t.Fatal(err)
		}
		good.want(want)
		if sent > 200 {
			t.Fatal("slow client is not closed")
		}
	}
	gone(t, s, 1)
	if s.counts.slow.Load() != 1 || sent < maxMessages>>20 {
		t.Errorf("%d closed after %d messages", s.counts.slow.Load(), sent)
	}
}

func TestMessagesReachClientThatWaits(t *testing.T) {
	store := begun{memory(t), t, make(chan struct{}, 1)}
	c := dial(t, serve(t, store, Config{}).Addr())
	c.send("HELLO 3")
	c.reply()
	c.send("SUBSCRIBE a", "BLPOP q 0")
	c.reply()
	<-store.c
	if _, err := store.Publish(t.Context(), "a", "x"); err != nil {
		t.Fatal(err)
	}
	c.want(">" + message("a", "x")[1:])
	if _, err := store.RPush(t.Context(), "q", "y"); err != nil {
		t.Fatal(err)
	}
	c.want("*2\r\n$1\r\nq\r\n$1\r\ny\r\n")
}

func TestGoRedisWorks(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		for name, store := range stores(t) {
			t.Run(fmt.Sprint(name, protocol), func(t *testing.T) {
				addr := serve(t, store, Config{Password: "secret"}).Addr()
				rdb := redis.NewClient(&redis.Options{Addr: addr.String(), Protocol: protocol, Password: "secret", ClientName: "test"})
				defer rdb.Close()
				useGoRedis(t, rdb)
			})
		}
	}
}

func useGoRedis(t *testing.T, rdb *redis.Client) {
	ctx := t.Context()
	check := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s = %v, %v, want %v", what, got, err, want)
		}
	}
	any := string([]byte{0, '\r', '\n', 255})
	check("SET", rdb.Set(ctx, any, any, 0).Val(), "OK", nil)
	got, err := rdb.Get(ctx, any).Result()
	check("GET", got, any, err)
	if err := rdb.Get(ctx, "nope").Err(); err != redis.Nil {
		t.Errorf("GET of nothing: %v", err)
	}
	n, err := rdb.HSet(ctx, "h", "a", 1, "b", 2).Result()
	check("HSET", n, 2, err)
	all, err := rdb.HGetAll(ctx, "h").Result()
	check("HGETALL", all, map[string]string{"a": "1", "b": "2"}, err)
	n, err = rdb.ZAdd(ctx, "z", redis.Z{Score: 1.5, Member: "a"}, redis.Z{Score: 2, Member: "b"}).Result()
	check("ZADD", n, 2, err)
	scores, err := rdb.ZRangeWithScores(ctx, "z", 0, -1).Result()
	check("ZRANGE", scores, []redis.Z{{Score: 1.5, Member: "a"}, {Score: 2, Member: "b"}}, err)
	popped, err := rdb.ZPopMin(ctx, "z", 2).Result()
	check("ZPOPMIN", popped, scores, err)
	if err := rdb.Do(ctx, "BLPOP", "nothing", "0.01").Err(); err != redis.Nil {
		t.Errorf("BLPOP of nothing: %v", err)
	}
	var incr *redis.IntCmd
	_, err = rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "n", 5, 0)
		incr = p.Incr(ctx, "n")
		return nil
	})
	check("MULTI", incr.Val(), 6, err)
	err = rdb.Watch(ctx, func(tx *redis.Tx) error {
		if err := rdb.Incr(ctx, "n").Err(); err != nil {
			return err
		}
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "n", 0, 0).Err() })
		return err
	}, "n")
	if err != redis.TxFailedErr {
		t.Errorf("EXEC after a change: %v", err)
	}
	sub := rdb.Subscribe(ctx, "ch")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		n, err := rdb.Publish(ctx, "ch", i).Result()
		check("PUBLISH", n, 1, err)
	}
	for i := range 100 {
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		check("message", m.Payload, i, nil)
	}
	if err := rdb.Do(ctx, "nosuch", "a").Err(); err == nil || !strings.HasPrefix(err.Error(), "ERR unknown command 'nosuch'") {
		t.Errorf("unknown command: %v", err)
	}
}

func TestManySubscriptionsInOneCommand(t *testing.T) {
	store := memory(t)
	c := dial(t, serve(t, store, Config{}).Addr())
	argv := []string{"SUBSCRIBE"}
	for i := range 1000 {
		argv = append(argv, "c"+strconv.Itoa(i))
	}
	c.sendBytes(resp.AppendCommand(nil, argv...))
	for i := range 1000 {
		if got := c.reply(); !strings.HasSuffix(got, fmt.Sprintf(":%d\r\n", i+1)) {
			t.Fatalf("got %q", got)
		}
	}
	c.sendBytes(bytes.Repeat([]byte("UNSUBSCRIBE\r\n"), 1))
	for i := range 1000 {
		if got := c.reply(); !strings.HasSuffix(got, fmt.Sprintf(":%d\r\n", 999-i)) {
			t.Fatalf("got %q", got)
		}
	}
}
