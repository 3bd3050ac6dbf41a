package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyWithin = 20 * time.Second
	endWithin   = 20 * time.Second // from SIGTERM to the end
	keptOutput  = 8 << 10          // bytes of the server's output kept for error messages
)

// SpawnConfig says how to start a server.
type SpawnConfig struct {
	Binary string   // a built roomd; empty: build ./cmd/roomd of the module around
	Flags  []string // besides those for its ports and for storage in memory
	CPUs   []int    // cores to run on; nil: all
	File   bool     // keep data in files, which go with the server, and not in memory
	Redis  bool     // have it take Redis's clients too
}

// Spawn builds a server, starts it on free ports and waits until it is ready.
func Spawn(ctx context.Context, cfg SpawnConfig) (*Server, error) {
	dir, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, ended: make(chan struct{})}
	if cfg.Binary == "" {
		cfg.Binary = filepath.Join(dir, "roomd")
		if err := Build(ctx, cfg.Binary); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	addr, admin, err := freePorts()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	args := append([]string{"-addr", addr, "-admin", admin}, cfg.Flags...)
	switch {
	case cfg.File:
		args = append(args, "-data", filepath.Join(dir, "data"))
	case !stores(cfg.Flags):
		args = append(args, "-memory")
	}
	redis := ""
	if cfg.Redis {
		if redis, _, err = freePorts(); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		args = append(args, "-redis", redis)
	}
	if err := p.start(cfg, args); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &Server{
		URL: "ws://" + addr + "/ws", Admin: "http://" + admin, Redis: redis,
		proc: p, http: http.Client{Timeout: 10 * time.Second},
	}
	if err := s.waitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// stores reports whether flags say where the server keeps its data.
func stores(flags []string) bool {
	for _, f := range flags {
		name, _, _ := strings.Cut(strings.TrimLeft(f, "-"), "=")
		if strings.HasPrefix(f, "-") && (name == "memory" || name == "data" || name == "nats") {
			return true
		}
	}
	return false
}

// Build makes a roomd of the module around.
func Build(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "roomd/cmd/roomd")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server (run loadtest inside the roomd module): %w\n%s", err, out)
	}
	return nil
}

// freePorts finds two ports that nobody listens on now.
func freePorts() (a, b string, err error) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer first.Close()
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer second.Close()
	return first.Addr().String(), second.Addr().String(), nil
}

// waitReady polls /readyz, since a starting process has no other way to tell.
func (s *Server) waitReady(ctx context.Context) error {
	return await(ctx, s.proc, func(ctx context.Context) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Admin+"/readyz", nil)
		if err != nil {
			return false
		}
		resp, err := s.http.Do(req)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
}

// await asks until it is so, the process has ended or patience is over.
func await(ctx context.Context, p *process, so func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !so(ctx) {
		select {
		case <-poll.C:
		case <-p.ended:
			return errors.New("the server ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready: %w", ctx.Err())
		}
	}
	return nil
}

// A process is the server as a child of ours.
type process struct {
	cmd    *exec.Cmd
	dir    string // removed at the end
	output tail
	ended  chan struct{} // closed once waited for
	err    error         // of Wait; valid after ended
}

func (p *process) start(cfg SpawnConfig, args []string) error {
	p.cmd = exec.Command(cfg.Binary, args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.Env = os.Environ()
	if len(cfg.CPUs) > 0 {
		p.cmd.Env = append(p.cmd.Env, "GOMAXPROCS="+strconv.Itoa(len(cfg.CPUs)))
	}
	// A group of its own: Ctrl-C is for us, and we end it in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := startPinned(p.cmd, cfg.CPUs); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	go func() { // ends with the process; stop waits for it
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// stop asks the process to end, waits, and says what was wrong with its end.
func (p *process) stop() error {
	select {
	case <-p.ended:
		return p.verdict("the server ended by itself")
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the server: %w", err)
	}
	select {
	case <-p.ended:
	case <-time.After(endWithin):
		killed := p.cmd.Process.Kill()
		<-p.ended
		return errors.Join(fmt.Errorf("the server did not end within %v of SIGTERM and was killed", endWithin), killed, os.RemoveAll(p.dir))
	}
	if p.err == nil {
		return os.RemoveAll(p.dir)
	}
	return p.verdict("the server did not end in order")
}

func (p *process) verdict(what string) error {
	err := fmt.Errorf("%s (%v); its last words:\n%s", what, p.cmd.ProcessState, p.output.String())
	return errors.Join(err, os.RemoveAll(p.dir))
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - keptOutput; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
