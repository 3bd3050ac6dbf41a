package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomd/bus"
)

func TestNATSAwayKeepsSocketsAndCommands(t *testing.T) {
	open := func(cfg bus.Config) (conn *bus.Conn, closeIt func()) {
		t.Helper()
		cfg.Log = slog.New(slog.DiscardHandler)
		conn, err := bus.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		closeIt = sync.OnceFunc(conn.Close)
		t.Cleanup(closeIt)
		return conn, closeIt
	}
	server, stopServer := open(bus.Config{Server: bus.ServerConfig{Addr: "127.0.0.1:0"}})
	at, err := url.Parse(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	workerConn, _ := open(bus.Config{URL: at.String(), Name: "worker"})
	edgeConn, _ := open(bus.Config{URL: at.String(), Name: "edge"})
	sc := &scene{newScriptedWorker(t, workerConn, "chat"), startEdge(t, edgeConn, Config{})}
	a, r, j := sc.enter(t, nativeName, nil, 1)
	b, _, _ := sc.enter(t, nativeName, r, 2)
	stopServer()
	for edgeConn.Connected() {
		onLoop(t, sc.s, func(*sessions) {})
	}
	a.send(fmt.Sprintf(`[4,%d,1,"e",1]`, j.Room))
	a.want(fmt.Sprintf(`[12,%d,"paused"]`, j.Room))
	b.want(fmt.Sprintf(`[12,%d,"paused"]`, j.Room))
	b.hangUp()
	waitFor(t, sc.s, "b to be gone", func(lp *sessions) bool { return lp.counts.sessions == 1 })

	open(bus.Config{Server: bus.ServerConfig{Addr: at.Host}})
	var away, send bool
	for !away || !send { // in any order: what is said for b and what a asks are apart
		for len(r.commands) == 0 {
			r.receive()
		}
		c := r.commands[0]
		r.commands = r.commands[1:]
		switch c.Op {
		case bus.OpJoin:
			r.say(r.admit(c, 1, func(j *bus.Joined) { j.Resumed, j.Recovered = true, true }))
		case bus.OpAway:
			away = away || c.Member == 2
		case bus.OpSend:
			send = true
			r.say(replyTo(c, `"late"`))
		}
	}
	for f := a.next(); f != fmt.Sprintf(`[4,%d,1,"late"]`, j.Room); f = a.next() {
		if !strings.HasPrefix(f, fmt.Sprintf(`[12,%d,"`, j.Room)) {
			t.Fatalf("got %s, want notices and the reply", f)
		}
	}
}

func TestMetricsTellWhatHappened(t *testing.T) {
	sc := newScene(t, Config{})
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(sc.s); err != nil {
		t.Fatal(err)
	}
	a, r, j := sc.enter(t, nativeName, nil, 1)
	sc.enter(t, nativeName, r, 2)
	r.say(message("m", `1`), message("m", `2`))
	a.want(fmt.Sprintf(`[7,%d,1,"m",1]`, j.Room))
	a.send(`[2,9,"chat","*"]`, fmt.Sprintf(`[4,%d,1,"e"]`, j.Room))
	r.command(bus.OpSend)
	onLoop(t, sc.s, func(lp *sessions) {
		lp.publishCounts()
		lp.l.stats.paused = 1500 * time.Millisecond
		lp.l.publish()
	})
	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += "," + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"roomd_edge_sessions": 2, "roomd_edge_memberships": 2, "roomd_edge_rooms": 1, "roomd_edge_joins_total": 2,
		"roomd_edge_commands_in_flight": 1, "roomd_edge_refused_total,bad_name": 1, "roomd_edge_limit,rooms_per_conn": 32,
		"roomd_edge_deliveries_total": 4, "roomd_edge_commands_total": 1,
		"roomd_edge_pause_seconds_total": 1.5,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"roomd_edge_turn_seconds", "roomd_edge_frames_in_total", "roomd_edge_opens_total", "roomd_edge_no_responders_total"} {
		if got[name] == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	for _, name := range []string{"roomd_edge_writes_total", "roomd_edge_closes_total,4001", "roomd_edge_upgrades_refused_total,origin", "roomd_edge_patches_dropped_total"} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}
