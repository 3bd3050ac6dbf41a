package front

import (
	"maps"
	"path"
	"slices"
	"strings"

	"roomd/kv/engine"
	"roomd/kv/resp"
)

var commandSubs = map[string]subcommand{
	"count":   {2, func(c *conn, b []byte, _ [][]byte) []byte { return resp.AppendInt(b, int64(len(c.s.commands))) }},
	"docs":    {-2, (*conn).commandDocs},
	"info":    {-2, (*conn).commandInfo},
	"list":    {-2, (*conn).commandList},
	"getkeys": {-4, commandKeys},
}

// command is COMMAND [subcommand ...].
func (c *conn) command(b []byte, argv [][]byte) []byte {
	if len(argv) == 1 {
		return c.commandInfo(b, nil)
	}
	return c.runSub(b, "command", commandSubs, argv)
}

// names returns the names given behind a subcommand, or those of all commands.
func (s *Server) names(argv [][]byte) []string {
	if len(argv) <= 2 {
		return slices.Sorted(maps.Keys(s.commands))
	}
	var names []string
	for _, arg := range argv[2:] {
		names = append(names, strings.ToLower(string(arg)))
	}
	return names
}

func (c *conn) commandInfo(b []byte, argv [][]byte) []byte {
	names := c.s.names(argv)
	b = resp.AppendArray(b, len(names))
	for _, name := range names {
		if cmd := c.s.commands[name]; cmd != nil {
			b = cmd.describe(b)
		} else {
			b = resp.AppendNull(b)
		}
	}
	return b
}

// describe appends what Redis tells of a command. Categories, tips, key
// specifications and subcommands are left empty.
func (cmd *command) describe(b []byte) []byte {
	var flags []string
	first, last, step := 0, 0, 0
	if s := cmd.spec; s != nil {
		first, last, step = s.First, s.Last, s.Step
		if s.Write {
			flags = append(flags, "write")
		} else {
			flags = append(flags, "readonly")
		}
		if s.Blocking {
			flags = append(flags, "blocking")
		}
	}
	if cmd.stranger {
		flags = append(flags, "no_auth")
	}
	if cmd.noMulti {
		flags = append(flags, "no_multi")
	}
	b = resp.AppendArray(b, 10)
	b = resp.AppendBulk(b, cmd.name)
	b = resp.AppendInt(b, int64(cmd.arity))
	b = resp.AppendSet(b, len(flags))
	for _, f := range flags {
		b = resp.AppendStatus(b, f)
	}
	for _, n := range []int{first, last, step} {
		b = resp.AppendInt(b, int64(n))
	}
	b = resp.AppendSet(b, 0)
	for range 3 {
		b = resp.AppendArray(b, 0)
	}
	return b
}

func (c *conn) commandDocs(b []byte, argv [][]byte) []byte {
	var known []string
	for _, name := range c.s.names(argv) {
		if c.s.commands[name] != nil {
			known = append(known, name)
		}
	}
	b = resp.AppendMap(b, len(known))
	for _, name := range known {
		b = resp.AppendMap(resp.AppendBulk(b, name), 2)
		b = resp.AppendBulk(resp.AppendBulk(b, "summary"), "As in Redis.")
		b = resp.AppendBulk(resp.AppendBulk(b, "group"), "generic")
	}
	return b
}

// commandList is COMMAND LIST [FILTERBY PATTERN pattern].
func (c *conn) commandList(b []byte, argv [][]byte) []byte {
	pattern := "*"
	switch {
	case len(argv) == 2:
	case len(argv) == 5 && strings.EqualFold(string(argv[2]), "filterby") && strings.EqualFold(string(argv[3]), "pattern"):
		pattern = strings.ToLower(string(argv[4]))
	default:
		return resp.AppendError(b, "ERR syntax error")
	}
	var names []string
	for _, name := range c.s.names(nil) {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			names = append(names, name)
		}
	}
	b = resp.AppendArray(b, len(names))
	for _, name := range names {
		b = resp.AppendBulk(b, name)
	}
	return b
}

func commandKeys(c *conn, b []byte, argv [][]byte) []byte {
	cmd := c.s.lookup(argv[2])
	if cmd == nil {
		return resp.AppendError(b, "ERR Invalid command specified")
	}
	if !cmd.takes(len(argv) - 2) {
		return resp.AppendError(b, "ERR Invalid number of arguments specified for command")
	}
	keys, ok := engine.KeysOf(argv[2:])
	if !ok || len(keys) == 0 {
		return resp.AppendError(b, "ERR The command has no key arguments")
	}
	b = resp.AppendArray(b, len(keys))
	for _, key := range keys {
		b = resp.AppendBulk(b, key)
	}
	return b
}
