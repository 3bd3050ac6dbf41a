package front

import (
	"bytes"
	"strings"
	"sync/atomic"

	"roomd/kv/engine"
	"roomd/kv/resp"
)

// A command is one that clients may send: the store's, or the front's own.
type command struct {
	name  string // in small letters, as Redis's errors have it
	spec  *engine.Spec
	arity int
	calls atomic.Uint64

	// local does it, and appends the reply. nil: the store does.
	local func(c *conn, b []byte, argv [][]byte) []byte

	blocking bool
	shape    resp.Shape // of its reply
	stranger bool       // for those who have not authenticated, too
	noMulti  bool       // refused inside MULTI
	atOnce   bool       // done inside MULTI, not queued
	listener bool       // for RESP2 clients with subscriptions, too
}

// shapes has the commands whose replies version 2 wrote in its own way.
var shapes = map[string]resp.Shape{
	"blpop": resp.NullArray, "brpop": resp.NullArray, "bzpopmin": resp.NullArray, "bzpopmax": resp.NullArray,
	"lmpop": resp.NullArray, "zmpop": resp.NullArray,
	"zrange": resp.Flat, "zrevrange": resp.Flat, "zrangebyscore": resp.Flat, "zrevrangebyscore": resp.Flat,
	"zpopmin": resp.Flat, "zpopmax": resp.Flat, "zunion": resp.Flat, "zinter": resp.Flat, "zdiff": resp.Flat,
	"zrandmember": resp.Flat, "hrandfield": resp.Flat,
}

// newCommands returns all commands by name.
func newCommands() map[string]*command {
	all := map[string]*command{}
	for spec := range engine.Specs() {
		if !spec.Internal {
			all[spec.Name] = &command{
				name: spec.Name, spec: spec, arity: spec.Arity, blocking: spec.Blocking, shape: shapes[spec.Name],
			}
		}
	}
	own := locals()
	for i := range own {
		all[own[i].name] = &own[i]
	}
	return all
}

// locals returns the commands that the front does itself.
func locals() []command {
	return []command{
		{name: "hello", arity: -1, local: (*conn).hello, stranger: true, noMulti: true},
		{name: "auth", arity: -2, local: (*conn).auth, stranger: true},
		{name: "ping", arity: -1, local: (*conn).ping, listener: true},
		{name: "echo", arity: 2, local: (*conn).echo},
		{name: "quit", arity: -1, stranger: true, atOnce: true, listener: true}, // see run
		{name: "reset", arity: 1, local: (*conn).reset, stranger: true, atOnce: true, listener: true},
		{name: "select", arity: 2, local: (*conn).selectDB},
		{name: "info", arity: -1, local: (*conn).info},
		{name: "command", arity: -1, local: (*conn).command},
		{name: "client", arity: -2, local: (*conn).client},
		{name: "config", arity: -2, local: (*conn).config},
		{name: "multi", arity: 1, local: (*conn).multi, atOnce: true},
		{name: "exec", arity: 1, atOnce: true}, // see run
		{name: "discard", arity: 1, local: (*conn).discard, atOnce: true},
		{name: "watch", arity: -2, local: (*conn).watch, atOnce: true},
		{name: "unwatch", arity: 1, local: (*conn).unwatch},
		{name: "subscribe", arity: -2, local: (*conn).subscribe, noMulti: true, listener: true},
		{name: "psubscribe", arity: -2, local: (*conn).psubscribe, noMulti: true, listener: true},
		{name: "unsubscribe", arity: -1, local: (*conn).unsubscribe, noMulti: true, listener: true},
		{name: "punsubscribe", arity: -1, local: (*conn).punsubscribe, noMulti: true, listener: true},
	}
}

// lookup returns a command by its name in any case; nil if there is none.
func (s *Server) lookup(name []byte) *command {
	var buf [24]byte
	if len(name) > len(buf) {
		return nil
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return s.commands[string(buf[:len(name)])]
}

func (cmd *command) takes(argc int) bool {
	return argc == cmd.arity || cmd.arity < 0 && argc >= -cmd.arity
}

// shapeOf returns the shape of the reply to a call with so many arguments.
func (cmd *command) shapeOf(argc int) resp.Shape {
	if argc == 3 && (cmd.name == "lpop" || cmd.name == "rpop") {
		return resp.NullArray
	}
	return cmd.shape
}

// run does one command, or has it done. An error ends the conn.
func (c *conn) run(argv [][]byte) error {
	cmd := c.s.lookup(argv[0])
	if cmd == nil && looksLikeHTTP(argv[0]) {
		return errLeave // a web page that sends commands through somebody's browser
	}
	if refusal := c.refusal(cmd, argv); refusal != "" {
		c.s.counts.refused.Add(1)
		switch {
		case c.tx == nil:
		case cmd != nil && cmd.name == "exec":
			c.tx, c.watched = nil, nil
			refusal = "EXECABORT Transaction discarded because of: " + strings.TrimPrefix(refusal, "ERR ")
		default:
			c.tx.dirty = true
		}
		c.refuse(refusal)
		return nil
	}
	cmd.calls.Add(1)
	switch {
	case c.tx != nil && !cmd.atOnce:
		c.queue(cmd, argv)
	case cmd.name == "quit":
		c.ok()
		return errLeave
	case cmd.name == "exec":
		c.exec(cmd)
	case cmd.local != nil:
		c.runLocal(cmd, argv)
	default:
		c.start(cmd, argv)
	}
	return nil
}

func (c *conn) runLocal(cmd *command, argv [][]byte) {
	b := cmd.local(c, c.scratch[:0], argv)
	if len(b) > 0 {
		c.answer(b, resp.Plain)
	}
	if c.scratch = b; cap(b) > keptScratch {
		c.scratch = nil
	}
}

const keptScratch = 512

// refusal returns the error for a command that is not run, in Redis's order.
func (c *conn) refusal(cmd *command, argv [][]byte) string {
	switch {
	case cmd == nil:
		return engine.UnknownCommand(argv)
	case !cmd.takes(len(argv)):
		return "ERR wrong number of arguments for '" + cmd.name + "' command"
	case !c.authed && !cmd.stranger:
		return "NOAUTH Authentication required."
	case c.subs.count() > 0 && !c.resp3 && !cmd.listener:
		return "ERR Can't execute '" + cmd.name + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
	case c.tx != nil && cmd.noMulti:
		return "ERR Command not allowed inside a transaction"
	}
	return ""
}

// start has the store do a command.
func (c *conn) start(cmd *command, argv [][]byte) {
	s := c.begin(cmd, cmd.shapeOf(len(argv)), nil)
	if cmd.blocking {
		argv = cloneArgs(argv) // the reader goes on
	}
	c.submit(s, argv)
}

// submit gives the store a command whose reply goes to s.
func (c *conn) submit(s *slot, argv [][]byte) {
	switch {
	case c.s.starter != nil:
		c.s.starter.Start(c.ctx, argv, s.finish)
	case s.holds:
		c.writers.Go(func() { s.finish(c.s.store.Do(c.ctx, argv)) })
	default:
		s.finish(c.s.store.Do(c.ctx, argv))
	}
}

func (c *conn) ok() { c.answer(resp.AppendStatus(c.scratch[:0], "OK"), resp.Plain) }

func (c *conn) refuse(text string) {
	c.answer(resp.AppendError(c.scratch[:0], text), resp.Plain)
}

func looksLikeHTTP(name []byte) bool {
	return bytes.EqualFold(name, []byte("post")) || bytes.EqualFold(name, []byte("host:"))
}

func cloneArgs(argv [][]byte) [][]byte {
	size := 0
	for _, arg := range argv {
		size += len(arg)
	}
	all, to := make([]byte, 0, size), make([][]byte, len(argv))
	for i, arg := range argv {
		from := len(all)
		all = append(all, arg...)
		to[i] = all[from:len(all):len(all)]
	}
	return to
}
