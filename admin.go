package roomd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
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
}

func newAdmin(conn *bus.Conn) *admin {
	a := &admin{registry: prometheus.NewRegistry(), conn: conn}
	a.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "roomd_bus_connected", Help: "1 while connected to NATS.",
		}, func() float64 { return boolFloat(conn.Connected()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "roomd_bus_dropped_total", Help: "Times a subscription's queue was full and messages were lost; positions make that good.",
		}, func() float64 { return float64(conn.Dropped()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "roomd_bus_foreign_total", Help: "Answers that no node gave, but a stream or a responder on the nodes' subjects; they are ignored.",
		}, func() float64 { return float64(conn.Foreigners()) }),
	)
	return a
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
		if why := a.notReady(); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func (a *admin) notReady() string {
	switch {
	case a.draining.Load():
		return "draining"
	case !a.up.Load():
		return "starting"
	case !a.conn.Connected():
		return "no connection to NATS"
	}
	return ""
}

func boolFloat(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
