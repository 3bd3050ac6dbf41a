package roomd

import (
	"context"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"roomd/bus"
)

// readyz is what a node says of itself.
func readyz(t *testing.T, admin string) string {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + " " + string(b)
}

func TestNodeWaitsForJetStreamAndSaysSo(t *testing.T) {
	t.Parallel()
	addrs, routes := []string{freeAddr(t), freeAddr(t)}, []string{}
	for _, addr := range addrs {
		routes = append(routes, "nats://"+addr)
	}
	at := freeAddr(t)
	first := &server{cfg: bus.ServerConfig{Name: "n0", Addr: at, Dir: t.TempDir(), Cluster: addrs[0], Routes: routes}}
	first.start(t) // one of two: nobody leads
	t.Cleanup(first.stop)
	var admins []string
	var nodes []*process
	for _, args := range [][]string{{"worker"}, {"edge", "-addr", "127.0.0.1:0"}} {
		admin := freeAddr(t)
		p := &process{args: append(args, "-nats", "nats://"+at, "-admin", admin)}
		p.begin(t)
		nodes, admins = append(nodes, p), append(admins, admin)
	}
	for i, p := range nodes {
		until(t, "it says what it waits for", func() bool {
			return strings.HasPrefix(readyz(t, admins[i]), "503 Service Unavailable starting\nwaiting for JetStream")
		})
		p.log.awaits(t, "JetStream does not answer")
	}
	nodes[0].stop(t, syscall.SIGTERM) // which is no failure
	second := &server{cfg: bus.ServerConfig{Name: "n1", Dir: t.TempDir(), Cluster: addrs[1], Routes: routes}}
	second.start(t)
	t.Cleanup(second.stop)
	until(t, "the edge is ready", func() bool { return strings.HasPrefix(readyz(t, admins[1]), "200 OK ok") })
	nodes[1].stop(t, syscall.SIGTERM)
}

func TestNodesBesideOneThatKeepsAllInMemoryDoAsItDoes(t *testing.T) {
	t.Parallel()
	listen, addr := freeAddr(t), freeAddr(t)
	all := &process{args: []string{"-memory", "-addr", "127.0.0.1:0", "-admin", "", "-nats-listen", listen}}
	all.start(t)
	t.Cleanup(func() { all.stop(t, syscall.SIGTERM) })
	for _, args := range [][]string{{"worker"}, {"edge", "-addr", addr}} {
		p := &process{args: append(args, "-nats", "nats://"+listen, "-admin", "")}
		p.start(t)
		t.Cleanup(func() { p.stop(t, syscall.SIGTERM) })
		p.log.awaits(t, "records are kept in NATS's memory")
	}
	ann := (&system{url: "ws://" + addr + "/ws"}).guest(t, "Ann")
	if n := ann.add(t, "a line"); n != 1 {
		t.Errorf("reply %d to the first line", n)
	}
}

// begin starts the process, and does not wait until it is up.
func (p *process) begin(t *testing.T) {
	t.Helper()
	cmd, errs := roomdCommand(context.Background(), p.args...)
	p.cmd, p.log = cmd, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.stop(t, syscall.SIGKILL)
		}
	})
}
