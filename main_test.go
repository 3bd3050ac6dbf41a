package roomd

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomd/bus"
)

// The test binary is roomd itself when it is started with this set.
const asRoomd = "ROOMD_TEST_AS_ROOMD"

func TestMain(m *testing.M) {
	if os.Getenv(asRoomd) != "" {
		Main(Options{}, notesKind(), minutesKind())
	}
	os.Exit(m.Run())
}

// roomdCommand returns a command that runs this program as a node of its own.
func roomdCommand(ctx context.Context, args ...string) (*exec.Cmd, *journal) {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asRoomd+"=1")
	errs := &journal{grew: make(chan struct{})}
	cmd.Stderr = errs
	return cmd, errs
}

// A journal is what a process logs, readable while it runs.
type journal struct {
	mu   sync.Mutex // guards what follows
	text []byte
	grew chan struct{} // closed when it does
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, b...)
	close(j.grew)
	j.grew = make(chan struct{})
	return len(b), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.text)
}

// awaits waits until the process has logged a text.
func (j *journal) awaits(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		j.mu.Lock()
		said, grew := strings.Contains(string(j.text), text), j.grew
		j.mu.Unlock()
		if said {
			return
		}
		select {
		case <-grew:
		case <-deadline:
			t.Fatalf("not logged in 20 s: %q; but\n%s", text, j)
		}
	}
}

func TestLikelyMistakesAreExplained(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().String()
	locked, plain := t.TempDir(), filepath.Join(t.TempDir(), "file")
	conn, err := bus.Open(t.Context(), bus.Config{Server: bus.ServerConfig{Dir: locked}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	free := []string{"-addr", "127.0.0.1:0", "-admin", ""}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"client port taken":      {[]string{"-memory", "-admin", "", "-addr", port}, "choose another address with -addr"},
		"admin port taken":       {[]string{"-memory", "-addr", "127.0.0.1:0", "-admin", port}, "choose another address with -admin"},
		"not our address":        {[]string{"-memory", "-admin", "", "-addr", "192.0.2.1:8080"}, "not an address of this machine"},
		"address without a port": {[]string{"-memory", "-admin", "", "-addr", "8080"}, "wants host:port"},
		"directory in use":       {append(free, "-data", locked), "another roomd uses it"},
		"directory is a file":    {append(free, "-data", plain), "not a directory"},
		"NATS unreachable":       {append(free, "-nats", "nats://127.0.0.1:1"), "is a NATS server running at"},
		"role without NATS":      {[]string{"edge"}, "needs -nats"},
		"unknown flag":           {[]string{"-prot", "1"}, "Try roomd -help"},
		"unknown command":        {[]string{"serve"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, errs := roomdCommand(t.Context(), test.args...)
			if err := cmd.Run(); err == nil {
				t.Fatal("it ran")
			}
			if !strings.Contains(errs.String(), test.want) {
				t.Errorf("it said %q, want %q in it", errs, test.want)
			}
		})
	}
}

func TestNodeSaysWhenItIsReadyAndEndsInOrder(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := ln.Addr().String()
	ln.Close()
	node := &process{args: []string{"-data", t.TempDir(), "-addr", "127.0.0.1:0", "-admin", admin}}
	node.start(t)
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/debug/pprof/cmdline"} {
		resp, err := http.Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s", path, resp.Status)
		}
	}
	node.stop(t, syscall.SIGTERM)
}
