package cluster

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a cluster and ends it with the test.
func start(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs roomd and nats-server as processes; not with -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// echo says something to a room through an edge.
func echo(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{URL: url, User: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	room, err := c.Join(ctx, "echo", "e", nil, client.Events{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := room.Call(ctx, "echo", "hello"); err != nil {
		t.Fatal(err)
	}
}

func TestProcessesComeBackWhereTheyWere(t *testing.T) {
	c := start(t, Config{NATS: 3, Edges: 2, Workers: 1, Links: true})
	if len(c.All()) != 6 || len(c.URLs()) != 2 {
		t.Fatalf("%d processes, %d URLs", len(c.All()), len(c.URLs()))
	}
	for _, url := range c.URLs() {
		echo(t, url)
	}
	for name, again := range map[string]func(p *Process) error{
		"killed":    func(p *Process) error { return errors.Join(p.Kill(), p.Start(t.Context())) },
		"restarted": func(p *Process) error { return p.Restart(t.Context()) },
		"paused":    func(p *Process) error { return errors.Join(p.Pause(), p.Resume(), p.WaitReady(t.Context())) },
	} {
		for _, p := range []*Process{c.Edges[0], c.Workers[0], c.NATS[1]} {
			before := p.PID()
			if err := again(p); err != nil {
				t.Fatalf("%s %s: %v", p.Name, name, err)
			}
			if same := p.PID() == before; same != (name == "paused") || !p.Running() {
				t.Errorf("%s %s: process %d, before %d", p.Name, name, p.PID(), before)
			}
		}
		echo(t, c.URLs()[0])
	}
	c.Edges[1].Link.Cut()
	c.Edges[1].Link.Heal()
	echo(t, c.URLs()[1])
	if u, err := c.Workers[0].Usage(t.Context()); err != nil || u.Goroutines == 0 || u.FDs == 0 {
		t.Errorf("Usage() = %+v, %v", u, err)
	}
	if crashes := c.Crashes(); len(crashes) > 0 {
		t.Errorf("Crashes() = %q", crashes)
	}
}

func TestSingleProcessIsEdgeAndWorker(t *testing.T) {
	c := start(t, Config{Single: true})
	if len(c.All()) != 1 || c.Edges[0] != c.Workers[0] || c.NATSURL() != "" {
		t.Errorf("processes %v, NATS %q", c.All(), c.NATSURL())
	}
	echo(t, c.URLs()[0])
	if err := c.Edges[0].Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Edges[0].Pause(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Pause() of a dead process = %v", err)
	}
	if err := c.Edges[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	echo(t, c.URLs()[0])
	// A paused process ends in order all the same.
	if err := errors.Join(c.Edges[0].Pause(), c.Edges[0].Term()); err != nil {
		t.Error(err)
	}
}

// script makes a cluster of one process that is a shell script.
func script(t *testing.T, text string) *Cluster {
	t.Helper()
	file := filepath.Join(t.TempDir(), "roomd")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Dir: t.TempDir(), forks: newForker(), cfg: Config{Single: true, Roomd: file}}
	if err := c.planSingle(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestEndBeforeReadyIsAFalseStart(t *testing.T) {
	c := script(t, "echo out of luck\nexit 3\n")
	err := c.Edges[0].Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("Start() = %v, want its last words", err)
	}
	if starts := c.FalseStarts(); len(starts) != 3 || !strings.Contains(starts[0], "exit status 3") || len(c.Crashes()) > 0 {
		t.Errorf("FalseStarts() = %q, Crashes() = %q", starts, c.Crashes())
	}
}

func TestEndNobodyAskedForIsACrash(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	c := script(t, "echo tired\nread line < "+gate+"\nexit 4\n")
	p := c.Edges[0]
	ready := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer ready.Close()
	defer p.http.CloseIdleConnections()
	p.ready = ready.URL
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	life := p.life
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	<-life.ended
	if crashes := c.Crashes(); len(crashes) != 1 || !strings.Contains(crashes[0], "exit status 4") || !strings.Contains(crashes[0], "tired") {
		t.Errorf("Crashes() = %q", crashes)
	}
}
