package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// An Opens is what became of joins of new rooms that came all at once. The JSON
// names are a contract.
type Opens struct {
	Scenario string `json:"scenario"`
	Kind     string `json:"kind"`
	NATS     int    `json:"nats"`
	Edges    int    `json:"edges"`
	Workers  int    `json:"workers"`

	Joins     int            `json:"joins"`
	AtOnce    int            `json:"joined_at_first"`            // of the joins, those that were never refused
	Refused   map[string]int `json:"refused_at_first,omitempty"` // the other first answers, by code
	Again     int            `json:"asked_again"`                // joins made after a refusal
	P50       float64        `json:"first_answer_p50_ms"`        // from the join to the first answer
	P99       float64        `json:"first_answer_p99_ms"`
	Max       float64        `json:"first_answer_max_ms"`
	AllIn     float64        `json:"all_in_s"`             // until the last was in its room
	RefusedIn float64        `json:"overloaded_p99_ms"`    // from the join to the answer overloaded
	Broken    map[string]int `json:"unanswered,omitempty"` // all answers that say that the server did not know or not keep up, by code

	answers, overloaded []time.Duration
}

// NewOpens returns the report of a run that begins.
func NewOpens(scenario, kind string, nats, edges, workers int) *Opens {
	return &Opens{
		Scenario: scenario, Kind: kind, NATS: nats, Edges: edges, Workers: workers,
		Refused: make(map[string]int), Broken: make(map[string]int),
	}
}

// Answer notes the answer to a client's join, its first if try is 0: code is empty
// if it is in. It came so long after the join, and after all began.
func (o *Opens) Answer(try int, code string, took, since time.Duration) {
	if try == 0 {
		o.Joins++
		o.answers = append(o.answers, took)
		if code == "" {
			o.AtOnce++
		} else {
			o.Refused[code]++
		}
	} else {
		o.Again++
	}
	switch code {
	case "":
		o.AllIn = max(o.AllIn, since.Seconds())
	case "overloaded":
		o.overloaded = append(o.overloaded, took)
	default:
		o.Broken[code]++
	}
}

// Finish completes the figures.
func (o *Opens) Finish() {
	slices.Sort(o.answers)
	slices.Sort(o.overloaded)
	o.P50, o.P99, o.Max = percentile(o.answers, 50), percentile(o.answers, 99), percentile(o.answers, 100)
	o.RefusedIn = percentile(o.overloaded, 99)
}

// JSON writes the result as one object.
func (o *Opens) JSON(w io.Writer) error { return writeJSON(w, o) }

// Rows are the figures for people.
func (o *Opens) Rows() []Row {
	rows := []Row{
		{"cluster", fmt.Sprintf("%s, %s, %s", plural(o.NATS, "NATS server"), plural(o.Edges, "edge"), plural(o.Workers, "worker"))},
		{"joins of new rooms, at once", fmt.Sprintf("%s (%s)", count(float64(o.Joins)), o.Kind)},
		{"in at the first ask", count(float64(o.AtOnce))},
	}
	for _, code := range slices.Sorted(maps.Keys(o.Refused)) {
		rows = append(rows, Row{"refused at the first ask, " + code, count(float64(o.Refused[code]))})
	}
	rows = append(rows,
		Row{"first answer after", fmt.Sprintf("p50 %s ms, p99 %s ms, max %s ms", ms(o.P50), ms(o.P99), ms(o.Max))},
		Row{"overloaded said after, p99", ms(o.RefusedIn) + " ms"},
		Row{"joins made again", count(float64(o.Again))},
		Row{"all in after", fmt.Sprintf("%.1f s", o.AllIn)})
	return rows
}

// Table writes the result for people.
func (o *Opens) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\n%s\n\n", o.Scenario)
	for _, row := range o.Rows() {
		fmt.Fprintf(t, "  %s\t%s\n", row.Name, row.Value)
	}
	if v := o.Verdict(); v != "" {
		fmt.Fprintf(t, "\n  %s\n", v)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// HTML writes the result as one page that needs nothing else.
func (o *Opens) HTML(w io.Writer) error {
	s := sheet{Scenario: o.Scenario, Rows: o.Rows()}
	if v := o.Verdict(); v != "" {
		s.Notes = append(s.Notes, v)
	}
	return page.Execute(w, s)
}

// Verdict says in a sentence what went wrong, or "". A server that has too much
// to do says overloaded, at once; it does not keep a client waiting for nothing.
func (o *Opens) Verdict() string {
	var broken uint64
	for _, n := range o.Broken {
		broken += uint64(n)
	}
	return verdict([]promise{{broken, "joins failed otherwise than by overloaded"}})
}
