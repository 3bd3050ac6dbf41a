package roomd

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomd/bus"
)

// eavesdrop listens to everything as an operator and a system beside ours may:
// NATS never says any more that nobody listens.
func (n *server) eavesdrop(t *testing.T) {
	t.Helper()
	if _, err := n.conn.Subscribe(">", "", make(chan *bus.Msg, 1<<16)); err != nil {
		t.Fatal(err)
	}
	_, err := n.conn.JetStream().CreateStream(t.Context(),
		jetstream.StreamConfig{Name: "everything", Subjects: []string{"r.>"}, Storage: jetstream.MemoryStorage, MaxBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKilledWorkerIsReplacedAndLeftThoughEverythingIsListenedTo(t *testing.T) {
	s := apart(t)
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	s.server.eavesdrop(t)
	o := s.office(t, "minutes")
	var away []time.Duration
	for range 3 {
		o.progress(t)
		s.spare.start(t)
		began := time.Now()
		s.worker, s.spare = s.spare, s.worker
		s.spare.stop(t, syscall.SIGKILL)
		o.progress(t)
		away = append(away, time.Since(began))
	}
	t.Logf("40 commands of each clerk after a kill took %v", away)
	o.audit(t, s, "minutes")
	o.stayed(t)
	began := time.Now()
	table, err := operator(t, "nodes", "-nats", s.nats)
	if err != nil || strings.Count(table, "ready") != 2 {
		t.Fatalf("nodes says %s, %v", table, err)
	}
	t.Logf("nodes took %v", time.Since(began))
	worker := ""
	for _, line := range strings.Split(table, "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "worker" {
			worker = f[0]
		}
	}
	out, err := operator(t, "drain", worker, "-nats", s.nats, "-timeout", "20s")
	if err != nil || !strings.Contains(out, "gone after ") {
		t.Errorf("drain of %q says %q, %v", worker, out, err)
	}
	if err := s.worker.cmd.Wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	s.worker.cmd = nil
}
