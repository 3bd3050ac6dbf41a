package engine

// exec runs
//
//	EXEC nwatch (key version)… (argc arg…)…
//
// all commands or, if a key has another version than WATCH said, none.
func (c *call) exec() {
	if c.inExec {
		c.fail("ERR MULTI calls can not be nested")
		return
	}
	watched, commands, ok := parseExec(c.argv)
	if !ok {
		c.syntaxError()
		return
	}
	for i := 0; i < len(watched); i += 2 {
		version, ok := parseInt(watched[i+1])
		if !ok {
			c.notInteger()
			return
		}
		if c.e.versionOf(watched[i]) != uint64(version) {
			c.null()
			return
		}
	}
	c.inExec = true
	c.array(len(commands))
	for _, c.argv = range commands {
		c.run()
	}
}

// parseExec returns keys and versions in turn, and the commands.
func parseExec(argv [][]byte) (watched [][]byte, commands [][][]byte, ok bool) {
	watched, rest, ok := counted(argv[1:], 2)
	for ok && len(rest) > 0 {
		var command [][]byte
		command, rest, ok = counted(rest, 1)
		ok = ok && len(command) > 0
		commands = append(commands, command)
	}
	return watched, commands, ok
}

// counted returns the n times each arguments that follow the count n.
func counted(args [][]byte, each int64) (these, rest [][]byte, ok bool) {
	n, ok := parseInt(args[0])
	args = args[1:]
	if !ok || n < 0 || n > int64(len(args))/each {
		return nil, nil, false
	}
	return args[: n*each : n*each], args[n*each:], true
}

func execKeys(argv [][]byte) (keys [][]byte, ok bool) {
	watched, commands, ok := parseExec(argv)
	if !ok {
		return nil, false
	}
	for i := 0; i < len(watched); i += 2 {
		keys = append(keys, watched[i])
	}
	for _, command := range commands {
		if s := Lookup(command[0]); s == nil || s.run == nil {
			continue // it only gets an error
		}
		of, _ := KeysOf(command) // none if it only gets an error
		keys = append(keys, of...)
	}
	return keys, true
}

func watch(c *call) {
	c.array(len(c.argv) - 1)
	for _, key := range c.argv[1:] {
		c.int64(int64(c.e.versionOf(key)))
	}
}
