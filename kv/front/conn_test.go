package front

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomd/bus"
	"roomd/kv"
	"roomd/kv/resp"
)

func TestPipelinedCommandsAreAppliedAndAnsweredInOrder(t *testing.T) {
	const n = 5000
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			c := dial(t, serve(t, store, Config{}).Addr())
			var sent []byte
			for i := range n {
				sent = resp.AppendCommand(sent, "INCR", "n")
				sent = resp.AppendCommand(sent, "ECHO", strconv.Itoa(i))
				sent = resp.AppendCommand(sent, "SET", "key"+strconv.Itoa(i), "value"+strconv.Itoa(i))
			}
			c.sendBytes(sent)
			for i := range n {
				c.want(fmt.Sprintf(":%d\r\n", i+1))
				c.want(string(resp.AppendBulk(nil, strconv.Itoa(i))), "+OK\r\n")
			}
			for _, i := range []int{0, 17, n - 1} { // what was set is not what the buffer held later
				c.send("GET key" + strconv.Itoa(i))
				c.want(string(resp.AppendBulk(nil, "value"+strconv.Itoa(i))))
			}
		})
	}
}

func TestClientMaySendAllBeforeItReads(t *testing.T) {
	const n = 400
	value := strings.Repeat("x", 100_000) // 40 MB of replies: more than sockets hold
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			c := dial(t, serve(t, store, Config{}).Addr())
			c.sendBytes(resp.AppendCommand(nil, "SET", "a", value))
			c.want("+OK\r\n")
			c.sendBytes(bytes.Repeat(resp.AppendCommand(nil, "GET", "a"), n))
			c.sendBytes(resp.AppendCommand(nil, "SET", "b", strings.Repeat("y", 1<<20)))
			want := string(resp.AppendBulk(nil, value))
			for range n {
				c.want(want)
			}
			c.want("+OK\r\n")
		})
	}
}

func TestClientThatReadsNothingIsNotReadFrom(t *testing.T) {
	store := memory(t)
	s, stop := serveUntil(t, store, Config{})
	c := dial(t, s.Addr())
	c.sendBytes(resp.AppendCommand(nil, "SET", "a", strings.Repeat("x", 1<<20)))
	c.want("+OK\r\n")
	c.sendBytes(bytes.Repeat(resp.AppendCommand(nil, "GET", "a"), 1000))
	c.send("SET b 1")
	var held *conn
	deadline := time.Now().Add(patience)
	for full := false; !full; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its commands are still run")
		}
		s.mu.Lock()
		for held = range s.conns {
		}
		s.mu.Unlock()
		held.mu.Lock()
		full = held.unsent > maxReplies
		if held.unsent > maxReplies+8<<20 {
			t.Errorf("%d bytes wait", held.unsent)
		}
		held.mu.Unlock()
	}
	if _, ok, err := store.Get(t.Context(), "b"); ok || err != nil {
		t.Errorf("later commands ran: %v, %v", ok, err)
	}
	stop() // does not wait for the client
}

func TestWaitingCommandHoldsUpThoseBehindIt(t *testing.T) {
	for name, behind := range map[string]int{"few": 1, "more than are read ahead": 4000} {
		t.Run(name, func(t *testing.T) {
			store := begun{memory(t), t, make(chan struct{}, 1)}
			s := serve(t, store, Config{})
			c, other := dial(t, s.Addr()), dial(t, s.Addr())
			pad := strings.Repeat("x", 900) // what comes later is read over the waiting command
			sent := resp.AppendCommand(resp.AppendCommand(nil, "ECHO", pad), "BLPOP", "q", "0")
			for range behind {
				sent = resp.AppendCommand(sent, "INCR", "a-key-with-a-name-to-fill-the-buffer")
			}
			c.sendBytes(sent)
			c.want(string(resp.AppendBulk(nil, pad)))
			<-store.c
			other.send("EXISTS a-key-with-a-name-to-fill-the-buffer", "RPUSH q x")
			other.want(":0\r\n", ":1\r\n")
			c.want("*2\r\n$1\r\nq\r\n$1\r\nx\r\n")
			for i := range behind {
				c.want(fmt.Sprintf(":%d\r\n", i+1))
			}
			c.send("BLPOP q 0") // and once more, after the reader was woken
			<-store.c
			other.send("RPUSH q y")
			c.want("*2\r\n$1\r\nq\r\n$1\r\ny\r\n")
		})
	}
}

func TestWaitEndsWithItsClientAndTakesNothing(t *testing.T) {
	store := begun{memory(t), t, make(chan struct{}, 1)}
	s := serve(t, store, Config{})
	c := dial(t, s.Addr())
	c.send("BLPOP q 0", "SET behind 1")
	<-store.c
	if err := c.nc.Close(); err != nil {
		t.Fatal(err)
	}
	gone(t, s, 0)
	c = dial(t, s.Addr())
	c.send("RPUSH q x", "EXISTS behind")
	c.want(":1\r\n", ":0\r\n")
}

func TestRepliesComeToClientThatHasEndedItsSide(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, store, Config{}).Addr()
			c := dial(t, addr)
			c.send("SET a 1", "INCR a", "PING")
			if err := c.nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			c.want("+OK\r\n", ":2\r\n", "+PONG\r\n")
			c.wantEnd()
		})
	}
}

func TestEndOfRunClosesClientsWhateverTheyDo(t *testing.T) {
	store := begun{memory(t), t, make(chan struct{}, 1)}
	s, stop := serveUntil(t, store, Config{})
	idle, waiting, listening := dial(t, s.Addr()), dial(t, s.Addr()), dial(t, s.Addr())
	idle.send("PING")
	idle.want("+PONG\r\n")
	waiting.send("BLPOP q 0")
	<-store.c
	listening.send("SUBSCRIBE a")
	listening.want("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
	stop()
	for _, c := range []*client{idle, waiting, listening} {
		c.wantEnd()
	}
}

func TestTooManyClientsAreTurnedAway(t *testing.T) {
	s := serve(t, memory(t), Config{MaxConns: 1})
	c := dial(t, s.Addr())
	c.send("PING")
	c.want("+PONG\r\n")
	second := dial(t, s.Addr())
	second.want("-ERR max number of clients reached\r\n")
	second.wantEnd()
	c.nc.Close()
	gone(t, s, 0)
	third := dial(t, s.Addr())
	third.send("PING")
	third.want("+PONG\r\n")
}

func TestFailuresOfTheStoreAreErrors(t *testing.T) {
	for text, err := range map[string]error{
		"-UNAVAILABLE the store cannot be reached, nothing was done\r\n":                bus.Errorf(bus.Unavailable, "x"),
		"-TIMEOUT the store did not answer in time, the command may have been done\r\n": fmt.Errorf("wrapped: %w", bus.Errorf(bus.Timeout, "x")),
		"-ERR argument is larger than the store takes\r\n":                              kv.ErrTooLarge,
		"-ERR command is larger than the store takes\r\n":                               fmt.Errorf("wrapped: %w", kv.ErrCommandTooLarge),
		"-UNAVAILABLE the store is closed, nothing was done\r\n":                        kv.ErrClosed,
		"-ERR internal error, the command may have been done\r\n":                       errors.New("a secret"),
		"-CROSSSLOT Keys in request don't hash to the same slot\r\n":                    &kv.Error{Code: "CROSSSLOT", Message: "Keys in request don't hash to the same slot"},
		"-UNAVAILABLE the store has too much to do, nothing was done\r\n":               bus.Errorf(bus.Overloaded, ""),
	} {
		c := dial(t, serve(t, failing{memory(t), err}, Config{}).Addr())
		c.send("GET a", "WATCH a", "MULTI", "GET a", "EXEC", "MULTI", "PING", "GET a", "EXEC", "SUBSCRIBE a", "PING")
		c.want(text, text, "+OK\r\n", "+QUEUED\r\n", text, "+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", text, text, "+PONG\r\n")
	}
}

func TestArgumentsAboveTheStoresLimitCloseNothing(t *testing.T) {
	c := dial(t, serve(t, memory(t), Config{}).Addr())
	c.sendBytes(resp.AppendCommand(nil, "SET", "a", strings.Repeat("x", 5<<20)))
	c.want("-ERR argument is larger than the store takes\r\n")
	c.send("PING")
	c.want("+PONG\r\n")
}

func TestIdleClientKeepsNoBuffers(t *testing.T) {
	s := serve(t, memory(t), Config{})
	c := dial(t, s.Addr())
	for range 3 {
		c.sendBytes(resp.AppendCommand(nil, "SET", "a", strings.Repeat("x", 1<<20)))
		c.want("+OK\r\n")
		c.send("GET a")
		c.reply()
	}
	idle := func(c *conn) bool { // soon, as the reply is here before the front knows that it is gone
		c.mu.Lock()
		defer c.mu.Unlock()
		return !c.busy && c.out == nil && c.sending == nil && c.inFlight == 0 && cap(c.scratch) <= keptScratch
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		for deadline := time.Now().Add(patience); !idle(c); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("buffers are kept")
			}
		}
	}
}

func TestMetricsCountCommandsByNameAndErrorsByCode(t *testing.T) {
	s := serve(t, memory(t), Config{})
	c := dial(t, s.Addr())
	c.send("SET a x", "GET a", "get a", "INCR a", "LPUSH a b", "nosuch", "GET")
	for range 7 {
		c.reply()
	}
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(s); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "roomd_redis_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"conns": 1, "accepts_total": 1, "commands_total get": 2, "commands_total set": 1, "commands_total incr": 1,
		"refused_total": 2, "errors_total ERR": 3, "errors_total WRONGTYPE": 1, "commands_total nosuch": 0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if got["bytes_in_total"] == 0 || got["bytes_out_total"] == 0 {
		t.Errorf("no bytes: %v", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"user without password": {User: "a"}, "negative": {MaxConns: -1},
	} {
		if _, err := New(nil, cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkPipelined(b *testing.B) {
	c := dial(b, serve(b, memory(b), Config{}).Addr())
	const batch = 100
	sent := bytes.Repeat(resp.AppendCommand(nil, "SET", "key", strings.Repeat("x", 100)), batch)
	got := make([]byte, batch*len("+OK\r\n"))
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		c.sendBytes(sent)
		if _, err := io.ReadFull(c.nc, got); err != nil {
			b.Fatal(err)
		}
	}
}
