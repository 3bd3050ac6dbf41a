package front

import (
	"crypto/sha256"
	"crypto/subtle"
	"strconv"
	"strings"

	"roomd/kv/engine"
	"roomd/kv/resp"
)

// version is of the Redis whose replies ours are. Clients go by it.
const version = "7.0.15"

// serverName is what we are, for people and tools that ask: HELLO and INFO say it
// beside the Redis that we follow.
const serverName = "roomd"

const (
	wrongPassText  = "WRONGPASS invalid username-password pair or user is disabled."
	noPasswordText = "ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?"
	helloNoAuthText = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> " +
		"AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	badNameText = "ERR Client names cannot contain spaces, newlines or special characters."
	notIntText  = "ERR value is not an integer or out of range"
)

// hello is HELLO [version [AUTH user password] [SETNAME name]].
func (c *conn) hello(b []byte, argv [][]byte) []byte {
	resp3, authed, name := c.resp3, c.authed, c.name
	rest := argv[1:]
	if len(rest) > 0 {
		v, err := strconv.Atoi(string(rest[0]))
		if err != nil {
			return resp.AppendError(b, "ERR Protocol version is not an integer or out of range")
		}
		if v != 2 && v != 3 {
			return resp.AppendError(b, "NOPROTO unsupported protocol version")
		}
		resp3, rest = v == 3, rest[1:]
	}
	for len(rest) > 0 {
		switch option := strings.ToLower(string(rest[0])); {
		case option == "auth" && len(rest) >= 3:
			if !c.s.passes(rest[1], rest[2]) {
				return resp.AppendError(b, wrongPassText)
			}
			authed, rest = true, rest[3:]
		case option == "setname" && len(rest) >= 2:
			if !printable(rest[1]) {
				return resp.AppendError(b, badNameText)
			}
			name, rest = string(rest[1]), rest[2:]
		default:
			return resp.AppendError(b, "ERR Syntax error in HELLO option '"+engine.Quoted(rest[0])+"'")
		}
	}
	if !authed {
		return resp.AppendError(b, helloNoAuthText)
	}
	c.setAuthed(true)
	c.name = name
	c.speak(resp3)

	b = resp.AppendMap(b, 8)
	b = resp.AppendBulk(resp.AppendBulk(b, "server"), "redis")
	b = resp.AppendBulk(resp.AppendBulk(b, "version"), version)
	b = resp.AppendInt(resp.AppendBulk(b, "proto"), c.proto())
	b = resp.AppendInt(resp.AppendBulk(b, "id"), int64(c.id))
	b = resp.AppendBulk(resp.AppendBulk(b, "mode"), "standalone")
	b = resp.AppendBulk(resp.AppendBulk(b, "role"), "master")
	b = resp.AppendArray(resp.AppendBulk(b, "modules"), 0)
	return resp.AppendBulk(resp.AppendBulk(b, "server_name"), serverName)
}

// speak changes the version of the protocol.
func (c *conn) speak(resp3 bool) {
	c.mu.Lock()
	c.resp3 = resp3
	c.mu.Unlock()
}

func (c *conn) proto() int64 {
	if c.resp3 {
		return 3
	}
	return 2
}

// auth is AUTH [user] password.
func (c *conn) auth(b []byte, argv [][]byte) []byte {
	user, password := []byte("default"), argv[len(argv)-1]
	switch len(argv) {
	case 2:
		if c.s.cfg.Password == "" {
			return resp.AppendError(b, noPasswordText)
		}
	case 3:
		user = argv[1]
	default:
		return resp.AppendError(b, "ERR syntax error")
	}
	if !c.s.passes(user, password) {
		return resp.AppendError(b, wrongPassText)
	}
	c.setAuthed(true)
	return resp.AppendStatus(b, "OK")
}

// passes reports whether a user has given the right password, in a time that
// tells nothing about what would be right. Without a password any is right.
func (s *Server) passes(user, password []byte) bool {
	sameUser := same(user, s.cfg.User)
	if s.cfg.Password == "" {
		return sameUser == 1
	}
	if sameUser&same(password, s.cfg.Password) == 1 {
		return true
	}
	s.counts.wrongPass.Add(1)
	return false
}

func same(given []byte, right string) int {
	a, b := sha256.Sum256(given), sha256.Sum256([]byte(right))
	return subtle.ConstantTimeCompare(a[:], b[:])
}

func (c *conn) ping(b []byte, argv [][]byte) []byte {
	switch {
	case len(argv) > 2:
		return resp.AppendError(b, "ERR wrong number of arguments for 'ping' command")
	case c.subs.count() > 0 && !c.resp3: // where only arrays are expected
		b = resp.AppendBulk(resp.AppendArray(b, 2), "pong")
		if len(argv) == 2 {
			return resp.AppendBulk(b, argv[1])
		}
		return resp.AppendBulk(b, "")
	case len(argv) == 2:
		return resp.AppendBulk(b, argv[1])
	}
	return resp.AppendStatus(b, "PONG")
}

func (c *conn) echo(b []byte, argv [][]byte) []byte { return resp.AppendBulk(b, argv[1]) }

// reset makes the conn as it was when it came.
func (c *conn) reset(b []byte, _ [][]byte) []byte {
	c.tx, c.watched = nil, nil
	c.name = ""
	if c.subs != nil {
		c.subs.sub.Close()
		c.subs = nil
	}
	c.speak(false)
	c.setAuthed(c.s.cfg.Password == "")
	return resp.AppendStatus(b, "RESET")
}

func (c *conn) selectDB(b []byte, argv [][]byte) []byte {
	n, err := strconv.Atoi(string(argv[1]))
	switch {
	case err != nil:
		return resp.AppendError(b, notIntText)
	case n != 0:
		return resp.AppendError(b, "ERR DB index is out of range")
	}
	return resp.AppendStatus(b, "OK")
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}
