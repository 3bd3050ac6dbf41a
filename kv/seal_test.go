package kv

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"roomd/bus"
)

// Many goroutines append as fast as they can while two others seal.
func TestWhatWasAcknowledgedIsInTheSealedLog(t *testing.T) {
	for name, cfg := range map[string]bus.Config{
		"memory": {}, "file": {Server: bus.ServerConfig{Dir: t.TempDir()}},
	} {
		t.Run(name, func(t *testing.T) {
			_, logs := openLogs(t, cfg)
			for round := range 10 {
				sealUnderLoad(t, logs, fmt.Sprint("w-", round), round%2 == 0)
			}
		})
	}
}

func sealUnderLoad(t *testing.T, logs *Logs, run string, large bool) {
	log, err := logs.Begin(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	result := start(t, log)
	var sealed atomic.Bool
	var mu sync.Mutex
	acked := map[string]bool{}
	var late []string
	busy := make(chan struct{})
	var writers sync.WaitGroup
	for g := range 50 {
		writers.Go(func() {
			for i := 0; ; i++ {
				entry := fmt.Sprint(g, "/", i)
				if large && g == 0 {
					entry += strings.Repeat("x", 2*maxMessage)
				}
				afterSeal := sealed.Load()
				got := write(log, []byte(entry))
				if got.err != nil {
					if !errors.Is(got.err, ErrSealed) {
						t.Errorf("append = %v, want nil or ErrSealed", got.err)
					}
					return
				}
				mu.Lock()
				acked[entry] = true
				if afterSeal {
					late = append(late, entry)
				}
				if len(acked) == 2000 {
					close(busy)
				}
				mu.Unlock()
			}
		})
	}
	<-busy
	var sealers sync.WaitGroup
	for range 2 {
		sealers.Go(func() {
			if err := logs.Seal(t.Context(), run); err != nil {
				t.Error(err)
			}
			sealed.Store(true)
		})
	}
	sealers.Wait()
	found := map[string]int{}
	for _, entry := range read(t, logs, run) {
		found[entry]++
	}
	writers.Wait()
	if err := <-result; !errors.Is(err, ErrSealed) {
		t.Errorf("Run = %v, want ErrSealed", err)
	}
	if len(late) > 0 {
		t.Errorf("%d entries were acknowledged that were appended after the seal", len(late))
	}
	for entry := range acked {
		if found[entry] != 1 {
			t.Errorf("acknowledged entry %.20s… is %d times in the sealed log", entry, found[entry])
		}
	}
	if after := len(read(t, logs, run)); after != len(found) {
		t.Errorf("sealed log grew from %d to %d entries", len(found), after)
	}
}
