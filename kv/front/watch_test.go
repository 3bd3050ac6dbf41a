package front

import (
	"net"
	"strings"
	"testing"
)

// watchCases say what happens between WATCH and EXEC: what the client does that
// has watched, and after "other:" what another one does.
var watchCases = map[string][]string{
	"nothing":                                 {"WATCH a none", "other: PING"},
	"flush with the key there":                {"WATCH a", "other: FLUSHDB"},
	"flush without the key":                   {"WATCH none", "other: FLUSHDB"},
	"flush of all without the key":            {"WATCH none", "other: FLUSHALL"},
	"flush with one of two keys there":        {"WATCH none a", "other: FLUSHDB"},
	"flush of nothing":                        {"FLUSHALL", "WATCH a", "other: FLUSHDB"},
	"flush by the client that watches":        {"WATCH a", "FLUSHDB"},
	"the same, without the key":               {"WATCH none", "FLUSHDB"},
	"key made and flushed":                    {"WATCH none", "other: SET none 1", "other: FLUSHDB"},
	"key removed and flushed":                 {"WATCH a", "other: DEL a", "other: FLUSHDB"},
	"key removed before, and flush":           {"DEL a", "WATCH a", "other: FLUSHDB"},
	"key removed, made again, flushed":        {"DEL a", "WATCH a", "other: SET a 1", "other: FLUSHDB"},
	"key flushed and made again as it was":    {"WATCH a", "other: FLUSHDB", "other: SET a 1"},
	"key flushed before":                      {"FLUSHDB", "WATCH a", "other: PING"},
	"key flushed before and after":            {"FLUSHDB", "SET b 1", "WATCH a", "other: FLUSHDB"},
	"key whose time was over, and flush":      {"PEXPIREAT a 1", "WATCH a", "other: FLUSHDB"},
	"key without effect written":              {"WATCH a", "other: SADD a x", "other: SETNX a 2", "other: DEL none"},
	"key written with what it has":            {"WATCH a", "other: SET a 1"},
	"key renamed":                             {"WATCH a", "other: RENAME a b"},
	"key that another was renamed to":         {"WATCH none", "other: RENAME a none"},
	"key given a time":                        {"WATCH a", "other: EXPIRE a 100"},
	"key given no time":                       {"WATCH a", "other: PERSIST a"},
	"watched twice, changed between":          {"WATCH a", "other: SET a 2", "WATCH a"},
	"unwatched":                               {"WATCH a", "other: FLUSHDB", "UNWATCH"},
	"watched again after UNWATCH":             {"WATCH a", "other: FLUSHDB", "UNWATCH", "WATCH a", "other: FLUSHDB"},
	"other transaction that flushes":          {"WATCH a none", "other: MULTI", "other: FLUSHDB", "other: EXEC"},
	"other transaction that flushes nothing":  {"WATCH none", "other: MULTI", "other: FLUSHDB", "other: EXEC"},
	"other transaction that makes and leaves": {"WATCH none", "other: MULTI", "other: SET none 1", "other: FLUSHDB", "other: EXEC"},
}

func TestWatchIsRediss(t *testing.T) {
	redis := realRedis(t)
	for name, between := range watchCases {
		t.Run(name, func(t *testing.T) {
			want := watched(t, redis, between)
			if got := watched(t, serve(t, memory(t), Config{}).Addr(), between); got != want {
				t.Errorf("%q\ngot  %q\nwant %q", between, got, want)
			}
		})
	}
}

// watched has two clients do what a case says, and returns all replies.
func watched(t *testing.T, addr net.Addr, between []string) string {
	t.Helper()
	client, other := dial(t, addr), dial(t, addr)
	other.send("FLUSHALL")
	other.want("+OK\r\n")
	other.send("SET a 1")
	other.want("+OK\r\n")
	var all strings.Builder
	for _, line := range append(between, "MULTI", "ECHO done", "EXEC") {
		c := client
		if command, ok := strings.CutPrefix(line, "other: "); ok {
			c, line = other, command
		}
		c.send(line)
		all.WriteString(c.reply())
	}
	return all.String()
}
