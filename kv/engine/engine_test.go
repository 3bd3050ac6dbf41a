package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"roomd/kv/resp"
)

const testNow = 1_700_000_000_000

// split splits a command, in which ” is an empty argument.
func split(command string) (argv [][]byte) {
	for _, w := range strings.Fields(command) {
		if w == "''" {
			w = ""
		}
		argv = append(argv, []byte(w))
	}
	return argv
}

// show writes a reply as one line: strings bare, null as nil, arrays in [], sets
// in ~[] and maps in {}, errors with a minus.
func show(t *testing.T, reply []byte) string {
	t.Helper()
	v, rest, err := resp.Parse(reply)
	if err != nil || len(rest) > 0 {
		t.Fatalf("reply %q: %v, %d bytes behind", reply, err, len(rest))
	}
	return showValue(v)
}

func showValue(v resp.Value) string {
	var elems []string
	for _, el := range v.Elems {
		elems = append(elems, showValue(el))
	}
	switch v.Kind {
	case '-':
		return "-" + string(v.Text)
	case '+', '$':
		return string(v.Text)
	case ',':
		return "," + string(v.Text)
	case ':':
		return fmt.Sprint(v.Int)
	case '_':
		return "nil"
	case '*':
		return "[" + strings.Join(elems, " ") + "]"
	case '~':
		return "~[" + strings.Join(elems, " ") + "]"
	case '%':
		return "{" + strings.Join(elems, " ") + "}"
	}
	return fmt.Sprintf("%c?", v.Kind)
}

// do runs a command that does not block.
func do(t *testing.T, e *Engine, now int64, command string) string {
	t.Helper()
	reply, blocked := e.Do(now, split(command), nil)
	if blocked {
		t.Fatalf("%s blocks", command)
	}
	return show(t, reply)
}

// dump returns all that an engine holds.
func dump(e *Engine) (pages [Pages][]byte) {
	for p := range pages {
		pages[p] = e.AppendPage(nil, p)
	}
	return pages
}

// A failer is a test, of ours or rapid's.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// equal fails the test if two engines hold different things, or if one does not
// add up.
func equal(t failer, got, want *Engine) {
	t.Helper()
	a, b := dump(got), dump(want)
	for p := range a {
		if !bytes.Equal(a[p], b[p]) {
			t.Fatalf("page %d differs:\n got %q\nwant %q", p, a[p], b[p])
		}
	}
	addsUp(t, got)
	addsUp(t, want)
}

// addsUp checks what must be so in every engine.
func addsUp(t failer, e *Engine) {
	t.Helper()
	count, size, timed := 0, 0, 0
	for p := range e.pages {
		for i, en := range e.pages[p].entries {
			count++
			size += en.size
			if e.keys[en.key] != en || int(en.at) != i || int(en.page) != p || PageOf([]byte(en.key)) != p {
				t.Fatalf("key %q is not where it should be", en.key)
			}
			if en.expires != 0 {
				timed++
				if e.expires[en.timed-1] != en {
					t.Fatalf("key %q is not in the heap", en.key)
				}
			}
			if en.obj != nil && en.obj.len() == 0 {
				t.Fatalf("key %q is empty", en.key)
			}
		}
	}
	if count != len(e.keys) || size != e.bytes || timed != len(e.expires) {
		t.Fatalf("%d keys of %d, %d bytes of %d, %d that expire of %d", count, len(e.keys), size, e.bytes, timed, len(e.expires))
	}
	for i := range e.expires {
		if i > 0 && e.expires[(i-1)/2].expires > e.expires[i].expires {
			t.Fatalf("heap is out of order at %d", i)
		}
	}
}

// A dialog is commands and their replies, in turn.
type dialog []string

func (d dialog) run(t *testing.T) {
	t.Helper()
	e := New(0, nil)
	for i := 0; i < len(d); i += 2 {
		if got := do(t, e, testNow, d[i]); got != d[i+1] {
			t.Errorf("%s = %s, want %s", d[i], got, d[i+1])
		}
	}
	copied := New(0, nil)
	if err := copied.Apply(e.Effects(), nil); err != nil {
		t.Fatal(err)
	}
	equal(t, copied, e)
}

const wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value"

func TestStringsReplyAsRedis(t *testing.T) {
	for name, d := range map[string]dialog{
		"get and set": {"GET a", "nil", "SET a 1", "OK", "get a", "1", "STRLEN a", "1", "STRLEN b", "0", "SET a ''", "OK", "GET a", ""},
		"set with conditions": {"SET a 1 XX", "nil", "SET a 1 NX", "OK", "SET a 2 NX", "nil", "SET a 3 XX GET", "1", "SET b 1 XX GET", "nil",
			"EXISTS b", "0", "SET a 1 NX XX", "-ERR syntax error", "SET a 1 KEEPTTL EX 5", "-ERR syntax error", "SETNX a 5", "0", "SETNX c 5", "1"},
		"set with a time": {"SET a 1 EX 10", "OK", "PTTL a", "10000", "SET a 2 KEEPTTL", "OK", "TTL a", "10", "SET a 2", "OK", "TTL a", "-1",
			"SET a 1 EX 0", "-ERR invalid expire time in 'set' command", "SET a 1 PX x", "-ERR value is not an integer or out of range",
			"SET a 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command", "SETEX a 5 v", "OK", "TTL a", "5",
			"PSETEX a 1500 v", "OK", "PTTL a", "1500", "PSETEX a 0 v", "-ERR invalid expire time in 'psetex' command",
			"SET a 1 PXAT 1700000001000", "OK", "PTTL a", "1000", "EXPIRETIME a", "1700000001"},
		"get and change": {"SET a 1", "OK", "GETSET a 2", "1", "GETDEL a", "2", "GETDEL a", "nil", "SET a 1 EX 9", "OK", "GETEX a PERSIST", "1", "TTL a", "-1",
			"GETEX a PX 70", "1", "PTTL a", "70", "GETEX a EXAT 5", "1", "GET a", "nil", "GETEX a EX", "-ERR syntax error"},
		"several": {"MSET a 1 b 2 a 3", "OK", "MGET a b c", "[3 2 nil]", "MSETNX c 1 a 1", "0", "MSETNX c 1 d 1", "1", "SADD s 1", "1", "MGET s a", "[nil 3]",
			"MSET a", "-ERR wrong number of arguments for 'mset' command", "MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"},
		"append and range": {"APPEND a Hello", "5", "APPEND a World", "10", "GETRANGE a 0 4", "Hello", "GETRANGE a -5 -1", "World", "GETRANGE a 5 1", "",
			"GETRANGE a -100 100", "HelloWorld", "GETRANGE b 0 -1", "", "GETRANGE a -1 -3", ""},
		"integers": {"INCR a", "1", "INCRBY a 9", "10", "DECR a", "9", "DECRBY a 10", "-1", "SET a 9223372036854775807", "OK",
			"INCR a", "-ERR increment or decrement would overflow", "SET a -9223372036854775808", "OK", "DECR a", "-ERR increment or decrement would overflow",
			"DECRBY a -9223372036854775808", "-ERR decrement would overflow", "SET a 01", "OK", "INCR a", "-ERR value is not an integer or out of range",
			"INCRBY a x", "-ERR value is not an integer or out of range", "SET a 5 EX 10", "OK", "INCR a", "6", "TTL a", "10"},
		"floats": {"INCRBYFLOAT a 0.1", "0.1", "INCRBYFLOAT a 0.2", "0.3", "INCRBYFLOAT a 1e3", "1000.29999999999999999", "SET a 3.0e3", "OK", "INCRBYFLOAT a 200", "3200", "INCRBYFLOAT a -3200", "0",
			"INCRBYFLOAT a x", "-ERR value is not a valid float", "INCRBYFLOAT a inf", "-ERR increment would produce NaN or Infinity",
			"SET a x", "OK", "INCRBYFLOAT a 1", "-ERR value is not a valid float"},
		"wrong type": {"SADD s 1", "1", "GET s", wrong, "APPEND s x", wrong, "INCR s", wrong, "GETSET s x", wrong, "SET s x GET", wrong, "SET s x", "OK", "GET s", "x"},
	} {
		t.Run(name, d.run)
	}
}

func TestKeysReplyAsRedis(t *testing.T) {
	for name, d := range map[string]dialog{
		"del and exists": {"MSET a 1 b 2 c 3", "OK", "EXISTS a a x", "2", "TOUCH a b", "2", "DEL a x a", "1", "UNLINK b c", "2", "DBSIZE", "0"},
		"types": {"SET a 1", "OK", "HSET h f v", "1", "SADD s 1", "1", "RPUSH l 1", "1", "ZADD z 1 m", "1", "HOLD k t 100", "1",
			"TYPE a", "string", "TYPE h", "hash", "TYPE s", "set", "TYPE l", "list", "TYPE z", "zset", "TYPE k", "lock", "TYPE x", "none"},
		"expire": {"SET a 1", "OK", "EXPIRE a 10", "1", "TTL a", "10", "PTTL a", "10000", "PERSIST a", "1", "PERSIST a", "0", "TTL a", "-1", "TTL x", "-2",
			"EXPIRE x 1", "0", "EXPIRE a 10 XX", "0", "EXPIRE a 10 GT", "0", "EXPIRE a 10 LT", "1", "EXPIRE a 5 GT", "0", "EXPIRE a 20 GT", "1", "EXPIRE a 30 LT", "0",
			"EXPIRE a 5 NX", "0", "EXPIRE a 5 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible",
			"EXPIRE a 5 GT LT", "-ERR GT and LT options at the same time are not compatible", "EXPIRE a 5 ZZ", "-ERR Unsupported option ZZ",
			"EXPIRE a x", "-ERR value is not an integer or out of range", "EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command",
			"PEXPIREAT a 1700000000500", "1", "PEXPIRETIME a", "1700000000500", "TTL a", "1", "EXPIREAT a 5", "1", "EXISTS a", "0", "SET a 1", "OK", "EXPIRE a -1", "1", "EXISTS a", "0"},
		"rename": {"HSET h f v", "1", "EXPIRE h 10", "1", "SET a 1", "OK", "RENAMENX h a", "0", "RENAME h a", "OK", "HGETALL a", "{f v}", "TTL a", "10", "EXISTS h", "0",
			"RENAME h a", "-ERR no such key", "RENAME a a", "OK", "RENAMENX a b", "1", "RENAMENX b b", "0"},
		"random": {"RANDOMKEY", "nil", "SET a 1", "OK", "RANDOMKEY", "a"},
		"flush":  {"MSET a 1 b 2", "OK", "FLUSHALL x", "-ERR syntax error", "FLUSHDB ASYNC", "OK", "DBSIZE", "0", "KEYS *", "[]"},
		"other": {"PING", "PONG", "PING x", "x", "PING a b", "-ERR wrong number of arguments for 'ping' command", "ECHO a", "a", "TIME", "[1700000000 0]",
			"foo", "-ERR unknown command 'foo', with args beginning with: ", "foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' ",
			"GET", "-ERR wrong number of arguments for 'get' command", "SCAN x", "-ERR invalid cursor", "SCAN 0 COUNT 0", "-ERR syntax error"},
		"publish": {"PUBLISH a b", "0", "PUBSUB CHANNELS", "[]", "PUBSUB NUMSUB a", "[a 0]", "PUBSUB NUMPAT", "0", "PUBSUB x", "-ERR unknown subcommand 'x'. Try PUBSUB HELP."},
	} {
		t.Run(name, d.run)
	}
}

func TestHashesReplyAsRedis(t *testing.T) {
	for name, d := range map[string]dialog{
		"fields": {"HSET h a 1 b 2 a 3", "2", "HGET h a", "3", "HGET h x", "nil", "HGET x a", "nil", "HMGET h b x a", "[2 nil 3]", "HGETALL h", "{a 3 b 2}", "HGETALL x", "{}",
			"HKEYS h", "[a b]", "HVALS h", "[3 2]", "HLEN h", "2", "HEXISTS h a", "1", "HEXISTS h x", "0", "HSTRLEN h a", "1", "HSTRLEN h x", "0",
			"HDEL h a x", "1", "HDEL h b", "1", "EXISTS h", "0", "HDEL h b", "0", "HMSET h a 1", "OK", "HSETNX h a 2", "0", "HSETNX h b 2", "1",
			"HSET h a", "-ERR wrong number of arguments for 'hset' command", "HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"},
		"numbers": {"HINCRBY h a 5", "5", "HINCRBY h a -7", "-2", "HSET h b x", "1", "HINCRBY h b 1", "-ERR hash value is not an integer", "HINCRBY h a x", "-ERR value is not an integer or out of range",
			"HSET h a 9223372036854775807", "0", "HINCRBY h a 1", "-ERR increment or decrement would overflow", "HINCRBYFLOAT h c 0.1", "0.1", "HINCRBYFLOAT h c 0.2", "0.3",
			"HINCRBYFLOAT h b 1", "-ERR hash value is not a float", "HINCRBYFLOAT h c inf", "-ERR value is NaN or Infinity", "HINCRBYFLOAT h c x", "-ERR value is not a valid float"},
		"number and time": {"HINCRBYEX h a 2 1500", "2", "PTTL h", "1500", "HINCRBYEX h a 2 2500", "4", "PTTL h", "2500", "HINCRBYEX h a x 1", "-ERR value is not an integer or out of range",
			"HINCRBYEX h a 1 0", "5", "EXISTS h", "0"},
		"scan":       {"HSCAN h 0", "[0 []]", "HSET h a 1 b 2 c 3", "3", "HSCAN h 0 COUNT 2", "[1 [c 3 b 2]]", "HSCAN h 1", "[0 [a 1]]", "HSCAN h 0 MATCH [ac]", "[0 [c 3 a 1]]", "HSCAN h x", "-ERR invalid cursor"},
		"wrong type": {"SET a 1", "OK", "HSET a f v", wrong, "HGET a f", wrong, "HGETALL a", wrong, "HDEL a f", wrong, "HINCRBY a f 1", wrong, "HLEN a", wrong, "HSCAN a 0", wrong, "HINCRBYEX a f 1 1", wrong},
	} {
		t.Run(name, d.run)
	}
}

func TestSetsReplyAsRedis(t *testing.T) {
	for name, d := range map[string]dialog{
		"members": {"SADD s a b a", "2", "SADD s a", "0", "SMEMBERS s", "~[a b]", "SMEMBERS x", "~[]", "SISMEMBER s a", "1", "SISMEMBER s x", "0", "SMISMEMBER s a x b", "[1 0 1]",
			"SCARD s", "2", "SCARD x", "0", "SREM s a x", "1", "SREM s b", "1", "EXISTS s", "0", "SREM s b", "0"},
		"algebra": {"SADD s a b c", "3", "SADD t c b d", "3", "SINTER s t", "~[b c]", "SUNION s t", "~[a b c d]", "SDIFF s t", "~[a]", "SINTER s x", "~[]", "SINTERCARD 2 s t", "2",
			"SINTERCARD 2 s t LIMIT 1", "1", "SINTERCARD 0 s", "-ERR numkeys should be greater than 0", "SINTERCARD 3 s t", "-ERR Number of keys can't be greater than number of args",
			"SINTERCARD 1 s LIMIT -1", "-ERR LIMIT can't be negative", "SINTERSTORE s s t", "2", "SMEMBERS s", "~[b c]", "SET u 1", "OK", "SUNIONSTORE u s t", "3", "SCARD u", "3",
			"SDIFFSTORE u t t", "0", "EXISTS u", "0", "SET v 1 EX 10", "OK", "SUNIONSTORE v s", "2", "TTL v", "-1"},
		"move": {"SADD s a b", "2", "SMOVE s t a", "1", "SMOVE s t x", "0", "SMOVE s s b", "1", "SMOVE s t b", "1", "EXISTS s", "0", "SMEMBERS t", "~[a b]", "SET u 1", "OK", "SMOVE t u a", wrong, "SMOVE x u a", "0"},
		"pop and pick": {"SPOP s", "nil", "SPOP s 2", "~[]", "SRANDMEMBER s", "nil", "SRANDMEMBER s 2", "[]", "SADD s a", "1", "SRANDMEMBER s", "a", "SRANDMEMBER s -3", "[a a a]", "SRANDMEMBER s 5", "[a]",
			"SPOP s 0", "~[]", "SPOP s -1", "-ERR value is out of range, must be positive", "SPOP s 1 1", "-ERR syntax error", "SPOP s", "a", "EXISTS s", "0", "SADD s a", "1", "SPOP s 9", "~[a]"},
		"scan":       {"SADD s a b c", "3", "SSCAN s 0 COUNT 2", "[1 [c b]]", "SSCAN s 1", "[0 [a]]", "SSCAN s 0 MATCH b", "[0 [b]]", "SSCAN x 0", "[0 []]", "SSCAN s 0 no", "-ERR syntax error", "SSCAN x 0 no", "[0 []]", "ZSCAN x 0 no", "[0 []]", "HSCAN x 0 no", "[0 []]"},
		"wrong type": {"SET a 1", "OK", "SADD a 1", wrong, "SMEMBERS a", wrong, "SINTER x a", wrong, "SPOP a", wrong, "SREM a 1", wrong, "SUNIONSTORE x a", wrong},
	} {
		t.Run(name, d.run)
	}
}

func TestPickedMembersAreDifferent(t *testing.T) {
	e := New(0, nil)
	for i := range 50 {
		do(t, e, testNow, fmt.Sprint("SADD s ", i))
	}
	seen := map[string]bool{}
	for range 200 {
		picked := strings.Fields(strings.Trim(do(t, e, testNow, "SRANDMEMBER s 7"), "[]"))
		slices.Sort(picked)
		if len(slices.Compact(picked)) != 7 {
			t.Fatalf("SRANDMEMBER s 7 = %v, want 7 different ones", picked)
		}
		for _, p := range picked {
			seen[p] = true
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d of 50 members were ever picked", len(seen))
	}
}

func TestMatchIsAsInRedis(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"?", "", false}, {"a*c", "abbc", true}, {"a*c", "abb", false}, {"a**c*", "axcx", true},
		{"h?llo", "hello", true}, {"h[ae]llo", "hallo", true}, {"h[ae]llo", "hillo", false}, {"h[^e]llo", "hallo", true}, {"h[^e]llo", "hello", false},
		{"h[a-c]llo", "hbllo", true}, {"h[c-a]llo", "hbllo", true}, {"[a-", "a", true}, {"[a-", "-", true}, {"[abc", "b", true}, {"[", "x", false}, {"[^", "x", true}, {"[]", "x", false},
		{`\*`, "*", true}, {`\*`, "a", false}, {`a\`, `a\`, true}, {`[\]]`, "]", true}, {`[\a-c]`, "b", false}, {"*a*b*c*", "xxaxxbxxcxx", true}, {"*a*b*c*", "xxaxxcxxbxx", false},
		{"ab", "abc", false}, {"*.txt", "a.txt.txt", true},
	} {
		if got := Match([]byte(c.pattern), []byte(c.s)); got != c.want {
			t.Errorf("Match(%q, %q) = %v, want %v", c.pattern, c.s, got, c.want)
		}
	}
}

func TestMatchTakesNoLongerWithManyStars(t *testing.T) {
	pattern := []byte(strings.Repeat("*a", 1000) + "b")
	if Match(pattern, bytes.Repeat([]byte("a"), 20000)) {
		t.Error("matched")
	}
}

func TestSlotsAreRedisClusters(t *testing.T) {
	for key, want := range map[string]uint16{"": 0, "123456789": 0x31C3, "foo": 12182, "{foo}bar": 12182, "a{foo}b{c}": 12182, "{}foo": 9500, "foo{": 7673} {
		if got := Slot([]byte(key)); got != want {
			t.Errorf("Slot(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestKeysOfFindsAllKeys(t *testing.T) {
	for command, want := range map[string]string{
		"GET a": "a", "MSET a 1 b 2": "a b", "DEL a b c": "a b c", "BLPOP a b 0": "a b", "SINTERCARD 2 a b LIMIT 1": "a b", "PING": "", "HOLD a t 1": "a",
		"EXEC 1 a 7 2 GET b 3 SET c 1 1 PING 1 NOPE": "a b c", "SMOVE a b m": "a b", "EXEC 0": "", "SINTERCARD 9 a": "",
	} {
		keys, ok := KeysOf(split(command))
		if got := string(bytes.Join(keys, []byte(" "))); got != want || !ok {
			t.Errorf("KeysOf(%s) = %q, %v, want %q", command, got, ok, want)
		}
	}
	for _, command := range []string{"", "NOPE a", "GET", "GET a b", "EXEC x", "EXEC 1 a", "EXEC 0 0", "EXEC 0 2 GET"} {
		if _, ok := KeysOf(split(command)); ok {
			t.Errorf("KeysOf(%s) is ok", command)
		}
	}
}
