package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

func TestIssueCommandLineIsUnderstood(t *testing.T) {
	o, s, err := parse(strings.Fields("chat -clients 2000 -rooms 50 -rate 200 -for 15s"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if s.name != "chat" || o.clients != 2000 || o.rooms != 50 || o.rate != 200 || o.length != 15*time.Second || o.size != 128 {
		t.Errorf("parse = %+v", o)
	}
}

func TestProbesSetTheRateOfCommands(t *testing.T) {
	for line, want := range map[string]float64{
		"takeover -rooms 200 -probe 50ms -rate 1000":                 4000,
		"takeover -rooms 200 -probe 50ms -rate 9000":                 9000,
		"takeover -rooms 10000 -clients 10000 -probe 0s -rate 2000":  2000,
		"takeover -rooms 10 -clients 10 -probe 20ms -rate 0 -nats 3": 500,
	} {
		if o, _, err := parse(strings.Fields(line), io.Discard); err != nil || o.rate != want {
			t.Errorf("loadtest %s: rate %v, %v; want %v", line, o.rate, err, want)
		}
	}
}

func TestWrongCommandLinesAreExplained(t *testing.T) {
	for line, word := range map[string]string{
		"":                                  "idle, echo, chat",
		"chatt":                             "no scenario",
		"chat -cliens 5":                    "-cliens",
		"chat -clients 5 -rooms 6":          "-rooms",
		"chat -clients x":                   "clients",
		"chat 5":                            `"5"`,
		"chat -rate 0":                      "-rate",
		"chat -size 3":                      "-size",
		"chat -size 17000":                  "-size",
		"idle -size 64":                     "-size",
		"chat -slow 1000":                   "-slow",
		"storm -rounds 0":                   "-rounds",
		"chat -for 0s":                      "-for",
		"chat -server-cpus 0":               "-spawn",
		"chat -spawn -server-cpus a":        "cores",
		"chat -client-cpus 5-2":             "cores",
		"echo -find -p99 0s":                "-p99",
		"idle -clients 0":                   "-clients",
		"plaza -clients 10 -rooms 0":        "-rooms",
		"churn -rate 99999999 -clients 60":  "-rate",
		"cost -rooms 1,x":                   "rooms",
		"cost -rooms 0":                     "rooms",
		"cost -rooms 1,2000":                "-rooms",
		"cost -depth 65":                    "-depth",
		"cost -rounds 0":                    "-rounds",
		"cost -commit=":                     "-commit",
		"takeover -fault explode":           "kill, pause or drain",
		"takeover -workers 1":               "-workers",
		"takeover -nats 2":                  "-nats",
		"takeover -times 0":                 "-times",
		"takeover -probe 1us":               "-probe",
		"takeover -rate 0 -probe 0":         "-rate",
		"takeover -kind chat":               "-kind",
		"takeover -spawn":                   "-spawn",
		"chaos -faults bribe-worker":        "bribe-worker",
		"chaos -single -faults edge":        "edge",
		"chaos -kind chat":                  "-kind",
		"chaos -nats 2":                     "-nats",
		"chaos -edges 0":                    "-edges",
		"chaos -for 1s":                     "-for",
		"chaos -single -faults kill-leader": "kill-leader",
		"opens -each 33":                    "-each",
		"opens -nats 2":                     "-nats",
		"opens -workers 0":                  "-workers",
		"kv -redis 192.0.2.1:6379":          "loopback",
		"kv -servers redis,roomd":           "redis-everysec",
		"kv -ops GETT":                      "GETT",
		"kv -sizes 0":                       "sizes",
		"kv -clients 2000":                  "-clients",
		"kv -pipeline 0":                    "-pipeline",
		"kv -rounds 0":                      "-rounds",
		"kvchaos -faults kill-nobody":       "kill-nobody",
		"kvchaos -redis 192.0.2.1:6379":     "loopback",
		"kvchaos -kills 1ms":                "-kills",
		"kvchaos -pushes 0":                 "-pushes",
		"kvchaos -nats 2":                   "-nats",
	} {
		_, _, err := parse(strings.Fields(line), io.Discard)
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), word) {
			t.Errorf("loadtest %s: %v, want an explanation with %q", line, err, word)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	for _, s := range scenarios {
		var out strings.Builder
		if _, _, err := parse([]string{s.name, "-h"}, &out); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s -h: %v", s.name, err)
		}
		common := []string{"-clients", "-json", "-html", "-server"}
		if !s.cluster {
			common = append(common, "-spawn", "-url")
		}
		for _, name := range common {
			if !strings.Contains(out.String(), name) {
				t.Errorf("%s -h does not mention %s", s.name, name)
			}
		}
	}
}

func TestCoresAreListedAsRangesAndNumbers(t *testing.T) {
	var cpus []int
	if err := cpuList(&cpus)("0,2-4"); err != nil || len(cpus) != 4 || cpus[3] != 4 {
		t.Errorf("cpuList(0,2-4) = %v, %v", cpus, err)
	}
}

func TestOtherMachinesAreRefused(t *testing.T) {
	var out, errs strings.Builder
	code := run([]string{"idle", "-clients", "1", "-url", "ws://192.0.2.1:8080/ws"}, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "loopback") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestMoreClientsThanFilesAreRefused(t *testing.T) {
	var out, errs strings.Builder
	code := run([]string{"idle", "-clients", "100000000"}, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "do not fit") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestMissingServerIsExplained(t *testing.T) {
	var out, errs strings.Builder
	code := run([]string{"idle", "-clients", "1", "-url", "ws://127.0.0.1:1/ws"}, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "-spawn") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}
