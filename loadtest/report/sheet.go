package report

import (
	"encoding/json"
	"fmt"
	"io"
)

// What results with a shape of their own share with the common report.

// A sheet is what the page shows.
type sheet struct {
	Scenario string
	Notes    []string
	Rows     []Row
	Plots    []plot
	Steps    []Step
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Verdict says in a sentence what went wrong, or "".
func (t *Tallies) Verdict() string {
	r := Report{Lost: t.Lost, Duplicates: t.Duplicates, Reordered: t.Reordered, Corrupt: t.Corrupt}
	return r.Verdict()
}

// notes tell what makes the figures doubtful.
func (t *Tallies) notes() []string {
	var notes []string
	if t.Refused > 0 {
		notes = append(notes, fmt.Sprintf("The server refused %s commands %s.", count(float64(t.Refused)), tallies(t.Codes)))
	}
	if v := t.Verdict(); v != "" {
		notes = append(notes, v)
	}
	return notes
}
