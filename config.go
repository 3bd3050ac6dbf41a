package roomd

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"roomd/bus"
	"roomd/kv"
)

// The roles of a node.
const (
	roleAll     = "" // edge, worker and NATS in one process
	roleEdge    = "edge"
	roleWorker  = "worker"
	roleVersion = "version"
)

// maxName leaves room in a node's name for what tells its processes, roles and
// runs apart: a run's name has 44 bytes for that of its node.
const maxName = 44 - len("-01234567") - len(workerSuffix)

// workerSuffix marks the worker of a process that is an edge too.
const workerSuffix = "-worker"

// A config is the command line, after the environment. Every flag -some-name
// can also be given as ROOMD_SOME_NAME; the flag wins.
type config struct {
	role string

	addr  string
	admin string
	name  string

	data        string
	memory      bool
	nats        string
	natsCreds   string
	natsListen  string
	natsCluster string
	natsRoutes  string
	syncAlways  bool
	replicas    int
	prefix      string

	origins       string
	trustProxy    bool
	maxConns      int
	maxConnsPerIP int
	commandRate   int
	commandBurst  int
	inFlight      int
	outbox        int
	maxRooms      int

	redis         string
	redisPassword string
	kvShards      int
	kvMaxValue    int

	lostAfter  time.Duration
	lostStore  kv.WhenLost
	drain      time.Duration
	drainDelay time.Duration
	logLevel   slog.Level
	logForm    string
}

const usage = `roomd runs realtime rooms on NATS.

  roomd [flags]          everything in one process, with NATS inside
  roomd edge [flags]     an edge alone: sockets (needs -nats)
  roomd worker [flags]   a worker alone: rooms (needs -nats)
  roomd nodes            lists the living nodes of a system (needs -nats)
  roomd drain NODE       has a node leave in order (needs -nats)
  roomd version

Each flag -some-name can be set as ROOMD_SOME_NAME in the environment.

`

func (c *config) flags(out io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("roomd", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {
		fmt.Fprint(out, usage)
		f.PrintDefaults()
	}
	f.StringVar(&c.addr, "addr", ":8080", "`address` for clients and the pages")
	f.StringVar(&c.admin, "admin", "127.0.0.1:9090", "`address` for /metrics, /livez, /readyz and /debug/pprof; empty: none")
	f.StringVar(&c.name, "name", "", "`name` of this node, in logs and metrics (default: a random one)")
	f.StringVar(&c.data, "data", "roomd-data", "`directory` where the NATS inside keeps rooms")
	f.BoolVar(&c.memory, "memory", false, "keep rooms in memory only; all is gone at the end")
	f.StringVar(&c.nats, "nats", "", "`URL` of a NATS server with JetStream, instead of the one inside; several of a cluster with commas between")
	f.StringVar(&c.natsCreds, "nats-creds", "", "`file` with NATS credentials")
	f.StringVar(&c.natsListen, "nats-listen", "", "`address` where the NATS inside takes clients (default: none)")
	f.StringVar(&c.natsCluster, "nats-cluster", "", "`address` for routes of the NATS inside; needs -name")
	f.StringVar(&c.natsRoutes, "nats-routes", "", "`URLs` of the cluster's other servers, with commas between")
	f.BoolVar(&c.syncAlways, "sync-always", false, "have the NATS inside fsync every write: survives power cuts")
	f.IntVar(&c.replicas, "replicas", 1, "copies of rooms' records and logs that a NATS cluster keeps")
	f.Var(&c.lostStore, "lost-store", "`what` to do when NATS comes back without the records: make an empty store, or wait for the old one (default: wait if rooms were kept in files there, else make)")
	f.StringVar(&c.prefix, "prefix", "r", "first `token` of every NATS subject")
	f.StringVar(&c.origins, "origins", "", "`origins` whose pages may connect, with commas between; * for all (default: the page's own host)")
	f.BoolVar(&c.trustProxy, "trust-proxy", false, "take client addresses from X-Forwarded-For")
	f.IntVar(&c.maxConns, "max-conns", 0, "connections at once (default: what file descriptors allow)")
	f.IntVar(&c.maxConnsPerIP, "max-conns-per-ip", 0, "connections at once from one client address (0: no limit)")
	f.IntVar(&c.commandRate, "commands-per-second", 200, "frames a second that one connection may send")
	f.IntVar(&c.commandBurst, "command-burst", 400, "frames that one connection may send at once")
	f.IntVar(&c.inFlight, "in-flight", 64, "commands of one member that may wait for a reply")
	f.IntVar(&c.outbox, "outbox-bytes", 256<<10, "`bytes` that a slow client may fall behind")
	f.IntVar(&c.maxRooms, "max-rooms", 100_000, "rooms at once in this worker")
	f.StringVar(&c.redis, "redis", "", "`address` where the shared data is served to Redis's clients (default: none)")
	f.StringVar(&c.redisPassword, "redis-password", "", "`password` that they must give; better set as ROOMD_REDIS_PASSWORD")
	f.IntVar(&c.kvShards, "kv-shards", 1, "parts of the shared data, each at one worker at a time; the same for all workers, and never changed")
	f.IntVar(&c.kvMaxValue, "kv-max-value", 1<<20, "`bytes` of one key, field, member or value of the shared data, at most 4 MiB")
	f.DurationVar(&c.lostAfter, "lost-after", 2*time.Second, "silence after which nodes find out whether another is lost; the same for all nodes")
	f.DurationVar(&c.drain, "drain", 10*time.Second, "how long an orderly end may take, for clients to leave and then for rooms to move")
	f.DurationVar(&c.drainDelay, "drain-delay", 0, "how long /readyz says 503 before an edge that ends turns clients away; a second SIGTERM skips it")
	f.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.StringVar(&c.logForm, "log", "", "text or json (default: text on a terminal)")
	return f
}

// parseArgs reads role and flags; lookup is os.LookupEnv.
func parseArgs(args []string, lookup func(string) (string, bool), out io.Writer) (config, error) {
	var c config
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		c.role, args = args[0], args[1:]
	}
	switch c.role {
	case roleAll, roleEdge, roleWorker, roleVersion:
	case "help":
		args = []string{"-help"}
	default:
		return c, fmt.Errorf("unknown command %q: want edge, worker, nodes, drain, version or none", c.role)
	}
	f := c.flags(io.Discard) // errors come back as values, and are printed once
	inEnv, err := fromEnvironment(f, lookup)
	if err != nil {
		return c, err
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(out)
			fmt.Fprint(out, usage)
			f.PrintDefaults()
		}
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if c.role == roleVersion {
		return c, nil
	}
	given := make(map[string]bool)
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	return c, c.check(given, inEnv)
}

// fromEnvironment sets each flag -some-name from ROOMD_SOME_NAME, and returns
// which ones were there.
func fromEnvironment(f *flag.FlagSet, lookup func(string) (string, bool)) (found map[string]bool, err error) {
	found = make(map[string]bool)
	f.VisitAll(func(fl *flag.Flag) {
		key := "ROOMD_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		value, ok := lookup(key)
		if !ok {
			return
		}
		found[fl.Name] = true
		if setErr := fl.Value.Set(value); setErr != nil {
			err = errors.Join(err, fmt.Errorf("environment %s=%q: %w", key, value, setErr))
		}
	})
	return found, err
}

// check refuses what makes no sense: given and inEnv tell which flags were set
// on the command line and in the environment.
func (c *config) check(given, inEnv map[string]bool) error {
	inside := c.memory || given["data"] || inEnv["data"] ||
		c.natsListen != "" || c.natsCluster != "" || c.natsRoutes != "" || c.syncAlways
	if c.memory && given["data"] && !given["memory"] { // the flag wins
		c.memory = false
	}
	switch {
	case (c.role == roleEdge || c.role == roleWorker) && c.nats == "":
		return fmt.Errorf("roomd %s needs -nats: a role alone has nobody to talk to (roomd without a role runs everything)", c.role)
	case c.nats != "" && inside:
		return errors.New("-nats uses a server elsewhere; -data, -memory, -sync-always and -nats-… are for the one inside (so are ROOMD_DATA and the like)")
	case c.memory && (given["data"] || inEnv["data"] && !given["memory"]):
		return errors.New("-memory and -data contradict each other")
	case c.replicas > 1 && c.nats == "" && c.natsCluster == "":
		return fmt.Errorf("-replicas %d needs a cluster of so many NATS servers: -nats-cluster, or -nats", c.replicas)
	case c.natsCluster != "" && c.name == "":
		return errors.New("-nats-cluster needs -name: each server of a cluster has its own, and keeps it")
	case c.name != "" && (!bus.ValidNode(c.name) || len(c.name) > maxName):
		return fmt.Errorf("-name %q: want 1 to %d of A-Z a-z 0-9 _ -", c.name, maxName)
	case c.logForm != "" && c.logForm != "text" && c.logForm != "json":
		return fmt.Errorf("-log %q: want text or json", c.logForm)
	}
	if c.kvShards < 1 || c.kvShards > kv.MaxShards {
		return fmt.Errorf("-kv-shards %d: want 1 to %d", c.kvShards, kv.MaxShards)
	}
	if c.kvMaxValue < 1 || c.kvMaxValue > kv.MostMaxValue {
		return fmt.Errorf("-kv-max-value %d: want 1 to %d", c.kvMaxValue, kv.MostMaxValue)
	}
	for name, v := range map[string]int{
		"max-conns": c.maxConns, "max-conns-per-ip": c.maxConnsPerIP, "commands-per-second": c.commandRate,
		"command-burst": c.commandBurst, "in-flight": c.inFlight, "outbox-bytes": c.outbox, "max-rooms": c.maxRooms, "replicas": c.replicas,
	} {
		if v < 0 {
			return fmt.Errorf("-%s %d: want 0 or more", name, v)
		}
	}
	for name, v := range map[string]time.Duration{"lost-after": c.lostAfter, "drain": c.drain, "drain-delay": c.drainDelay} {
		if v < 0 {
			return fmt.Errorf("-%s %v: want 0 or more", name, v)
		}
	}
	return nil
}

// bus returns where NATS is.
func (c *config) bus(log *slog.Logger) bus.Config {
	b := bus.Config{URL: c.nats, Prefix: c.prefix, Credentials: c.natsCreds, LostAfter: c.lostAfter, Log: log}
	if c.name != "" { // one of its own for every run: rooms must not take a restarted edge for the one that died
		b.Name = c.name + "-" + runToken()
	}
	if c.nats != "" {
		return b
	}
	b.Server = bus.ServerConfig{
		Dir: c.data, Addr: c.natsListen, Name: c.name,
		Cluster: c.natsCluster, Routes: list(c.natsRoutes), SyncAlways: c.syncAlways,
	}
	if c.memory {
		b.Server.Dir = ""
	}
	return b
}

func (c *config) logger() *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.logLevel}
	if c.logForm == "json" || c.logForm == "" && !term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

func runToken() string {
	b := make([]byte, 4)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// withoutPasswords takes the passwords in the URLs of NATS out of a text.
func withoutPasswords(text, urls string) string {
	for _, raw := range list(urls) {
		if u, err := url.Parse(raw); err == nil && u.User != nil {
			text = strings.ReplaceAll(text, raw, u.Redacted())
		}
	}
	return text
}

// list splits at commas; an empty text is no list.
func list(text string) []string {
	if text == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
