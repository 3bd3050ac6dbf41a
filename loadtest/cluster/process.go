package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"roomd/loadtest/target"
)

const (
	readyWithin = 40 * time.Second // a NATS cluster elects for up to 9 s, twice
	endWithin   = 30 * time.Second // from SIGTERM to the end
	askWithin   = 5 * time.Second  // a page of a living process
	lastWords   = 4 << 10          // bytes of the log in an error
)

// A Process is one server of the cluster, over all its lives. Methods may be
// called by any goroutine; each waits for what it asked for.
type Process struct {
	Name  string // edge-1, worker-3, nats-2, or roomd
	URL   string // where clients connect, ws://…; "" if they can't
	Redis string // where Redis's clients connect; "" if they can't
	Link  *Link  // its way to NATS; nil without Config.Links

	// Of a NATS server: its ways to the others and theirs to it, each a Link of two
	// servers' Routes; none without Config.Links.
	Routes []*Link
	Disk   *Disk // where its data is; nil without Config.SmallDisks, and where nothing can be mounted

	c        *Cluster
	binary   string
	args     []string
	env      []string
	addr     string // where a NATS server takes clients
	data     string // and where it keeps its streams
	admin    string // base of the admin port, "" for NATS
	ready    string // URL that answers 200 once it is ready
	termless bool   // SIGTERM needn't end it with status 0
	http     http.Client

	mu   sync.Mutex // guards life; held while a life begins or ends
	life *life      // nil while it is down
}

// A life is one run of the process.
type life struct {
	cmd     *exec.Cmd
	log     *os.File
	started time.Time
	ready   atomic.Bool   // it has said that it is
	asked   chan struct{} // closed when we end it, before we do
	asking  sync.Once
	ended   chan struct{} // closed once waited for
	err     error         // of Wait; valid after ended
}

// ErrNotRunning says that a process that is down was to be signalled, or ended
// before it was ready.
var ErrNotRunning = errors.New("process is not running")

func (c *Cluster) newProcess(name, binary string) *Process {
	return &Process{Name: name, c: c, binary: binary, http: http.Client{Timeout: askWithin}}
}

// LogFile is where the process writes its log, all lives in one.
func (p *Process) LogFile() string { return filepath.Join(p.c.Dir, p.Name+".log") }

// Start starts the process, if it is down, and waits until it is ready. One that
// gives up before that is started again, three times at most, as a supervisor
// would do.
func (p *Process) Start(ctx context.Context) error {
	const tries = 3
	for try := 1; ; try++ {
		if err := p.Launch(); err != nil {
			return err
		}
		err := p.WaitReady(ctx)
		if !errors.Is(err, ErrNotRunning) || try == tries {
			return err
		}
	}
}

// Launch starts the process, if it is down, and doesn't wait.
func (p *Process) Launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != nil && !p.life.over() {
		return nil
	}
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	l := &life{cmd: exec.Command(p.binary, p.args...), log: log, asked: make(chan struct{}), ended: make(chan struct{})}
	l.cmd.Stdout, l.cmd.Stderr = log, log
	l.cmd.Env = append(os.Environ(), p.env...)
	l.cmd.SysProcAttr = childAttributes()
	l.started = time.Now()
	if err := p.c.forks.do(l.cmd.Start); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.Name, err), log.Close())
	}
	p.life = l
	go p.watch(l) // ends with the process; whoever ends it waits
	return nil
}

// watch waits for the end of a life and tells of one that nobody asked for.
func (p *Process) watch(l *life) {
	l.err = errors.Join(l.cmd.Wait(), l.log.Close())
	select {
	case <-l.asked:
	default:
		p.c.ended(fmt.Sprintf("%s ended by itself after %v (%v); its last words:\n%s",
			p.Name, time.Since(l.started).Round(time.Millisecond), l.cmd.ProcessState, p.Tail(lastWords)), l.ready.Load())
	}
	close(l.ended)
}

func (l *life) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// current is the life that goes on, or an error if there is none.
func (p *Process) current() (*life, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil || p.life.over() {
		return nil, fmt.Errorf("%s: %w", p.Name, ErrNotRunning)
	}
	return p.life, nil
}

// Running reports whether the process lives; one that is paused does.
func (p *Process) Running() bool {
	_, err := p.current()
	return err == nil
}

// PID is the process's number while it runs, otherwise 0.
func (p *Process) PID() int {
	l, err := p.current()
	if err != nil {
		return 0
	}
	return l.cmd.Process.Pid
}

// Kill ends the process as a crash would (SIGKILL) and returns when it is gone.
// A process that is down stays so.
func (p *Process) Kill() error {
	l, err := p.current()
	if err != nil {
		return nil
	}
	l.asking.Do(func() { close(l.asked) })
	if err := l.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-l.ended
	return nil
}

// Pause stops the process where it is (SIGSTOP), as a hung machine would.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on (SIGCONT).
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) error {
	l, err := p.current()
	if err != nil {
		return err
	}
	if err := l.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %v to %s: %w", sig, p.Name, err)
	}
	return nil
}

// Term asks the process to end in order (SIGTERM) and waits until it has. It is
// an error if that took over 30 s (it is killed then) or if the process ended
// with another status than 0. A process that is down stays so.
func (p *Process) Term() error {
	l, err := p.current()
	if err != nil {
		return nil
	}
	l.asking.Do(func() { close(l.asked) })
	if err := p.signal(syscall.SIGTERM); err != nil {
		if errors.Is(err, os.ErrProcessDone) || errors.Is(err, ErrNotRunning) {
			return nil
		}
		return err
	}
	_ = p.signal(syscall.SIGCONT) // one that is paused would never hear of it; one that is gone needn't
	timer := time.NewTimer(endWithin)
	defer timer.Stop()
	select {
	case <-l.ended:
	case <-timer.C:
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM and was killed; its last words:\n%s",
			p.Name, endWithin, p.Tail(lastWords)), p.Kill())
	}
	if l.err != nil && !p.termless {
		return fmt.Errorf("%s did not end in order (%v); its last words:\n%s", p.Name, l.err, p.Tail(lastWords))
	}
	return nil
}

// Abort sends SIGTERM and, unless the process has ended within the given time,
// SIGKILL. It returns when the process is gone, and reports whether it was killed.
func (p *Process) Abort(within time.Duration) (killed bool, err error) {
	l, err := p.current()
	if err != nil {
		return false, err
	}
	l.asking.Do(func() { close(l.asked) })
	if err := p.signal(syscall.SIGTERM); err != nil {
		return false, err
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-l.ended:
		return false, nil
	case <-timer.C:
	}
	if err := l.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-l.ended
	var exit *exec.ExitError
	return errors.As(l.err, &exit) && !exit.Exited(), nil
}

// Wipe removes what a NATS server has stored. It must be down.
func (p *Process) Wipe() (bytes int64, err error) {
	if p.data == "" || p.Running() {
		return 0, fmt.Errorf("wipe %s: it runs, or is no NATS server", p.Name)
	}
	err = p.c.forks.do(func() error { // what is mounted is seen only there
		err := filepath.WalkDir(p.data, func(_ string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				bytes += info.Size()
			}
			return err
		})
		return errors.Join(err, os.RemoveAll(filepath.Join(p.data, "jetstream")))
	})
	return bytes, err
}

// Restart is Term and Start.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Term(); err != nil {
		return err
	}
	return p.Start(ctx)
}

// WaitReady polls until the process says that it is ready, for 40 s at most: a
// starting process has no other way to tell.
func (p *Process) WaitReady(ctx context.Context) error {
	l, err := p.current()
	if err != nil {
		return fmt.Errorf("%w; its last words:\n%s", err, p.Tail(lastWords))
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	var last error
	for {
		if last = p.get(ctx, p.ready, nil); last == nil {
			l.ready.Store(true)
			return nil
		}
		select {
		case <-poll.C:
		case <-l.ended:
			return fmt.Errorf("%s: %w: it ended before it was ready; its last words:\n%s", p.Name, ErrNotRunning, p.Tail(lastWords))
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready: %w; its last words:\n%s", p.Name, errors.Join(ctx.Err(), last), p.Tail(lastWords))
		}
	}
}

// get fetches a page; read may be nil.
func (p *Process) get(ctx context.Context, url string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	if read == nil {
		read = func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
	}
	return read(resp.Body)
}

// Metrics reads the samples of a node's metrics page; those that differ only in
// their labels are added up. NATS servers have none.
func (p *Process) Metrics(ctx context.Context) (map[string]float64, error) {
	if p.admin == "" {
		return nil, fmt.Errorf("%s has no metrics page", p.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	s := target.Server{Admin: p.admin}
	return s.Metrics(ctx)
}

// A Usage is what leaks would show in.
type Usage struct {
	Goroutines int
	FDs        int // open file descriptors
}

// Usage asks a node how many goroutines and descriptors it has.
func (p *Process) Usage(ctx context.Context) (Usage, error) {
	m, err := p.Metrics(ctx)
	if err != nil {
		return Usage{}, err
	}
	return Usage{Goroutines: int(m["go_goroutines"]), FDs: int(m["process_open_fds"])}, nil
}

// Tail is the end of the log, n bytes at most.
func (p *Process) Tail(n int64) string {
	f, err := os.Open(p.LogFile())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b))
}
