package engine

import (
	"fmt"
	"strings"
	"testing"
)

// version returns what WATCH says of a key.
func version(t *testing.T, e *Engine, now int64, key string) string {
	t.Helper()
	return strings.Trim(do(t, e, now, "WATCH "+key), "[]")
}

func TestAnyChangeOfAWatchedKeyStopsExec(t *testing.T) {
	for name, c := range map[string]struct {
		before, between string // commands, with a semicolon
		want            string
	}{
		"nothing":                          {"SET a 1", "PING", "[OK]"},
		"another key":                      {"SET a 1", "SET b 1; DEL b", "[OK]"},
		"a read":                           {"SET a 1", "GET a; TTL a; EXISTS a", "[OK]"},
		"a failed write":                   {"SET a x", "INCR a; SADD a 1; SET a 1 NX", "[OK]"},
		"a write of the same value":        {"SET a 1", "SET a 1", "nil"},
		"a write":                          {"SET a 1", "INCR a", "nil"},
		"a time":                           {"SET a 1", "EXPIRE a 100", "nil"},
		"a deletion":                       {"SET a 1", "DEL a", "nil"},
		"deletion and creation":            {"SET a 1", "DEL a; SET a 1", "nil"},
		"creation":                         {"", "SET a 1", "nil"},
		"creation and deletion":            {"", "SET a 1; DEL a", "nil"},
		"creation and expiry":              {"", "SET a 1 PX 5; SLEEP", "nil"},
		"expiry":                           {"SET a 1 PX 5", "SLEEP", "nil"},
		"expiry before":                    {"SET a 1 PX 5; SLEEP", "PING", "[OK]"},
		"expiry before and removal":        {"SET a 1 PX 5; SLEEP", "SWEEP", "[OK]"},
		"expiry before and creation":       {"SET a 1 PX 5; SLEEP", "SET a 1", "nil"},
		"flush":                            {"SET a 1", "FLUSHALL", "nil"},
		"a field":                          {"HSET a f v", "HSET a g v", "nil"},
		"creation, and many keys go after": {"", "SET a 1; DEL a; MANY", "nil"},
		"a store command":                  {"SADD b 1", "SUNIONSTORE a b", "nil"},
		"a move":                           {"SADD b 1", "SMOVE b a 1", "nil"},
		"a rename":                         {"SET a 1", "RENAME a b", "nil"},
	} {
		t.Run(name, func(t *testing.T) {
			e, now := New(7<<40, nil), int64(testNow)
			run := func(commands string) {
				for _, command := range strings.Split(commands, ";") {
					switch command = strings.TrimSpace(command); command {
					case "":
					case "SLEEP":
						now += 1000
					case "SWEEP":
						e.Sweep(now, 100)
					case "MANY":
						for i := range 2 * maxGraves {
							do(t, e, now, fmt.Sprint("SET k", i, " v"))
							do(t, e, now, fmt.Sprint("DEL k", i))
						}
					default:
						do(t, e, now, command)
					}
				}
			}
			run(c.before)
			v := version(t, e, now, "a")
			run(c.between)
			if got := do(t, e, now, "EXEC 1 a "+v+" 3 SET x 1"); got != c.want {
				t.Errorf("EXEC = %s, want %s", got, c.want)
			}
		})
	}
}

func TestVersionsOfAnotherOwnerCountAsChanged(t *testing.T) {
	e := New(1<<40, nil)
	do(t, e, testNow, "SET a 1")
	v, absent := version(t, e, testNow, "a"), version(t, e, testNow, "b")
	next := New(2<<40, nil)
	if err := next.Apply(e.Effects(), nil); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"EXEC 1 a " + v + " 1 PING", "EXEC 1 b " + absent + " 1 PING"} {
		if got := do(t, next, testNow, command); got != "nil" {
			t.Errorf("%s = %s, want nil", command, got)
		}
	}
}

func TestExecRunsAllAndKeepsGoing(t *testing.T) {
	dialog{
		"EXEC 0", "[]",
		"EXEC 0 3 SET a x 2 INCR a 2 GET a 1 NOPE 1 GET", "[OK -ERR value is not an integer or out of range x -ERR unknown command 'NOPE', with args beginning with:  -ERR wrong number of arguments for 'get' command]",
		"EXEC 0 4 HOLD k t 100 4 HOLD k u 100", "[1 nil]",
		"EXEC 0 2 EXEC 0", "[-ERR MULTI calls can not be nested]",
		"EXEC x", "-ERR syntax error", "EXEC 1 a", "-ERR syntax error", "EXEC 0 3 SET a", "-ERR syntax error", "EXEC 0 0", "-ERR syntax error", "EXEC -1", "-ERR syntax error",
		"EXEC 1 a x", "-ERR value is not an integer or out of range",
		"EXEC 9223372036854775807 a 1", "-ERR syntax error",
		"GET a", "x",
	}.run(t)
}

func TestHoldIsHeldByOne(t *testing.T) {
	dialog{
		"HOLD k a 1000", "1", "HOLD k a 2000", "1", "RENEW k a 1000", "1", "RENEW k b 1000", "nil", "UNHOLD k b", "0", "UNHOLD k a", "1", "UNHOLD k a", "0",
		"RENEW k a 1000", "nil", "EXISTS k", "0", "HOLD k b 1000", "2", "PTTL k", "1000",
		"HOLD k b 0", "-ERR invalid expire time in 'hold' command", "HOLD k b x", "-ERR value is not an integer or out of range",
		"SET k v", wrong, "DEL k", wrong, "EXPIRE k 0", wrong, "PERSIST k", wrong, "RENAME k l", wrong, "MSET l 1 k 1", wrong, "GET l", "nil", "GET k", wrong,
		"SUNIONSTORE k k2", wrong, "SETNX k v", "0", "SET s v", "OK", "RENAME s k", wrong, "HOLD s a 5", wrong, "RENEW k b 1000", "2",
	}.run(t)
}

// wait has a command wait and notes its reply when it is served.
func wait(t *testing.T, e *Engine, now int64, command string, replies *[]string) *Waiter {
	t.Helper()
	argv := split(command)
	if reply, blocked := e.Do(now, argv, nil); !blocked || len(reply) > 0 {
		t.Fatalf("%s = %q, %v, want it blocked", command, reply, blocked)
	}
	w := &Waiter{Argv: argv, Served: func(reply []byte, took Taken) {
		*replies = append(*replies, command+": "+show(t, reply))
		if took.Any != (argv[0][0] != 'H') {
			t.Errorf("%s took %+v", command, took)
		}
	}}
	e.Wait(w)
	return w
}

func TestHoldsAreGivenInOrderAndEpochsGrow(t *testing.T) {
	e := New(0, nil)
	var got []string
	now := int64(testNow)
	do(t, e, now, "HOLD k a 100")
	wait(t, e, now, "HOLD k b 100", &got)
	c := wait(t, e, now, "HOLD k c 100", &got)
	wait(t, e, now, "HOLD k d 100", &got)
	wait(t, e, now, "HOLD k b 100", &got) // sent again
	do(t, e, now, "UNHOLD k x")
	if len(got) > 0 {
		t.Fatalf("served %v before anybody let go", got)
	}
	do(t, e, now, "UNHOLD k a")
	e.Cancel(c)
	e.Cancel(c)
	if e.NextEvent() != now+101 {
		t.Errorf("NextEvent = %d, want when the hold is over, %d", e.NextEvent(), now+101)
	}
	e.Sweep(now+100, 100)
	if want := "HOLD k b 100: 2 HOLD k b 100: 2"; strings.Join(got, " ") != want {
		t.Fatalf("served %v, want %s", got, want)
	}
	e.Sweep(now+101, 100) // b's time is over
	if want := "HOLD k b 100: 2 HOLD k b 100: 2 HOLD k d 100: 3"; strings.Join(got, " ") != want {
		t.Fatalf("served %v, want %s", got, want)
	}
	if got := do(t, e, now+102, "RENEW k b 100"); got != "nil" {
		t.Errorf("RENEW after it was over = %s, want nil", got)
	}
	if e.Waiting() != 0 {
		t.Errorf("%d keys are waited for, want 0", e.Waiting())
	}
	// Epochs survive the lock, and the engine.
	do(t, e, now+102, "UNHOLD k d")
	next := New(1<<40, nil)
	if err := next.LoadPage(PageOf([]byte("k")), e.AppendPage(nil, PageOf([]byte("k")))); err != nil {
		t.Fatal(err)
	}
	if got := do(t, next, now, "HOLD k z 100"); got != "4" {
		t.Errorf("epoch at the next owner = %s, want 4", got)
	}
}

func TestHoldCountsAsRenewedAtTheNextOwner(t *testing.T) {
	e := New(0, nil)
	do(t, e, testNow, "HOLD k a 100")
	effects, k := e.Effects(), PageOf([]byte("k"))
	applied, loaded := New(1<<40, nil), New(1<<40, nil)
	if err := applied.Apply(effects, nil); err != nil {
		t.Fatal(err)
	}
	if err := loaded.LoadPage(k, e.AppendPage(nil, k)); err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]*Engine{"applied": applied, "loaded": loaded} {
		var got []string
		later := int64(testNow + 1_000_000) // the clock there
		wait(t, next, later, "HOLD k b 100", &got)
		next.Sweep(later+100, 10)
		if len(got) > 0 {
			t.Errorf("%s: %v while a holds it", name, got)
		}
		next.Sweep(later+101, 10)
		if len(got) != 1 || got[0] != "HOLD k b 100: 2" {
			t.Errorf("%s: served %v, want b with 2", name, got)
		}
		if next.Touched() == 0 || len(next.Effects()) == 0 {
			t.Errorf("%s: what Sweep did has no effect", name)
		}
	}
}

func TestRenewalHasNoEffect(t *testing.T) {
	e := New(0, nil)
	do(t, e, testNow, "HOLD k a 100")
	e.ResetEffects()
	do(t, e, testNow+50, "RENEW k a 100")
	do(t, e, testNow+50, "HOLD k a 100")
	if len(e.Effects()) > 0 || e.Touched() != 0 {
		t.Errorf("effects %q, touched %x, want none", e.Effects(), e.Touched())
	}
}

func TestPopsAreServedInOrderOfArrival(t *testing.T) {
	e := New(0, nil)
	var got []string
	wait(t, e, testNow, "BLPOP a b 0", &got)
	wait(t, e, testNow, "BRPOP b 0", &got)
	wait(t, e, testNow, "BZPOPMIN b z 0", &got)
	gone := wait(t, e, testNow, "BLPOP b 0", &got)
	wait(t, e, testNow, "BLPOP b b 0", &got)
	e.Cancel(gone)
	do(t, e, testNow, "EXEC 0 5 RPUSH b 1 2 3 2 LPOP b")
	do(t, e, testNow, "ZADD z 1 m")
	do(t, e, testNow, "RPUSH b 4 5")
	want := "BLPOP a b 0: [b 2] BRPOP b 0: [b 3] BZPOPMIN b z 0: [z m ,1] BLPOP b b 0: [b 4]"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("served\n%s, want\n%s", s, want)
	}
	if got := do(t, e, testNow, "LRANGE b 0 -1"); got != "[5]" || e.Waiting() != 0 {
		t.Errorf("left %s, %d keys waited for", got, e.Waiting())
	}
	copied := New(0, nil)
	if err := copied.Apply(e.Effects(), nil); err != nil {
		t.Fatal(err)
	}
	equal(t, copied, e)
}

type listeners map[string]int

func (l listeners) Publish(channel, _ []byte) int { return l[string(channel)] }
func (l listeners) NumSub(channel []byte) int     { return l[string(channel)] }
func (l listeners) NumPat() int                   { return 3 }
func (l listeners) Channels() (all []string) {
	for c := range l {
		all = append(all, c)
	}
	return all
}

func TestPubSubAsksWhoKnows(t *testing.T) {
	e := New(0, listeners{"a": 2, "bc": 1})
	for command, want := range map[string]string{"PUBLISH a x": "2", "PUBLISH z x": "0", "PUBSUB NUMSUB a z": "[a 2 z 0]", "PUBSUB NUMPAT": "3", "PUBSUB CHANNELS b*": "[bc]", "PUBSUB CHANNELS ''": "[]"} {
		if got := do(t, e, testNow, command); got != want {
			t.Errorf("%s = %s, want %s", command, got, want)
		}
	}
}
