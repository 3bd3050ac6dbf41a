package roomd

import (
	"bufio"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"roomd/bus"
)

// A system is roomd as real processes: all in one, or an edge, a worker and a
// NATS server apart. onEach runs a test on both.
type system struct {
	url    string   // of the edge
	more   []string // of further edges
	nats   string
	edge   *process
	worker *process // the same as edge where all is in one process
	spare  *process // another worker, not started; nil where all is in one process
	server *server  // nil where all is in one process
}

// A server is a NATS server in the test's process, that can go and come back.
type server struct {
	cfg  bus.ServerConfig
	conn *bus.Conn
}

func (n *server) start(t *testing.T) {
	t.Helper()
	var err error
	if n.conn, err = bus.Open(t.Context(), bus.Config{Server: n.cfg}); err != nil {
		t.Fatal(err)
	}
}

func (n *server) stop() { n.conn.Close() }

// A process is a node that can be killed and started again as it was.
type process struct {
	args []string
	cmd  *exec.Cmd
	log  *journal // of its last life
}

func (p *process) start(t *testing.T) {
	t.Helper()
	cmd, errs := roomdCommand(context.Background(), p.args...)
	p.log = errs
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("roomd %v logged:\n%s", p.args, errs)
		}
	})
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.cmd = cmd
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "roomd: ") {
		cmd.Process.Kill()
		t.Fatalf("roomd %v said %q, %v; %s", p.args, line, err, errs)
	}
}

// stop ends the process with a signal. SIGKILL is how processes die.
func (p *process) stop(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Error(err)
	}
	err := p.cmd.Wait()
	if sig == syscall.SIGTERM && err != nil {
		t.Errorf("roomd %v ended with %v; %s", p.args, err, p.log)
	}
	p.cmd = nil
}

// pause stops the process in its tracks until resume, or the end of the test.
func (p *process) pause(t *testing.T) (resume func()) {
	t.Helper()
	stopped := p.cmd.Process
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume = sync.OnceFunc(func() {
		if err := stopped.Signal(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(resume) // a stopped process would never end
	var status syscall.WaitStatus
	for { // it takes a moment
		if _, err := syscall.Wait4(stopped.Pid, &status, syscall.WUNTRACED, nil); !errors.Is(err, syscall.EINTR) {
			if err != nil || !status.Stopped() {
				t.Fatalf("wait for it to stop: %v, %v", status, err)
			}
			return resume
		}
	}
}

// noLimit lets a client say as much as it gets answers for.
var noLimit = []string{"-commands-per-second", "1000000", "-command-burst", "1000000"}

var topologies = map[string]func(t *testing.T) *system{
	"one process": func(t *testing.T) *system {
		addr, natsAddr := freeAddr(t), freeAddr(t)
		all := &process{args: append([]string{"-addr", addr, "-admin", "", "-data", t.TempDir(), "-nats-listen", natsAddr}, noLimit...)}
		return &system{url: "ws://" + addr + "/ws", nats: "nats://" + natsAddr, edge: all, worker: all}
	},
	"apart": apart,
}

func apart(t *testing.T) *system {
	addr, natsAddr := freeAddr(t), freeAddr(t)
	nats := &server{cfg: bus.ServerConfig{Addr: natsAddr, Dir: t.TempDir()}}
	nats.start(t)
	t.Cleanup(nats.stop)
	at := []string{"-nats", "nats://" + natsAddr, "-admin", ""}
	return &system{
		url: "ws://" + addr + "/ws", nats: "nats://" + natsAddr, server: nats,
		worker: &process{args: append([]string{"worker"}, at...)},
		spare:  &process{args: append([]string{"worker"}, at...)},
		edge:   &process{args: slices.Concat([]string{"edge", "-addr", addr}, noLimit, at)},
	}
}

// onEach runs a test in both topologies, with everything started.
func onEach(t *testing.T, test func(t *testing.T, s *system)) {
	for name, topology := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := topology(t)
			s.start(t)
			t.Cleanup(func() { s.stop(t) })
			test(t, s)
		})
	}
}

func (s *system) start(t *testing.T) {
	s.worker.start(t)
	if s.edge != s.worker {
		s.edge.start(t)
	}
}

func (s *system) stop(t *testing.T) {
	s.edge.stop(t, syscall.SIGTERM)
	if s.worker != s.edge {
		s.worker.stop(t, syscall.SIGTERM)
	}
}
