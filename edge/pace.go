package edge

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A pace spreads a loop's turns out while the process is short of CPU. What a
// loop does costs visits to sockets and envelopes to the bus, hardly bytes: the
// more has gathered when a turn begins, the cheaper is each message. With CPU to
// spare a turn begins at once; when there is none left, turns come up to
// maxPause apart, and a message waits that long twice, on its way in and out.
type pace struct {
	pause time.Duration // between the end of a turn and the next one
	at    time.Time     // when CPU time was last looked at
	used  time.Duration // by the process, until then
	timer *time.Timer
}

// The pause grows and shrinks by pauseStep every paceEvery, so that it settles
// where the process is busy but not full.
const (
	paceEvery = 50 * time.Millisecond
	pauseStep = time.Millisecond
	maxPause  = 5 * time.Millisecond
	fullShare = 0.96 // of the CPUs: longer pauses
	busyShare = 0.90 // shorter ones
)

// look adapts the pause to what the process has used since the last look.
func (p *pace) look(now time.Time) {
	wall := now.Sub(p.at)
	if wall < paceEvery {
		return
	}
	used, ok := processTime()
	if !ok {
		return
	}
	if !p.at.IsZero() {
		p.pause = nextPause(p.pause, float64(used-p.used)/float64(wall)/float64(runtime.GOMAXPROCS(0)))
	}
	p.at, p.used = now, used
}

// nextPause is the pause after a time in which the process used the given share
// of its CPUs.
func nextPause(pause time.Duration, share float64) time.Duration {
	switch {
	case share > fullShare:
		return min(pause+pauseStep, maxPause)
	case share < busyShare:
		return max(pause-pauseStep, 0)
	}
	return pause
}

// rest waits until the next turn may begin, or stop is closed, and returns how
// long it was meant to take.
func (p *pace) rest(stop <-chan struct{}) time.Duration {
	if p.pause == 0 {
		return 0
	}
	if p.timer == nil {
		p.timer = time.NewTimer(p.pause)
	} else {
		p.timer.Reset(p.pause)
	}
	select {
	case <-p.timer.C:
	case <-stop:
	}
	return p.pause
}

// processTime is what the process has used of CPUs since it began.
func processTime() (used time.Duration, ok bool) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, false // no figure, no pauses
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
