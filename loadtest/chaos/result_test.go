package chaos

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// sample is the result of a small run with one violation.
func sample() *Result {
	res := &Result{
		Scenario: "chaos", Seed: 42, Kind: "ledger", Clients: 1, Rooms: 1, Rate: 100, Seconds: 10, Acked: 900, Dump: "the-dump",
		rooms: []*Room{steady(10*time.Second, [2]int{1000, 1500})},
		done: []Done{
			{Fault: Fault{Sort: "kill-worker"}, Target: "worker-2", Began: at(1000), Ended: at(3000), Took: true, Effect: "1 of 1 killed"},
			{Fault: Fault{Sort: "cut-edge"}, Target: "edge-1", Began: at(5000), Ended: at(5000), Effect: "nothing broken"},
			{Fault: Fault{Sort: "kill-nats"}, Target: "nats-1", Began: at(1200), Ended: at(1200), Skipped: "others were still in trouble"},
		},
	}
	res.rooms[0].ID = "r"
	res.own = []Delay{{At: at(2500), Length: at(40)}}
	res.Checks = Checks{didLeaks: 5, didSockets: 1}
	res.measure(at(10), 10*time.Second)
	res.add(Violation{Rule: RuleTwice, Room: "r", Client: "c1", Text: `"<a>" at places [1 2]`})
	return res
}

func TestJSONHasTheNamesThatOthersReadBy(t *testing.T) {
	var b strings.Builder
	if err := sample().JSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	checks := got["checks"].(map[string]any)
	if checks[didLeaks] != 5.0 || checks[didSockets] != 1.0 {
		t.Errorf("checks %v", checks)
	}
	first := got["timeline"].([]any)[0].(map[string]any)
	if first["rooms_affected"] != 1.0 || first["took_effect"] != true || first["effect"] != "1 of 1 killed" || first["own_delay_ms"] != 40.0 {
		t.Errorf("the first fault is %v", first)
	}
	for name, want := range map[string]any{
		"seed": 42.0, "faults": 2.0, "faults_without_effect": 1.0, "own_delays": 1.0, "own_delay_max_ms": 40.0, "sockets_dropped": 0.0, "acked": 900.0, "acked_lost": 0.0, "duplicates": 1.0, "reordered": 0.0,
		"violations": 1.0, "outage_p50_ms": 490.0, "outage_p99_ms": 490.0, "outage_max_ms": 490.0,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

func TestTextAndPageTellFaultsOutagesAndViolations(t *testing.T) {
	var text, page strings.Builder
	res := sample()
	if err := res.Table(&text); err != nil {
		t.Fatal(err)
	}
	if err := res.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"seed 42", "kill worker-2", "490", "not done", "1 of 1 killed", "NO EFFECT: nothing broken", "checked: nodes looked at for leaks", "our own delays", `VIOLATION: applied twice in room r, client c1: "<a>"`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
	for _, want := range []string{"seed 42", "worker-2", "1 of 1 killed", "NO EFFECT", "checked: nodes looked at for leaks", `class="gap"`, "<polyline", "applied twice in room r, client c1: &#34;&lt;a&gt;&#34;", "the-dump"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Contains(page.String(), "<script") || strings.Contains(page.String(), "http") {
		t.Error("the page needs something else")
	}
	if v := res.Verdict(); !strings.Contains(v, "seed 42") || !strings.Contains(v, "the-dump") {
		t.Errorf("Verdict() = %q", v)
	}
}
