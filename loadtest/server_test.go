package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"roomd/loadtest/report"
)

// Every scenario, small, on a real server in a process of its own.
func TestScenariosHoldOnTheRealServer(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the server")
	}
	binary := filepath.Join(t.TempDir(), "roomd")
	if out, err := exec.Command("go", "build", "-o", binary, "roomd/cmd/roomd").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	const short = " -warmup 200ms -for 1s"
	cases := map[string]struct {
		line  string
		check func(r *report.Report) bool
	}{
		"idle":         {"idle -clients 200 -members 10" + short, func(r *report.Report) bool { return r.RSSPerConn != nil && r.JoinsPerCPUS != nil }},
		"echo":         {"echo -clients 50 -rooms 5 -rate 500" + short, func(r *report.Report) bool { return r.Deliveries > 400 && r.P50 > 0 }},
		"chat":         {"chat -clients 100 -rooms 10 -rate 100" + short, func(r *report.Report) bool { return r.Deliveries > 800 && r.WritesPerDelivery != nil }},
		"chat replied": {"chat -clients 50 -rooms 10 -rate 100 -replies" + short, func(r *report.Report) bool { return r.Deliveries > 400 }},
		"chat slow":    {"chat -clients 40 -rooms 2 -rate 100 -slow 2" + short, func(r *report.Report) bool { return r.SlowClients == 2 && r.AchievedPerS > 80 }},
		"plaza":        {"plaza -clients 20 -rooms 2" + short, func(r *report.Report) bool { return r.Patches > 200 && r.Compared > 10 && r.BytesPerClientPS > 100 }},
		"churn":        {"churn -clients 50 -rooms 5 -rate 100 -warmup 200ms -for 3s", func(r *report.Report) bool { return r.Resumed > 0 && r.Deliveries > 100 }},
		"storm":        {"storm -clients 200 -rounds 2", func(r *report.Report) bool { return len(r.StormMS) == 2 && r.Resumed == 400 && r.Recovered == 400 }},
		"find":         {"echo -clients 20 -rooms 2 -rate 200 -find -step 300ms -p99 1ns", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			page := filepath.Join(t.TempDir(), "report.html")
			code := run(strings.Fields(c.line+" -json -spawn -server "+binary+" -html "+page), &out, &errs)
			if c.check == nil {
				if code != 1 || !strings.Contains(errs.String(), "no rate holds") {
					t.Errorf("exit %d:\n%s", code, errs.String())
				}
				return
			}
			var r report.Report
			if err := json.Unmarshal([]byte(out.String()), &r); err != nil || code != 0 {
				t.Fatalf("exit %d, %v:\n%s%s", code, err, errs.String(), out.String())
			}
			if !c.check(&r) {
				t.Errorf("unlikely result: %s\n%s", out.String(), errs.String())
			}
			if _, err := os.Stat(page); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("cost", func(t *testing.T) { costIsMeasured(t, binary) })
	t.Run("takeover", func(t *testing.T) { takeoverLosesNothing(t, binary) })
}

// outcome runs loadtest and reads what it prints into v.
func outcome(t *testing.T, line string, v any) {
	t.Helper()
	var out, errs strings.Builder
	page := filepath.Join(t.TempDir(), "report.html")
	code := run(strings.Fields(line+" -json -html "+page), &out, &errs)
	if err := json.Unmarshal([]byte(out.String()), v); err != nil || code != 0 {
		t.Fatalf("exit %d, %v:\n%s%s", code, err, errs.String(), out.String())
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
}

func costIsMeasured(t *testing.T, binary string) {
	var r report.Cost
	outcome(t, "cost -clients 20 -rooms 1,5 -rounds 2 -rate 300 -warmup 100ms -for 300ms -spawn -server "+binary, &r)
	if len(r.Costs) != 2 || r.Costs[1].Rooms != 5 || len(r.Costs[0].Rounds) != 2 {
		t.Fatalf("%+v", r)
	}
	for _, c := range r.Costs {
		if c.NonePerS < 100 || c.ComPerS < 100 || c.Ratio <= 0 || c.NoneP50 <= 0 || c.ComP50 <= 0 || c.ComCPU <= 0 {
			t.Errorf("unlikely: %+v", c)
		}
	}
}

func takeoverLosesNothing(t *testing.T, binary string) {
	var r report.Takeover
	outcome(t, "takeover -fault kill -clients 20 -rooms 8 -rate 200 -warmup 300ms -for 3s -server "+binary, &r)
	if r.Affected < 1 || r.Affected != r.Rounds[0].WorkerRooms || r.P50 <= 0 || r.Acked < 400 || r.AckedLost == nil {
		t.Errorf("unlikely: %+v", r)
	}
}
