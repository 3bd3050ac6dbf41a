package chaos

import (
	"context"
	"testing"
	"time"

	"roomd/loadtest/cluster"
)

// A server that dies under load keeps every acknowledged command of a ledger, and
// its clients come back by themselves.
func TestKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server for 10 s and kills it; not with -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	res, err := Run(ctx, Config{
		Seed: 1, For: 6 * time.Second, Kinds: []string{"ledger"}, Clients: 12, Rooms: 3, Rate: 60, Faults: []string{"restart-server"},
		Cluster: cluster.Config{Single: true}, Say: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Violated > 0 {
		t.Errorf("%s: %v", res.Verdict(), res.Violations)
	}
	if res.Faults == 0 || res.SocketsMoved < 12 || res.SocketsDropped > 0 || res.Acked < 200 {
		t.Errorf("unlikely: %d faults, %d sockets moved, %d dropped, %d acked", res.Faults, res.SocketsMoved, res.SocketsDropped, res.Acked)
	}
}

// So do rooms of all other kinds keep what they promise, through two deaths.
func TestKilledServerBreaksNoPromiseOfAnyKind(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server for 12 s and kills it; not with -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	res, err := Run(ctx, Config{
		Seed: 2, For: 8 * time.Second, Clients: 24, Rooms: 12, Rate: 120, Faults: []string{"restart-server"},
		Cluster: cluster.Config{Single: true}, Say: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Violated > 0 {
		t.Errorf("%s: %v", res.Verdict(), res.Violations)
	}
	for _, name := range checkNames {
		// No version is shown under two epochs: a check that finds any is needed all the same.
		if res.Checks[name] == 0 && name != didVersion {
			t.Errorf("never checked: %s", name)
		}
	}
	t.Logf("%s: %v", res.Kind, res.Checks)
}
