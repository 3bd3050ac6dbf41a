package report

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// A KV is how fast servers of Redis's protocol are, by the same client on the
// same machine in one run. The JSON names are a contract.
type KV struct {
	Scenario string     `json:"scenario"`
	Conns    int        `json:"conns"`
	Pipeline int        `json:"pipeline"` // commands that each keeps under way
	Size     int        `json:"size"`     // bytes of a value
	Seconds  float64    `json:"seconds"`  // each measurement took
	Rounds   int        `json:"rounds"`   // medians are told
	Servers  []KVServer `json:"servers"`  // the first is what others are compared with
	Ops      []KVOp     `json:"ops"`
}

// A KVServer is one of those compared.
type KVServer struct {
	Name    string `json:"name"`
	Version string `json:"version"` // as INFO tells
}

// A KVOp is one operation, with a result for each server.
type KVOp struct {
	Name    string     `json:"name"`
	Size    int        `json:"size,omitempty"`  // elements in the structure it works on
	Paced   bool       `json:"paced,omitempty"` // at a rate that the client gave: only latencies tell something
	Results []KVResult `json:"results"`
}

// A KVResult is what one server did.
type KVResult struct {
	PerS  float64 `json:"per_s"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
	CPU   float64 `json:"server_cpu_us,omitempty"` // per operation; 0: unknown
	Busy  float64 `json:"client_busy"`             // share of the time, 0 to 1
	Ratio float64 `json:"ratio"`                   // to the first server: operations a second, or p50 of paced ones (0.5: takes twice as long)
	Lost  int     `json:"lost,omitempty"`          // messages that the server said to have delivered
}

// clientBusy is the share from which the client may be what limits.
const clientBusy = 0.95

// MedianKV makes one result of several rounds'.
func MedianKV(rounds []KVResult) KVResult {
	of := func(f func(*KVResult) float64) float64 {
		values := make([]float64, len(rounds))
		for i := range rounds {
			values[i] = f(&rounds[i])
		}
		return median(values)
	}
	m := KVResult{
		PerS: of(func(r *KVResult) float64 { return r.PerS }), P50: of(func(r *KVResult) float64 { return r.P50 }),
		P99: of(func(r *KVResult) float64 { return r.P99 }), CPU: of(func(r *KVResult) float64 { return r.CPU }),
		Busy: of(func(r *KVResult) float64 { return r.Busy }),
	}
	for _, r := range rounds {
		m.Max = max(m.Max, r.Max)
		m.Lost += r.Lost
	}
	return m
}

// Compare fills in the ratios.
func (op *KVOp) Compare() {
	for i := range op.Results {
		r, base := &op.Results[i], &op.Results[0]
		switch {
		case op.Paced && r.P50 > 0:
			r.Ratio = base.P50 / r.P50
		case !op.Paced && base.PerS > 0:
			r.Ratio = r.PerS / base.PerS
		}
	}
}

// JSON writes the result as one object.
func (k *KV) JSON(w io.Writer) error { return writeJSON(w, k) }

// Verdict says in a sentence what went wrong, or "".
func (k *KV) Verdict() string {
	var lost uint64
	for _, op := range k.Ops {
		for _, r := range op.Results {
			lost += uint64(r.Lost)
		}
	}
	return verdict([]promise{{lost, "published messages lost"}})
}

// Table writes the result for people.
func (k *KV) Table(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n\n", k.Scenario)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\t")
	for i, s := range k.Servers {
		if fmt.Fprintf(t, "%s\tp50\tp99\tCPU\t", s.Name); i > 0 {
			fmt.Fprint(t, "ratio\t")
		}
	}
	fmt.Fprintln(t)
	for _, op := range k.Ops {
		fmt.Fprintf(t, "%s\t", op.Name)
		for i, r := range op.Results {
			if fmt.Fprintf(t, "%s/s\t%s\t%s\t%.0f\t", count(float64(int(r.PerS))), ms(r.P50), ms(r.P99), r.CPU); i > 0 {
				fmt.Fprintf(t, "%.2f\t", r.Ratio)
			}
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range append([]string{k.explain()}, k.notes()...) {
		fmt.Fprintf(w, "\n  %s\n", note)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (k *KV) explain() string {
	text := fmt.Sprintf("%d connections, %d under way on each, values of %d bytes; medians of %s of %g s, the servers by turns. p50, p99: ms. CPU: the server's, µs an operation.",
		k.Conns, k.Pipeline, k.Size, plural(k.Rounds, "round"), k.Seconds)
	if len(k.Servers) > 1 {
		text += fmt.Sprintf(" ratio: to %s, of operations a second; of wake-up, of p50.", k.Servers[0].Name)
	}
	return text + ` "at N": in one structure of N elements, each added one taken away again; p50 and p99 are of adding.`
}

func (k *KV) notes() []string {
	var notes []string
	for _, op := range k.Ops {
		for i, r := range op.Results {
			if r.Busy > clientBusy {
				notes = append(notes, fmt.Sprintf("%s on %s: the client had no time left, and the server may do better.", op.Name, k.Servers[i].Name))
			}
		}
	}
	if v := k.Verdict(); v != "" {
		notes = append(notes, v)
	}
	return notes
}

// HTML writes the result as one page that needs nothing else.
func (k *KV) HTML(w io.Writer) error {
	s := sheet{Scenario: k.Scenario, Notes: append([]string{k.explain()}, k.notes()...)}
	for _, op := range k.Ops {
		for i, r := range op.Results {
			text := fmt.Sprintf("%s/s, p50 %s ms, p99 %s ms", count(float64(int(r.PerS))), ms(r.P50), ms(r.P99))
			if i > 0 {
				text += fmt.Sprintf("; ratio %.2f", r.Ratio)
			}
			s.Rows = append(s.Rows, Row{op.Name + ", " + k.Servers[i].Name, text})
		}
	}
	return page.Execute(w, s)
}
