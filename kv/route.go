package kv

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"time"

	"roomd/bus"
	"roomd/kv/engine"
	"roomd/kv/resp"
)

// This file decides which shard runs a command. With one shard that is easy.
// With several, a key's hash tag decides as in Redis Cluster. Commands on keys of
// several shards are taken apart where that makes no difference but that others
// may write in between; all else gets Redis Cluster's CROSSSLOT error.

// A route says where a command goes.
type route struct {
	shard     int
	blocks    bool          // it may wait
	timeout   time.Duration // for so long; zero: as long as its caller
	publishes bool
	reply     []byte // its answer, if no shard is needed for that
	gather    func(ctx context.Context, argv [][]byte) ([]byte, error)
}

const crossSlot = "CROSSSLOT Keys in request don't hash to the same slot"

func (s *remote) route(argv [][]byte) (r route, err error) {
	spec := engine.Lookup(argv[0])
	if spec == nil {
		return r, nil // any shard knows what to say
	}
	r.blocks = spec.Blocking
	if r.blocks && spec.Name != "hold" {
		r.timeout = waitOf(argv)
	}
	r.publishes = spec.Name == "publish" || spec.Name == "exec" && hasPublish(argv)
	if len(s.shards) == 1 || r.publishes && spec.Name == "publish" {
		return r, nil
	}
	keys, ok := engine.KeysOf(argv)
	switch {
	case !ok:
		return r, nil
	case len(keys) == 0:
		r.gather = s.everywhere(spec.Name)
		return r, nil
	}
	r.shard = s.shardOf(keys[0])
	for _, key := range keys[1:] {
		if s.shardOf(key) != r.shard {
			if r.gather = s.apart(spec.Name); r.gather == nil {
				r.reply = resp.AppendError(nil, crossSlot)
			}
			return r, nil
		}
	}
	if r.publishes && r.shard != 0 {
		r.reply = resp.AppendError(nil, "CROSSSLOT PUBLISH in a transaction needs keys of the first shard")
	}
	return r, nil
}

// hasPublish reports whether an EXEC publishes. A malformed one is for the shard
// to refuse.
func hasPublish(argv [][]byte) bool {
	take := func() (n int) {
		if len(argv) > 0 {
			n, _ = strconv.Atoi(string(argv[0]))
			argv = argv[1:]
		}
		return max(n, 0)
	}
	argv = argv[1:]
	watched := take()
	argv = argv[min(len(argv)/2, watched)*2:]
	for len(argv) > 0 {
		n := min(take(), len(argv))
		if n > 0 && bytes.EqualFold(argv[0], []byte("publish")) {
			return true
		}
		argv = argv[n:]
	}
	return false
}

// waitOf returns the timeout of a blocking pop; a bad one is for the shard to
// refuse.
func waitOf(argv [][]byte) time.Duration {
	seconds, err := resp.ParseFloat(string(argv[len(argv)-1]))
	if err != nil || seconds <= 0 || seconds > 1e9 {
		return 0
	}
	return max(time.Duration(seconds*float64(time.Second)), time.Microsecond)
}

func (s *remote) shardOf(key []byte) int { return int(engine.Slot(key)) % len(s.shards) }

type gatherer func(ctx context.Context, argv [][]byte) ([]byte, error)

// everywhere returns how a command without keys is run; nil: on any shard.
func (s *remote) everywhere(name string) gatherer {
	switch name {
	case "keys":
		return s.onAll(concat)
	case "dbsize":
		return s.onAll(sum)
	case "flushall", "flushdb":
		return s.onAll(func(replies []resp.Value, _ [][]byte) []byte { return resp.AppendStatus(nil, "OK") })
	case "scan":
		return s.scan
	case "randomkey":
		return s.randomKey
	}
	return nil
}

// apart returns how a command on keys of several shards is run; nil: not at all.
func (s *remote) apart(name string) gatherer {
	switch name {
	case "del", "unlink", "exists", "touch":
		return s.perKey(1, sum)
	case "mget":
		return s.mget
	case "mset":
		return s.perKey(2, func([]resp.Value, [][]byte) []byte { return resp.AppendStatus(nil, "OK") })
	case "sinter", "sunion", "sdiff":
		return s.combine
	}
	return nil
}

type merger func(replies []resp.Value, raw [][]byte) []byte

// all runs commands on one shard each, at the same time. The first error is the
// result: of the way, or Redis's. Only if none was run that writes it says that
// nothing happened.
func (s *remote) all(ctx context.Context, shards []int, argvs [][][]byte, merge merger) ([]byte, error) {
	results := make([]chan result, len(shards))
	for i := range shards {
		results[i] = make(chan result, 1)
		go func() {
			reply, err := s.ask(ctx, route{shard: shards[i]}, argvs[i])
			results[i] <- result{reply, err}
		}()
	}
	replies, raw := make([]resp.Value, len(shards)), make([][]byte, len(shards))
	var first error
	ran := false
	for i := range shards { // all of them: nobody is left behind
		res := <-results[i]
		ran = ran || res.err == nil || bus.CodeOf(res.err) == bus.Timeout
		if first == nil {
			first = res.err
		}
		if res.err == nil {
			raw[i] = res.reply
			var err error
			if replies[i], _, err = resp.Parse(res.reply); err != nil && first == nil {
				first = err
			}
		}
	}
	if first != nil {
		code := bus.CodeOf(first)
		none := code == bus.Unavailable || code == bus.Overloaded
		if spec := engine.Lookup(argvs[0][0]); none && ran && spec != nil && spec.Write {
			first = bus.Errorf(bus.Timeout, "a part of it may have happened: %v", first)
		}
		return nil, first
	}
	for i, v := range replies {
		if v.Kind == '-' {
			return raw[i], nil
		}
	}
	return merge(replies, raw), nil
}

func (s *remote) onAll(merge merger) gatherer {
	return func(ctx context.Context, argv [][]byte) ([]byte, error) {
		shards, argvs := make([]int, len(s.shards)), make([][][]byte, len(s.shards))
		for i := range shards {
			shards[i], argvs[i] = i, argv
		}
		return s.all(ctx, shards, argvs, merge)
	}
}

// perKey runs a command once on each shard, with those of its keys that are
// there, which each have n arguments. Merge gets one reply for each shard.
func (s *remote) perKey(n int, merge merger) gatherer {
	return func(ctx context.Context, argv [][]byte) ([]byte, error) {
		if (len(argv)-1)%n != 0 {
			return s.ask(ctx, route{}, argv[:min(len(argv), 2)]) // for the error
		}
		shards, argvs, _ := s.sortKeys(n, argv)
		return s.all(ctx, shards, argvs, merge)
	}
}

// mget is MGET of keys of several shards.
func (s *remote) mget(ctx context.Context, argv [][]byte) ([]byte, error) {
	shards, argvs, from := s.sortKeys(1, argv)
	return s.all(ctx, shards, argvs, func(replies []resp.Value, _ [][]byte) []byte {
		b := resp.AppendArray(nil, len(from))
		for _, i := range from {
			elems := replies[i].Elems
			if len(elems) == 0 || elems[0].Null() {
				b = resp.AppendNull(b)
			} else {
				b = resp.AppendBulk(b, elems[0].Text)
			}
			replies[i].Elems = elems[min(1, len(elems)):]
		}
		return b
	})
}

// sortKeys makes one command for each shard, in which keys keep their order, of
// one whose keys have n arguments each. It says of each key which command has it.
func (s *remote) sortKeys(n int, argv [][]byte) (shards []int, argvs [][][]byte, from []int) {
	at := make(map[int]int) // by shard
	for rest := argv[1:]; len(rest) > 0; rest = rest[n:] {
		shard := s.shardOf(rest[0])
		i, ok := at[shard]
		if !ok {
			i = len(shards)
			at[shard] = i
			shards = append(shards, shard)
			argvs = append(argvs, [][]byte{argv[0]})
		}
		argvs[i] = append(argvs[i], rest[:n]...)
		from = append(from, i)
	}
	return shards, argvs, from
}

func sum(replies []resp.Value, _ [][]byte) []byte {
	n := int64(0)
	for _, v := range replies {
		n += v.Int
	}
	return resp.AppendInt(nil, n)
}

func concat(replies []resp.Value, _ [][]byte) []byte {
	n := 0
	for _, v := range replies {
		n += len(v.Elems)
	}
	b := resp.AppendArray(nil, n)
	for _, v := range replies {
		for _, e := range v.Elems {
			b = resp.AppendBulk(b, e.Text)
		}
	}
	return b
}

// combine is SINTER, SUNION and SDIFF of what SMEMBERS says.
func (s *remote) combine(ctx context.Context, argv [][]byte) ([]byte, error) {
	var shards []int
	var argvs [][][]byte
	for _, key := range argv[1:] {
		shards = append(shards, s.shardOf(key))
		argvs = append(argvs, [][]byte{[]byte("SMEMBERS"), key})
	}
	name := engine.Lookup(argv[0]).Name
	return s.all(ctx, shards, argvs, func(sets []resp.Value, _ [][]byte) []byte {
		in := make(map[string]int) // of how many sets
		for i, set := range sets {
			for _, e := range set.Elems {
				switch {
				case name == "sunion", i == 0:
					in[string(e.Text)]++
				case name == "sdiff":
					delete(in, string(e.Text))
				case in[string(e.Text)] == i:
					in[string(e.Text)]++
				}
			}
		}
		var members []string
		for member, n := range in {
			if name != "sinter" || n == len(sets) {
				members = append(members, member)
			}
		}
		b := resp.AppendSet(nil, len(members))
		for _, member := range members {
			b = resp.AppendBulk(b, member)
		}
		return b
	})
}

// scan goes through one shard after the other: the cursor is the shard's times
// their number, and the shard.
func (s *remote) scan(ctx context.Context, argv [][]byte) ([]byte, error) {
	n := uint64(len(s.shards))
	cursor, err := strconv.ParseUint(string(argv[1]), 10, 64)
	if err != nil {
		return s.ask(ctx, route{}, argv) // for the error
	}
	shard := cursor % n
	there := slices.Clone(argv)
	there[1] = strconv.AppendUint(nil, cursor/n, 10)
	reply, err := s.ask(ctx, route{shard: int(shard)}, there)
	if err != nil {
		return nil, err
	}
	v, _, err := resp.Parse(reply)
	if err != nil || len(v.Elems) != 2 {
		return reply, err
	}
	next, err := strconv.ParseUint(string(v.Elems[0].Text), 10, 64)
	if err != nil {
		return nil, errReply
	}
	switch {
	case next > 0:
		next = next*n + shard
	case shard+1 < n:
		next = shard + 1
	}
	b := resp.AppendBulk(resp.AppendArray(nil, 2), strconv.FormatUint(next, 10))
	return append(b, concat(v.Elems[1:], nil)...), nil
}

// randomKey takes the key of any shard that has one.
func (s *remote) randomKey(ctx context.Context, argv [][]byte) ([]byte, error) {
	return s.onAll(func(replies []resp.Value, raw [][]byte) []byte {
		for i, v := range replies {
			if !v.Null() {
				return raw[i]
			}
		}
		return resp.AppendNull(nil)
	})(ctx, argv)
}
