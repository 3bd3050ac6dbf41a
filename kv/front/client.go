package front

import (
	"fmt"
	"strings"
	"time"

	"roomd/kv/engine"
	"roomd/kv/resp"
)

// A subcommand is one of CLIENT's or the like.
type subcommand struct {
	arity int // with the command's own name
	do    func(c *conn, b []byte, argv [][]byte) []byte
}

// runSub runs one of a command's subcommands.
func (c *conn) runSub(b []byte, of string, subs map[string]subcommand, argv [][]byte) []byte {
	name := strings.ToLower(engine.Quoted(argv[1]))
	sub, ok := subs[name]
	switch {
	case !ok:
		return resp.AppendError(b, "ERR unknown subcommand '"+engine.Quoted(argv[1])+"'. Try "+strings.ToUpper(of)+" HELP.")
	case len(argv) != sub.arity && (sub.arity > 0 || len(argv) < -sub.arity):
		return resp.AppendError(b, "ERR wrong number of arguments for '"+of+"|"+name+"' command")
	}
	return sub.do(c, b, argv)
}

var clientSubs = map[string]subcommand{
	"id":       {2, func(c *conn, b []byte, _ [][]byte) []byte { return resp.AppendInt(b, int64(c.id)) }},
	"getname":  {2, (*conn).clientName},
	"setname":  {3, (*conn).clientSetName},
	"setinfo":  {4, (*conn).clientSetInfo},
	"info":     {2, func(c *conn, b []byte, _ [][]byte) []byte { return resp.AppendText(b, c.describe()) }},
	"list":     {-2, func(c *conn, b []byte, _ [][]byte) []byte { return resp.AppendText(b, c.describe()) }},
	"no-evict": {3, onOrOff},
	"no-touch": {3, onOrOff},
	"reply":    {3, clientReply},
	"tracking": {-3, clientTracking},
	"getredir": {2, func(_ *conn, b []byte, _ [][]byte) []byte { return resp.AppendInt(b, -1) }},
}

// client is CLIENT, about the conn itself: others are not to be seen.
func (c *conn) client(b []byte, argv [][]byte) []byte {
	return c.runSub(b, "client", clientSubs, argv)
}

func (c *conn) clientName(b []byte, _ [][]byte) []byte {
	if c.name == "" {
		return resp.AppendNull(b)
	}
	return resp.AppendBulk(b, c.name)
}

func (c *conn) clientSetName(b []byte, argv [][]byte) []byte {
	if !printable(argv[2]) {
		return resp.AppendError(b, badNameText)
	}
	c.name = string(argv[2])
	return resp.AppendStatus(b, "OK")
}

// clientSetInfo is there though Redis has it since 7.2 only: libraries call it
// whenever they connect.
func (c *conn) clientSetInfo(b []byte, argv [][]byte) []byte {
	option, value := strings.ToLower(string(argv[2])), argv[3]
	if !printable(value) {
		return resp.AppendError(b, "ERR "+engine.Quoted(argv[2])+" cannot contain spaces, newlines or special characters.")
	}
	switch option {
	case "lib-name":
		c.lib = string(value)
	case "lib-ver":
		c.libVersion = string(value)
	default:
		return resp.AppendError(b, "ERR Unrecognized option '"+engine.Quoted(argv[2])+"'")
	}
	return resp.AppendStatus(b, "OK")
}

func onOrOff(_ *conn, b []byte, argv [][]byte) []byte {
	if s := string(argv[2]); !strings.EqualFold(s, "on") && !strings.EqualFold(s, "off") {
		return resp.AppendError(b, "ERR syntax error")
	}
	return resp.AppendStatus(b, "OK")
}

func clientReply(_ *conn, b []byte, argv [][]byte) []byte {
	if !strings.EqualFold(string(argv[2]), "on") {
		return resp.AppendError(b, "ERR CLIENT REPLY can only be ON")
	}
	return resp.AppendStatus(b, "OK")
}

func clientTracking(_ *conn, b []byte, argv [][]byte) []byte {
	if !strings.EqualFold(string(argv[2]), "off") {
		return resp.AppendError(b, "ERR client-side caching is not supported")
	}
	return resp.AppendStatus(b, "OK")
}

// describe returns the line of CLIENT LIST.
func (c *conn) describe() string {
	flags, multi := "N", -1
	channels, patterns := 0, 0
	if c.subs != nil {
		channels, patterns = len(c.subs.channels), len(c.subs.patterns)
	}
	if channels+patterns > 0 {
		flags = "P"
	}
	if c.tx != nil {
		flags, multi = "x", len(c.tx.queue)
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=0 name=%s age=%d idle=0 flags=%s db=0 sub=%d psub=%d ssub=0 "+
		"multi=%d qbuf=%d resp=%d lib-name=%s lib-ver=%s user=%s\n",
		c.id, c.nc.RemoteAddr(), c.nc.LocalAddr(), c.name, int(time.Since(c.since).Seconds()), flags,
		channels, patterns, multi, c.in.Buffered(), c.proto(), c.lib, c.libVersion, c.s.cfg.User)
}
