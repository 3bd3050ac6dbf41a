package kvchaos

import (
	"slices"
	"testing"
	"time"

	"roomd/loadtest/report"
)

func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

func add(key string, n, value int64, ms int) Add {
	return Add{Key: key, N: n, Value: value, Fate: Acked, Sent: at(ms), Done: at(ms + 5)}
}

func push(element string, ms int) Push {
	return Push{Element: element, Fate: Acked, Sent: at(ms), Done: at(ms + 5)}
}

func touch(event string, client, ms int) Touch {
	return Touch{Key: "r", Event: event, Client: client, Fate: Acked, Sent: at(ms), Done: at(ms + 5)}
}

// good is a history without a fault in it.
func good() *History {
	put, swap, read := touch("put", 0, 0), touch("cas", 1, 10), touch("get", 2, 20)
	put.Value, swap.Old, swap.Value, swap.Swapped, read.Got = 7, 7, 8, true, 8
	lost := touch("put", 3, 15)
	lost.Fate, lost.Value = Unknown, 9
	return &History{
		Adds: []Add{
			add("a", 1, 1, 0), add("a", 2, 3, 10), {Key: "a", N: 4, Fate: Unknown, Sent: at(20)}, add("a", 1, 8, 30),
			add("b", 1, 1, 0), {Key: "b", N: 1, Fate: Unknown, Sent: at(20)},
		},
		Counters: map[string]int64{"a": 8, "b": 1},
		Members:  []Member{{Name: "m1", There: true}, {Name: "m2"}, {Name: "m3", Either: true}, {Name: "m4", There: true, Either: true}},
		InSet:    []string{"m1", "m3"}, SetSize: 2,
		Touches: []Touch{put, swap, read, lost},
		Pushes: []Push{
			push("e1", 0), push("e2", 10), push("e3", 20), push("e4", 30),
			{Element: "e5", Fate: Unknown, Sent: at(40)}, {Element: "e6", Fate: Unknown, Sent: at(50)}, {Element: "e7", Fate: Refused, Sent: at(60)},
		},
		Pops:      []Pop{{Element: "e1", By: "c"}, {Element: "e3", By: "c"}, {Element: "e5", By: "d"}},
		Remaining: []string{"e4"},
		Breaks:    []Break{{By: "d", At: at(12)}}, // e2 was on its way
		Quiets:    []Quiet{{Pushed: Acked, Got: true, Certain: true}, {Pushed: Unknown}, {Pushed: Acked}},
	}
}

func TestGoodHistoryHasNoViolation(t *testing.T) {
	var r report.KVChaos
	Check(good(), &r)
	if r.Violated != 0 {
		t.Errorf("violations: %+v", r.Violations)
	}
	if r.Increments != 4 || r.Pushed != 4 || r.Popped != 4 || r.Excused != 1 || r.QuietKills != 1 || r.QuietUnsure != 2 || r.Registers != 1 {
		t.Errorf("report %+v", r)
	}
}

func TestEachBrokenPromiseIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		rule  string
		spoil func(h *History)
	}{
		"increment lost":              {RuleCounter, func(h *History) { h.Counters["b"] = 0 }},
		"increment twice":             {RuleCounter, func(h *History) { h.Counters["b"] = 3 }},
		"two got the same number":     {RuleCounter, func(h *History) { h.Adds[3].Value = 3 }},
		"steps overlap":               {RuleCounter, func(h *History) { h.Adds[1].N = 3; h.Counters["a"] = 9 }},
		"counter went back":           {RuleCounter, func(h *History) { h.Adds[0].Sent, h.Adds[0].Done = at(40), at(45) }},
		"member lost":                 {RuleSet, func(h *History) { h.InSet, h.SetSize = []string{"m3"}, 1 }},
		"removed member is back":      {RuleSet, func(h *History) { h.InSet, h.SetSize = append(h.InSet, "m2"), 3 }},
		"member from nowhere":         {RuleSet, func(h *History) { h.InSet, h.SetSize = append(h.InSet, "x"), 3 }},
		"SCARD is wrong":              {RuleSet, func(h *History) { h.SetSize = 3 }},
		"write lost":                  {RuleRegister, func(h *History) { h.Touches[2].Got = 7 }},
		"swap from another value":     {RuleRegister, func(h *History) { h.Touches[1].Old = 5 }},
		"value that nobody wrote":     {RuleRegister, func(h *History) { h.Touches[2].Got = 1 }},
		"element lost":                {RuleLost, func(h *History) { h.Pops = h.Pops[1:] }},
		"element lost after the wait": {RuleLost, func(h *History) { h.Pushes[1].Sent = at(12) + noticeWithin + 1 }},
		"failed wait is no excuse":    {RuleLost, func(h *History) { h.Breaks, h.Failed = nil, []Failure{{By: "d", At: at(12)}} }},
		"element twice":               {RuleTwice, func(h *History) { h.Pops = append(h.Pops, Pop{Element: "e4", By: "d"}) }},
		"unknown element twice":       {RuleTwice, func(h *History) { h.Pops = append(h.Pops, Pop{Element: "e5", By: "c"}) }},
		"refused element":             {RuleNobodys, func(h *History) { h.Pops = append(h.Pops, Pop{Element: "e7"}) }},
		"element from nowhere":        {RuleNobodys, func(h *History) { h.Remaining = append(h.Remaining, "x") }},
		"popped by the dead":          {RuleVoid, func(h *History) { h.Quiets[0].Got = false }},
		"odd answer":                  {RuleSum, func(h *History) { h.Odd = []Oddity{{RuleSum, "1 and 2"}} }},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.spoil(h)
			var r report.KVChaos
			Check(h, &r)
			if !slices.ContainsFunc(r.Violations, func(v report.KVViolation) bool { return v.Rule == c.rule }) || r.Verdict() == "" {
				t.Errorf("violations %+v, want %q", r.Violations, c.rule)
			}
		})
	}
}
