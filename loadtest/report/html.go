package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed report.html
var pageSource string

var page = template.Must(template.New("report").Parse(pageSource))

// A plot is an inline SVG: lines over a grid.
type plot struct {
	Title          string
	XTicks, YTicks []tick
	Lines          []line
	XLabel, YLabel string
}

type tick struct {
	At    float64
	Label string
}

type line struct {
	Name, Class, Points string
}

// Plots are drawn in these units; the page scales them.
const (
	plotLeft, plotRight = 60.0, 780.0
	plotTop, plotBottom = 12.0, 250.0
)

// HTML writes the report as one page that needs nothing else.
func (r *Report) HTML(w io.Writer) error {
	var plots []plot
	if len(r.Curve) > 1 {
		plots = append(plots, r.percentiles())
	}
	if len(r.Timeline) > 1 {
		plots = append(plots, r.seconds())
	}
	return page.Execute(w, struct {
		*Report
		Plots []plot
	}{r, plots})
}

// percentiles plots latency over the scale of nines.
func (r *Report) percentiles() plot {
	p := plot{Title: "Latency by percentile", XLabel: "percentile", YLabel: "ms"}
	last := r.Curve[len(r.Curve)-1]
	y, ticks := logScale(r.Curve[0].P50, last.P50)
	p.YTicks = ticks
	x := func(nines float64) float64 { return plotLeft + (plotRight-plotLeft)*nines/last.X }
	for _, t := range []tick{{0, "0"}, {0.30103, "50"}, {1, "90"}, {2, "99"}, {3, "99.9"}, {4, "99.99"}, {5, "99.999"}} {
		if t.At <= last.X {
			p.XTicks = append(p.XTicks, tick{x(t.At), t.Label})
		}
	}
	p.Lines = []line{{"latency", "a", path(r.Curve, func(c Point) (float64, float64) { return x(c.X), y(c.P50) })}}
	return p
}

// seconds plots latency over the time of the measurement.
func (r *Report) seconds() plot {
	p := plot{Title: "Latency over time", XLabel: "seconds", YLabel: "ms"}
	low, high := math.Inf(1), 0.0
	for _, s := range r.Timeline {
		if s.P99 > 0 {
			low, high = min(low, s.P50), max(high, s.P99)
		}
	}
	y, ticks := logScale(low, high)
	p.YTicks = ticks
	end := r.Timeline[len(r.Timeline)-1].X
	x := func(s float64) float64 { return plotLeft + (plotRight-plotLeft)*s/end }
	for s := 0.0; s <= end; s += evenStep(end) {
		p.XTicks = append(p.XTicks, tick{x(s), fmt.Sprintf("%g", s)})
	}
	p.Lines = []line{
		{"p50", "a", path(r.Timeline, func(s Point) (float64, float64) { return x(s.X), y(s.P50) })},
		{"p99", "b", path(r.Timeline, func(s Point) (float64, float64) { return x(s.X), y(s.P99) })},
	}
	return p
}

// evenStep is a step of 1, 2 or 5 times a power of ten that divides the seconds up
// to end into at most ten.
func evenStep(end float64) float64 {
	for step := 1.0; ; step *= 10 {
		for _, times := range []float64{1, 2, 5} {
			if end/(times*step) <= 10 {
				return times * step
			}
		}
	}
}

// logScale maps values between low and high to the plot's height, and marks the
// powers of ten.
func logScale(low, high float64) (y func(float64) float64, ticks []tick) {
	if !(low > 0) || math.IsInf(low, 1) {
		low = 0.001
	}
	from := math.Floor(math.Log10(low))
	to := max(math.Ceil(math.Log10(max(high, low))), from+1)
	y = func(v float64) float64 {
		share := (math.Log10(max(v, math.Pow(10, from))) - from) / (to - from)
		return plotBottom - (plotBottom-plotTop)*share
	}
	for e := from; e <= to; e++ {
		v := math.Pow(10, e)
		ticks = append(ticks, tick{y(v), fmt.Sprintf("%g", v)})
	}
	return y, ticks
}

func path(points []Point, at func(Point) (x, y float64)) string {
	var b strings.Builder
	for _, p := range points {
		x, y := at(p)
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	return strings.TrimSpace(b.String())
}
