package report

import (
	"encoding/json"
	"strings"
	"testing"
)

// rounds of which one was disturbed: its figures must not show.
func disturbed() []CostRound {
	return []CostRound{
		{None: CostSide{PerS: 1000, P50: 1, P99: 5, CPU: 10}, Commit: CostSide{PerS: 800, P50: 1.5, P99: 6, CPU: 12}},
		{None: CostSide{PerS: 500, P50: 9, P99: 90, CPU: 10}, Commit: CostSide{PerS: 350, P50: 9.4, P99: 80, CPU: 12}},
		{None: CostSide{PerS: 1100, P50: 1.1, P99: 4, CPU: 10}, Commit: CostSide{PerS: 990, P50: 2, P99: 7, CPU: 12, Saturated: true}},
	}
}

func TestCostsAreMediansAndRatiosCompareWithinARound(t *testing.T) {
	c := NewCosts(100, disturbed())
	if c.NonePerS != 1000 || c.ComPerS != 800 || c.NoneP50 != 1.1 || c.ComP50 != 2 || c.NoneP99 != 5 || c.ComP99 != 7 {
		t.Errorf("medians: %+v", c)
	}
	if c.Ratio != 0.8 { // of 0.8, 0.7 and 0.9
		t.Errorf("Ratio = %v, want 0.8", c.Ratio)
	}
	if got := c.AddedP50; got < 0.4999 || got > 0.5001 { // of 0.5, 0.4 and 0.9
		t.Errorf("AddedP50 = %v, want 0.5", got)
	}
	if !c.Saturated {
		t.Error("a generator without CPU is not told")
	}
}

func TestMedianOfEvenCountLiesBetween(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   float64
	}{"none": {nil, 0}, "one": {[]float64{7}, 7}, "two": {[]float64{4, 2}, 3}, "four": {[]float64{9, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("%s: median = %v, want %v", name, got, c.want)
		}
	}
}

func TestCostWithoutThroughputHasNoRatio(t *testing.T) {
	if c := NewCosts(1, make([]CostRound, 2)); c.Ratio != 0 {
		t.Errorf("Ratio = %v, want 0", c.Ratio)
	}
}

func TestCostIsShownInAllForms(t *testing.T) {
	c := &Cost{Scenario: "cost", None: "echo", Commit: "echo-commit", Clients: 10, Costs: []Costs{NewCosts(100, disturbed())}}
	c.Add(&Report{Refused: 3, Codes: map[string]uint64{"overloaded": 3}})
	var table, page, raw strings.Builder
	if err := c.Table(&table); err != nil {
		t.Fatal(err)
	}
	if err := c.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := c.JSON(&raw); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0.80", "1,000", "overloaded 3", "may flatter"} {
		if !strings.Contains(table.String(), want) || !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s\nor\n%s", want, table.String(), page.String())
		}
	}
	var back struct {
		Costs []struct {
			Rooms int     `json:"rooms"`
			Ratio float64 `json:"ratio"`
		} `json:"costs"`
		Lost *int `json:"lost"`
	}
	if err := json.Unmarshal([]byte(raw.String()), &back); err != nil || len(back.Costs) != 1 || back.Costs[0].Rooms != 100 || back.Costs[0].Ratio != 0.8 || back.Lost == nil {
		t.Errorf("JSON: %v\n%s", err, raw.String())
	}
}

func TestBrokenPromisesAreTheVerdict(t *testing.T) {
	c := &Cost{}
	if v := c.Verdict(); v != "" {
		t.Errorf("Verdict = %q, want none", v)
	}
	c.Add(&Report{Duplicates: 2})
	if v := c.Verdict(); !strings.Contains(v, "2 delivered or applied twice") {
		t.Errorf("Verdict = %q", v)
	}
}
