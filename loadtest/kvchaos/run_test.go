package kvchaos

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/kv/resp"
	"roomd/loadtest/cluster"
	"roomd/loadtest/target"
	"roomd/loadtest/wire"
)

func TestMain(m *testing.M) {
	if status, is := Child(os.Args[1:], os.Stdin, os.Stdout); is {
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}

// startRedis starts a real server to try ourselves on.
func startRedis(t *testing.T) *target.Redis {
	t.Helper()
	if testing.Short() {
		t.Skip("runs redis-server; not with -short")
	}
	r, err := target.SpawnRedis(t.Context(), "redis-server", nil, "--save", "", "--appendonly", "no")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func config(addr string) Config {
	return Config{
		Seed: 3, For: 3 * time.Second, Clients: 16, Producers: 8, Rate: 500, Pushes: 200, Kills: 500 * time.Millisecond,
		Addrs: []string{addr}, Say: func(string) {},
	}
}

func TestRealRedisPasses(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	k, err := Run(ctx, config(r.Addr))
	if err != nil {
		t.Fatal(err)
	}
	if k.Violated > 0 {
		t.Errorf("violations %+v (see %s)", k.Violations, k.Dump)
	}
	if k.Acked < 100 || k.Pushed < 50 || k.Killed == 0 || k.QuietKills == 0 || k.Increments == 0 || k.Touches == 0 || k.Reads == 0 {
		t.Errorf("it hardly did anything: %+v", k)
	}
}

// Workers, an edge and a NATS server of three are killed under clients and
// consumers that are killed too.
func TestSystemWhoseProcessesDieKeepsItsPromises(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes of a cluster of its own; not with -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cfg := config("")
	cfg.Addrs, cfg.For, cfg.Say = nil, 18*time.Second, func(text string) { t.Log(text) }
	cfg.Cluster = cluster.Config{Edges: 2, Workers: 2, NATS: 3}
	k, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if k.Violated > 0 {
		t.Errorf("violations %+v (see %s)", k.Violations, k.Dump)
	}
	if k.Acked < 100 || k.Pushed < 50 || k.Increments == 0 || k.Touches == 0 || k.Reads == 0 {
		t.Errorf("it hardly did anything: %+v", k)
	}
}

// A server that lost what it had acknowledged is found out: somebody flushes it
// behind our back.
func TestForgetfulServerIsFoundOut(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cfg := config(r.Addr)
	flushed := make(chan error, 1)
	cfg.Say = func(text string) {
		if strings.HasPrefix(text, "waiting") {
			c, err := wire.Dial(ctx, r.Addr, time.Second)
			if err == nil {
				_, err = c.Do("FLUSHALL")
				_ = c.Close()
			}
			flushed <- err
		}
	}
	k, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(k.Dump)
	rules := make(map[string]bool)
	for _, v := range k.Violations {
		rules[v.Rule] = true
	}
	if !rules[RuleCounter] || !rules[RuleSet] || !rules[RuleRegister] || k.Verdict() == "" {
		t.Errorf("violations %+v", k.Violations)
	}
}

// What is not known to have failed may have happened.
func TestOnlyClearRefusalsAreRefusals(t *testing.T) {
	c := &client{addrs: []string{"x"}}
	for text, want := range map[wire.Refusal]Fate{
		"UNAVAILABLE no leader": Refused, "LOADING dataset": Refused, "EXECABORT discarded": Refused,
		"TIMEOUT the store": Unknown, "ERR internal": Unknown,
	} {
		if got := c.fateOf(text); got != want {
			t.Errorf("fateOf(%q) = %v, want %v", text, got, want)
		}
	}
	if got := c.fateOf(nil); got != Acked {
		t.Errorf("fateOf(nil) = %v", got)
	}
}

func TestConsumersLinesSayWhatItGot(t *testing.T) {
	var got []string
	err := readLines(strings.NewReader("w 1\np 1 e1.2\nb 0\ne 2 ERR some text\n"), func(verb, conn, element string) {
		got = append(got, verb+conn+element)
	})
	if want := "w1 p1e1.2 b0 e2ERR some text"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("lines %q, %v; want %q", got, err, want)
	}
	if readLines(strings.NewReader("nonsense\n"), nil) == nil {
		t.Error("nonsense is accepted")
	}
	if v := number(resp.Value{}.Text); v != 0 {
		t.Errorf("what is absent is %d", v)
	}
}
