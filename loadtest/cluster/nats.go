package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// planNATS plans the servers. With links each reaches each other through one of
// its own: then two can be separated while all nodes reach both.
func (c *Cluster) planNATS() error {
	ports, err := freePorts(3 * c.cfg.NATS)
	if err != nil {
		return err
	}
	clients, routes, monitors := ports[:c.cfg.NATS], ports[c.cfg.NATS:2*c.cfg.NATS], ports[2*c.cfg.NATS:]
	for i := range c.cfg.NATS {
		p := c.newProcess(fmt.Sprintf("nats-%d", i+1), c.cfg.NATSServer)
		p.data = filepath.Join(c.Dir, p.Name)
		p.addr = clients[i]
		p.ready = "http://" + monitors[i] + "/healthz"
		p.termless = true
		c.NATS = append(c.NATS, p) // from here on Stop knows of it, and of its links
	}
	if err := c.smallDisks(); err != nil {
		return err
	}
	for i, p := range c.NATS {
		text := natsConfig(p, monitors[i])
		if c.cfg.NATS > 1 {
			ways, err := c.linkRoutes(i, routes)
			if err != nil {
				return err
			}
			text += natsRoutes(routes[i], ways, c.cfg.Links)
		}
		file := filepath.Join(c.Dir, p.Name+".conf")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		p.args = []string{"-c", file}
	}
	return nil
}

// natsConfig is what a server by itself needs. What a small disk takes is not
// bounded by what NATS would reserve of it, but by its end.
func natsConfig(p *Process, monitor string) string {
	return fmt.Sprintf(`server_name: %s
listen: %q
http: %q
jetstream { store_dir: %q, max_file: 64GB }
write_deadline: "1s"
max_payload: 8MB
max_pending: 16MB
ping_interval: "1s"
ping_max: 3
`, p.Name, p.addr, monitor, p.data)
}

// natsRoutes is the part about the others. Without no_advertise nodes would learn
// of ways around their links. Servers tell each other of ways, too: with links
// they tell of one that nothing listens at.
func natsRoutes(listen string, ways []string, linked bool) string {
	advertise := ""
	if linked {
		advertise = fmt.Sprintf("  advertise: %q\n", nowhere)
	}
	return fmt.Sprintf(`cluster {
  name: chaos
  listen: %q
  routes: [%s]
  no_advertise: true
%s  ping_interval: "1s"
  ping_max: 3
}
`, listen, strings.Join(quoted(ways), ", "), advertise)
}

// nowhere is an address of loopback at which a connection is refused.
const nowhere = "127.0.0.1:1"

// linkRoutes returns where server i finds each of the servers; itself too, since
// NATS counts these to know how many there are.
func (c *Cluster) linkRoutes(i int, routes []string) ([]string, error) {
	ways := slices.Clone(routes)
	if !c.cfg.Links {
		return ways, nil
	}
	for j := range routes {
		if j == i {
			continue
		}
		link, err := newLink(routes[j : j+1])
		if err != nil {
			return nil, err
		}
		ways[j] = link.addrs[0]
		c.NATS[i].Routes = append(c.NATS[i].Routes, link)
		c.NATS[j].Routes = append(c.NATS[j].Routes, link)
	}
	return ways, nil
}

func quoted(addrs []string) []string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = fmt.Sprintf("%q", "nats://"+a)
	}
	return list
}

func (c *Cluster) natsAddrs() []string {
	list := make([]string, len(c.NATS))
	for i, p := range c.NATS {
		list[i] = p.addr
	}
	return list
}

// NATSURL is where tools reach NATS directly, past all links: URLs with commas
// between. It is empty in a single process, which listens nowhere.
func (c *Cluster) NATSURL() string { return natsURLs(c.natsAddrs()) }

func natsURLs(addrs []string) string {
	urls := make([]string, len(addrs))
	for i, a := range addrs {
		urls[i] = "nats://" + a
	}
	return strings.Join(urls, ",")
}

// build makes the binaries that Config doesn't give.
func (c *Cluster) build(ctx context.Context) error {
	if c.cfg.Roomd == "" {
		c.cfg.Roomd = filepath.Join(c.Dir, "bin", "roomd")
		if err := goBuild(ctx, c.cfg.Roomd, "roomd/cmd/roomd"); err != nil {
			return err
		}
	}
	if c.cfg.NATSServer == "" && !c.cfg.Single {
		c.cfg.NATSServer = filepath.Join(c.Dir, "bin", "nats-server")
		return goBuild(ctx, c.cfg.NATSServer, "github.com/nats-io/nats-server/v2")
	}
	return nil
}

func goBuild(ctx context.Context, binary, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s (run this inside the roomd module): %w\n%s", pkg, err, out)
	}
	return nil
}

// Ports lie below those that systems give to outgoing connections: Linux begins
// at 32768, others at 49152.
const lowestPort, highestPort = 12000, 32000

// given holds the ports that were given out: a process that is not up yet, or is
// down, still has its own.
var given = struct {
	mu    sync.Mutex // guards ports
	ports map[int]bool
}{ports: make(map[int]bool)}

// freePorts finds addresses on loopback that nobody listens on now and that were
// not found before.
func freePorts(n int) ([]string, error) {
	given.mu.Lock()
	defer given.mu.Unlock()
	var found []string
	var last error
	for range 100 * n {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if given.ports[port] {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			last = err
			continue
		}
		if last = ln.Close(); last != nil {
			continue
		}
		given.ports[port] = true
		if found = append(found, addr); len(found) == n {
			return found, nil
		}
	}
	return nil, fmt.Errorf("find %d free ports: %w", n, last)
}
