package kv_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"roomd/kv/engine"
)

// templates are commands whose words in small letters a generator replaces. The
// first letter of a line is the type that most of its keys are of.
var templates = parseTemplates(`
a SET k v | SET k v | SET k n | SET k v EX sec | SET k v PX ms | SET k v EXAT at | SET k v PXAT atms | SET k v NX | SET k v XX GET
a SET k v KEEPTTL | SET k v GET | SET k v NX GET | SET k v NX EX sec | SET k v EX sec PX ms | SETEX k sec v | PSETEX k ms v | SETNX k v
a GET k | GET k | GETSET k v | GETDEL k | GETEX k | GETEX k EX sec | GETEX k PERSIST | GETEX k PXAT atms | MGET k+ | MSET kv+ | MSETNX kv+
a APPEND k v | STRLEN k | GETRANGE k i i | INCR k | DECR k | INCRBY k n | DECRBY k n | INCRBYFLOAT k d
o DEL k+ | UNLINK k | EXISTS k+ | TOUCH k+ | TYPE k | KEYS p | DBSIZE | RENAME k k | RENAMENX k k | RANDOMKEY | SCAN | SCAN p | TIME
o PING | PING v | ECHO v | PUBLISH v v | PUBSUB NUMPAT | PUBSUB NUMSUB v v | PUBSUB CHANNELS | PUBSUB CHANNELS p
o EXPIRE k sec | EXPIRE k sec nxxx | PEXPIRE k ms | PEXPIRE k ms nxxx | EXPIREAT k at | EXPIREAT k at nxxx | PEXPIREAT k atms | PEXPIREAT k atms nxxx
o TTL k | PTTL k | EXPIRETIME k | PEXPIRETIME k | PERSIST k | AWAIT k brief | AWAIT k brief
h HSET k fv+ | HSET k fv+ | HSET k f n | HMSET k fv+ | HSETNX k f v | HGET k f | HMGET k f+ | HGETALL k | HDEL k f+ | HEXISTS k f | HLEN k | HKEYS k
h HVALS k | HSTRLEN k f | HINCRBY k f n | HINCRBYFLOAT k f d | HSCAN k | HSCAN k p
s SADD k m+ | SADD k m+ | SADD k m+ | SREM k m+ | SMEMBERS k | SISMEMBER k m | SMISMEMBER k m+ | SCARD k | SINTER k+ | SUNION k+ | SDIFF k+
s SINTERSTORE k k+ | SUNIONSTORE k k+ | SDIFFSTORE k k+ | SINTERCARD #k+ | SINTERCARD #k+ LIMIT c | SPOP k | SPOP k c | SRANDMEMBER k | SRANDMEMBER k i
s SMOVE k k m | SSCAN k | SSCAN k p
l LPUSH k v+ | RPUSH k v+ | RPUSH k v+ | LPUSHX k v+ | RPUSHX k v+ | LPOP k | RPOP k | LPOP k c | RPOP k c | LLEN k | LRANGE k i i | LREM k i v | LINDEX k i
l LSET k i v | LTRIM k i i | LINSERT k BEFORE v v | LINSERT k AFTER v v | LMOVE k k lr lr | RPOPLPUSH k k | LPOS k v | LPOS k v RANK i COUNT c
l LPOS k v MAXLEN c | LMPOP #k+ lr | LMPOP #k+ lr COUNT c | BLPOP k+ brieftime | BRPOP k+ brieftime
z ZADD k sm+ | ZADD k sm+ | ZADD k sm+ | ZADD k nxxx sm+ | ZADD k CH sm+ | ZADD k nxxx CH sm+ | ZADD k INCR s m | ZADD k nxxx INCR s m | ZADD k XX GT sm+
z ZINCRBY k s m | ZREM k m+ | ZSCORE k m | ZMSCORE k m+ | ZRANK k m | ZREVRANK k m | ZCARD k | ZCOUNT k lo hi | ZRANGE k i i | ZRANGE k i i WITHSCORES
z ZRANGE k i i REV WITHSCORES | ZRANGE k lo hi BYSCORE | ZRANGE k hi lo BYSCORE REV LIMIT i i WITHSCORES | ZREVRANGE k i i | ZREVRANGE k i i WITHSCORES
z ZRANGEBYSCORE k lo hi | ZRANGEBYSCORE k lo hi WITHSCORES LIMIT i i | ZREVRANGEBYSCORE k hi lo WITHSCORES | ZREMRANGEBYRANK k i i
z ZREMRANGEBYSCORE k lo hi | ZPOPMIN k | ZPOPMIN k c | ZPOPMAX k | ZPOPMAX k c | BZPOPMIN k+ brieftime | BZPOPMAX k+ brieftime | ZSCAN k | ZSCAN k p
z ZRANGESTORE k k i i | ZRANGESTORE k k lo hi BYSCORE LIMIT i i | ZMPOP #k+ minmax | ZMPOP #k+ minmax COUNT c | ZRANDMEMBER k | ZRANDMEMBER k i
z ZRANDMEMBER k i WITHSCORES | ZUNION #k+ | ZUNION #k+ WITHSCORES | ZINTER #k+ WITHSCORES | ZINTER #k+ AGGREGATE agg WITHSCORES | ZDIFF #k+ WITHSCORES
z ZUNIONSTORE k #k+ | ZUNIONSTORE k #k+ AGGREGATE agg | ZINTERSTORE k #k+ AGGREGATE agg | ZUNIONSTORE k 2 k k WEIGHTS s s | ZDIFFSTORE k #k+
z ZINTERCARD #k+ | ZINTERCARD #k+ LIMIT c
x ZADD lex 0 m | ZADD lex 0 m 0 m | ZREM lex m+ | ZRANGEBYLEX lex from to | ZREVRANGEBYLEX lex to from | ZRANGE lex from to BYLEX LIMIT i i
x ZLEXCOUNT lex from to | ZREMRANGEBYLEX lex from to | ZRANGE lex from to BYLEX
`)

// notCompared are commands of ours without a template.
var notCompared = map[string]string{
	"hincrbyex": "Redis has none; the engine's own tests have it",
	"watch":     "comes with transactions", "exec": "comes with transactions",
	"hold": "Redis has none", "renew": "Redis has none", "unhold": "Redis has none",
	"flushall": "begins a history", "flushdb": "begins a history",
}

type template struct {
	family byte
	words  []string
}

func parseTemplates(text string) (all []template) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		for command := range strings.SplitSeq(line[2:], "|") {
			all = append(all, template{line[0], strings.Fields(command)})
		}
	}
	return all
}

func TestDifferentialTestKnowsAllCommands(t *testing.T) {
	for spec := range engine.Specs() {
		known := notCompared[spec.Name] != ""
		for _, tmpl := range templates {
			known = known || strings.EqualFold(tmpl.words[0], spec.Name)
		}
		if !known {
			t.Errorf("no template has %s", spec.Name)
		}
	}
}

// diffKeys are few, so that commands meet. Each is mostly of one type.
var diffKeys = map[byte][]string{'a': {"a", "b b"}, 'h': {"h", ""}, 's': {"s", "S\r\n"}, 'l': {"l", "l.*"}, 'z': {"z", "\xffz"}}

// A step is one command, and who sends it.
type step struct {
	conn int
	argv []string
}

// A generator makes steps. What it makes depends on its seed and on when it was
// made.
type generator struct {
	*rand.Rand
	base   time.Time
	given  int64 // how many times to live
	family byte
}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, seed)), base: time.Now()}
}

// loose commands have replies that can't be compared in a transaction: in any
// order, by chance, or about time. Mistakes in PUBSUB come out later than there.
var loose = map[string]bool{
	"KEYS": true, "HKEYS": true, "HVALS": true, "SPOP": true, "SRANDMEMBER": true, "ZRANDMEMBER": true, "RANDOMKEY": true, "TIME": true,
	"SCAN": true, "HSCAN": true, "SSCAN": true, "ZSCAN": true, "TTL": true, "PTTL": true, "EXPIRETIME": true, "PEXPIRETIME": true, "AWAIT": true, "DBSIZE": true, "PUBSUB": true,
}

// next returns a command, or the steps of a transaction.
func (g *generator) next(transactions bool) []step {
	if !transactions || g.IntN(25) > 0 {
		return []step{{1, g.command(false)}}
	}
	var steps []step
	add := func(conn int, argv ...string) { steps = append(steps, step{conn, argv}) }
	if g.IntN(2) == 0 {
		add(0, append([]string{"WATCH"}, g.words("k+")...)...)
		for range g.IntN(3) {
			add(g.IntN(2), g.command(true)...)
		}
		if g.IntN(8) == 0 {
			add(0, "UNWATCH")
		}
	}
	if g.IntN(20) > 0 {
		add(0, "MULTI")
	}
	for range g.IntN(5) {
		add(0, g.command(true)...)
	}
	if g.IntN(20) == 0 {
		add(0, pick(g, []string{"MULTI", "WATCH", "NONE"}), "k")
	}
	add(0, pick(g, []string{"EXEC", "EXEC", "EXEC", "DISCARD"}))
	return steps
}

func (g *generator) command(strict bool) []string {
	tmpl := templates[g.IntN(len(templates))]
	for strict && loose[tmpl.words[0]] {
		tmpl = templates[g.IntN(len(templates))]
	}
	g.family = tmpl.family
	var argv []string
	for _, word := range tmpl.words {
		argv = append(argv, g.words(word)...)
	}
	if tmpl.words[0] == "AWAIT" {
		return argv
	}
	if g.IntN(30) == 0 {
		argv = g.spoil(argv)
	}
	if g.IntN(10) == 0 {
		argv[0] = strings.ToLower(argv[0])
	}
	return argv
}

// spoil makes a mistake.
func (g *generator) spoil(argv []string) []string {
	junk := []string{"abc", "", "1.5", "-1", "99999999999999999999", "9223372036854775807", "NX", "LIMIT", "+inf", "nan", "0x10", "(1", " 1"}
	if argv[0][0] == 'B' { // what is meant as a time would be waited for
		return argv[:1]
	}
	switch g.IntN(4) {
	case 0:
		return argv[:max(len(argv)-1, 1)]
	case 1:
		return append(argv, pick(g, junk))
	case 2:
		return append([]string{pick(g, []string{"NONE", "get ", "DEBUGS"})}, argv[1:]...)
	}
	if len(argv) < 3 || g.family == 'x' { // whose scores must be equal
		return argv
	}
	argv[2+g.IntN(len(argv)-2)] = pick(g, junk)
	return argv
}

func pick[T any](g *generator, of []T) T { return of[g.IntN(len(of))] }

// words replaces a word of a template.
func (g *generator) words(word string) (argv []string) {
	if kinds, ok := strings.CutSuffix(word, "+"); ok {
		n := 1 + g.IntN(3)
		if counted, ok := strings.CutPrefix(kinds, "#"); ok {
			kinds = counted
			argv = append(argv, strconv.Itoa(n))
		}
		for range n {
			for _, kind := range kinds {
				argv = append(argv, g.word(string(kind)))
			}
		}
		return argv
	}
	return []string{g.word(word)}
}

func (g *generator) word(word string) string {
	switch word {
	case "k":
		return g.key()
	case "v":
		return pick(g, []string{"", "x", "y", "x", "1", "10", "-7", "3.5", "abc", "hello world", "\x00\xff", "a\r\nb", "9223372036854775806"})
	case "f", "m":
		return pick(g, []string{"a", "b", "c", "d", "e", "f", "1", "", "\r\n", "\xff", "Z"})
	case "i":
		return strconv.Itoa(g.IntN(11) - 5)
	case "c":
		return strconv.Itoa(pick(g, []int{0, 1, 1, 2, 3, 10}))
	case "n":
		return pick(g, []string{"0", "1", "-1", "5", "-30", "1000", "9223372036854775807", "-9223372036854775808", "x", "1.5", "007"})
	case "d":
		return pick(g, []string{"0", "1", "-1", "0.5", "-2.25", "1e3", "0.1", "3.14", "1e-5", "-1e20", "x", "inf", "nan", "12345678.125", "0x10", "1_0"})
	case "s":
		return pick(g, []string{"0", "1", "1", "2", "-1", "3.5", "0.1", "1e100", "-0.25", "+inf", "-inf", "x", "nan", "17", "100000000000000000000", "0x1F", "1e400", "1e-400", "-0x1p-1", "1_0"})
	case "lo":
		return pick(g, []string{"-inf", "-inf", "-1", "0", "(0", "1", "(1", "2", "x", "(x", "+inf", " 1", "(", "0x1"})
	case "hi":
		return pick(g, []string{"+inf", "inf", "3.5", "(3.5", "2", "(2", "1", "0", "17", "x", "-inf"})
	case "from":
		return pick(g, []string{"-", "-", "[a", "(a", "[b", "(", "[", "+", "x", "[\xff"})
	case "to":
		return pick(g, []string{"+", "+", "[e", "(e", "[b", "(d", "-", "", "[\xff"})
	case "p":
		return pick(g, []string{"*", "?", "[a-c]", "*b*", "\\*", "[^a]", "l*", "", "?*", "*.\\*", "\xff*", "*\r\n"})
	case "lr":
		return pick(g, []string{"LEFT", "RIGHT", "left", "right", "up"})
	case "minmax":
		return pick(g, []string{"MIN", "MAX", "mid"})
	case "nxxx":
		return pick(g, []string{"NX", "XX", "GT", "LT", "gt"})
	case "agg":
		return pick(g, []string{"SUM", "MIN", "MAX", "AVG"})
	case "brieftime":
		return pick(g, []string{"0.001", "0.002", "0.001", "-1", "x", "1e400"})
	case "brief":
		return strconv.Itoa(1 + g.IntN(3))
	case "sec", "ms", "at", "atms":
		return g.time(word)
	}
	return word
}

func (g *generator) key() string {
	if own := diffKeys[g.family]; own != nil && g.IntN(8) > 0 {
		return pick(g, own)
	}
	return pick(g, diffKeys["ahslz"[g.IntN(5)]])
}

// time returns a time to live that is seconds apart from each other one, so that
// comparing two gives the same in every place; or one that means the past, or
// none.
func (g *generator) time(word string) string {
	if g.IntN(12) == 0 {
		return pick(g, []string{"0", "-1", "-100", "x", "1.5", "9223372036854775807", "-9223372036854775808"})
	}
	g.given++
	ttl := time.Duration(pick(g, []int64{1, 10, 100})*100_000+10*g.given) * time.Second
	switch word {
	case "sec":
		return strconv.FormatInt(int64(ttl/time.Second), 10)
	case "ms":
		return strconv.FormatInt(ttl.Milliseconds(), 10)
	case "at":
		return strconv.FormatInt(g.base.Add(ttl).Unix(), 10)
	}
	return strconv.FormatInt(g.base.Add(ttl).UnixMilli(), 10)
}
