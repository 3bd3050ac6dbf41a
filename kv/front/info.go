package front

import (
	"fmt"
	"os"
	"path"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"

	"roomd/kv/engine"
	"roomd/kv/resp"
)

// A section is a part of INFO.
type section struct {
	name  string // in small letters
	title string
	lines func(c *conn) string
}

var sections = []section{
	{"server", "Server", (*conn).infoServer},
	{"clients", "Clients", (*conn).infoClients},
	{"memory", "Memory", infoMemory},
	{"persistence", "Persistence", func(*conn) string { return "loading:0\r\n" }},
	{"stats", "Stats", (*conn).infoStats},
	{"replication", "Replication", func(*conn) string { return "role:master\r\nconnected_slaves:0\r\n" }},
	{"cluster", "Cluster", func(*conn) string { return "cluster_enabled:0\r\n" }},
	{"keyspace", "Keyspace", (*conn).infoKeyspace},
}

// info is INFO [section ...].
func (c *conn) info(b []byte, argv [][]byte) []byte {
	var text strings.Builder
	for _, s := range sections {
		if !asked(s.name, argv[1:]) {
			continue
		}
		if text.Len() > 0 {
			text.WriteString("\r\n")
		}
		text.WriteString("# " + s.title + "\r\n" + s.lines(c))
	}
	return resp.AppendText(b, text.String())
}

// asked reports whether a section is among those asked for: all, if none are.
func asked(name string, sections [][]byte) bool {
	for _, s := range sections {
		switch strings.ToLower(string(s)) {
		case name, "all", "default", "everything":
			return true
		}
	}
	return len(sections) == 0
}

func (c *conn) infoServer() string {
	up := time.Since(c.s.started)
	return fmt.Sprintf("redis_version:%s\r\nredis_mode:standalone\r\nserver_name:%s\r\nos:%s %s\r\narch_bits:64\r\n"+
		"process_id:%d\r\ntcp_port:%d\r\nserver_time_usec:%d\r\nuptime_in_seconds:%d\r\nuptime_in_days:%d\r\n",
		version, serverName, runtime.GOOS, runtime.GOARCH, os.Getpid(), c.s.addr.Port, time.Now().UnixMicro(),
		int(up.Seconds()), int(up.Hours()/24))
}

func (c *conn) infoClients() string {
	c.s.mu.Lock()
	n := len(c.s.conns)
	c.s.mu.Unlock()
	return fmt.Sprintf("connected_clients:%d\r\nmaxclients:%d\r\n", n, c.s.cfg.MaxConns)
}

func infoMemory(*conn) string {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	return fmt.Sprintf("used_memory:%d\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n", heap[0].Value.Uint64())
}

func (c *conn) infoStats() string {
	var calls uint64
	for _, cmd := range c.s.commands {
		calls += cmd.calls.Load()
	}
	n := &c.s.counts
	return fmt.Sprintf("total_connections_received:%d\r\ntotal_commands_processed:%d\r\ntotal_net_input_bytes:%d\r\n"+
		"total_net_output_bytes:%d\r\nrejected_connections:%d\r\n",
		n.accepted.Load(), calls, n.bytesIn.Load(), n.bytesOut.Load(), n.turnedAway.Load())
}

// infoKeyspace is empty when the store cannot be asked: INFO is how clients see
// whether there is a server at all.
func (c *conn) infoKeyspace() string {
	reply, err := c.s.store.Do(c.ctx, [][]byte{[]byte("DBSIZE")})
	if err != nil {
		return ""
	}
	v, _, err := resp.Parse(reply)
	if err != nil || v.Kind != ':' || v.Int == 0 {
		return ""
	}
	return fmt.Sprintf("db0:keys=%d,expires=0,avg_ttl=0\r\n", v.Int)
}

// settings are what CONFIG GET tells, for the libraries that look.
var settings = [][2]string{
	{"maxmemory", "0"}, {"maxmemory-policy", "noeviction"}, {"save", ""}, {"appendonly", "no"},
	{"databases", "1"}, {"notify-keyspace-events", ""}, {"timeout", "0"}, {"tcp-keepalive", "15"},
}

var configSubs = map[string]subcommand{
	"get":       {-3, configGet},
	"set":       {-4, configSet},
	"resetstat": {2, func(_ *conn, b []byte, _ [][]byte) []byte { return resp.AppendStatus(b, "OK") }},
}

func (c *conn) config(b []byte, argv [][]byte) []byte {
	return c.runSub(b, "config", configSubs, argv)
}

func configGet(_ *conn, b []byte, argv [][]byte) []byte {
	var found [][2]string
	for _, s := range settings {
		for _, pattern := range argv[2:] {
			if ok, err := path.Match(strings.ToLower(string(pattern)), s[0]); err == nil && ok {
				found = append(found, s)
				break
			}
		}
	}
	b = resp.AppendMap(b, len(found))
	for _, s := range found {
		b = resp.AppendBulk(resp.AppendBulk(b, s[0]), s[1])
	}
	return b
}

func configSet(_ *conn, b []byte, argv [][]byte) []byte {
	return resp.AppendError(b, "ERR Unknown option or number of arguments for CONFIG SET - '"+engine.Quoted(argv[2])+"'")
}
