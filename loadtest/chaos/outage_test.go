package chaos

import (
	"slices"
	"testing"
	"time"
)

// steady is a room whose commands are acked every 10 ms, but for gaps.
func steady(end time.Duration, gaps ...[2]int) *Room {
	r := &Record{}
	for ms := time.Duration(0); ms < end; ms += at(10) {
		if !slices.ContainsFunc(gaps, func(g [2]int) bool { return ms > at(g[0]) && ms < at(g[1]) }) {
			r.Ops = append(r.Ops, Op{Fate: Acked, Done: ms})
		}
	}
	return &Room{Records: []*Record{r}}
}

func fault(sort string, began, ended int) Done {
	return Done{Fault: Fault{Sort: sort}, Began: at(began), Ended: at(ended)}
}

func TestOutageIsTheLongestGapAfterItsFault(t *testing.T) {
	end := 10 * time.Second
	told := steady(end)
	told.Records[0].Heard = []Heard{{What: HeardResumed, At: at(1020)}}
	for name, c := range map[string]struct {
		room *Room
		done []Done
		want []Outage
	}{
		"a gap from the fault on": {steady(end, [2]int{1000, 1500}), []Done{fault("kill-worker", 1000, 2000)},
			[]Outage{{From: at(1000), Length: at(490)}}},
		"time before the fault does not count": {steady(end, [2]int{900, 1500}), []Done{fault("kill-worker", 1000, 2000)},
			[]Outage{{From: at(1000), Length: at(490)}}},
		"a gap when the fault is mended": {steady(end, [2]int{2000, 2200}), []Done{fault("pause-worker", 1000, 2000)},
			[]Outage{{From: at(2000), Length: at(190)}}},
		"nobody noticed":        {steady(end), []Done{fault("kill-worker", 1000, 2000)}, nil},
		"members were told":     {told, []Done{fault("kill-worker", 1000, 2000)}, []Outage{{From: at(1000), Length: 0}}},
		"never again":           {steady(end, [2]int{1000, 20000}), []Done{fault("kill-worker", 1000, 2000)}, []Outage{{From: at(1000), Length: at(8990)}}},
		"a fault left out":      {steady(end, [2]int{1000, 1500}), []Done{{Fault: Fault{Sort: "kill-worker"}, Began: at(1000), Ended: at(1000), Skipped: "busy"}}, nil},
		"the next fault's gap":  {steady(end, [2]int{3000, 3500}), []Done{fault("kill-worker", 1000, 2000), fault("kill-nats", 3005, 4000)}, []Outage{{Fault: 1, From: at(3005), Length: at(485)}}},
		"two at the same time":  {steady(end, [2]int{1500, 2000}), []Done{fault("kill-worker", 1000, 3000), fault("kill-nats", 1500, 2500)}, []Outage{{Fault: 0, From: at(1500), Length: at(490)}, {Fault: 1, From: at(1500), Length: at(490)}}},
		"long after it is over": {steady(end, [2]int{9000, 9500}), []Done{fault("kill-worker", 1000, 2000)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outages([]*Room{c.room}, c.done, at(10), end); !slices.Equal(got, c.want) {
				t.Errorf("outages = %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestQuantileIsAValueOfTheList(t *testing.T) {
	var list []time.Duration
	for i := range 100 {
		list = append(list, at(i+1))
	}
	for share, want := range map[float64]time.Duration{0: at(1), 0.5: at(50), 0.99: at(99), 1: at(100)} {
		if got := quantile(list, share); got != want {
			t.Errorf("quantile(%v) = %v, want %v", share, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
}
