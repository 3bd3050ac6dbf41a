package front

import (
	"strconv"

	"roomd/kv/resp"
)

// A transaction is what came since MULTI.
type transaction struct {
	queue []queued
	bytes int
	own   int  // commands in queue that are the front's own
	dirty bool // one was refused: EXEC will do nothing

	ownReplies [][]byte // to those, set by EXEC
}

type queued struct {
	cmd  *command
	argv [][]byte
}

// A watch is a key, and the version it had.
type watch struct {
	key     string
	version int64
}

const (
	tooLongText = "ERR Transaction is too large"
	abortedText = "EXECABORT Transaction discarded because of previous errors."
)

func (c *conn) multi(b []byte, _ [][]byte) []byte {
	if c.tx != nil {
		return resp.AppendError(b, "ERR MULTI calls can not be nested")
	}
	c.tx = new(transaction)
	return resp.AppendStatus(b, "OK")
}

func (c *conn) discard(b []byte, _ [][]byte) []byte {
	if c.tx == nil {
		return resp.AppendError(b, "ERR DISCARD without MULTI")
	}
	c.tx, c.watched = nil, nil
	return resp.AppendStatus(b, "OK")
}

func (c *conn) unwatch(b []byte, _ [][]byte) []byte {
	c.watched = nil
	return resp.AppendStatus(b, "OK")
}

// queue keeps a command for EXEC.
func (c *conn) queue(cmd *command, argv [][]byte) {
	for _, arg := range argv {
		c.tx.bytes += len(arg) + 32 // its slice, and its head on the wire
	}
	if c.tx.bytes > c.s.cfg.MaxCommand {
		c.tx.dirty = true
		c.tx.queue = nil
		c.refuse(tooLongText)
		return
	}
	if cmd.local != nil {
		c.tx.own++
	}
	c.tx.queue = append(c.tx.queue, queued{cmd, cloneArgs(argv)})
	c.answer(resp.AppendStatus(c.scratch[:0], "QUEUED"), resp.Plain)
}

// watch asks for the keys' versions. A key that is watched already keeps the one
// it had.
func (c *conn) watch(b []byte, argv [][]byte) []byte {
	if c.tx != nil {
		return resp.AppendError(b, "ERR WATCH inside MULTI is not allowed")
	}
	c.drain()
	reply, err := c.s.store.Do(c.ctx, argv)
	if err != nil {
		return appendFailure(b, err)
	}
	versions, _, err := resp.Parse(reply)
	if err == nil && versions.Kind == '-' {
		return append(b, reply...)
	}
	if err != nil || len(versions.Elems) != len(argv)-1 {
		return resp.AppendError(b, internalText)
	}
	known := make(map[string]bool, len(c.watched))
	for _, w := range c.watched {
		known[w.key] = true
	}
	for i, v := range versions.Elems {
		if key := string(argv[i+1]); !known[key] {
			known[key] = true
			c.watched = append(c.watched, watch{key, v.Int})
		}
	}
	return resp.AppendStatus(b, "OK")
}

// exec ends MULTI and has the store do all of it. A transaction with commands of
// the front's own holds up the reader, as those are done when the others are.
func (c *conn) exec(cmd *command) {
	tx, watched := c.tx, c.watched
	c.tx = nil
	if tx == nil {
		c.refuse("ERR EXEC without MULTI")
		return
	}
	c.watched = nil
	if tx.dirty {
		c.refuse(abortedText)
		return
	}
	argv := tx.argv(watched)
	if tx.own == 0 {
		c.submit(c.begin(cmd, resp.Plain, tx), argv)
		return
	}
	c.drain()
	reply, err := []byte("*0\r\n"), error(nil)
	if len(tx.queue) > tx.own || len(watched) > 0 {
		reply, err = c.s.store.Do(c.ctx, argv)
	}
	if err == nil && len(reply) > 0 && reply[0] == '*' {
		for _, q := range tx.queue {
			if q.cmd.local != nil {
				tx.ownReplies = append(tx.ownReplies, q.cmd.local(c, nil, q.argv))
			}
		}
	}
	s := c.begin(cmd, resp.Plain, tx)
	s.finish(reply, err)
}

// argv returns the engine's form of EXEC.
func (tx *transaction) argv(watched []watch) [][]byte {
	argv := [][]byte{[]byte("EXEC"), strconv.AppendInt(nil, int64(len(watched)), 10)}
	for _, w := range watched {
		argv = append(argv, []byte(w.key), strconv.AppendInt(nil, w.version, 10))
	}
	for _, q := range tx.queue {
		if q.cmd.local == nil {
			argv = append(argv, strconv.AppendInt(nil, int64(len(q.argv)), 10))
			argv = append(argv, q.argv...)
		}
	}
	return argv
}

// finish returns the reply to EXEC in the client's version, with the front's own
// replies between those of the store.
func (tx *transaction) finish(reply []byte, resp3 bool) ([]byte, error) {
	if len(reply) == 0 {
		return nil, resp.ErrShort
	}
	if reply[0] != '*' || resp3 && tx.own == 0 {
		if resp3 {
			return reply, nil
		}
		return resp.Downgrade(nil, reply, resp.NullArray)
	}
	n, rest, err := resp.Elems(reply)
	if err != nil {
		return nil, err
	}
	if n != len(tx.queue)-tx.own {
		return nil, resp.ErrMalformed
	}
	out := resp.AppendArray(make([]byte, 0, len(reply)+16), len(tx.queue))
	own := tx.ownReplies
	for _, q := range tx.queue {
		var elem []byte
		if q.cmd.local != nil {
			elem, own = own[0], own[1:]
		} else if elem, rest, err = resp.Cut(rest); err != nil {
			return nil, err
		}
		if resp3 {
			out = append(out, elem...)
		} else if out, err = resp.Downgrade(out, elem, q.cmd.shapeOf(len(q.argv))); err != nil {
			return nil, err
		}
	}
	return out, nil
}
