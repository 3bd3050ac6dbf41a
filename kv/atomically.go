package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"roomd/kv/engine"
	"roomd/kv/resp"
)

// How long Atomically waits before another try: a random part of a span that
// doubles, from the first to the last.
const (
	firstBackoff = time.Millisecond
	lastBackoff  = 64 * time.Millisecond
)

var (
	// errChanged is what a Tx's reads return when f is going to run again.
	errChanged = errors.New("a key was changed meanwhile")
	errTxOver  = errors.New("transaction is over")
)

// Atomically implements [Store].
//
// What f reads fits together: each read fails if any of the keys has changed
// since f was called. f runs again then, whatever it returns. It should do
// nothing else that matters, as it may run many times; there is no limit but
// ctx. Between runs there is a short random pause.
//
// Writes that are no commands of Redis's, and those with bad arguments, fail the
// whole before anything is applied. A command that is sound but does not fit what
// is kept under its key fails alone, as in Redis: the others are applied, and the
// error says so. It can't happen for keys that f has read with the right type.
//
// An error of the way there, a timeout for instance, leaves open whether all
// was applied or nothing.
func (c *commands) Atomically(ctx context.Context, keys []string, f func(tx Tx) error) error {
	span := firstBackoff
	for tries := 1; ; tries++ {
		again, err := c.tryAtomically(ctx, keys, f)
		if !again {
			return err
		}
		select {
		case <-time.After(rand.N(span)):
		case <-ctx.Done():
			return fmt.Errorf("atomically: %w after %d tries, each met by changes of others", ctx.Err(), tries)
		}
		span = min(2*span, lastBackoff)
	}
}

func (c *commands) tryAtomically(ctx context.Context, keys []string, f func(tx Tx) error) (again bool, err error) {
	tx := &transaction{store: c, keys: keys}
	tx.commands = commands{tx, c.maxValue}
	if err := tx.watch(ctx); err != nil {
		return false, err
	}
	err = tx.run(f)
	switch {
	case tx.changed:
		return true, nil
	case err != nil:
		return false, err
	case tx.bad != nil:
		return false, tx.bad
	case len(tx.writes) == 0:
		return false, nil
	}
	return tx.commit(ctx)
}

// A transaction is one run of a function under Atomically. Its reads are those
// of commands, over do.
type transaction struct {
	commands
	store *commands
	keys  []string

	versions []string // of the keys, when they were first looked at

	mu      sync.Mutex // guards what follows; not held while the store is asked
	over    bool       // the function has returned
	changed bool       // a read has met another version of a key
	bad     error      // the first write that can't be
	writes  [][][]byte
}

func (tx *transaction) watch(ctx context.Context) error {
	if len(tx.keys) == 0 {
		return nil
	}
	v, err := tx.store.call(ctx, tx.keys, "WATCH")
	if err != nil {
		return err
	}
	if len(v.Elems) != len(tx.keys) {
		return badReply("WATCH", v)
	}
	for _, version := range v.Elems {
		tx.versions = append(tx.versions, decimal(version.Int))
	}
	return nil
}

// run calls f. Afterwards, also if it panics, tx is of no use to anybody.
func (tx *transaction) run(f func(tx Tx) error) error {
	defer func() {
		tx.mu.Lock()
		tx.over = true
		tx.mu.Unlock()
	}()
	return f(tx)
}

// exec is the command that runs others if the keys still have their versions.
func (tx *transaction) exec(commands ...[][]byte) [][]byte {
	argv := [][]byte{[]byte("EXEC"), []byte(decimal(len(tx.keys)))}
	for i, key := range tx.keys {
		argv = append(argv, []byte(key), []byte(tx.versions[i]))
	}
	for _, command := range commands {
		argv = append(argv, []byte(decimal(len(command))))
		argv = append(argv, command...)
	}
	return argv
}

// do implements doer for the reads.
func (tx *transaction) do(ctx context.Context, argv [][]byte) (reply []byte, err error) {
	if err := tx.readable(argv); err != nil {
		return nil, err
	}
	reply, err = tx.store.to.do(ctx, tx.exec(argv))
	if err != nil {
		return nil, err
	}
	if reply, ok := bytes.CutPrefix(reply, oneElement); ok {
		return reply, nil
	}
	v, _, err := resp.Parse(reply)
	switch {
	case err != nil:
		return nil, err
	case v.Null():
		tx.mu.Lock()
		tx.changed = true
		tx.mu.Unlock()
		return nil, errChanged
	case v.Kind == '-':
		return reply, nil
	}
	return nil, badReply("EXEC", v)
}

var oneElement = resp.AppendArray(nil, 1)

func (tx *transaction) readable(argv [][]byte) error {
	tx.mu.Lock()
	over, changed := tx.over, tx.changed
	tx.mu.Unlock()
	switch {
	case over:
		return errTxOver
	case changed:
		return errChanged
	}
	spec, keys, err := known(argv)
	if err != nil {
		return err
	}
	if spec.Write || len(keys) == 0 {
		return fmt.Errorf("%s does not read keys", argv[0])
	}
	for _, key := range keys {
		if !slices.Contains(tx.keys, string(key)) {
			return fmt.Errorf("%.80q is not among the keys of the transaction", key)
		}
	}
	return nil
}

// known checks a command as Redis does before it queues one.
func known(argv [][]byte) (*engine.Spec, [][]byte, error) {
	if len(argv) == 0 {
		return nil, nil, refused("empty command")
	}
	spec := engine.Lookup(argv[0])
	if spec == nil || spec.Internal {
		return nil, nil, refused("unknown command '%.128s'", argv[0])
	}
	keys, ok := engine.KeysOf(argv)
	if !ok {
		return nil, nil, errArity(string(argv[0]))
	}
	return spec, keys, nil
}

// commit applies the writes, unless a key has changed.
func (tx *transaction) commit(ctx context.Context) (again bool, err error) {
	reply, err := tx.store.to.do(ctx, tx.exec(tx.writes...))
	if err != nil {
		return false, fmt.Errorf("atomically: %w", err)
	}
	v, _, err := resp.Parse(reply)
	if err == nil {
		err = errorOf(v)
	}
	switch {
	case err != nil:
		return false, fmt.Errorf("atomically: nothing was applied: %w", err)
	case v.Null():
		return true, nil
	case len(v.Elems) != len(tx.writes):
		return false, badReply("EXEC", v)
	}
	return false, tx.failures(v.Elems)
}

// failures returns what is to be said about the replies to the writes.
func (tx *transaction) failures(replies []resp.Value) error {
	var first error
	failed := 0
	for i, reply := range replies {
		if err := errorOf(reply); err != nil {
			if failed++; first == nil {
				first = during(tx.writes[i], err)
			}
		}
	}
	if first == nil {
		return nil
	}
	return fmt.Errorf("atomically: %d of %d writes failed, the others were applied: %w", failed, len(replies), first)
}

// Read implements [Tx]. A Redis error is an error here, as with the other reads.
func (tx *transaction) Read(ctx context.Context, argv ...string) (reply []byte, err error) {
	command, err := tx.argv(nil, argv)
	if err == nil {
		reply, err = tx.do(ctx, command)
	}
	if err == nil && len(reply) > 0 && reply[0] == '-' {
		var v resp.Value
		if v, _, err = resp.Parse(reply); err == nil {
			err = errorOf(v)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%.200s: %w", strings.Join(argv, " "), err)
	}
	return reply, nil
}

// write adds a command. What is wrong with it fails the transaction later.
func (tx *transaction) write(rest []string, words ...string) {
	argv, err := tx.argv(rest, words)
	if err == nil {
		_, _, err = known(argv)
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	switch {
	case tx.over: // nobody is there to hear of it
	case err != nil && len(argv) > 0:
		tx.fail(during(argv, err))
	case err != nil:
		tx.fail(err)
	default:
		tx.writes = append(tx.writes, argv)
	}
}

// fail keeps the first of the errors. tx.mu is held.
func (tx *transaction) fail(err error) {
	if tx.bad == nil {
		tx.bad = fmt.Errorf("atomically: nothing was applied: %w", err)
	}
}

// The following implement [Tx].

func (tx *transaction) Write(argv ...string)       { tx.write(argv) }
func (tx *transaction) Set(key, value string)      { tx.write(nil, "SET", key, value) }
func (tx *transaction) Del(keys ...string)         { tx.write(keys, "DEL") }
func (tx *transaction) IncrBy(key string, n int64) { tx.write(nil, "INCRBY", key, decimal(n)) }

func (tx *transaction) Expire(key string, ttl time.Duration) {
	tx.write(nil, "PEXPIRE", key, milliseconds(ttl))
}

func (tx *transaction) HSet(key string, fields ...Field) {
	tx.write(flatFields(fields), "HSET", key)
}

func (tx *transaction) HDel(key string, fields ...string)  { tx.write(fields, "HDEL", key) }
func (tx *transaction) SAdd(key string, members ...string) { tx.write(members, "SADD", key) }
func (tx *transaction) SRem(key string, members ...string) { tx.write(members, "SREM", key) }
func (tx *transaction) LPush(key string, values ...string) { tx.write(values, "LPUSH", key) }
func (tx *transaction) RPush(key string, values ...string) { tx.write(values, "RPUSH", key) }

func (tx *transaction) ZAdd(key string, members ...Scored) {
	flat, err := flatScored(members)
	if err == nil {
		tx.write(flat, "ZADD", key)
		return
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if !tx.over {
		tx.fail(err)
	}
}
