// Package roomd runs realtime rooms: it wires an edge (sockets), a worker
// (rooms) and NATS into one program. [Main] is that program; a main function
// that passes its own kinds of room to it is a whole server:
//
//	func main() { roomd.Main(roomd.Options{}, rooms.Kind{Name: "chat", New: newChat}) }
//
// Package rooms is where kinds are written. The other packages are parts to
// wire differently: bus (NATS), kv (what is kept), edge (sockets), client.
package roomd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"roomd/rooms"
)

// Options is what a program of yours adds to roomd. The zero Options serves
// clients, the JavaScript client at /roomd.js, and a line of text at /.
type Options struct {
	Pages fs.FS        // served at /, index.html first; nil: a line of text
	HTTP  http.Handler // answers instead of Pages
}

// Main runs the command line and ends the process: with 0 after an orderly
// end (SIGTERM, SIGINT), 1 if something failed, 2 if the arguments are wrong.
func Main(opts Options, kinds ...rooms.Kind) {
	os.Exit(run(opts, kinds, os.Args[1:]))
}

func run(opts Options, kinds []rooms.Kind, args []string) int {
	if len(args) > 0 && operators[args[0]] != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return operate(ctx, args)
	}
	cfg, err := parseArgs(args, os.LookupEnv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "roomd: %v\nTry roomd -help.\n", err)
		return 2
	case cfg.role == roleVersion:
		fmt.Println("roomd", version())
		return 0
	}
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	end := watchSignals(cfg.drainDelay > 0)
	defer end.stop()
	if err := serve(end, cfg, opts, kinds); err != nil {
		fmt.Fprintf(os.Stderr, "roomd: %s\n", explain(err, cfg))
		return 1
	}
	return 0
}

// An ending is how a process is told to end: in order when ctx ends, and
// without waiting for load balancers when hurry is closed.
type ending struct {
	ctx   context.Context
	hurry <-chan struct{}
	stop  func()
}

// watchSignals ends the process in order at the first SIGTERM or SIGINT. Where
// there is a delay for load balancers the second one skips it. The next one
// ends the process the hard way, in the middle of whatever takes so long.
func watchSignals(delay bool) ending {
	ctx, end := context.WithCancel(context.Background())
	hurry, skip := context.WithCancel(context.Background())
	steps := []func(){end}
	if delay {
		steps = append(steps, skip)
	}
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		defer signal.Stop(got)
		for _, step := range steps {
			select {
			case <-got:
				step()
			case <-stopped:
				return
			}
		}
	})
	return ending{ctx, hurry.Done(), func() {
		close(stopped)
		watching.Wait()
		end()
		skip()
	}}
}

// gcPercent is Go's GOGC unless the environment sets it. What lives long here is
// small and cheap to mark (a kilobyte a connection, with few pointers): half the
// usual headroom saves a fifth of the memory at 18,000 connections and costs no
// CPU that could be measured.
const gcPercent = 50

// version is what the Go toolchain recorded of the source.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
