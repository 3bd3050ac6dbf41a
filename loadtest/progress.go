package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"roomd/loadtest/report"
)

const quietFor = 2 * time.Second // between two lines when nobody watches a bar

// progress tells a waiting person what goes on: a bar on a terminal, a line now
// and then elsewhere.
type progress struct {
	out  io.Writer
	bar  *progressbar.ProgressBar // nil: plain lines
	last time.Time                // of the last plain line
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(1000,
			progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(24), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
	}
	return p
}

// say begins a phase whose length nobody knows.
func (p *progress) say(what string) {
	p.set(what, 0)
	if p.bar == nil && time.Since(p.last) > quietFor {
		p.line(what)
	}
}

// step tells of a second of the measurement.
func (p *progress) step(what string, at report.Point, total float64) {
	text := fmt.Sprintf("%s: %.0f deliveries/s", what, at.Deliveries)
	if at.P99 > 0 {
		text += fmt.Sprintf(", p50 %.1f ms, p99 %.1f ms", at.P50, at.P99)
	}
	p.set(text, at.X/total)
	if p.bar == nil && time.Since(p.last) > quietFor {
		p.line(fmt.Sprintf("%3.0f of %.0f s  %s", at.X, total, text))
	}
}

// count tells that done of total rounds are over.
func (p *progress) count(what string, done, total int) {
	text := fmt.Sprintf("%s %d of %d", what, done+1, total)
	p.set(text, float64(done)/float64(total))
	if p.bar == nil {
		p.line(text)
	}
}

// note writes a line to keep.
func (p *progress) note(text string) {
	p.end()
	p.line(text)
}

func (p *progress) line(text string) {
	p.last = time.Now()
	fmt.Fprintln(p.out, text)
}

func (p *progress) set(text string, share float64) {
	if p.bar == nil {
		return
	}
	// A bar that cannot be drawn is no reason to end a test.
	_ = p.bar.Set(int(min(max(share, 0), 0.999) * 1000))
	p.bar.Describe(text)
}

// end takes the bar off the screen; the next step draws it again.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear() // as in set
	}
}
