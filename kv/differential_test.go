package kv_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// How many commands the differential test runs in each home, unless
// ROOMD_DIFF_COMMANDS says; and how often it looks at all that is kept, and
// begins anew.
const (
	diffCommands = 5_000
	diffLook     = 25
	diffHistory  = 400
)

// TestRandomCommandsDoWhatTheyDoInRedis runs the same on real Redis and on ours.
// ROOMD_DIFF_SEED is for other commands than those of every day.
func TestRandomCommandsDoWhatTheyDoInRedis(t *testing.T) {
	count := setting(t, "ROOMD_DIFF_COMMANDS", diffCommands)
	seed := uint64(setting(t, "ROOMD_DIFF_SEED", 1))
	for _, home := range homes[1:] {
		t.Run(home.name, func(t *testing.T) {
			s := home.open(t)
			n := count
			if s.slow {
				n /= 5
			}
			c := comparison{real: partyOf(t, site{wire: new(startRedis(t))}), ours: partyOf(t, s)}
			began := time.Now()
			compare(t, c, newGenerator(seed), n, s.wire != nil, seed)
			t.Logf("%d commands gave the same in %v, seed %d", n, time.Since(began).Round(time.Millisecond), seed)
		})
	}
}

func setting(t *testing.T, name string, otherwise int) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv(name), strconv.Itoa(otherwise)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func partyOf(t *testing.T, s site) (p party) {
	for i := range p {
		if s.wire != nil {
			p[i] = s.wire.dial(t, "3").do
		} else {
			p[i] = func(argv [][]byte) ([]byte, error) { return s.Do(t.Context(), argv) }
		}
	}
	return p
}

// compare runs n commands, in histories that each begin with nothing.
func compare(t *testing.T, c comparison, g *generator, n int, transactions bool, seed uint64) {
	for ran := 0; ran < n; {
		c.reset(t, transactions)
		var history []step
		for len(history) < min(diffHistory, n-ran) {
			steps := g.next(transactions)
			for i, s := range steps {
				history = append(history, s)
				difference := c.step(t, s)
				if difference == "" && i == len(steps)-1 && g.IntN(diffLook) == 0 {
					difference = c.look(t)
				}
				if difference != "" {
					least, last := c.shrink(t, history, transactions)
					t.Fatalf("seed %d, command %d: %s\n%s\n\nthe least that shows it:\n%s\n\nthe last of all:\n%s",
						seed, ran+len(history), difference, last, list(least), list(history[max(0, len(history)-20):]))
				}
			}
		}
		if difference := c.look(t); difference != "" {
			least, last := c.shrink(t, history, transactions)
			t.Fatalf("seed %d, after command %d: %s\n%s\n\nthe least that shows it:\n%s", seed, ran+len(history), difference, last, list(least))
		}
		ran += len(history)
	}
}

// reset begins with nothing, and outside of transactions.
func (c comparison) reset(t *testing.T, transactions bool) {
	t.Helper()
	for _, p := range []party{c.real, c.ours} {
		if transactions {
			p.run(t, 0, "DISCARD") // an error mostly
			p.run(t, 0, "UNWATCH")
		}
		p.run(t, 2, "FLUSHALL")
	}
}

// shrink leaves out steps as long as a difference stays. It returns what is left
// and the difference.
func (c comparison) shrink(t *testing.T, history []step, transactions bool) (least []step, last string) {
	t.Helper()
	differs := func(steps []step) string {
		c.reset(t, transactions)
		for _, s := range steps {
			if difference := c.step(t, s); difference != "" {
				return difference
			}
		}
		return c.look(t)
	}
	end := time.Now().Add(20 * time.Second)
	if last = differs(history); last == "" {
		return history, "it does not differ in a second run"
	}
	for size := len(history) / 2; size > 0; {
		smaller := false
		for at := 0; at+size <= len(history) && time.Now().Before(end); {
			shorter := slices.Concat(history[:at], history[at+size:])
			if difference := differs(shorter); difference != "" {
				history, last, smaller = shorter, difference, true
			} else {
				at += size
			}
		}
		if size > 1 || !smaller {
			size /= 2
		}
	}
	return history, last
}

func list(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "  %d: %q\n", s.conn, s.argv)
	}
	return b.String()
}
