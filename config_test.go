package roomd

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestArgumentsAreReadAndWrongOnesExplained(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		env  map[string]string
		want string // part of the error; empty: none
		ok   func(config) bool
	}{
		"nothing":               {ok: func(c config) bool { return c.addr == ":8080" && c.role == roleAll && c.data == "roomd-data" }},
		"flag":                  {args: []string{"-addr", ":1"}, ok: func(c config) bool { return c.addr == ":1" }},
		"environment":           {env: map[string]string{"ROOMD_MAX_CONNS": "7"}, ok: func(c config) bool { return c.maxConns == 7 }},
		"flag wins":             {args: []string{"-addr", ":1"}, env: map[string]string{"ROOMD_ADDR": ":2"}, ok: func(c config) bool { return c.addr == ":1" }},
		"role":                  {args: []string{"edge", "-nats", "nats://x"}, ok: func(c config) bool { return c.role == roleEdge }},
		"role alone":            {args: []string{"worker"}, want: "needs -nats"},
		"unknown role":          {args: []string{"gateway"}, want: `unknown command "gateway"`},
		"unknown flag":          {args: []string{"-adr", ":1"}, want: "adr"},
		"stray argument":        {args: []string{"-memory", "x"}, want: `unexpected argument "x"`},
		"bad environment":       {env: map[string]string{"ROOMD_DRAIN": "soon"}, want: "ROOMD_DRAIN"},
		"bad level":             {args: []string{"-log-level", "loud"}, want: "log-level"},
		"two stores":            {args: []string{"-memory", "-data", "x"}, want: "contradict"},
		"store and elsewhere":   {args: []string{"-nats", "nats://x", "-data", "x"}, want: "-nats uses a server elsewhere"},
		"nameless cluster":      {args: []string{"-nats-cluster", ":6222"}, want: "needs -name"},
		"name with a dot":       {args: []string{"-name", "a.b"}, want: "-name"},
		"negative limit":        {args: []string{"-max-rooms", "-1"}, want: "-max-rooms"},
		"data from environment": {args: []string{"-nats", "nats://x"}, env: map[string]string{"ROOMD_DATA": "/x"}, ok: func(c config) bool { return c.bus(nil).URL == "nats://x" }},
	} {
		t.Run(name, func(t *testing.T) {
			lookup := func(key string) (string, bool) { v, ok := test.env[key]; return v, ok }
			c, err := parseArgs(test.args, lookup, nil)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one with %q", err, test.want)
			case test.ok != nil && !test.ok(c):
				t.Errorf("config %+v", c)
			}
		})
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	none := func(string) (string, bool) { return "", false }
	if _, err := parseArgs([]string{"-help"}, none, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("parseArgs(-help) = %v", err)
	}
	new(config).flags(&out).VisitAll(func(f *flag.Flag) {
		if !strings.Contains(out.String(), "-"+f.Name) {
			t.Errorf("help lacks -%s", f.Name)
		}
	})
}
