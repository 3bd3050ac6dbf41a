package kv_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"roomd/kv/resp"
)

// A party is one of the two that are compared: how each of its connections runs
// a command. Connection 0 is for transactions, 1 for other commands, 2 for looking.
type party [3]func(argv [][]byte) ([]byte, error)

func (p party) run(t *testing.T, conn int, argv ...string) resp.Value {
	t.Helper()
	reply, err := p[conn](bytesOf(argv...))
	if err != nil {
		t.Fatalf("%q = %v", argv, err)
	}
	v, rest, err := resp.Parse(reply)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%q = %q, which is no reply: %v", argv, reply, err)
	}
	return v
}

// canon is a text that is the same for replies that mean the same. In a bag the
// order of elements means nothing; in sets and maps it never does.
func canon(v resp.Value, bag bool) string {
	switch v.Kind {
	case '+', '-', '$':
		return string(v.Kind) + strconv.Quote(string(v.Text))
	case ',':
		return "," + strconv.FormatFloat(v.Float, 'g', -1, 64)
	case ':', '#':
		return fmt.Sprintf("%c%d", v.Kind, v.Int)
	case '_':
		return "_"
	}
	var parts []string
	for i, e := range v.Elems {
		if part := canon(e, false); v.Kind == '%' && i%2 == 1 {
			parts[len(parts)-1] += "=" + part
		} else {
			parts = append(parts, part)
		}
	}
	if bag || v.Kind != '*' {
		slices.Sort(parts)
	}
	return fmt.Sprintf("%c[%s]", v.Kind, strings.Join(parts, " "))
}

// A comparison has real Redis and a home of ours.
type comparison struct{ real, ours party }

// step runs a command on both, and says how their replies differ.
func (c comparison) step(t *testing.T, s step) string {
	t.Helper()
	name := strings.ToUpper(s.argv[0])
	switch name {
	case "AWAIT":
		return c.await(t, s.argv[1], s.argv[2])
	case "SCAN", "HSCAN", "SSCAN", "ZSCAN":
		if len(s.argv) <= 3 && s.conn != 0 {
			return c.scan(t, name, s.argv[1:])
		}
	case "DBSIZE":
		return c.size(t, s)
	case "SPOP", "SRANDMEMBER", "ZRANDMEMBER", "RANDOMKEY":
		return c.random(t, name, s)
	}
	real, ours := c.real.run(t, s.conn, s.argv...), c.ours.run(t, s.conn, s.argv...)
	tolerance := int64(0)
	bag := false
	switch name {
	case "TTL", "EXPIRETIME":
		tolerance = 2
	case "PTTL", "PEXPIRETIME":
		tolerance = 2000
	case "TIME":
		return differ(resp.Value{Kind: real.Kind, Int: int64(len(real.Elems))}, resp.Value{Kind: ours.Kind, Int: int64(len(ours.Elems))}, true)
	case "KEYS", "HKEYS", "HVALS":
		bag = true
	}
	if tolerance > 0 && near(real, ours, tolerance) {
		return ""
	}
	return differ(real, ours, bag)
}

// near is for replies about when something expires, which no two servers are
// told at the same moment.
func near(a, b resp.Value, tolerance int64) bool {
	d := a.Int - b.Int
	return a.Kind == ':' && b.Kind == ':' && a.Int > 0 && b.Int > 0 && -tolerance <= d && d <= tolerance
}

func differ(real, ours resp.Value, bag bool) string {
	a, b := canon(real, bag), canon(ours, bag)
	if a == b {
		return ""
	}
	return fmt.Sprintf("redis: %s\n ours: %s", a, b)
}

// await has a key expire soon, and waits until it has.
func (c comparison) await(t *testing.T, key, ms string) string {
	t.Helper()
	step := step{1, []string{"PEXPIRE", key, ms}}
	if difference := c.step(t, step); difference != "" {
		return difference
	}
	for _, p := range []party{c.real, c.ours} {
		for end := time.Now().Add(10 * time.Second); p.run(t, 2, "EXISTS", key).Int != 0; {
			if time.Now().After(end) {
				return fmt.Sprintf("%q still exists", key)
			}
		}
	}
	return ""
}

// size waits until both have removed what has expired, which counts until then.
func (c comparison) size(t *testing.T, s step) (difference string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		difference = differ(c.real.run(t, s.conn, s.argv...), c.ours.run(t, s.conn, s.argv...), false)
		if difference == "" {
			break
		}
	}
	return difference
}

// scan goes through all on both. argv has a key, but for SCAN, and maybe a
// pattern.
func (c comparison) scan(t *testing.T, name string, argv []string) string {
	t.Helper()
	var command []string
	if name != "SCAN" && len(argv) > 0 {
		command, argv = argv[:1], argv[1:]
	}
	var found [2]string
	for i, p := range []party{c.real, c.ours} {
		seen := map[string]bool{}
		for cursor, calls := "0", 0; calls == 0 || cursor != "0"; calls++ {
			call := append(append([]string{name}, command...), cursor, "COUNT", "3")
			if len(argv) > 0 {
				call = append(call, "MATCH", argv[0])
			}
			v := p.run(t, 1, call...)
			if v.Kind != '*' || len(v.Elems) != 2 || calls > 1000 {
				seen[canon(v, false)] = true
				break
			}
			elems, pairs := v.Elems[1].Elems, name == "HSCAN" || name == "ZSCAN"
			for j := 0; j < len(elems); j++ {
				text := canon(elems[j], false)
				if pairs && j+1 < len(elems) {
					j++
					text += "=" + scoreOr(name, elems[j])
				}
				seen[text] = true
			}
			cursor = string(v.Elems[0].Text)
		}
		found[i] = fmt.Sprint(sortedKeys(seen))
	}
	if found[0] != found[1] {
		return fmt.Sprintf("redis: %s\n ours: %s", found[0], found[1])
	}
	return ""
}

// scoreOr is canon for what ZSCAN returns as a text and in other digits.
func scoreOr(name string, v resp.Value) string {
	if score, err := resp.ParseFloat(string(v.Text)); err == nil && name == "ZSCAN" {
		return canon(resp.Value{Kind: ',', Float: score}, false)
	}
	return canon(v, false)
}

func sortedKeys(set map[string]bool) (keys []string) {
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// random is for commands that choose. What was chosen must be there, and as
// much on both; what was taken is taken from both.
func (c comparison) random(t *testing.T, name string, s step) string {
	t.Helper()
	var there resp.Value
	switch {
	case name == "RANDOMKEY":
		there = c.real.run(t, 2, "KEYS", "*")
	case len(s.argv) > 1 && name == "ZRANDMEMBER":
		there = c.real.run(t, 2, "ZRANGE", s.argv[1], "0", "-1", "WITHSCORES")
	case len(s.argv) > 1:
		there = c.real.run(t, 2, "SMEMBERS", s.argv[1])
	}
	real, ours := c.real.run(t, s.conn, s.argv...), c.ours.run(t, s.conn, s.argv...)
	if real.Kind != ours.Kind || len(real.Elems) != len(ours.Elems) || real.Kind == '-' || real.Kind == '+' {
		return differ(real, ours, false)
	}
	known, chosen := texts(there), append(texts(real), texts(ours)...)
	for _, text := range chosen {
		if !slices.ContainsFunc(known, func(k []byte) bool { return bytes.Equal(k, text) }) {
			return fmt.Sprintf("ours chose %q, which is not there", text)
		}
	}
	if positive := len(s.argv) == 2 || !strings.HasPrefix(s.argv[len(s.argv)-1], "-"); positive && name[0] == 'S' {
		if distinct(texts(real)) != distinct(texts(ours)) {
			return differ(real, ours, false)
		}
	}
	if name == "SPOP" && len(chosen) > 0 {
		take := []string{"SREM", s.argv[1]}
		for _, text := range chosen {
			take = append(take, string(text))
		}
		c.real.run(t, 2, take...)
		c.ours.run(t, 2, take...)
	}
	return ""
}

func texts(v resp.Value) (all [][]byte) {
	switch v.Kind {
	case '$':
		all = append(all, v.Text)
	case ',':
		all = append(all, []byte(canon(v, false)))
	}
	for _, e := range v.Elems {
		all = append(all, texts(e)...)
	}
	return all
}

func distinct(all [][]byte) int {
	set := map[string]bool{}
	for _, text := range all {
		set[string(text)] = true
	}
	return len(set)
}

// look compares all that is kept.
func (c comparison) look(t *testing.T) string {
	t.Helper()
	keys := []step{{2, []string{"KEYS", "*"}}}
	found := c.real.run(t, 2, "KEYS", "*")
	for _, e := range found.Elems {
		key := string(e.Text)
		read := map[string][]string{
			"string": {"GET", key}, "hash": {"HGETALL", key}, "set": {"SMEMBERS", key}, "list": {"LRANGE", key, "0", "-1"},
			"zset": {"ZRANGE", key, "0", "-1", "WITHSCORES"}, "none": {"EXISTS", key},
		}[string(c.real.run(t, 2, "TYPE", key).Text)]
		keys = append(keys, step{2, []string{"TYPE", key}}, step{2, []string{"PTTL", key}}, step{2, read})
	}
	for _, s := range keys {
		if difference := c.step(t, s); difference != "" {
			return fmt.Sprintf("in what is kept, %q\n%s", s.argv, difference)
		}
	}
	return ""
}
