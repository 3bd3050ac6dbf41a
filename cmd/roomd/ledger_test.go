package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd"
	"roomd/client"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

// The test binary is this program itself when it is started with this set.
const asRoomd = "ROOMD_TEST_AS_ROOMD"

func TestMain(m *testing.M) {
	if os.Getenv(asRoomd) != "" {
		roomd.Main(roomd.Options{}, kinds()...)
	}
	os.Exit(m.Run())
}

func TestLedgerKeepsEveryEntryInItsPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l ledger
		var want []string
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				id := rapid.StringN(1, 16, maxEntryBytes).Draw(t, "id")
				want = append(want, id)
				if place, err := l.add(id); err != nil || place != len(want) {
					t.Fatalf("add = %d, %v, want %d", place, err, len(want))
				}
			},
			"slice": func(t *rapid.T) {
				from := rapid.IntRange(0, len(want)+2).Draw(t, "from")
				n := rapid.IntRange(0, len(want)+2).Draw(t, "n")
				got, err := l.slice(from, n)
				from = min(from, len(want))
				if part := want[from:min(from+n, len(want))]; err != nil || !slices.Equal(got, part) {
					t.Fatalf("slice(%d, %d) = %q, %v, want %q", from, n, got, err, part)
				}
			},
			"": func(t *rapid.T) {
				if all, err := l.read(); err != nil || all.Count != len(want) || !slices.Equal(all.IDs, want) {
					t.Fatalf("read = %+v, %v, want %q", all, err, want)
				}
			},
		})
	})
}

func TestLedgerRefusesWhatItCannotKeepOrTell(t *testing.T) {
	var full ledger
	for i := range maxEntries {
		if _, err := full.add(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	empty := &ledger{}
	err := func(_ any, err error) error { return err }
	for name, got := range map[string]error{
		"one entry too many":   err(full.add("x")),
		"too much to read":     err(full.read()),
		"too long a slice":     err(full.slice(0, maxRead+1)),
		"slice from before":    err(full.slice(-1, 1)),
		"negative slice":       err(full.slice(0, -1)),
		"id of nothing":        err(empty.add("")),
		"too long an id":       err(empty.add(strings.Repeat("x", maxEntryBytes+1))),
		"register -1":          err(empty.register(-1)),
		"register 10":          err(empty.swap(registers, 0, 1)),
		"nothing (must be ok)": err(empty.read()),
	} {
		if ok := name == "nothing (must be ok)"; ok != (got == nil) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if full.Count != maxEntries || len(full.IDs) != maxEntries || empty.Count != 0 {
		t.Error("what was refused left traces")
	}
	if b, err := msgpack.Marshal(full); err != nil || len(b) > 8<<20 {
		t.Errorf("a full ledger has %d bytes, %v; a commit takes 8 MiB", len(b), err)
	}
}

// start runs this program as a process of its own, everything in memory, and
// returns the address of its clients.
func start(t *testing.T) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	cmd := exec.Command(os.Args[0], "-memory", "-addr", addr, "-admin", "")
	cmd.Env = append(os.Environ(), asRoomd+"=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "roomd: ") {
		t.Fatalf("it said %q, %v", line, err)
	}
	return "ws://" + addr + "/ws"
}

func TestLedgersSpeakAsTheirCommentSays(t *testing.T) {
	url := start(t)
	for _, kind := range []string{"ledger", "ledger-interval", "ledger-none"} {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c, err := client.Dial(ctx, client.Config{URL: url, User: "Ann"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			heard := make(chan string, 10)
			room, err := c.Join(ctx, kind, "l1", nil, client.Events{
				Message: func(m client.Message) { heard <- m.Event + " " + shown(t, m.Data) },
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				event string
				data  any
				want  string
			}{
				{"add", "a", "1"},
				{"add", "b", "2"},
				{"add", "a", "3"}, // it is not for the ledger to hide a duplicate
				{"read", nil, "map[count:3 ids:[a b a]]"},
				{"slice", []int{1, 1}, "[b]"},
				{"slice", []int{2, 100}, "[a]"},
				{"get", 9, "0"},
				{"put", []int{9, -7}, "<nil>"},
				{"cas", []int{9, 1, 2}, "false"},
				{"cas", []int{9, -7, 1 << 40}, "true"},
				{"get", 9, "1099511627776"},
				{"get", 10, "bad_data"},
				{"sub", 1, "unknown_event"},
			} {
				reply, err := room.Call(ctx, step.event, step.data)
				got := client.Code(err)
				if err == nil {
					got = shown(t, reply)
				}
				if got != step.want {
					t.Errorf("%s %v: %s, %v, want %s", step.event, step.data, got, err, step.want)
				}
			}
			for _, want := range []string{"added [1 a]", "added [2 b]", "added [3 a]"} {
				if got := <-heard; got != want {
					t.Errorf("heard %q, want %q", got, want)
				}
			}
		})
	}
}

func shown(t *testing.T, d client.Data) string {
	var v any
	if err := d.Decode(&v); err != nil {
		t.Error(err)
	}
	return fmt.Sprint(v)
}
