// Package target is the server under test: one that runs already, or one that is
// built, started, pinned and ended here. It tells what the test cost the server.
package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Server is a roomd under test. Methods may be called by one goroutine.
type Server struct {
	URL   string // where clients connect, ws://…
	Admin string // base of the admin port, http://…; "" if there is none
	Redis string // where Redis's clients connect; "" if they can't

	proc *process // nil: not ours
	http http.Client
}

// Attach describes a server that runs already. admin may be empty; figures of
// the server's costs are missing then.
func Attach(wsURL, admin string) (*Server, error) {
	if err := loopback(wsURL); err != nil {
		return nil, err
	}
	if admin != "" {
		if err := loopback(admin); err != nil {
			return nil, err
		}
	}
	s := &Server{URL: wsURL, Admin: strings.TrimSuffix(admin, "/"), http: http.Client{Timeout: 10 * time.Second}}
	return s, nil
}

// LoopbackAddr refuses an address, host:port, of another machine.
func LoopbackAddr(addr string) error { return loopback("tcp://" + addr) }

// loopback refuses URLs that point to another machine: a load test is not to be
// aimed at somebody by mistake.
func loopback(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if u.Hostname() == "localhost" {
		return nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || !addr.IsLoopback() {
		return fmt.Errorf("%s is not on the loopback interface: loadtest aims at this machine only", raw)
	}
	return nil
}

// Reachable tells why the server cannot be reached, or nil.
func (s *Server) Reachable(ctx context.Context) error {
	u, err := url.Parse(s.URL)
	if err != nil {
		return err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return fmt.Errorf("no server at %s (start one with \"go run ./cmd/roomd\", or use -spawn): %w", u.Host, err)
	}
	return conn.Close()
}

// HasAdmin reports whether the admin port answers.
func (s *Server) HasAdmin(ctx context.Context) bool {
	return s.Admin != "" && s.get(ctx, "/livez", func(io.Reader) error { return nil }) == nil
}

func (s *Server) get(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Admin+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s: %s", s.Admin, path, resp.Status)
	}
	return read(resp.Body)
}

// Metrics reads all samples of the metrics page; those that differ only in their
// labels are added up.
func (s *Server) Metrics(ctx context.Context) (map[string]float64, error) {
	if s.Admin == "" {
		return nil, errors.New("no admin port")
	}
	m := make(map[string]float64)
	err := s.get(ctx, "/metrics", func(r io.Reader) error { return parseMetrics(r, m) })
	return m, err
}

func parseMetrics(r io.Reader, m map[string]float64) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		var name, rest string
		if brace := strings.IndexByte(line, '{'); brace >= 0 {
			name, rest = line[:brace], line[strings.LastIndexByte(line, '}')+1:]
		} else {
			name, rest, _ = strings.Cut(line, " ")
		}
		value, _, _ := strings.Cut(strings.TrimSpace(rest), " ") // a timestamp may follow
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("metrics line %q: %w", line, err)
		}
		m[name] += v
	}
	return lines.Err()
}

// CollectGarbage makes the server run a garbage collection.
func (s *Server) CollectGarbage(ctx context.Context) error {
	return s.get(ctx, "/debug/pprof/heap?gc=1", func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
}

// A Usage is what the server has used so far.
type Usage struct {
	At         time.Time
	CPU        time.Duration // all threads, user and system
	RSS        int64         // resident bytes
	Writes     float64       // system calls to clients' sockets
	Deliveries float64       // frames to clients
	Metrics    bool          // Writes and Deliveries are known
	Process    bool          // CPU and RSS are known
}

// Usage asks the operating system if the process is ours, and the metrics page.
func (s *Server) Usage(ctx context.Context) Usage {
	u := Usage{At: time.Now()}
	m, err := s.Metrics(ctx)
	if err == nil {
		u.Writes, u.Metrics = m["roomd_edge_writes_total"]
		u.Deliveries = m["roomd_edge_deliveries_total"]
	}
	if s.proc != nil {
		cpu, rss, err := s.proc.usage()
		if err == nil {
			u.CPU, u.RSS, u.Process = cpu, rss, true
		}
	} else if seconds, ok := m["process_cpu_seconds_total"]; ok {
		u.CPU = time.Duration(seconds * float64(time.Second))
		u.RSS = int64(m["process_resident_memory_bytes"])
		u.Process = true
	}
	u.At = time.Now()
	return u
}

// CPU is what a server that was started here has used so far, if that is known.
func (s *Server) CPU() (used time.Duration, ok bool) {
	if s.proc == nil {
		return 0, false
	}
	used, _, err := s.proc.usage()
	return used, err == nil
}

// Stop ends a server that was started here and tells whether it ended in order.
func (s *Server) Stop() error {
	if s.proc == nil {
		return nil
	}
	return s.proc.stop()
}

// Ended is closed when a server that was started here has ended, for whatever reason.
func (s *Server) Ended() <-chan struct{} {
	if s.proc == nil {
		return nil
	}
	return s.proc.ended
}
