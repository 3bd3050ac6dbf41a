package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// outages makes affected rooms that were away for 1, 2, … n ms.
func outages(n int) (each []Outage) {
	for i := range n {
		each = append(each, Outage{Affected: true, Length: time.Duration(n-i) * time.Millisecond})
	}
	return each
}

func TestPercentilesAreThoseOfRooms(t *testing.T) {
	for name, c := range map[string]struct {
		each          []Outage
		p50, p99, max float64
	}{
		"none":    {nil, 0, 0, 0},
		"one":     {outages(1), 1, 1, 1},
		"two":     {outages(2), 1, 2, 2},
		"ten":     {outages(10), 5, 10, 10},
		"hundred": {outages(100), 50, 99, 100},
		"many":    {outages(1000), 500, 990, 1000},
	} {
		o := NewOutages(c.each)
		if o.P50 != c.p50 || o.P99 != c.p99 || o.Max != c.max || o.Affected != len(c.each) {
			t.Errorf("%s: NewOutages = %+v, want %v, %v, %v", name, o, c.p50, c.p99, c.max)
		}
	}
}

func TestRoomsThatNeverPausedCountAmongAllOnly(t *testing.T) {
	others := make([]Outage, 30)
	others[7].Wait = 3 * time.Millisecond
	o := NewOutages(append(others, outages(10)...))
	if o.Affected != 10 || o.P50 != 5 || o.AllP50 != 0 || o.AllP99 != 10 || o.OthersP50 != 0 || o.OthersMax != 3 {
		t.Errorf("NewOutages = %+v", o)
	}
}

func TestRoomThatNeverCameBackIsTheLongestOutage(t *testing.T) {
	each := outages(3)
	each[0].Never = true
	o := NewOutages(each)
	if o.Never != 1 || o.P50 != 2 || o.P99 != -1 || o.Max != -1 {
		t.Errorf("NewOutages = %+v", o)
	}
}

func TestRoundsAreSummedUp(t *testing.T) {
	r := &Takeover{Rounds: []TakeoverRound{{Each: outages(2)}, {Each: outages(4)}}}
	r.Finish()
	if r.Rounds[0].P50 != 1 || r.Rounds[1].Max != 4 || r.Affected != 6 || r.P50 != 2 || r.Max != 4 {
		t.Errorf("%+v", r)
	}
}

func TestTakeoverVerdictNamesWhatBroke(t *testing.T) {
	lost := uint64(3)
	for name, c := range map[string]struct {
		r    Takeover
		want string
	}{
		"fine":                     {Takeover{Durable: true, AckedLost: new(uint64)}, ""},
		"lost writes":              {Takeover{Durable: true, AckedLost: &lost}, "3 acknowledged writes lost"},
		"lost writes, not durable": {Takeover{AckedLost: &lost, Resets: 2}, ""},
		"a reset":                  {Takeover{Durable: true, Resets: 2}, "2 clients saw"},
		"sockets":                  {Takeover{SocketsDropped: 1}, "1 sockets dropped"},
		"never back":               {Takeover{Outages: Outages{Never: 4}}, "4 rooms never back"},
		"two owners":               {Takeover{Rounds: []TakeoverRound{{KeptRooms: 5}}}, "5 rooms kept"},
		"doubled":                  {Takeover{Doubled: 1}, "1 entries doubled"},
		"no ledger":                {Takeover{Unread: 7}, "7 ledgers"},
		"no answer":                {Takeover{Unanswered: 7}, "7 commands never answered"},
	} {
		if got := c.r.Verdict(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: Verdict() = %q, want %q in it", name, got, c.want)
		}
	}
}

func TestTakeoverIsShownInAllForms(t *testing.T) {
	lost := uint64(0)
	r := &Takeover{Scenario: "takeover", Fault: "kill", NATS: 3, Workers: 3, Rooms: 9, AckedLost: &lost, Acked: 1234,
		Rounds: []TakeoverRound{{Worker: "worker-2", WorkerRooms: 4, Each: outages(4)}}}
	r.Codes = map[string]uint64{"unavailable": 2}
	r.Finish()
	var table, page, raw strings.Builder
	if err := r.Table(&table); err != nil {
		t.Fatal(err)
	}
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := r.JSON(&raw); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"worker-2", "1,234", "unavailable 2", "3 NATS servers"} {
		if !strings.Contains(table.String(), want) || !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s\nor\n%s", want, table.String(), page.String())
		}
	}
	if !strings.Contains(page.String(), "Outages of the affected rooms") {
		t.Error("the page has no plot")
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(raw.String()), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rooms", "affected", "sockets_dropped", "acked", "acked_lost", "resets", "outage_p50_ms", "outage_p99_ms", "outage_max_ms"} {
		if fields[name] == nil {
			t.Errorf("JSON has no %s:\n%s", name, raw.String())
		}
	}
}
