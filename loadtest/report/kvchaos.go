package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// A KVChaos is what became of shared data while servers and clients were killed.
// The JSON names are a contract.
type KVChaos struct {
	Scenario string  `json:"scenario"`
	Seed     uint64  `json:"seed"`
	Seconds  float64 `json:"seconds"`
	Clients  int     `json:"clients"`
	Fronts   int     `json:"fronts"` // processes that clients connect to

	Faults    []KVFault      `json:"faults"`
	Killed    int            `json:"consumers_killed"` // processes
	Connects  int            `json:"connects"`
	Acked     int            `json:"acked"` // commands of clients
	Refused   int            `json:"refused"`
	Unknown   int            `json:"unknown_fate"`
	Errors    map[string]int `json:"errors,omitempty"` // answers that were errors
	AnswerP50 float64        `json:"answer_p50_ms"`
	AnswerP99 float64        `json:"answer_p99_ms"`
	AnswerMax float64        `json:"answer_max_ms"`

	Increments  int `json:"increments"` // acknowledged
	Members     int `json:"members"`    // of the set
	Pushed      int `json:"pushed"`     // acknowledged
	Popped      int `json:"popped"`
	BrokenWaits int `json:"broken_waits"` // whose client was killed or lost its connection
	FailedWaits int `json:"failed_waits"` // answered by an error
	Excused     int `json:"excused"`      // elements that may have been on their way to one of these
	QuietKills  int `json:"quiet_kills"`  // waiters killed while nobody pushed; the next element went to the next
	QuietUnsure int `json:"quiet_unsure"` // of those, not decided because commands failed
	Registers   int `json:"registers"`
	Touches     int `json:"touches"`
	Undecided   int `json:"registers_undecided"`
	Reads       int `json:"sums_read"` // of transfers' two keys

	Violated   int           `json:"violations"`
	Violations []KVViolation `json:"violation_list,omitempty"`
	Dump       string        `json:"dump,omitempty"` // directory with histories and logs
}

// A KVFault is something that was done to the servers.
type KVFault struct {
	At      float64 `json:"s"`
	Until   float64 `json:"until_s"`
	What    string  `json:"what"`
	Skipped string  `json:"skipped,omitempty"`
	Took    bool    `json:"took_effect"`
	Effect  string  `json:"effect,omitempty"` // what it did
}

// did says what a fault did, and whether that made a difference.
func (f *KVFault) did() string {
	if f.Took || f.Skipped != "" {
		return f.Effect
	}
	return "NO EFFECT: " + f.Effect
}

// A KVViolation is a promise that was broken.
type KVViolation struct {
	Rule string `json:"rule"`
	Text string `json:"text"`
}

// Add notes a violation.
func (k *KVChaos) Add(rule, text string) {
	k.Violated++
	k.Violations = append(k.Violations, KVViolation{rule, text})
}

// JSON writes the result as one object.
func (k *KVChaos) JSON(w io.Writer) error { return writeJSON(w, k) }

// Verdict says in a sentence what went wrong, or "".
func (k *KVChaos) Verdict() string {
	if k.Violated == 0 {
		return ""
	}
	return fmt.Sprintf("%s with seed %d; histories and logs are in %s", plural(k.Violated, "violation"), k.Seed, k.Dump)
}

const violationsShown = 30 // all are in the dump

// Table writes the result for people.
func (k *KVChaos) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\n%s, seed %d\n\n", k.Scenario, k.Seed)
	for _, row := range k.rows() {
		fmt.Fprintf(t, "  %s\t%s\n", row.Name, row.Value)
	}
	for i, f := range k.Faults {
		if i == 0 {
			fmt.Fprintf(t, "\n  s\tfault\tuntil\twhat it did\n")
		}
		until := fmt.Sprintf("%.2f", f.Until)
		if f.Skipped != "" {
			until = "not done: " + f.Skipped
		}
		fmt.Fprintf(t, "  %.2f\t%s\t%s\t%s\n", f.At, f.What, until, f.did())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if k.Dump != "" {
		fmt.Fprintf(w, "\n  histories and logs are in %s\n", k.Dump)
	}
	fmt.Fprintln(w)
	for i, v := range k.Violations {
		if i == violationsShown {
			fmt.Fprintf(w, "  … and %d more\n", len(k.Violations)-i)
			break
		}
		fmt.Fprintf(w, "  VIOLATION: %s: %s\n", v.Rule, v.Text)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (k *KVChaos) rows() []Row {
	done := 0
	for _, f := range k.Faults {
		if f.Skipped == "" {
			done++
		}
	}
	row := func(name, format string, args ...any) Row { return Row{name, fmt.Sprintf(format, args...)} }
	rows := []Row{
		row("load", "%d clients on %s for %.0f s", k.Clients, plural(k.Fronts, "server"), k.Seconds),
		row("faults", "%d; consumers' processes killed: %d", done, k.Killed),
		row("commands", "%s acknowledged, %s refused, %s of unknown fate; %s connects",
			count(float64(k.Acked)), count(float64(k.Refused)), count(float64(k.Unknown)), count(float64(k.Connects))),
		row("answers after", "p50 %s  p99 %s  max %s ms", ms(k.AnswerP50), ms(k.AnswerP99), ms(k.AnswerMax)),
		row("increments", "%s acknowledged", count(float64(k.Increments))),
		row("set", "%s members", count(float64(k.Members))),
		row("queues", "%s pushed, %s popped; %d may have been on their way to one of %d broken waits; %d waits answered by errors",
			count(float64(k.Pushed)), count(float64(k.Popped)), k.Excused, k.BrokenWaits, k.FailedWaits),
		row("waiters killed in the quiet", "%d, and the next got the next element; %d not decided", k.QuietKills, k.QuietUnsure),
		row("registers and transfers", "%d histories of %s commands, %d too long to decide; %s sums read",
			k.Registers, count(float64(k.Touches)), k.Undecided, count(float64(k.Reads))),
	}
	if len(k.Errors) > 0 {
		var list []string
		for text, n := range k.Errors {
			list = append(list, fmt.Sprintf("%d × %q", n, text))
		}
		slices.Sort(list)
		rows = append(rows, row("answers that were errors", "%s", strings.Join(list, ", ")))
	}
	return append(rows, row("violations", "%d", k.Violated))
}

// HTML writes the result as one page that needs nothing else.
func (k *KVChaos) HTML(w io.Writer) error {
	s := sheet{Scenario: k.Scenario, Rows: k.rows()}
	for _, v := range k.Violations {
		s.Notes = append(s.Notes, v.Rule+": "+v.Text)
	}
	for _, f := range k.Faults {
		s.Rows = append(s.Rows, Row{fmt.Sprintf("%.2f s", f.At), fmt.Sprintf("%s, until %.2f s: %s%s", f.What, f.Until, f.did(), f.Skipped)})
	}
	return page.Execute(w, s)
}
