package kvspeed

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"roomd/kv/resp"
	"roomd/loadtest/wire"
)

// prefix begins every key that is written.
const prefix = "loadtest:"

const (
	structures  = 1000                  // hashes and sets that a load is spread over
	members     = 100                   // in each of them
	pushPause   = 10 * time.Millisecond // on average, between two elements for one blocked popper
	addsAtOnce  = 500                   // elements in one command of the preparation
	blockedEach = 4                     // of so many connections there is one that pushes and one that is blocked
)

// An op is one thing that is measured.
type op struct {
	name    string
	size    int  // elements in the structure, of those that measure growth
	paced   bool // at a fixed rate: only latencies tell something
	keys    func(see func(key string))
	prepare func(k *wire.Conn) error // nil: nothing
	roles   func(conns int) []role
	verify  func(k *wire.Conn, l *loop) error // nil: nothing
}

func key(b []byte, name string, i int) []byte {
	b = append(append(append(b, prefix...), name...), ':')
	return strconv.AppendInt(b, int64(i), 10)
}

// numbered are the keys name:0 to name:n-1.
func numbered(name string, n int) func(func(string)) {
	return func(see func(string)) {
		for i := range n {
			see(string(key(nil, name, i)))
		}
	}
}

// same has all connections do the same.
func same(r role) func(int) []role {
	return func(conns int) []role {
		roles := make([]role, conns)
		for i := range roles {
			roles[i] = r
		}
		return roles
	}
}

// A writer makes commands without garbage.
type writer struct{ scratch []byte }

// arg appends a word and a number as one argument.
func (w *writer) arg(b []byte, word string, n int) []byte {
	w.scratch = append(w.scratch[:0], word...)
	w.scratch = strconv.AppendInt(w.scratch, int64(n), 10)
	return resp.AppendBulk(b, w.scratch)
}

func (w *writer) key(b []byte, name string, n int) []byte {
	w.scratch = key(w.scratch[:0], name, n)
	return resp.AppendBulk(b, w.scratch)
}

func command(b []byte, name string, args int) []byte {
	return resp.AppendBulk(resp.AppendArray(b, 1+args), name)
}

// ops are all there are, the structures' growth at the given sizes.
func ops(cfg *Config) []op {
	list := append(plain(cfg), structured(cfg)...)
	list = append(list, publish(cfg), wakeUp())
	for _, size := range cfg.Sizes {
		list = append(list, growth(size, "HSET", "HDEL", cfg), growth(size, "SADD", "SREM", cfg), growth(size, "LPUSH", "RPOP", cfg))
	}
	return list
}

// plain are the operations on plain values.
func plain(cfg *Config) []op {
	value := strings.Repeat("v", cfg.Size)
	w := new(writer)
	fill := func(k *wire.Conn) error {
		return many(k, cfg.Keys, func(i int) []string { return []string{"SET", string(key(nil, "string", i)), value} })
	}
	return []op{
		{name: "GET", keys: numbered("string", cfg.Keys), prepare: fill, roles: same(role{answer: '$',
			next: func(c *conn, b []byte) []byte { return w.key(command(b, "GET", 1), "string", c.n(cfg.Keys)) }})},
		{name: "SET", keys: numbered("string", cfg.Keys), roles: same(role{answer: '+', next: func(c *conn, b []byte) []byte {
			return resp.AppendBulk(w.key(command(b, "SET", 2), "string", c.n(cfg.Keys)), value)
		}})},
		{name: "INCR one key", keys: numbered("hot", 1), verify: countedTo("hot"), roles: same(role{answer: ':',
			next: func(c *conn, b []byte) []byte { return w.key(command(b, "INCR", 1), "hot", 0) }})},
		{name: "INCR", keys: numbered("counter", cfg.Keys), roles: same(role{answer: ':',
			next: func(c *conn, b []byte) []byte { return w.key(command(b, "INCR", 1), "counter", c.n(cfg.Keys)) }})},
	}
}

// countedTo checks that a counter has counted every answer.
func countedTo(name string) func(*wire.Conn, *loop) error {
	return func(k *wire.Conn, l *loop) error {
		v, err := k.Do("GET", string(key(nil, name, 0)))
		if err != nil {
			return err
		}
		if want := strconv.Itoa(l.total); string(v.Text) != want {
			return fmt.Errorf("after %s answers the counter is at %s", want, v.Text)
		}
		return nil
	}
}

// structured are the operations on hashes, sets and lists.
func structured(cfg *Config) []op {
	value := strings.Repeat("v", cfg.Size)
	w := new(writer)
	return []op{
		{name: "HSET", keys: numbered("hash", structures), roles: same(role{answer: ':', next: func(c *conn, b []byte) []byte {
			b = w.key(command(b, "HSET", 3), "hash", c.n(structures))
			return resp.AppendBulk(w.arg(b, "field", c.n(members)), value)
		}})},
		{name: "HINCRBY", keys: numbered("stats", 1), roles: same(role{answer: ':', next: func(c *conn, b []byte) []byte {
			b = w.key(command(b, "HINCRBY", 3), "stats", 0)
			return w.arg(w.arg(b, "field", c.n(members)), "", 3)
		}})},
		{name: "SADD", keys: numbered("set", structures), roles: same(role{answer: ':', next: func(c *conn, b []byte) []byte {
			return w.arg(w.key(command(b, "SADD", 2), "set", c.n(structures)), "member", c.n(members))
		}})},
		// Everybody pushes before he pops, so that nobody finds the list empty.
		{name: "LPUSH/RPOP", keys: numbered("list", 1), roles: same(role{next: func(c *conn, b []byte) []byte {
			if c.count%2 == 1 {
				return w.key(command(b, "RPOP", 1), "list", 0)
			}
			return resp.AppendBulk(w.key(command(b, "LPUSH", 2), "list", 0), value)
		}})},
	}
}

// publish has one subscriber, which must hear all.
func publish(cfg *Config) op {
	channel, text := prefix+"channel", strings.Repeat("v", cfg.Size)
	listener := role{begin: func(b []byte) []byte { return resp.AppendCommand(b, "SUBSCRIBE", channel) }}
	return op{name: "PUBLISH", keys: func(func(string)) {}, roles: func(conns int) []role {
		return append(same(role{answer: ':', next: func(c *conn, b []byte) []byte {
			return resp.AppendBulk(resp.AppendBulk(command(b, "PUBLISH", 2), channel), text)
		}})(conns), listener)
	}}
}

// wakeUp measures from an element's push to its arrival at a blocked popper. The
// element is the time of the push.
func wakeUp() op {
	w := new(writer)
	pusher := role{answer: ':', pause: pushPause, silent: true, next: func(c *conn, b []byte) []byte {
		return w.arg(w.key(command(b, "LPUSH", 2), "blocked", c.id/2), "", int(c.sentAt()))
	}}
	popper := role{answer: '*', blocks: true,
		next: func(c *conn, b []byte) []byte {
			return w.arg(w.key(command(b, "BRPOP", 2), "blocked", c.id/2), "", 0)
		},
		latency: func(c *conn, v *resp.Value, now, _ int64) int64 {
			if len(v.Elems) != 2 {
				return -1
			}
			at, err := strconv.ParseInt(string(v.Elems[1].Text), 10, 64)
			if err != nil {
				return -1
			}
			return now - at
		}}
	return op{name: "BRPOP wake-up", paced: true, keys: numbered("blocked", 1024),
		roles: func(conns int) (roles []role) {
			for range max(1, conns/blockedEach) {
				roles = append(roles, popper, pusher)
			}
			return roles
		}}
}

// growth adds to a structure of a size, and takes away again what was added, so
// that the size stays; latencies are those of adding.
func growth(size int, add, take string, cfg *Config) op {
	w := new(writer)
	value := strings.Repeat("v", min(cfg.Size, 16))
	list, hash := add == "LPUSH", add == "HSET"
	args := 2
	if hash {
		args = 3
	}
	r := role{
		latency: func(c *conn, _ *resp.Value, now, sent int64) int64 {
			if (c.count-c.waits)%2 == 0 { // those answered before were as many adds as takes, with this one
				return -1
			}
			return now - sent
		},
		next: func(c *conn, b []byte) []byte {
			if c.count%2 == 1 {
				if list {
					return w.key(command(b, take, 1), "big", 0)
				}
				return w.arg(w.key(command(b, take, 2), "big", 0), "new", c.id)
			}
			b = w.key(command(b, add, args), "big", 0)
			if list {
				return resp.AppendBulk(b, value)
			}
			if b = w.arg(b, "new", c.id); hash {
				b = resp.AppendBulk(b, value)
			}
			return b
		},
	}
	prepare := func(k *wire.Conn) error {
		return many(k, (size+addsAtOnce-1)/addsAtOnce, func(i int) []string {
			words := []string{add, string(key(nil, "big", 0))}
			for n := i * addsAtOnce; n < min(size, (i+1)*addsAtOnce); n++ {
				if words = append(words, "old"+strconv.Itoa(n)); hash {
					words = append(words, value)
				}
			}
			return words
		})
	}
	name := fmt.Sprintf("%s at %d", add, size)
	return op{name: name, size: size, keys: numbered("big", 1), prepare: prepare, roles: same(r)}
}

// many sends n commands, some at a time.
func many(k *wire.Conn, n int, make func(i int) []string) error {
	const atOnce = 100
	for from := 0; from < n; from += atOnce {
		var batch [][]string
		for i := from; i < min(n, from+atOnce); i++ {
			batch = append(batch, make(i))
		}
		if err := k.Batch(batch, nil); err != nil {
			return err
		}
	}
	return nil
}
