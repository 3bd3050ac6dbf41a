package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A blockingCase is a sequence of commands, each by a client that is named before
// it. Who has to wait is told what it gets when it is served; want is that, in order.
type blockingCase struct {
	steps []string
	want  []string
}

var blockingCases = map[string]blockingCase{
	"first come, first served": {
		[]string{"a: BLPOP l 0", "b: BLPOP l 0", "c: BRPOP l 0", "x: RPUSH l 1 2 3 4"},
		[]string{"x :4", `a ["l" "1"]`, `b ["l" "2"]`, `c ["l" "4"]`},
	},
	"LPUSH is done as a whole before": {
		[]string{"a: BLPOP l 0", "x: LPUSH l 1 2 3"},
		[]string{"x :3", `a ["l" "3"]`},
	},
	"nothing is left for who comes later": {
		[]string{"a: BLPOP l 0", "b: BLPOP l 0", "x: RPUSH l 1", "x: EXISTS l", "x: RPUSH l 2"},
		[]string{"x :1", `a ["l" "1"]`, "x :0", "x :1", `b ["l" "2"]`},
	},
	"from the key that was changed": {
		[]string{"a: BLPOP k l m 0", "x: RPUSH m 1", "x: RPUSH l 2"},
		[]string{"x :1", `a ["m" "1"]`, "x :1"},
	},
	"once, of several keys": {
		[]string{"a: BLPOP k l 0", "x: EXEC 0 3 RPUSH l 1 3 RPUSH k 2", "x: LLEN k", "x: LLEN l"},
		[]string{"x [:1 :1]", `a ["l" "1"]`, "x :1", "x :0"},
	},
	"only after the whole of EXEC": {
		[]string{"a: BLPOP l 0", "x: EXEC 0 3 RPUSH l 1 2 LPOP l", "x: EXEC 0 3 RPUSH l 1 3 LPUSH l 2"},
		[]string{`x [:1 "1"]`, "x [:1 :2]", `a ["l" "2"]`},
	},
	"nobody waits in EXEC": {
		[]string{"x: EXEC 0 3 BLPOP l 0 3 BRPOP l 0 3 BZPOPMIN l 0"},
		[]string{"x [_ _ _]"},
	},
	"LMOVE serves": {
		[]string{"a: BLPOP l 0", "x: RPUSH k 1", "x: LMOVE k l LEFT LEFT"},
		[]string{"x :1", `x "1"`, `a ["l" "1"]`},
	},
	"ZADD serves, the least first": {
		[]string{"a: BZPOPMIN z y 0", "b: BZPOPMAX z 0", "x: ZADD z 3 c 1 a 2 b", "x: ZCARD z"},
		[]string{"x :3", `a ["z" "a" ,1]`, `b ["z" "c" ,3]`, "x :1"},
	},
	"ZUNIONSTORE and ZRANGESTORE serve": {
		[]string{"a: BZPOPMIN z 0", "b: BZPOPMIN z 0", "x: ZADD y 1 a", "x: ZUNIONSTORE z 1 y", "x: ZRANGESTORE z y 0 -1"},
		[]string{"x :1", "x :1", `a ["z" "a" ,1]`, "x :1", `b ["z" "a" ,1]`},
	},
	"RENAME serves": {
		[]string{"a: BLPOP l 0", "x: RPUSH k 1", "x: RENAME k l"},
		[]string{"x :1", "x +OK", `a ["l" "1"]`},
	},
	"who waits for another kind waits on": {
		[]string{"a: BLPOP k 0", "b: BZPOPMIN k 0", "x: ZADD k 1 m", "x: SET k v", "x: DEL k", "x: RPUSH k 1"},
		[]string{"x :1", `b ["k" "m" ,1]`, "x +OK", "x :1", "x :1", `a ["k" "1"]`},
	},
	"of another kind from the start is an error": {
		[]string{"x: SET k v", "x: BLPOP k 0", "x: BZPOPMIN l k 0"},
		[]string{"x +OK", "x -" + wrongType, "x -" + wrongType},
	},
	"the same key twice": {
		[]string{"a: BLPOP l l 0", "b: BLPOP l 0", "x: RPUSH l 1 2"},
		[]string{"x :2", `a ["l" "1"]`, `b ["l" "2"]`},
	},
}

func TestBlockingPops(t *testing.T) {
	for name, test := range blockingCases {
		t.Run(name, func(t *testing.T) {
			e := New(0, nil)
			var got []string
			for _, step := range test.steps {
				who, line, _ := strings.Cut(step, ": ")
				argv, reply, blocked := words(line), []byte(nil), false
				mark := len(got)
				if reply, blocked = e.Do(1, argv, nil); blocked {
					e.Wait(&Waiter{Argv: argv, Served: func(reply []byte, took Taken) {
						got = append(got, who+" "+rendered(t, reply))
						checkTaken(t, rendered(t, reply), took)
					}})
					continue
				}
				got = slices.Insert(got, mark, who+" "+rendered(t, reply)) // before those it served
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			checkReplay(t, e)
		})
	}
}

// checkTaken checks that what was taken is what the reply says.
func checkTaken(t *testing.T, reply string, took Taken) {
	t.Helper()
	want := fmt.Sprintf(`["%s" "%s"`, took.Key, took.Value)
	if took.Sorted {
		want += fmt.Sprintf(" ,%v", took.Score)
	}
	if want += "]"; !took.Any || reply != want {
		t.Errorf("took %+v, but the reply is %s", took, reply)
	}
}

func TestWhoWasServedFromTheLeftSaysSo(t *testing.T) {
	e := New(0, nil)
	for _, line := range []string{"BLPOP l 0", "BRPOP l 0"} {
		var took Taken
		argv := words(line)
		if _, blocked := e.Do(1, argv, nil); !blocked {
			t.Fatalf("%s: not blocked", line)
		}
		e.Wait(&Waiter{Argv: argv, Served: func(_ []byte, t Taken) { took = t }})
		e.Do(1, words("RPUSH l 1"), nil)
		if left := line == "BLPOP l 0"; took.Left != left {
			t.Errorf("%s: Left = %v", line, took.Left)
		}
	}
}

func TestCancelledWaiterTakesNothing(t *testing.T) {
	e := New(0, nil)
	argv := words("BLPOP k l 0")
	w := &Waiter{Argv: argv, Served: func([]byte, Taken) { t.Error("served") }}
	e.Do(1, argv, nil)
	e.Wait(w)
	e.Cancel(w)
	e.Do(1, words("RPUSH l 1"), nil)
	if reply, _ := e.Do(1, words("LLEN l"), nil); rendered(t, reply) != ":1" {
		t.Errorf("LLEN = %q, want 1", reply)
	}
	if n := e.Waiting(); n != 0 {
		t.Errorf("%d keys are waited for, want 0", n)
	}
}
