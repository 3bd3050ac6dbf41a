package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// A Takeover is what became of a worker's rooms when it died, hung or drained.
// The JSON names are a contract; outages without "all" are those of the affected
// rooms, over all rounds.
type Takeover struct {
	Scenario string  `json:"scenario"`
	Kind     string  `json:"kind"`
	Fault    string  `json:"fault"`
	NATS     int     `json:"nats"` // servers, and replicas of logs and records
	Workers  int     `json:"workers"`
	Clients  int     `json:"clients"`
	Rooms    int     `json:"rooms"`
	AddsPerS float64 `json:"adds_per_s"`
	ProbeMS  float64 `json:"probe_ms"` // between two commands to a room; 0: rooms were not probed

	Rounds []TakeoverRound `json:"rounds"`
	Outages
	SocketsDropped uint64            `json:"sockets_dropped"`
	Closings       map[string]uint64 `json:"closings,omitempty"` // those, by code
	Resets         uint64            `json:"resets"`             // times that a client was told that its room began anew
	Acked          uint64            `json:"acked"`              // adds
	AckedLost      *uint64           `json:"acked_lost"`         // of those, not where the reply said in the end; null for kinds without a ledger
	Doubled        uint64            `json:"acked_doubled"`      // entries that are there more than once
	Unread         uint64            `json:"unread_rooms"`       // ledgers that could not be read in the end, and are not in AckedLost
	Unanswered     uint64            `json:"unanswered"`         // commands that never got a reply
	Tallies

	// Durable kinds are to lose nothing; for others losses are told and no fault.
	Durable bool `json:"durable"`
}

// A TakeoverRound is one fault.
type TakeoverRound struct {
	Worker      string `json:"worker"`
	WorkerRooms int    `json:"worker_rooms"` // it had, as its metrics said
	Outages
	// After a pause: rooms that the worker still had when it had gone on for more
	// than 10 s.
	KeptRooms int `json:"kept_rooms"`

	Each []Outage `json:"-"` // of every room
}

// An Outage is what one room's members saw of one fault.
type Outage struct {
	Affected bool
	Never    bool // it was not back by the end
	Length   time.Duration
	Wait     time.Duration // longest time that anybody waited for an answer, whatever for
}

// Outages sum up; rooms that never paused count as 0 among all.
type Outages struct {
	Affected int     `json:"affected"`
	Never    int     `json:"never_back"`
	P50      float64 `json:"outage_p50_ms"`
	P99      float64 `json:"outage_p99_ms"`
	Max      float64 `json:"outage_max_ms"`
	AllP50   float64 `json:"outage_all_p50_ms"`
	AllP99   float64 `json:"outage_all_p99_ms"`
	// Longest waits for an answer in the rooms that were not affected: what the
	// takeover of others costs them.
	OthersP50 float64 `json:"others_wait_p50_ms"`
	OthersMax float64 `json:"others_wait_max_ms"`
}

// NewOutages sums the outages of rooms up. Those that did not come back count as
// longer than all others: a percentile that meets one is -1.
func NewOutages(each []Outage) (o Outages) {
	var all, affected, others []time.Duration
	for _, e := range each {
		length := e.Length
		if e.Never {
			o.Never++
			length = math.MaxInt64
		}
		all = append(all, length)
		if e.Affected {
			affected = append(affected, length)
		} else {
			others = append(others, e.Wait)
		}
	}
	slices.Sort(all)
	slices.Sort(affected)
	slices.Sort(others)
	o.Affected = len(affected)
	o.P50, o.P99, o.Max = percentile(affected, 50), percentile(affected, 99), percentile(affected, 100)
	o.AllP50, o.AllP99 = percentile(all, 50), percentile(all, 99)
	o.OthersP50, o.OthersMax = percentile(others, 50), percentile(others, 100)
	return o
}

// percentile is the smallest of the sorted lengths that p of 100 do not exceed,
// in milliseconds; 0 of none, -1 if that one has no end.
func percentile(sorted []time.Duration, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	length := sorted[min(max(at, 0), len(sorted)-1)]
	if length == math.MaxInt64 {
		return -1
	}
	return float64(length.Microseconds()) / 1e3
}

// Finish sums the rounds up.
func (t *Takeover) Finish() {
	var each []Outage
	for i := range t.Rounds {
		r := &t.Rounds[i]
		r.Outages = NewOutages(r.Each)
		each = append(each, r.Each...)
	}
	t.Outages = NewOutages(each)
}

// JSON writes the result as one object.
func (t *Takeover) JSON(w io.Writer) error { return writeJSON(w, t) }

// Rows are the figures.
func (t *Takeover) Rows() []Row {
	var rows []Row
	add := func(name, format string, args ...any) {
		rows = append(rows, Row{name, fmt.Sprintf(format, args...)})
	}
	add("cluster", "%s, %s, 1 edge", plural(t.NATS, "NATS server"), plural(t.Workers, "worker"))
	add("clients, rooms", "%s in %s of kind %s", count(float64(t.Clients)), plural(t.Rooms, "room"), t.Kind)
	load := fmt.Sprintf("%s writes a second over all rooms", count(t.AddsPerS))
	if t.ProbeMS > 0 {
		load += fmt.Sprintf(", and a command to each room every %s ms", ms(t.ProbeMS))
	}
	add("load", "%s", load)
	for i, r := range t.Rounds {
		add(fmt.Sprintf("%s %d", t.Fault, i+1), "%s with %s: %d affected, outage p50 %s  p99 %s  max %s ms",
			r.Worker, plural(r.WorkerRooms, "room"), r.Affected, length(r.P50), length(r.P99), length(r.Max))
	}
	add("outage, affected rooms", "p50 %s  p99 %s  max %s ms, of %d", length(t.P50), length(t.P99), length(t.Max), t.Affected)
	add("outage, all rooms", "p50 %s  p99 %s ms", length(t.AllP50), length(t.AllP99))
	if t.Affected < len(t.Rounds)*t.Rooms {
		add("longest waits in other rooms", "p50 %s  max %s ms", ms(t.OthersP50), ms(t.OthersMax))
	}
	add("sockets dropped", "%d %s", t.SocketsDropped, tallies(t.Closings))
	add("clients that saw a reset", "%d", t.Resets)
	if t.AckedLost != nil {
		add("acknowledged writes", "%s, of which %d lost and %d doubled", count(float64(t.Acked)), *t.AckedLost, t.Doubled)
	}
	add("never answered, unread rooms", "%d, %d", t.Unanswered, t.Unread)
	add("lost, duplicates, reordered", "%d, %d, %d", t.Lost, t.Duplicates, t.Reordered)
	return rows
}

func length(v float64) string {
	if v < 0 {
		return "∞"
	}
	return ms(v)
}

// Table writes the result for people.
func (t *Takeover) Table(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\n%s: %s\n\n", t.Scenario, t.Fault)
	for _, row := range t.Rows() {
		fmt.Fprintf(table, "  %s\t%s\n", row.Name, row.Value)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, note := range t.notes() {
		fmt.Fprintf(w, "\n  %s\n", note)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (t *Takeover) notes() []string {
	var notes []string
	if len(t.Codes) > 0 {
		notes = append(notes, "Refused for the moment, and sent again, or refused: "+tallies(t.Codes)+".")
	}
	if v := t.Verdict(); v != "" {
		notes = append(notes, v)
	}
	return notes
}

// HTML writes the result as one page that needs nothing else.
func (t *Takeover) HTML(w io.Writer) error {
	s := sheet{Scenario: t.Scenario + ": " + t.Fault, Notes: t.notes(), Rows: t.Rows()}
	if p, ok := t.plot(); ok {
		s.Plots = []plot{p}
	}
	return page.Execute(w, s)
}

// plot shows the affected rooms' outages, shortest first.
func (t *Takeover) plot() (plot, bool) {
	var lengths []float64
	for _, r := range t.Rounds {
		for _, o := range r.Each {
			if o.Affected && !o.Never {
				lengths = append(lengths, float64(o.Length.Microseconds())/1e3)
			}
		}
	}
	if len(lengths) < 2 {
		return plot{}, false
	}
	slices.Sort(lengths)
	p := plot{Title: "Outages of the affected rooms", XLabel: "% of the rooms", YLabel: "ms"}
	y, ticks := logScale(lengths[0], lengths[len(lengths)-1])
	p.YTicks = ticks
	x := func(percent float64) float64 { return plotLeft + (plotRight-plotLeft)*percent/100 }
	for percent := 0.0; percent <= 100; percent += 10 {
		p.XTicks = append(p.XTicks, tick{x(percent), fmt.Sprintf("%.0f", percent)})
	}
	points := make([]Point, len(lengths))
	for i, v := range lengths {
		points[i] = Point{X: 100 * float64(i) / float64(len(lengths)-1), P50: v}
	}
	p.Lines = []line{{"outage", "a", path(points, func(c Point) (float64, float64) { return x(c.X), y(c.P50) })}}
	return p, true
}

// Verdict says in a sentence what went wrong, or "".
func (t *Takeover) Verdict() string {
	var kept, lost uint64
	for _, r := range t.Rounds {
		kept += uint64(r.KeptRooms)
	}
	if t.AckedLost != nil {
		lost = *t.AckedLost
	}
	promises := []promise{
		{t.Lost, "lost"}, {t.Duplicates, "delivered or applied twice"}, {t.Reordered, "out of order"}, {t.Corrupt, "not what was sent"},
		{t.Doubled, "entries doubled"}, {t.SocketsDropped, "sockets dropped"}, {uint64(t.Never), "rooms never back"},
		{t.Unanswered, "commands never answered"}, {t.Unread, "ledgers that nobody could read"}, {kept, "rooms kept by a worker that was paused"},
	}
	if t.Durable {
		promises = append(promises, promise{lost, "acknowledged writes lost"}, promise{t.Resets, "clients saw their room begin anew"})
	}
	return verdict(promises)
}
