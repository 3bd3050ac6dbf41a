package kvchaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// What the clients do.

const (
	fields      = 4 // of the hash of counters
	ownMembers  = 8 // of the set, for each client
	registers   = 4 // at a time
	pairs       = 4
	generation  = 4 * time.Second // after which registers and pairs are new ones, with short histories
	setKey      = "kvchaos:set"
	counterKey  = "kvchaos:counter"
	byKey       = "kvchaos:by"
	statsKey    = "kvchaos:stats"
	registerKey = "kvchaos:register"
	pairKey     = "kvchaos:pair"
)

// An actor is one client and what it noted.
type actor struct {
	*client
	id      int
	now     func() time.Duration
	count   int64
	names   int // members that it has used up
	members []Member
	retired []Member

	adds    []Add
	touches []Touch
	odd     []Oddity
	reads   int
}

// act does one thing at random.
func (a *actor) act(ctx context.Context, rng *rand.Rand) {
	a.count++
	switch n := rng.IntN(13); {
	case n < 3:
		a.add(ctx, counterKey, "", 1, "INCR", counterKey)
	case n < 4:
		by := int64(1 + rng.IntN(9))
		a.add(ctx, byKey, "", by, "INCRBY", byKey, strconv.FormatInt(by, 10))
	case n < 6:
		by, field := int64(1+rng.IntN(9)), "f"+strconv.Itoa(rng.IntN(fields))
		a.add(ctx, statsKey, field, by, "HINCRBY", statsKey, field, strconv.FormatInt(by, 10))
	case n < 9:
		a.member(ctx, rng)
	case n < 11:
		a.touch(ctx, rng, a.current(registerKey, rng.IntN(registers)))
	default:
		a.transfer(ctx, rng, a.current(pairKey, rng.IntN(pairs)))
	}
}

// current is the i-th key of its kind at this time. Those with the same number
// are on the same shard.
func (a *actor) current(kind string, i int) string {
	return fmt.Sprintf("%s:{%d.%d}", kind, a.now()/generation, i)
}

func (a *actor) add(ctx context.Context, key, field string, n int64, command ...string) {
	add := Add{Key: counterName(key, field), N: n, Sent: a.now()}
	v, fate := a.do(ctx, command...)
	add.Value, add.Fate, add.Done = v.Int, fate, a.now()
	if fate != Refused {
		a.adds = append(a.adds, add)
	}
}

func counterName(key, field string) string {
	if field == "" {
		return key
	}
	return key + " " + field
}

// member adds, removes or asks for one of the client's own members.
func (a *actor) member(ctx context.Context, rng *rand.Rand) {
	if a.members == nil {
		a.members = make([]Member, ownMembers)
	}
	m := &a.members[rng.IntN(ownMembers)]
	if m.Name == "" {
		a.names++
		m.Name = fmt.Sprintf("m%d.%d", a.id, a.names)
	}
	command := []string{"SADD", "SREM", "SISMEMBER"}[rng.IntN(3)]
	v, fate := a.do(ctx, command, setKey, m.Name)
	want := m.There
	switch {
	case fate == Refused:
		return
	case fate == Unknown && command != "SISMEMBER":
		m.Either = true
		a.retired = append(a.retired, *m)
		*m = Member{}
		return
	case fate == Unknown:
		return
	case command == "SADD":
		want, m.There = !m.There, true
	case command == "SREM":
		m.There = false
	}
	if (v.Int == 1) != want {
		a.odd = append(a.odd, Oddity{RuleSet, fmt.Sprintf("at %v: %s %s answers %d", a.now(), command, m.Name, v.Int)})
	}
}

// value is one that nobody else writes.
func (a *actor) value() int64 { return int64(a.id+1)<<32 | a.count }

// touch reads, writes, or compares and swaps a register.
func (a *actor) touch(ctx context.Context, rng *rand.Rand, key string) {
	switch rng.IntN(4) {
	case 0:
		t := Touch{Key: key, Event: "put", Value: a.value(), Client: a.id, Sent: a.now()}
		_, t.Fate = a.do(ctx, "SET", key, strconv.FormatInt(t.Value, 10))
		t.Done = a.now()
		a.touches = append(a.touches, t)
	case 1:
		a.get(ctx, key)
	default:
		if _, fate := a.do(ctx, "WATCH", key); fate != Acked {
			return
		}
		old, ok := a.get(ctx, key)
		if !ok {
			a.forget()
			return
		}
		a.swap(Touch{Key: key, Old: old, Value: a.value()}, []string{"SET", key, strconv.FormatInt(a.value(), 10)})
	}
}

// get reads a register.
func (a *actor) get(ctx context.Context, key string) (got int64, ok bool) {
	t := Touch{Key: key, Event: "get", Client: a.id, Sent: a.now()}
	v, fate := a.do(ctx, "GET", key)
	if fate != Acked {
		return 0, false
	}
	t.Got, t.Fate, t.Done = number(v.Text), fate, a.now()
	a.touches = append(a.touches, t)
	return t.Got, true
}

// number reads what is kept; what is absent is 0.
func number(text []byte) int64 {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil && len(text) > 0 {
		return -1 << 62 // nobody ever wrote that: no order explains it
	}
	return n
}

// swap ends what WATCH began. A swap that did not happen tells nothing: a watched
// key that was written with what it held has changed too.
func (a *actor) swap(t Touch, commands ...[]string) {
	t.Event, t.Client, t.Sent = "cas", a.id, a.now()
	t.Swapped, t.Fate = a.exec(commands...)
	if t.Done = a.now(); t.Swapped || t.Fate == Unknown {
		a.touches = append(a.touches, t)
	}
}

// forget gives up what is watched, with the connection.
func (a *actor) forget() { _ = a.close() }

// transfer moves an amount from one key to the other, or reads both: they always
// add up to nothing. The first of them is checked as a register too.
func (a *actor) transfer(ctx context.Context, rng *rand.Rand, key string) {
	one, other := key+":a", key+":b"
	move := rng.IntN(3) > 0
	if move {
		if _, fate := a.do(ctx, "WATCH", one, other); fate != Acked {
			return
		}
	}
	t := Touch{Key: key, Event: "get", Client: a.id, Sent: a.now()}
	v, fate := a.do(ctx, "MGET", one, other)
	if fate != Acked || len(v.Elems) != 2 {
		if move {
			a.forget()
		}
		return
	}
	x, y := number(v.Elems[0].Text), number(v.Elems[1].Text)
	t.Got, t.Fate, t.Done = x, fate, a.now()
	a.touches = append(a.touches, t)
	a.reads++
	if x+y != 0 {
		a.odd = append(a.odd, Oddity{RuleSum, fmt.Sprintf("at %v: %s holds %d and %d", t.Done, key, x, y)})
	}
	if move { // an amount that nobody else moves, so that histories are told apart
		n := a.value()
		if x > 0 {
			n = -n
		}
		a.swap(Touch{Key: key, Old: x, Value: x + n},
			[]string{"SET", one, strconv.FormatInt(x+n, 10)}, []string{"SET", other, strconv.FormatInt(y-n, 10)})
	}
}
