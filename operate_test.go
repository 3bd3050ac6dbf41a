package roomd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/bus"
)

func TestOperatorsCommandsAreReadAndWrongOnesExplained(t *testing.T) {
	at := map[string]string{"ROOMD_NATS": "nats://x", "ROOMD_DATA": "/for/nodes/only"}
	for name, test := range map[string]struct {
		args []string
		env  map[string]string
		want string // part of the error; empty: none
		ok   func(operation) bool
	}{
		"nodes":                 {args: []string{"nodes"}, env: at, ok: func(o operation) bool { return o.nats == "nats://x" }},
		"flag wins":             {args: []string{"nodes", "-nats", "nats://y"}, env: at, ok: func(o operation) bool { return o.nats == "nats://y" }},
		"node before flags":     {args: []string{"drain", "w1", "-timeout", "3s"}, env: at, ok: func(o operation) bool { return o.node == "w1" && o.timeout == 3*time.Second }},
		"node after flags":      {args: []string{"drain", "-timeout", "3s", "w1"}, env: at, ok: func(o operation) bool { return o.node == "w1" && o.timeout == 3*time.Second }},
		"nodes without NATS":    {args: []string{"nodes"}, want: "-nats-listen"},
		"drain without NATS":    {args: []string{"drain", "w1"}, want: "needs -nats"},
		"drain without a node":  {args: []string{"drain"}, env: at, want: "roomd nodes lists them"},
		"drain of two nodes":    {args: []string{"drain", "w1", "w2"}, env: at, want: `unexpected argument "w2"`},
		"drain of two, apart":   {args: []string{"drain", "w1", "-prefix", "p", "w2"}, env: at, want: `unexpected argument "w2"`},
		"drain of many":         {args: []string{"drain", "*"}, env: at, want: "cannot be the name of a node"},
		"nodes with a node":     {args: []string{"nodes", "w1"}, env: at, want: "unexpected argument"},
		"unknown flag":          {args: []string{"nodes", "-timeout", "3s"}, env: at, want: "-timeout"},
		"negative timeout":      {args: []string{"drain", "w1", "-timeout", "-3s"}, env: at, want: "-timeout -3s"},
		"unreadable timeout":    {args: []string{"drain", "w1"}, env: map[string]string{"ROOMD_TIMEOUT": "x"}, want: "ROOMD_TIMEOUT"},
		"environment of others": {args: []string{"nodes"}, env: map[string]string{"ROOMD_NATS": "nats://x", "ROOMD_DRAIN": "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			lookup := func(key string) (string, bool) { v, ok := test.env[key]; return v, ok }
			o, err := parseOperation(test.args, lookup, nil)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one with %q", err, test.want)
			case test.ok != nil && !test.ok(o):
				t.Errorf("operation %+v", o)
			}
		})
	}
	var help bytes.Buffer
	none := func(string) (string, bool) { return "", false }
	if _, err := parseOperation([]string{"drain", "-help"}, none, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-timeout") {
		t.Errorf("help is %v, %s", err, &help)
	}
}

func TestNamesOfNodesCanBeCutShortUntilTheyMeanSeveral(t *testing.T) {
	process := func(names ...string) (p processState) {
		for _, name := range names {
			p.nodes = append(p.nodes, nodeState{name: name})
		}
		return p
	}
	all := []processState{
		process("w1-0a0a0a0a"), process("w10-0b0b0b0b"), process("w1-b-0c0c0c0c"),
		process("all-0d0d0d0d", "all-0d0d0d0d-worker"), process("twin-0e0e0e0e"), process("twin-0f0f0f0f"),
	}
	for name, want := range map[string]string{
		"w1":                  "w1-0a0a0a0a",
		"w1-0a":               "w1-0a0a0a0a",
		"w1-b":                "w1-b-0c0c0c0c",
		"w10":                 "w10-0b0b0b0b",
		"w":                   "w1-0a0a0a0a, w1-b-0c0c0c0c, w10-0b0b0b0b",
		"all":                 "all-0d0d0d0d, all-0d0d0d0d-worker",
		"all-0d0d0d0d-w":      "all-0d0d0d0d, all-0d0d0d0d-worker",
		"twin":                "twin-0e0e0e0e, twin-0f0f0f0f",
		"twin-0f":             "twin-0f0f0f0f",
		"x":                   "",
		"w1-0a0a0a0a-further": "",
	} {
		if got := names(meant(name, all)); got != want {
			t.Errorf("%q means %q, want %q", name, got, want)
		}
	}
}

func TestAnswersToOperatorsComeThroughAsTheyWere(t *testing.T) {
	p := processState{inside: true, state: "ready", nodes: []nodeState{{"a", "edge", 7}, {"b", "worker", 1 << 40}}}
	b := p.append(nil)
	if got, err := parseProcess(b); err != nil || got.inside != p.inside || got.state != p.state || !slices.Equal(got.nodes, p.nodes) {
		t.Errorf("%+v came back as %+v, %v", p, got, err)
	}
	for i := range b {
		if got, err := parseProcess(b[:i]); err == nil {
			t.Errorf("%d bytes of %d are %+v", i, len(b), got)
		}
	}
}

// operator runs a command for operators and returns what it said.
func operator(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd, errs := roomdCommand(ctx, args...)
	said, err := cmd.Output()
	return string(said) + errs.String(), err
}

// natsServer is one without any node.
func natsServer(t *testing.T) (url string) {
	t.Helper()
	addr := freeAddr(t)
	conn, err := bus.Open(t.Context(), bus.Config{Server: bus.ServerConfig{Addr: addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return "nats://" + addr
}

func TestOperatorsSeeNodesAndAreToldWhomTheyMayMean(t *testing.T) {
	t.Parallel()
	nats := natsServer(t)
	if out, err := operator(t, "nodes", "-nats", nats); err == nil || !strings.Contains(out, "no node answers") {
		t.Errorf("without nodes it says %q, %v", out, err)
	}
	// One server of several is enough, and a password is not for screens.
	several := "nats://127.0.0.1:1,nats://ann:secret@" + strings.TrimPrefix(nats, "nats://")
	edge := &process{args: []string{"edge", "-nats", several, "-admin", "", "-addr", freeAddr(t), "-name", "e1"}}
	edge.start(t)
	t.Cleanup(func() { edge.stop(t, syscall.SIGTERM) })
	for _, name := range []string{"w1", "w2"} {
		worker := &process{args: []string{"worker", "-nats", several, "-admin", "", "-name", name}}
		worker.start(t)
		t.Cleanup(func() { worker.stop(t, syscall.SIGTERM) })
	}
	guest := (&system{url: "ws://" + edge.args[slices.Index(edge.args, "-addr")+1] + "/ws"}).guest(t, "Ann")
	guest.add(t, "something")

	for _, line := range []string{
		`(?m)^NODE +ROLE +LOAD +STATE$`,
		`(?m)^e1-[0-9a-f]{8} +edge +1 client +ready$`,
		`(?m)^w[12]-[0-9a-f]{8} +worker +1 room +ready$`,
		`(?m)^w[12]-[0-9a-f]{8} +worker +0 rooms +ready$`,
	} {
		until(t, "there is a line "+line, func() bool { // an edge counts its clients once a second
			out, err := operator(t, "nodes", "-nats", nats)
			if err != nil {
				t.Fatal(err, out)
			}
			return regexp.MustCompile(line).MatchString(out)
		})
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"ambiguous":   {[]string{"drain", "w", "-nats", nats}, `"w" can be any of w1-`},
		"unknown":     {[]string{"drain", "x", "-nats", nats}, `no node is called "x"; there are e1-`},
		"nobody":      {[]string{"drain", "w1", "-nats", nats, "-prefix", "other"}, `with prefix "other"`},
		"unreachable": {[]string{"nodes", "-nats", "nats://ann:secret@127.0.0.1:1"}, "is a NATS server running there?"},
	} {
		out, err := operator(t, test.args...)
		if err == nil || !strings.Contains(out, test.want) || strings.Contains(out, "secret") {
			t.Errorf("%s: it said %q, %v, want %q", name, out, err, test.want)
		}
	}
}

func TestDrainedNodeLeavesInOrderAndItsRoomsGoOn(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	nats := c.worker.args[slices.Index(c.worker.args, "-nats")+1]
	ann := c.guests[0]
	if n := ann.add(t, "before"); n != 1 {
		t.Fatalf("reply %d to the first line", n)
	}
	table, err := operator(t, "nodes", "-nats", nats)
	if err != nil {
		t.Fatal(err, table)
	}
	owner := regexp.MustCompile(`(?m)^(\S+) +worker +1 room +ready$`).FindStringSubmatch(table)
	if owner == nil {
		t.Fatalf("nobody has the room:\n%s", table)
	}
	out, err := operator(t, "drain", owner[1], "-nats", nats, "-timeout", "20s")
	if err != nil || !strings.Contains(out, owner[1]+" with 1 room leaves\ngone after ") {
		t.Fatalf("drain says %q, %v", out, err)
	}
	if err := c.worker.cmd.Wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	c.worker.log.awaits(t, "asked to leave")
	c.worker.cmd = nil
	if n := ann.add(t, "after"); n != 2 {
		t.Errorf("reply %d to the second line", n)
	}
	for len(ann.notice) > 0 {
		if got := <-ann.notice; got == "reset" {
			t.Error("an orderly end was a reset")
		}
	}
	if len(ann.joined) > 0 {
		t.Error("the client lost its connection")
	}
}

func TestDrainOfAProcessEndsAllItsNodesAndItsNATS(t *testing.T) {
	listen := freeAddr(t)
	all := &process{args: []string{"-data", t.TempDir(), "-addr", "127.0.0.1:0", "-admin", "", "-name", "all", "-nats-listen", listen}}
	all.start(t)
	t.Cleanup(func() { all.stop(t, syscall.SIGTERM) }) // unless it has ended
	out, err := operator(t, "drain", "all", "-nats", "nats://"+listen, "-timeout", "20s")
	if err != nil || !regexp.MustCompile(`^all-\w{8} with 0 clients and all-\w{8}-worker with 0 rooms leaves\ngone after `).MatchString(out) {
		t.Fatalf("drain says %q, %v", out, err)
	}
	if err := all.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	all.cmd = nil
}

func TestEdgeServesOnWhileBalancersAreToldThatItLeaves(t *testing.T) {
	addr, admin := freeAddr(t), freeAddr(t)
	node := &process{args: []string{"-memory", "-addr", addr, "-admin", admin, "-drain-delay", "1h"}}
	node.start(t)
	if err := node.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "readyz says draining", func() bool {
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	ann := (&system{url: "ws://" + addr + "/ws"}).guest(t, "Ann") // whom the balancer had sent before
	if n := ann.add(t, "still"); n != 1 {
		t.Errorf("reply %d to the first line", n)
	}
	node.stop(t, syscall.SIGTERM) // once more: at once
}

// until waits for what no event tells.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("waited 20 s until %s", what)
		}
	}
}
