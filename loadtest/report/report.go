// Package report shows the result of a load test: as a table, as JSON, as a page.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A Report is the result of one run. The JSON names are a contract; figures that
// could not be had are null.
type Report struct {
	Scenario string `json:"scenario"`
	Kind     string `json:"kind"`
	Clients  int    `json:"clients"`
	Rooms    int    `json:"rooms"`
	Size     int    `json:"size,omitempty"`

	Seconds          float64 `json:"seconds"` // measured
	OfferedPerS      float64 `json:"offered_per_s"`
	AchievedPerS     float64 `json:"achieved_per_s"`
	Deliveries       uint64  `json:"deliveries"` // in those seconds
	DeliveriesPerS   float64 `json:"deliveries_per_s"`
	BytesPerClientPS float64 `json:"bytes_per_client_s"`

	Lost       uint64 `json:"lost"`
	Duplicates uint64 `json:"duplicates"`
	Reordered  uint64 `json:"reordered"`
	Corrupt    uint64 `json:"corrupt"`

	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`

	ServerCPU            *float64 `json:"server_cpu_s"` // in the measured seconds
	ServerCPUPerDelivery *float64 `json:"server_cpu_us_per_delivery"`
	ServerRSS            *int64   `json:"server_rss_bytes"`
	RSSPerConn           *float64 `json:"rss_bytes_per_conn"`
	RSSPerConnBeforeGC   *float64 `json:"rss_bytes_per_conn_before_gc"`
	WritesPerDelivery    *float64 `json:"writes_per_delivery"`

	ConnectSeconds float64  `json:"connect_s"` // until all were in their rooms
	JoinsPerS      float64  `json:"joins_per_s"`
	JoinsPerCPUS   *float64 `json:"joins_per_server_cpu_s"`

	GeneratorSaturated bool    `json:"generator_saturated"`
	GeneratorBusy      float64 `json:"generator_busy"`       // share of its loops' time, 0 to 1
	GeneratorCPU       float64 `json:"generator_cpu"`        // cores' worth of CPU
	GeneratorLagP99    float64 `json:"generator_lag_p99_ms"` // how late sends left

	Refused  uint64            `json:"refused"`
	Unsent   uint64            `json:"unsent"`
	Codes    map[string]uint64 `json:"codes,omitempty"`
	Closings map[string]uint64 `json:"closings,omitempty"`

	Returned    uint64    `json:"returned,omitempty"`
	Resumed     uint64    `json:"resumed,omitempty"`
	Recovered   uint64    `json:"recovered,omitempty"`
	Unrecovered uint64    `json:"unrecovered_messages,omitempty"`
	Unknown     uint64    `json:"unknown_fate,omitempty"`
	Resets      uint64    `json:"resets,omitempty"`
	StormMS     []float64 `json:"storm_ms,omitempty"`

	SlowClients int    `json:"slow_clients,omitempty"`
	SlowClosed  uint64 `json:"slow_closed,omitempty"`
	// Not among Deliveries; from the start of the test.
	SlowDeliveries uint64 `json:"slow_deliveries,omitempty"`

	Patches        uint64  `json:"patches,omitempty"`
	States         uint64  `json:"states,omitempty"`
	SkippedPatches uint64  `json:"skipped_patches,omitempty"`
	Compared       uint64  `json:"states_compared,omitempty"` // of two members, found equal
	UpdateP50      float64 `json:"update_interval_p50_ms,omitempty"`
	UpdateP99      float64 `json:"update_interval_p99_ms,omitempty"`
	CPUPerClient   float64 `json:"server_cpu_ms_per_client_s,omitempty"`

	Latency string `json:"latency"` // what the latencies are of

	Steps    []Step  `json:"steps,omitempty"`
	Timeline []Point `json:"timeline,omitempty"`
	Curve    []Point `json:"-"` // latency by percentile
}

// A Step is one rate that find tried.
type Step struct {
	OfferedPerS    float64 `json:"offered_per_s"`
	DeliveriesPerS float64 `json:"deliveries_per_s"`
	P99            float64 `json:"p99_ms"`
	Held           bool    `json:"held"`
	Why            string  `json:"why,omitempty"` // it did not
}

// A Point is a second of the timeline, or a percentile of the curve.
type Point struct {
	X          float64 `json:"s"` // seconds since the start; percentile for a curve
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Deliveries float64 `json:"deliveries_per_s"`
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// A Row is a line of the table.
type Row struct{ Name, Value string }

// Rows are the figures worth reading in this scenario.
func (r *Report) Rows() []Row {
	var rows []Row
	add := func(name, format string, args ...any) {
		rows = append(rows, Row{name, fmt.Sprintf(format, args...)})
	}
	add("clients, rooms", "%s in %s of kind %s", count(float64(r.Clients)), plural(r.Rooms, "room"), r.Kind)
	add("all in their rooms", "after %.2f s, %s joins a second", r.ConnectSeconds, count(r.JoinsPerS))
	if r.JoinsPerCPUS != nil {
		add("joins per server CPU second", "%s", count(*r.JoinsPerCPUS))
	}
	if r.OfferedPerS > 0 {
		add("offered, achieved", "%s/s, %s/s over %.0f s", count(r.OfferedPerS), count(r.AchievedPerS), r.Seconds)
	}
	if r.Deliveries > 0 {
		add("deliveries", "%s, %s/s", count(float64(r.Deliveries)), count(r.DeliveriesPerS))
	}
	if r.Max > 0 {
		add(r.Latency, "p50 %s  p90 %s  p99 %s  p99.9 %s  max %s ms", ms(r.P50), ms(r.P90), ms(r.P99), ms(r.P999), ms(r.Max))
	}
	r.special(add)
	add("received per client", "%s bytes a second", count(r.BytesPerClientPS))
	r.server(add)
	add("load generator", "%.0f %% busy, %.2f cores, sends late by %s ms at p99", 100*r.GeneratorBusy, r.GeneratorCPU, ms(r.GeneratorLagP99))
	if len(r.Closings) > 0 {
		add("connections closed", "%s", tallies(r.Closings))
	}
	if r.Refused+r.Unsent > 0 {
		add("refused, not sent", "%s, %s %s", count(float64(r.Refused)), count(float64(r.Unsent)), tallies(r.Codes))
	}
	add("lost, duplicates, reordered", "%d, %d, %d", r.Lost, r.Duplicates, r.Reordered)
	return rows
}

func (r *Report) special(add func(string, string, ...any)) {
	if len(r.StormMS) > 0 {
		var each []string
		for _, v := range r.StormMS {
			each = append(each, ms(v))
		}
		add("all back in their rooms", "%s ms after the first try", strings.Join(each, ", "))
	}
	if r.Returned > 0 {
		add("came back", "%s; %s to their seat, %s without a gap; %d messages missed with notice",
			count(float64(r.Returned)), count(float64(r.Resumed)), count(float64(r.Recovered)), r.Unrecovered)
	}
	if r.SlowClients > 0 {
		add("slow readers", "%d, of which %d closed by the server; %s deliveries to them (not counted above)",
			r.SlowClients, r.SlowClosed, count(float64(r.SlowDeliveries)))
	}
	if r.Patches > 0 {
		add("state updates", "%s patches, %s states, %s patches passed over; two members' states compared %s times",
			count(float64(r.Patches)), count(float64(r.States)), count(float64(r.SkippedPatches)), count(float64(r.Compared)))
		add("time between updates", "p50 %s  p99 %s ms", ms(r.UpdateP50), ms(r.UpdateP99))
	}
}

func (r *Report) server(add func(string, string, ...any)) {
	if r.ServerCPU == nil {
		add("server", "unknown: its admin port does not answer")
		return
	}
	text := fmt.Sprintf("%.2f s CPU in %.0f s", *r.ServerCPU, r.Seconds)
	if r.ServerCPUPerDelivery != nil {
		text += fmt.Sprintf(", %.2f µs a delivery", *r.ServerCPUPerDelivery)
	}
	if r.CPUPerClient > 0 {
		text += fmt.Sprintf(", %.3f ms a client and second", r.CPUPerClient)
	}
	add("server CPU", "%s", text)
	if r.WritesPerDelivery != nil {
		add("writes per delivery", "%.3f", *r.WritesPerDelivery)
	}
	if r.ServerRSS != nil && r.RSSPerConn != nil {
		add("server memory", "%.1f MB, %s bytes a connection", float64(*r.ServerRSS)/1e6, count(*r.RSSPerConn))
	}
}

// Verdict says in a sentence what went wrong, or "".
func (r *Report) Verdict() string {
	return verdict([]promise{{r.Lost, "lost"}, {r.Duplicates, "delivered or applied twice"}, {r.Reordered, "out of order"}, {r.Corrupt, "not what was sent"}})
}

// A promise was broken so many times.
type promise struct {
	broken uint64
	what   string
}

func verdict(promises []promise) string {
	var parts []string
	for _, p := range promises {
		if p.broken > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.broken, p.what))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "The server broke its promise: " + strings.Join(parts, ", ") + "."
}

// Table writes the report for people.
func (r *Report) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\n%s\n\n", r.Scenario)
	for _, row := range r.Rows() {
		fmt.Fprintf(t, "  %s\t%s\n", row.Name, row.Value)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range r.Notes() {
		if _, err := fmt.Fprintf(w, "\n  %s\n", note); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// Notes are what a reader of the figures must know.
func (r *Report) Notes() []string {
	var notes []string
	if r.GeneratorSaturated {
		notes = append(notes, "The load generator was the bottleneck: it had too little CPU to keep its schedule, and the server may do better than this shows.")
	}
	if v := r.Verdict(); v != "" {
		notes = append(notes, v)
	}
	return notes
}

// count writes a number with three or more digits of truth and its thousands apart.
func count(v float64) string {
	if v < 100 && v != float64(int64(v)) {
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(float64(n)) + " " + what + "s"
}

func ms(v float64) string {
	switch {
	case v < 1:
		return fmt.Sprintf("%.3f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
