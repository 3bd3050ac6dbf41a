package roomd

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
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
		"env store, elsewhere":  {args: []string{"-nats", "nats://x"}, env: map[string]string{"ROOMD_DATA": "/x"}, want: "-nats uses a server elsewhere"},
		"env memory, elsewhere": {args: []string{"-nats", "nats://x"}, env: map[string]string{"ROOMD_MEMORY": "1"}, want: "-nats uses a server elsewhere"},
		"env not in memory":     {args: []string{"-nats", "nats://x"}, env: map[string]string{"ROOMD_MEMORY": "false"}, ok: func(c config) bool { return c.bus(nil).URL == "nats://x" }},
		"data beats env memory": {args: []string{"-data", "/x"}, env: map[string]string{"ROOMD_MEMORY": "1"}, ok: func(c config) bool { return c.bus(nil).Server.Dir == "/x" }},
		"memory beats env data": {args: []string{"-memory"}, env: map[string]string{"ROOMD_DATA": "/x"}, ok: func(c config) bool { return c.bus(nil).Server.Dir == "" }},
		"two stores in env":     {env: map[string]string{"ROOMD_DATA": "/x", "ROOMD_MEMORY": "1"}, want: "contradict"},
		"version needs nothing": {args: []string{"version"}, env: map[string]string{"ROOMD_DATA": "/x", "ROOMD_NATS": "nats://x"}, ok: func(c config) bool { return c.role == roleVersion }},
		"several servers":       {args: []string{"-nats", "nats://x,nats://y"}, ok: func(c config) bool { return c.bus(nil).URL == "nats://x,nats://y" }},
		"silence":               {args: []string{"-lost-after", "4s"}, ok: func(c config) bool { return c.bus(nil).LostAfter == 4*time.Second }},
		"drain delay":           {env: map[string]string{"ROOMD_DRAIN_DELAY": "5s"}, ok: func(c config) bool { return c.drainDelay == 5*time.Second }},
		"copies of one":         {args: []string{"-replicas", "3"}, want: "needs a cluster"},
		"no shards":             {args: []string{"-kv-shards", "0"}, want: "-kv-shards 0: want 1 to"},
		"huge values":           {args: []string{"-kv-max-value", "99999999"}, want: "-kv-max-value"},
		"password for Redis":    {env: map[string]string{"ROOMD_REDIS": ":1", "ROOMD_REDIS_PASSWORD": "x"}, ok: func(c config) bool { return c.redis == ":1" && c.redisPassword == "x" }},
		"negative delay":        {args: []string{"-drain-delay", "-1s"}, want: "-drain-delay"},
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

func TestPasswordsOfNATSAreShownToNobody(t *testing.T) {
	urls := "nats://ann:secret@a:4222, nats://b:4222,nats://bob:hidden@c:4222"
	got := explain(errors.New("reach NATS at "+urls+": refused"), config{nats: urls})
	if strings.Contains(got, "secret") || strings.Contains(got, "hidden") || !strings.Contains(got, "nats://ann:xxxxx@a:4222") {
		t.Errorf("it says %q", got)
	}
}
