package edge

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPausesGrowOnlyWhileTheProcessIsShortOfCPU(t *testing.T) {
	for name, test := range map[string]struct {
		pause time.Duration
		share float64
		want  time.Duration
	}{
		"idle":          {0, 0.1, 0},
		"busy":          {0, 0.93, 0},
		"full":          {0, 0.99, pauseStep},
		"still full":    {pauseStep, 1, 2 * pauseStep},
		"full at most":  {maxPause, 1, maxPause},
		"settled":       {2 * pauseStep, 0.93, 2 * pauseStep},
		"load is going": {2 * pauseStep, 0.5, pauseStep},
	} {
		if got := nextPause(test.pause, test.share); got != test.want {
			t.Errorf("%s: nextPause(%v, %v) = %v, want %v", name, test.pause, test.share, got, test.want)
		}
	}
}

func TestPausesEndWhenTheLoopIsToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := pace{pause: maxPause}
		if counted := p.rest(make(chan struct{})); counted != maxPause {
			t.Errorf("counted %v, want %v", counted, maxPause)
		}
		if took := time.Since(began); took != maxPause {
			t.Errorf("rested %v, want %v", took, maxPause)
		}
		stop := make(chan struct{})
		close(stop)
		p.rest(stop)
		if took := time.Since(began); took != maxPause {
			t.Errorf("rested %v after stop", took-maxPause)
		}
	})
}
