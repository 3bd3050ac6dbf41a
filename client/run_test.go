package client

import (
	"testing"
	"time"
)

func TestPausesGrowUntilAConnectionLasts(t *testing.T) {
	// longest is the longest of many pauses after so many tries: any is random.
	longest := func(tries int) (most time.Duration) {
		for range 1000 {
			b := backoff{tries}
			most = max(most, b.pause(nil))
		}
		return most
	}
	limits := []time.Duration{500, 1000, 2000, 4000, 5000, 5000}
	for tries, limit := range limits {
		limit *= time.Millisecond
		if got := longest(tries); got > limit || got < limit/2 {
			t.Errorf("longest pause after %d tries is %v, want up to %v", tries, got, limit)
		}
	}
	b := backoff{}
	for range 4 { // connections that end as soon as they are made
		b.pause(nil)
		b.served(steady / 2)
	}
	if b.tries != 4 {
		t.Errorf("%d tries count, want 4", b.tries)
	}
	if b.served(steady); b.tries != 0 {
		t.Errorf("%d tries count after a connection that lasted, want 0", b.tries)
	}
	if got := b.pause(&CloseError{Bye: "shutdown", Retry: time.Hour}); got != time.Hour {
		t.Errorf("pause %v, want what the bye said", got)
	}
}
