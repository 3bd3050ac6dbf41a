// Loadtest puts load on a roomd server on this machine, checks every answer and
// tells what it took.
//
//	go run ./loadtest chat -clients 2000 -rooms 50 -rate 200 -for 15s
//
// # What it does
//
// The load is open-loop: a schedule says when each command is due, whether or
// not earlier ones were answered, and latencies count from that moment. A server
// that stalls is charged for all that was due meanwhile.
//
// Clients follow PROTOCOL.md: they resume after a lost connection, resend what
// has no reply and know their position in each room. So the test knows exactly
// what each of them must receive: every broadcast of its room once, in the order
// in which all others get it, each sender's commands in the order they were
// sent, with the bytes that were sent. It exits with 1 if anything was lost,
// doubled or reordered.
//
// # How it is built
//
// The clients of whole rooms live on a shard: one event loop (client.Loop) on one
// goroutine, without locks. A scenario is a workload (what clients say and make
// of answers) and a course (connect, warm up, measure, drain). The main goroutine
// looks into shards through their loops only. The scenarios cost and takeover put
// these together in their own ways: cost runs two fleets by turns, takeover has a
// cluster of processes. The scenario chaos has nothing of all this: package chaos
// does it, with clients of package client. Nor have kv and kvchaos, which are about
// the Redis in roomd: packages kvspeed and kvchaos do them. Packages: target starts and measures
// the server, cluster runs many, report shows the result.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"roomd/loadtest/kvchaos"
	"roomd/loadtest/target"
)

func main() {
	if status, is := kvchaos.Child(os.Args[1:], os.Stdin, os.Stdout); is {
		os.Exit(status)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings passed in.
func run(args []string, stdout, stderr io.Writer) int {
	o, s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "loadtest:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends us at once
	t := &test{o: o, s: s, progress: newProgress(stderr)}
	err = t.do(ctx)
	t.progress.end()
	if err != nil {
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(stderr, "loadtest:", err)
		return 1
	}
	if err := t.show(stdout); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return 1
	}
	if verdict := t.result().Verdict(); verdict != "" {
		fmt.Fprintln(stderr, "loadtest:", verdict)
		return 1
	}
	return 0
}

// A result is what a scenario has to show.
type result interface {
	JSON(io.Writer) error
	Table(io.Writer) error
	HTML(io.Writer) error
	Verdict() string // what was broken, in a sentence, or ""
}

// result is the scenario's own, or the common report.
func (t *test) result() result {
	if t.own != nil {
		return t.own
	}
	return &t.report
}

// show writes the result in the forms that were asked for.
func (t *test) show(stdout io.Writer) error {
	r := t.result()
	if t.o.html != "" {
		f, err := os.Create(t.o.html)
		if err != nil {
			return err
		}
		if err := errors.Join(r.HTML(f), f.Close()); err != nil {
			return fmt.Errorf("write %s: %w", t.o.html, err)
		}
	}
	if t.o.json {
		return r.JSON(stdout)
	}
	return r.Table(stdout)
}

// openServer finds or starts the server under test.
func openServer(ctx context.Context, o *options) (*target.Server, error) {
	if o.spawn {
		return target.Spawn(ctx, target.SpawnConfig{Binary: o.binary, Flags: o.serverFlags, CPUs: o.serverCPUs})
	}
	s, err := target.Attach(o.url, o.admin)
	if err != nil {
		return nil, err
	}
	if err := s.Reachable(ctx); err != nil {
		return nil, err
	}
	if !s.HasAdmin(ctx) {
		s.Admin = ""
	}
	return s, nil
}
