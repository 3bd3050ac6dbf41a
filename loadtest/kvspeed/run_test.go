package kvspeed

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/kv/resp"
	"roomd/loadtest/report"
	"roomd/loadtest/target"
	"roomd/loadtest/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(servers ...Server) Config {
	return Config{
		Servers: servers, Conns: 4, Depth: 2, Size: 32, Keys: 50, Sizes: []int{10, 700},
		For: 100 * time.Millisecond, Warmup: 10 * time.Millisecond, Rounds: 1, Say: func(string, int, int) {},
	}
}

// liar is a server that answers as it likes: all commands but INFO go to answer.
func liar(t *testing.T, answer func(command string) string) Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					name, err := readCommand(in)
					if err != nil {
						return
					}
					reply := answer(name)
					if name == "INFO" {
						reply = "$0\r\n\r\n"
					}
					if _, err := io.WriteString(conn, reply); err != nil {
						return
					}
				}
			})
		}
	})
	return Server{Name: "liar", Addr: ln.Addr().String()}
}

// readCommand reads one command and returns its name.
func readCommand(in *bufio.Reader) (string, error) {
	var b []byte
	for {
		c, err := in.ReadByte()
		if err != nil {
			return "", err
		}
		if b = append(b, c); !bytes.HasSuffix(b, []byte("\r\n")) {
			continue
		}
		if v, _, err := resp.Parse(b); err == nil {
			return string(v.Elems[0].Text), nil
		}
	}
}

func TestWrongAnswersEndTheMeasurement(t *testing.T) {
	ok := func(string) string { return ":0\r\n" }
	for name, c := range map[string]struct {
		op, want string
		answer   func(string) string
	}{
		"error":        {"GET", "no room", func(string) string { return "-ERR no room\r\n" }},
		"another kind": {"SET", "kind :", ok},
		"null":         {"LPUSH/RPOP", "kind _", func(string) string { return "$-1\r\n" }},
		"counter is behind": {"INCR one", "the counter is at 7", func(name string) string {
			if name == "GET" {
				return "$1\r\n7\r\n"
			}
			return ":1\r\n"
		}},
		"no protocol": {"HSET", "malformed", func(name string) string {
			if name == "DEL" {
				return ":0\r\n"
			}
			return "hello\r\n"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(liar(t, c.answer))
			cfg.Ops = []string{c.op}
			if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Run() = %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestMeasurementEndsWithItsContext(t *testing.T) {
	cfg := config(liar(t, func(name string) string {
		if name == "DEL" {
			return ":0\r\n"
		}
		return ""
	}))
	cfg.Ops = []string{"INCR one"}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, cfg); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("Run() = %v", err)
	}
}

func TestRealRedisIsMeasuredAtEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("runs redis-server; not with -short")
	}
	r, err := target.SpawnRedis(t.Context(), "redis-server", nil, "--save", "", "--appendonly", "no")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	}()
	k, err := Run(t.Context(), config(Server{Name: "one", Addr: r.Addr, CPU: r.CPU}, Server{Name: "two", Addr: r.Addr}))
	if err != nil {
		t.Fatal(err)
	}
	if len(k.Ops) != 10+2*3 || k.Servers[0].Version == "" || k.Verdict() != "" {
		t.Errorf("%d operations, servers %v, verdict %q", len(k.Ops), k.Servers, k.Verdict())
	}
	for _, op := range k.Ops {
		for _, res := range op.Results {
			if res.PerS <= 0 || res.P50 <= 0 || res.P99 < res.P50 || res.Max < res.P99 || res.Ratio <= 0 {
				t.Errorf("%s: %+v", op.Name, res)
			}
		}
	}
	c, err := wire.Dial(t.Context(), r.Addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if left, err := c.Do("DBSIZE"); err != nil || left.Int != 0 {
		t.Errorf("%d keys are left behind, %v", left.Int, err)
	}
	var table, page strings.Builder
	if err := k.Table(&table); err != nil || !strings.Contains(table.String(), "BRPOP wake-up") {
		t.Errorf("table %v:\n%s", err, table.String())
	}
	if err := k.HTML(&page); err != nil || !strings.Contains(page.String(), "PUBLISH, two") {
		t.Errorf("page %v:\n%s", err, page.String())
	}
}

func TestRatiosAreToTheFirstServer(t *testing.T) {
	op := report.KVOp{Results: []report.KVResult{{PerS: 100, P50: 1}, {PerS: 50, P50: 4}}}
	if op.Compare(); op.Results[0].Ratio != 1 || op.Results[1].Ratio != 0.5 {
		t.Errorf("ratios of operations a second %+v", op.Results)
	}
	op.Paced = true
	if op.Compare(); op.Results[1].Ratio != 0.25 {
		t.Errorf("ratio of latencies %+v", op.Results)
	}
	m := report.MedianKV([]report.KVResult{{PerS: 1, Max: 5, Lost: 1}, {PerS: 9, Max: 2, Lost: 2}, {PerS: 3, Max: 1}})
	if m.PerS != 3 || m.Max != 5 || m.Lost != 3 {
		t.Errorf("median %+v", m)
	}
	lost := report.KV{Ops: []report.KVOp{{Results: []report.KVResult{m}}}}
	if lost.Verdict() == "" {
		t.Error("lost messages are fine")
	}
}
