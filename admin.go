package roomd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"roomd/bus"
)

// An admin is the port for operators: metrics, health, profiles. It is apart
// from the clients' port and listens on loopback unless told otherwise.
type admin struct {
	registry *prometheus.Registry
	conn     *bus.Conn
	draining atomic.Bool // an orderly end has begun; readyz says 503 from then on
	up       atomic.Bool // node.ready was true
	failed   chan error  // why the port is served no longer

	mu       sync.Mutex // guards troubles
	troubles []func() string
}

func newAdmin(conn *bus.Conn) *admin {
	a := &admin{registry: prometheus.NewRegistry(), conn: conn, failed: make(chan error, 1)}
	a.report(disconnected("node", conn))
	a.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "roomd_bus_connected", Help: "1 while connected to NATS.",
		}, func() float64 { return boolFloat(conn.Connected()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "roomd_bus_dropped_total", Help: "Times a subscription's queue was full and messages were lost; positions make that good.",
		}, func() float64 { return float64(conn.Dropped()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "roomd_bus_clock_offset_seconds", Help: "How far the clock of another node is off, at most.",
		}, func() float64 { return conn.LargestOffset().Seconds() }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "roomd_bus_foreign_total", Help: "Answers that no node gave, but a stream or a responder on the nodes' subjects; they are ignored.",
		}, func() float64 { return float64(conn.Foreigners()) }),
	)
	return a
}

// start serves on ln, if there is one, until end is called: from the beginning,
// as a node that waits for something is to say so.
func (a *admin) start(ln net.Listener) (end func()) {
	if ln == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := a.serve(ctx, ln); err != nil {
			a.failed <- err
		}
	})
	return func() {
		cancel()
		serving.Wait()
	}
}

// watch returns when the port can't be served any more, or ctx ends.
func (a *admin) watch(ctx context.Context) error {
	select {
	case err := <-a.failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// serve answers on ln until ctx ends.
func (a *admin) serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve admin port: %w", err)
	case <-ctx.Done():
	}
	err := server.Close()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := a.reasons(); len(why) > 0 {
			http.Error(w, strings.Join(why, "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
		if what := a.conn.ClocksDiffer(); what != "" { // which stops nothing, and is to be mended
			fmt.Fprintln(w, what)
		}
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// report has /readyz ask f what is wrong with a part of the node; f returns an
// empty text while nothing is, and must not block.
func (a *admin) report(f func() string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.troubles = append(a.troubles, f)
}

// reasons returns why the node is not ready, each in a text of its own; none if
// it is.
func (a *admin) reasons() (reasons []string) {
	if a.draining.Load() {
		reasons = append(reasons, "draining")
	}
	if !a.up.Load() {
		reasons = append(reasons, "starting")
	}
	a.mu.Lock()
	troubles := a.troubles
	a.mu.Unlock()
	for _, f := range troubles {
		if why := f(); why != "" {
			reasons = append(reasons, why)
		}
	}
	return reasons
}

// disconnected returns what a connection has to report.
func disconnected(what string, conn *bus.Conn) func() string {
	return func() string {
		if conn.Connected() {
			return ""
		}
		return what + " has no connection to NATS"
	}
}

func boolFloat(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
