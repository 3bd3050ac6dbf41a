package chaos

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed chaos.html
var pageSource string

var resultPage = template.Must(template.New("chaos").Parse(pageSource))

// The plot has a band of faults, a curve of acks and a line for each room. Its
// units are scaled by the page.
const (
	plotLeft, plotRight = 90.0, 870.0
	faultTop            = 14.0
	faultHeight         = 14.0
	curveHeight         = 90.0
	roomsHeight         = 320.0
	leastRoom, mostRoom = 1.5, 14.0
)

// A drawing is the plot's content.
type drawing struct {
	Width, Height     float64
	Ticks             []mark
	Faults            []bar
	Gaps              []bar
	Curve             string
	CurveTop, RoomTop float64
	Full              int // acks a second at the top of the curve's band
	RoomHeight        float64
}

type mark struct {
	X     float64
	Label string
}

type bar struct {
	X, Y, Width, Height float64
	Class, Label        string
}

// HTML writes the result as one page that needs nothing else.
func (res *Result) HTML(w io.Writer) error {
	violations := res.Violations
	if len(violations) > shown {
		violations = violations[:shown]
	}
	return resultPage.Execute(w, struct {
		*Result
		Rows  [][2]string
		Plot  drawing
		Shown []Violation
	}{res, res.rows(), res.draw(), violations})
}

// draw lays the plot out.
func (res *Result) draw() drawing {
	end := max(res.Seconds, 1)
	x := func(s float64) float64 { return plotLeft + (plotRight-plotLeft)*min(s, end)/end }
	d := drawing{Width: plotRight + 20}
	for s := 0.0; s <= end; s += tickStep(end) {
		d.Ticks = append(d.Ticks, mark{x(s), fmt.Sprintf("%g", s)})
	}
	lanes := res.lanes()
	for i, f := range res.Timeline {
		if f.Skipped != "" {
			continue
		}
		verb, _, _ := strings.Cut(f.Sort, "-")
		d.Faults = append(d.Faults, bar{
			X: x(f.At), Y: faultTop + float64(lanes[i])*(faultHeight+3), Width: max(x(f.Until)-x(f.At), 2), Height: faultHeight,
			Class: verb, Label: fmt.Sprintf("%s %s, %.2f to %.2f s", verb, f.Target, f.At, f.Until),
		})
	}
	d.CurveTop = faultTop + 3*(faultHeight+3) + 16
	d.Curve, d.Full = res.curve(x, d.CurveTop, end)
	d.RoomTop = d.CurveTop + curveHeight + 24
	rooms := max(len(res.rooms), 1)
	d.RoomHeight = min(max(roomsHeight/float64(rooms), leastRoom), mostRoom)
	d.Height = d.RoomTop + d.RoomHeight*float64(rooms) + 30
	for _, o := range res.outages {
		from := o.From.Seconds()
		d.Gaps = append(d.Gaps, bar{
			X: x(from), Y: d.RoomTop + d.RoomHeight*float64(o.Room),
			Width: max(x(from+o.Length.Seconds())-x(from), 1), Height: max(d.RoomHeight-0.5, 1), Class: "gap",
			Label: fmt.Sprintf("room %s: %.0f ms by %s", res.rooms[o.Room].ID, millis(o.Length), res.done[o.Fault].Target),
		})
	}
	return d
}

// lanes puts faults that overlap below each other.
func (res *Result) lanes() []int {
	var busy [3]float64
	lanes := make([]int, len(res.Timeline))
	for i, f := range res.Timeline {
		for lane := range busy {
			if busy[lane] <= f.At || lane == len(busy)-1 {
				lanes[i], busy[lane] = lane, f.Until
				break
			}
		}
	}
	return lanes
}

// curve is the number of acks in every quarter of a second. After an outage all
// that has waited comes at once: that is cut off at twice the rate of the load.
func (res *Result) curve(x func(float64) float64, top, end float64) (points string, full int) {
	const slot = 250 * time.Millisecond
	counts := make([]int, int(end/slot.Seconds())+1)
	for _, room := range res.rooms {
		for _, r := range room.Records {
			for i := range r.Ops {
				if at := int(r.Ops[i].Done / slot); r.Ops[i].Fate == Acked && at < len(counts) {
					counts[at]++
				}
			}
		}
	}
	most := 2 * max(res.Rate, 1) * slot.Seconds()
	var b strings.Builder
	for i, n := range counts {
		share := min(float64(n)/most, 1)
		fmt.Fprintf(&b, "%.1f,%.1f ", x((float64(i)+0.5)*slot.Seconds()), top+curveHeight*(1-share))
	}
	return strings.TrimSpace(b.String()), int(2 * res.Rate)
}

// tickStep divides the seconds into at most ten.
func tickStep(end float64) float64 {
	for step := 1.0; ; step *= 10 {
		for _, times := range []float64{1, 2, 5} {
			if end/(times*step) <= 10 {
				return times * step
			}
		}
	}
}
