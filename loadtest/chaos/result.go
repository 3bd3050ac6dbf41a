package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"roomd/loadtest/cluster"
)

// A Result is what a run has found. The JSON names are a contract.
type Result struct {
	Scenario string  `json:"scenario"`
	Seed     uint64  `json:"seed"`
	Kind     string  `json:"kind"`
	Clients  int     `json:"clients"`
	Rooms    int     `json:"rooms"`
	Rate     float64 `json:"rate"`
	Seconds  float64 `json:"seconds"`
	Single   bool    `json:"single"`

	Faults         int `json:"faults"`                // carried out
	NoEffect       int `json:"faults_without_effect"` // of these
	SocketsDropped int `json:"sockets_dropped"`       // although their edge lived
	SocketsMoved   int `json:"sockets_moved"`         // because their edge was killed, drained or hung
	Acked          int `json:"acked"`                 // commands
	AckedLost      int `json:"acked_lost"`
	Duplicates     int `json:"duplicates"` // commands applied and broadcasts heard twice
	Reordered      int `json:"reordered"`
	Violated       int `json:"violations"`

	// Over the rooms that a fault affected, in milliseconds.
	OutageP50 float64 `json:"outage_p50_ms"`
	OutageP99 float64 `json:"outage_p99_ms"`
	OutageMax float64 `json:"outage_max_ms"`

	// From losing a connection to being in the room again.
	ReturnP50 float64 `json:"return_p50_ms"`
	ReturnP99 float64 `json:"return_p99_ms"`
	ReturnMax float64 `json:"return_max_ms"`

	Unknown     int     `json:"unknown_fate"` // commands that never got an answer, or one that doesn't tell
	Unsent      int     `json:"unsent"`       // commands that were due while 64 others of the client waited
	Refused     int     `json:"refused"`      // commands that were said not to have happened
	Resets      int     `json:"resets"`       // told to members
	Unrecovered int     `json:"unrecovered"`  // joins that said that something was missed
	Excused     int     `json:"acked_lost_with_notice"`
	LostSpan    float64 `json:"lost_span_ms"` // longest time from the reply of such a command to the fault
	Undecided   int     `json:"registers_undecided"`
	FalseStarts int     `json:"false_starts"` // processes that gave up before they were ready, and were started again

	// How late our own process ran, which is in no outage: a slow machine.
	OwnDelays   int     `json:"own_delays"` // times it was late by noticeably more than a tick
	OwnDelaySum float64 `json:"own_delay_sum_ms"`
	OwnDelayMax float64 `json:"own_delay_max_ms"`

	Checks     Checks        `json:"checks"` // how many things were held against each rule
	Sorts      []SortResult  `json:"sorts"`
	Timeline   []FaultResult `json:"timeline"`
	Violations []Violation   `json:"violation_list,omitempty"`
	Dump       string        `json:"dump,omitempty"` // directory with histories and logs

	rooms   []*Room
	outages []Outage
	done    []Done
	own     []Delay
	returns []time.Duration
}

// A SortResult sums up the faults of one sort.
type SortResult struct {
	Sort      string  `json:"sort"`
	Faults    int     `json:"faults"`
	Rooms     int     `json:"rooms_affected"` // over all of them
	OutageP50 float64 `json:"outage_p50_ms"`
	OutageP99 float64 `json:"outage_p99_ms"`
	OutageMax float64 `json:"outage_max_ms"`
}

// A FaultResult is one fault.
type FaultResult struct {
	At      float64 `json:"s"`
	Until   float64 `json:"until_s"`
	Sort    string  `json:"sort"`
	Target  string  `json:"target"`
	Rooms   int     `json:"rooms_affected"`
	P50     float64 `json:"outage_p50_ms"`
	Max     float64 `json:"outage_max_ms"`
	Skipped string  `json:"skipped,omitempty"`

	Took     bool    `json:"took_effect"`
	Effect   string  `json:"effect,omitempty"`
	OwnDelay float64 `json:"own_delay_ms"` // longest time in which the checker itself could not run, until its outages are over
}

// election is how long NATS may need to have leaders again.
const election = 10 * time.Second

// judge checks all rooms and sums everything up.
func (r *run) judge(rooms []*Room) *Result {
	res := &Result{
		Scenario: "chaos", Seed: r.cfg.Seed, Kind: kindsOf(rooms), Clients: r.cfg.Clients, Rooms: r.cfg.Rooms,
		Rate: r.cfg.Rate, Seconds: r.loaded.Seconds(), Single: r.cfg.Cluster.Single, rooms: rooms, done: r.in.done,
		Checks: make(Checks),
	}
	r.delays = r.own.Delays(r.from)
	res.own = r.delays
	slices.SortFunc(res.done, func(a, b Done) int { return cmp.Compare(a.Began, b.Began) })
	for i, room := range rooms {
		for j := range room.Registers {
			room.Registers[j].since(r.from)
		}
		for _, d := range res.done {
			if d.Skipped != "" || d.role() == "edge" || d.role() == "" {
				continue // an edge takes nothing from a room with it
			}
			room.Faults = append(room.Faults, d.Began)
			if d.keepsFromStore() {
				room.Away = append(room.Away, [2]time.Duration{d.Began, max(d.Ended, d.Began+election)})
			}
		}
		for _, p := range r.rooms[i] {
			room.Records = append(room.Records, p.record(r.from))
			res.count(p, r.edgeTroubled)
		}
		for _, p := range r.visitors[i] {
			room.Visitors = append(room.Visitors, p.record(r.from))
			res.count(p, r.edgeTroubled)
		}
		v := Check(room, r.durability(r.plots[i].d))
		res.Checks.add(v.Checks)
		res.Checks[didSockets] += len(room.Records)
		res.Acked += v.Acked
		res.Unknown += v.Unknown
		res.Excused += v.Excused
		res.LostSpan = max(res.LostSpan, millis(v.Span))
		res.Undecided += v.Undecided
		for _, violation := range v.Violations {
			res.add(violation)
		}
	}
	for _, what := range r.c.Crashes() {
		res.add(Violation{Rule: RuleCrash, Text: what})
	}
	res.FalseStarts = len(r.c.FalseStarts())
	for _, err := range r.in.mistakes {
		res.add(Violation{Rule: RuleProcess, Text: err.Error()})
	}
	res.measure(r.every(), r.loaded)
	return res
}

// add notes a violation.
func (res *Result) add(v Violation) {
	res.Violations = append(res.Violations, v)
	res.Violated++
	switch v.Rule {
	case RuleLost, RuleMoved:
		res.AckedLost++
	case RuleTwice, RuleRepeated:
		res.Duplicates++
	case RuleOrder:
		res.Reordered++
	}
}

// count adds up what one player went through.
func (res *Result) count(p *player, troubled func(url string, at time.Duration) bool) {
	res.Unsent += p.unsent
	for i := range p.rec.Ops {
		if p.rec.Ops[i].Fate == Refused {
			res.Refused++
		}
	}
	first, lost := true, time.Duration(-1)
	for _, h := range p.rec.Heard {
		switch h.What {
		case HeardLost:
			if lost < 0 {
				lost = h.At
			}
		case HeardReset:
			res.Resets++
		case HeardJoined:
			if !first && !h.Recovered {
				res.Unrecovered++
			}
			if lost >= 0 {
				res.returns = append(res.returns, h.At-lost)
			}
			lost = -1
			first = false
		}
	}
	for _, d := range p.drops {
		if troubled(d.url, d.at) {
			res.SocketsMoved++
		} else {
			res.SocketsDropped++
			res.add(Violation{Rule: RuleSocket, Client: p.name, Text: fmt.Sprintf("at %v: %v", d.at.Round(time.Millisecond), d.why)})
		}
	}
}

// keepsFromStore reports whether records may not have been written because of it.
func (d *Done) keepsFromStore() bool {
	switch d.verb() {
	case "cut", "stall", "hold", "delay":
		return true
	}
	return d.role() == "nats" || d.role() == "every"
}

// edgeTroubled reports whether the edge at url was killed, drained, hung or starved
// not long before. Our own process may have learned late of what an edge did.
func (r *run) edgeTroubled(url string, at time.Duration) bool {
	for _, d := range r.in.done {
		switch d.verb() {
		case "cut", "stall", "hold", "delay":
			continue // of the edge's way to NATS, not of its clients'
		}
		grace := time.Second + delayed(r.delays, d.Ended, at)
		if d.Skipped == "" && d.Began <= at && at <= d.Ended+grace &&
			slices.ContainsFunc(d.hit, func(p *cluster.Process) bool { return p.URL == url }) {
			return true
		}
	}
	return false
}

// measure works out the outages.
func (res *Result) measure(every, end time.Duration) {
	res.outages = ownDelaysOff(outages(res.rooms, res.done, every, end), res.own)
	for _, d := range res.own {
		res.OwnDelays++
		res.OwnDelaySum += millis(d.Length)
		res.OwnDelayMax = max(res.OwnDelayMax, millis(d.Length))
	}
	var all []time.Duration
	bySort, byFault := make(map[string][]time.Duration), make(map[int][]time.Duration)
	for _, o := range res.outages {
		sort := res.done[o.Fault].Sort
		all = append(all, o.Length)
		bySort[sort] = append(bySort[sort], o.Length)
		byFault[o.Fault] = append(byFault[o.Fault], o.Length)
	}
	slices.Sort(all)
	res.OutageP50, res.OutageP99, res.OutageMax = millis(quantile(all, 0.5)), millis(quantile(all, 0.99)), millis(quantile(all, 1))
	slices.Sort(res.returns)
	res.ReturnP50, res.ReturnP99, res.ReturnMax = millis(quantile(res.returns, 0.5)), millis(quantile(res.returns, 0.99)), millis(quantile(res.returns, 1))
	res.sumUp(bySort, byFault)
}

// sumUp fills in the timeline and the table by sort.
func (res *Result) sumUp(bySort map[string][]time.Duration, byFault map[int][]time.Duration) {
	sums := make(map[string]*SortResult)
	var names []string
	for i, d := range res.done {
		lengths := byFault[i]
		slices.Sort(lengths)
		res.Timeline = append(res.Timeline, FaultResult{
			At: d.Began.Seconds(), Until: d.Ended.Seconds(), Sort: d.Sort, Target: d.Target, Rooms: len(lengths),
			P50: millis(quantile(lengths, 0.5)), Max: millis(quantile(lengths, 1)), Skipped: d.Skipped,
			Took: d.Took, Effect: d.Effect, OwnDelay: millis(longestDelay(res.own, d.Began, d.Ended+aftermath)),
		})
		if d.Skipped != "" {
			continue
		}
		res.Faults++
		if !d.Took {
			res.NoEffect++
		}
		if sums[d.Sort] == nil {
			sums[d.Sort] = &SortResult{Sort: d.Sort}
			names = append(names, d.Sort)
		}
		sums[d.Sort].Faults++
	}
	slices.Sort(names)
	for _, name := range names {
		s, lengths := sums[name], bySort[name]
		slices.Sort(lengths)
		s.Rooms = len(lengths)
		s.OutageP50, s.OutageP99, s.OutageMax = millis(quantile(lengths, 0.5)), millis(quantile(lengths, 0.99)), millis(quantile(lengths, 1))
		res.Sorts = append(res.Sorts, *s)
	}
}

func millis(d time.Duration) float64 { return float64(d.Round(10*time.Microsecond)) / 1e6 }

// JSON writes the result as one object.
func (res *Result) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(res)
}

// Did says what a fault did, and whether that made a difference.
func (f *FaultResult) Did() string {
	switch {
	case f.Skipped != "":
		return ""
	case !f.Took:
		return "NO EFFECT: " + f.Effect
	}
	return f.Effect
}

// Verdict says in a sentence what was broken, or "".
func (res *Result) Verdict() string {
	if res.Violated == 0 {
		return ""
	}
	return fmt.Sprintf("%d violations with seed %d; histories and logs are in %s", res.Violated, res.Seed, res.Dump)
}

// shown is how many violations are printed; all are in the dump.
const shown = 30

// Table writes the result for people.
func (res *Result) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nchaos, seed %d\n\n", res.Seed)
	for _, row := range res.rows() {
		fmt.Fprintf(t, "  %s\t%s\n", row[0], row[1])
	}
	fmt.Fprintf(t, "\n  s\tfault\tuntil\trooms affected\toutage p50, max (ms)\twhat it did\n")
	for _, f := range res.Timeline {
		outage := "none"
		switch {
		case f.Skipped != "":
			outage = "not done: " + f.Skipped
		case f.Rooms > 0:
			outage = fmt.Sprintf("%.0f, %.0f", f.P50, f.Max)
		}
		fmt.Fprintf(t, "  %.2f\t%s %s\t%.2f\t%d\t%s\t%s\n", f.At, strings.SplitN(f.Sort, "-", 2)[0], f.Target, f.Until, f.Rooms, outage, f.Did())
	}
	fmt.Fprintf(t, "\n  sort\tfaults\trooms affected\toutage p50\tp99\tmax (ms)\n")
	for _, s := range res.Sorts {
		fmt.Fprintf(t, "  %s\t%d\t%d\t%.0f\t%.0f\t%.0f\n", s.Sort, s.Faults, s.Rooms, s.OutageP50, s.OutageP99, s.OutageMax)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if res.Dump != "" {
		fmt.Fprintf(w, "\n  histories and logs are in %s\n", res.Dump)
	}
	fmt.Fprintln(w)
	for i, v := range res.Violations {
		if i == shown {
			fmt.Fprintf(w, "  … and %d more\n", len(res.Violations)-shown)
			break
		}
		fmt.Fprintf(w, "  VIOLATION: %s\n", v)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// rows are the figures, with their names.
func (res *Result) rows() [][2]string {
	row := func(name, format string, args ...any) [2]string { return [2]string{name, fmt.Sprintf(format, args...)} }
	rows := [][2]string{
		row("load", "%d clients in %d rooms (%s), %.0f commands a second for %.0f s", res.Clients, res.Rooms, res.Kind, res.Rate, res.Seconds),
		row("faults", "%d, %d of them without effect", res.Faults, res.NoEffect),
		row("sockets dropped", "%d while their edge lived, %d with their edge", res.SocketsDropped, res.SocketsMoved),
		row("commands", "%d acked, %d refused, %d of unknown fate, %d not sent because too many waited", res.Acked, res.Refused, res.Unknown, res.Unsent),
		row("acked and lost, applied or heard twice, out of order", "%d, %d, %d", res.AckedLost, res.Duplicates, res.Reordered),
		row("told to clients", "%d times reset, %d times recovered: false", res.Resets, res.Unrecovered),
		row("outage of affected rooms", "p50 %.0f  p99 %.0f  max %.0f ms", res.OutageP50, res.OutageP99, res.OutageMax),
	}
	if len(res.returns) > 0 {
		rows = append(rows, row("back in the room after a lost connection", "p50 %.0f  p99 %.0f  max %.0f ms", res.ReturnP50, res.ReturnP99, res.ReturnMax))
	}
	if res.Excused > 0 {
		rows = append(rows, row("lost with notice", "%d acked commands, at most %.0f ms back from the fault", res.Excused, res.LostSpan))
	}
	if res.Undecided > 0 {
		rows = append(rows, row("registers", "%d with a history too long to decide in %v", res.Undecided, checkLinear))
	}
	if res.FalseStarts > 0 {
		rows = append(rows, row("false starts", "%d times a process gave up before it was ready, and was started again", res.FalseStarts))
	}
	for _, name := range checkNames {
		rows = append(rows, row("checked: "+name, "%d", res.Checks[name]))
	}
	rows = append(rows, row("our own delays", "%d, %.0f ms in all, max %.0f ms; not in outages, and no excuse", res.OwnDelays, res.OwnDelaySum, res.OwnDelayMax))
	return append(rows, row("violations", "%d", res.Violated))
}
