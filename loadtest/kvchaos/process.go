package kvchaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A consumer is a process that pops, seen from here.
type consumer struct {
	name  string
	conns int
	cmd   *exec.Cmd
	stdin io.Closer
	done  sync.WaitGroup // reading, which ends with the process

	mu      sync.Mutex // guards what follows
	pops    []Pop
	breaks  []Break
	errors  []Failure
	waiting chan struct{} // closed when it has begun to wait
	waits   bool
	err     error
}

// startConsumer starts a process. Its waits last so long at most.
func startConsumer(name string, addrs, keys []string, conns int, wait time.Duration, now func() time.Duration) (*consumer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &consumer{name: name, conns: conns, waiting: make(chan struct{})}
	p.cmd = exec.Command(self, childArg, strings.Join(addrs, ","), strings.Join(keys, ","),
		strconv.Itoa(conns), strconv.FormatFloat(wait.Seconds(), 'f', -1, 64))
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us; its input ends with us
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	p.stdin = in
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a consumer: %w", err)
	}
	p.done.Go(func() {
		err := readLines(out, func(verb, conn, element string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			by := name + "." + conn
			switch verb {
			case "p":
				p.pops = append(p.pops, Pop{Element: element, By: by, At: now()})
			case "b":
				p.breaks = append(p.breaks, Break{By: by, At: now()})
			case "e":
				p.errors = append(p.errors, Failure{By: by, Text: element, At: now()})
			case "w":
				if !p.waits {
					p.waits = true
					close(p.waiting)
				}
			}
		})
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = err
	})
	return p, nil
}

// kill ends the process as a crash would. Every connection may have been waiting.
func (p *consumer) kill(now func() time.Duration) error {
	err := p.cmd.Process.Kill()
	p.done.Wait()
	_ = p.cmd.Wait() // it says that it was killed
	_ = p.stdin.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.conns {
		p.breaks = append(p.breaks, Break{By: fmt.Sprintf("%s.%d", p.name, i), At: now()})
	}
	return errors.Join(err, p.err)
}

// stop has the process end when its waits are over.
func (p *consumer) stop() error {
	err := p.stdin.Close()
	p.done.Wait()
	err = errors.Join(err, p.cmd.Wait())
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(err, p.err)
}
