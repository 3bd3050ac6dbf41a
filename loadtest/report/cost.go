package report

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// A Cost is what Commit costs beside None: the same echo load on a kind of each,
// in turns on one server. The JSON names are a contract.
type Cost struct {
	Scenario string  `json:"scenario"`
	None     string  `json:"none_kind"`
	Commit   string  `json:"commit_kind"`
	Clients  int     `json:"clients"` // of each kind
	Size     int     `json:"size"`
	Depth    int     `json:"depth"`      // commands a client keeps under way at full load
	RatePerS float64 `json:"rate_per_s"` // at which latencies are taken
	Seconds  float64 `json:"seconds"`    // each measurement took
	Costs    []Costs `json:"costs"`      // by number of rooms
	Tallies          // over both kinds and all numbers of rooms
}

// Tallies count what must not happen, and what makes figures doubtful.
type Tallies struct {
	Lost       uint64            `json:"lost"`
	Duplicates uint64            `json:"duplicates"`
	Reordered  uint64            `json:"reordered"`
	Corrupt    uint64            `json:"corrupt"`
	Refused    uint64            `json:"refused"`
	Codes      map[string]uint64 `json:"codes,omitempty"`
}

// Add adds what another report counted.
func (t *Tallies) Add(r *Report) {
	t.Lost += r.Lost
	t.Duplicates += r.Duplicates
	t.Reordered += r.Reordered
	t.Corrupt += r.Corrupt
	t.Refused += r.Refused
	for code, n := range r.Codes {
		if t.Codes == nil {
			t.Codes = make(map[string]uint64)
		}
		t.Codes[code] += n
	}
}

// Costs are those at one number of rooms: medians over the rounds. Ratio and
// AddedP50 are medians of what each round shows, and not made from the other
// medians: the two halves of a round ran back to back, on the same machine in the
// same mood.
type Costs struct {
	Rooms     int     `json:"rooms"`
	NonePerS  float64 `json:"none_per_s"` // full load
	ComPerS   float64 `json:"commit_per_s"`
	Ratio     float64 `json:"ratio"` // Commit's throughput in None's
	NoneP50   float64 `json:"none_p50_ms"`
	NoneP99   float64 `json:"none_p99_ms"`
	ComP50    float64 `json:"commit_p50_ms"`
	ComP99    float64 `json:"commit_p99_ms"`
	AddedP50  float64 `json:"added_p50_ms"`
	NoneCPU   float64 `json:"none_cpu_us"` // server CPU per command at full load; 0: unknown
	ComCPU    float64 `json:"commit_cpu_us"`
	Saturated bool    `json:"generator_saturated"` // at full load in at least one round: the ratio flatters

	Rounds []CostRound `json:"rounds"`
}

// A CostRound is one comparison.
type CostRound struct {
	None   CostSide `json:"none"`
	Commit CostSide `json:"commit"`
}

// A CostSide is one kind's half of a round.
type CostSide struct {
	PerS      float64 `json:"per_s"`  // full load
	CPU       float64 `json:"cpu_us"` // server CPU per command at full load
	P50       float64 `json:"p50_ms"` // at the fixed rate
	P99       float64 `json:"p99_ms"`
	Saturated bool    `json:"generator_saturated"`
}

// NewCosts sums rounds up; there is at least one.
func NewCosts(rooms int, rounds []CostRound) Costs {
	of := func(f func(r *CostRound) float64) float64 {
		var values []float64
		for i := range rounds {
			values = append(values, f(&rounds[i]))
		}
		return median(values)
	}
	c := Costs{
		Rooms: rooms, Rounds: rounds,
		NonePerS: of(func(r *CostRound) float64 { return r.None.PerS }),
		ComPerS:  of(func(r *CostRound) float64 { return r.Commit.PerS }),
		Ratio: of(func(r *CostRound) float64 {
			if r.None.PerS == 0 {
				return 0
			}
			return r.Commit.PerS / r.None.PerS
		}),
		NoneP50:  of(func(r *CostRound) float64 { return r.None.P50 }),
		NoneP99:  of(func(r *CostRound) float64 { return r.None.P99 }),
		ComP50:   of(func(r *CostRound) float64 { return r.Commit.P50 }),
		ComP99:   of(func(r *CostRound) float64 { return r.Commit.P99 }),
		AddedP50: of(func(r *CostRound) float64 { return r.Commit.P50 - r.None.P50 }),
		NoneCPU:  of(func(r *CostRound) float64 { return r.None.CPU }),
		ComCPU:   of(func(r *CostRound) float64 { return r.Commit.CPU }),
	}
	for _, r := range rounds {
		c.Saturated = c.Saturated || r.None.Saturated || r.Commit.Saturated
	}
	return c
}

// median is the middle of values, or the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// JSON writes the result as one object.
func (c *Cost) JSON(w io.Writer) error { return writeJSON(w, c) }

// Verdict says in a sentence what went wrong, or "".
func (c *Cost) Verdict() string { return c.Tallies.Verdict() }

// Table writes the result for people.
func (c *Cost) Table(w io.Writer) error {
	fmt.Fprintf(w, "\n%s: %s without durability, %s with Commit\n\n", c.Scenario, c.None, c.Commit)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "rooms\tNone/s\tCommit/s\tratio\tNone p50\tCommit p50\tadded\tNone p99\tCommit p99\tNone CPU\tCommit CPU\t\n")
	for _, r := range c.Costs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.2f\t%s ms\t%s ms\t%s ms\t%s ms\t%s ms\t%.1f µs\t%.1f µs\t\n", count(float64(r.Rooms)),
			count(r.NonePerS), count(r.ComPerS), r.Ratio, ms(r.NoneP50), ms(r.ComP50), ms(r.AddedP50),
			ms(r.NoneP99), ms(r.ComP99), r.NoneCPU, r.ComCPU)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range append([]string{c.explain()}, c.notes()...) {
		fmt.Fprintf(w, "\n  %s\n", note)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (c *Cost) explain() string {
	rounds := 0
	if len(c.Costs) > 0 {
		rounds = len(c.Costs[0].Rounds)
	}
	return fmt.Sprintf("%s clients of each kind. Throughput: each keeps %d commands under way. Latencies: at %s/s. CPU: the server's, per command at full load. Medians of %d rounds of %.0f s, the kinds by turns.",
		count(float64(c.Clients)), c.Depth, count(c.RatePerS), rounds, c.Seconds)
}

func (c *Cost) notes() []string {
	var notes []string
	for _, r := range c.Costs {
		if r.Saturated {
			notes = append(notes, fmt.Sprintf("%s: the load generator had no CPU left at full load, and the ratio may flatter Commit.", plural(r.Rooms, "room")))
		}
	}
	return append(notes, c.Tallies.notes()...)
}

// HTML writes the result as one page that needs nothing else.
func (c *Cost) HTML(w io.Writer) error {
	s := sheet{Scenario: c.Scenario, Notes: append([]string{c.explain()}, c.notes()...)}
	for _, r := range c.Costs {
		s.Rows = append(s.Rows, Row{plural(r.Rooms, "room"), fmt.Sprintf(
			"%s/s with Commit, %s/s without: %.2f; p50 %s ms and %s ms, p99 %s ms and %s ms",
			count(r.ComPerS), count(r.NonePerS), r.Ratio, ms(r.ComP50), ms(r.NoneP50), ms(r.ComP99), ms(r.NoneP99))})
	}
	return page.Execute(w, s)
}
