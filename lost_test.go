package roomd

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// losing is a system apart that asks to make or wait for a lost store, and where
// its worker and its edge say whether they are ready.
func losing(t *testing.T, what string) (s *system, ready []string) {
	s = apart(t)
	for _, p := range []*process{s.worker, s.edge} {
		admin := freeAddr(t)
		p.args = slices.Concat(p.args, []string{"-admin", admin, "-lost-store", what})
		ready = append(ready, "http://"+admin+"/readyz")
	}
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	return s, ready
}

// readiness returns what /readyz says.
func readiness(t *testing.T, url string) (code int, text string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// allReady waits until every node is ready.
func allReady(t *testing.T, urls []string) {
	t.Helper()
	for _, url := range urls {
		until(t, url+" says ok", func() bool {
			code, _ := readiness(t, url)
			return code == http.StatusOK
		})
	}
}

// store opens the shared data in the test's process.
func (s *system) store(t *testing.T) kv.Store {
	t.Helper()
	conn, err := bus.Open(t.Context(), bus.Config{URL: s.nats})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	store, err := kv.Open(t.Context(), conn, kv.Config{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func TestLostStoreIsMadeAgainAndRoomsAndSharedDataGoOn(t *testing.T) {
	t.Parallel()
	s, ready := losing(t, "make")
	ann, store := s.guest(t, "Ann"), s.store(t)
	ann.add(t, "before")
	n, err := store.Incr(t.Context(), "n")
	if err != nil || n != 1 {
		t.Fatalf("Incr = %d, %v", n, err)
	}
	news := make(chan kv.Message, 10)
	if _, err := store.NewSubscriber().Subscribe(t.Context(), "news", func(m kv.Message) { news <- m }); err != nil {
		t.Fatal(err)
	}
	allReady(t, ready)
	s.server.stop()
	s.server.cfg.Dir = t.TempDir()
	s.server.start(t)
	for _, url := range ready {
		until(t, url+" says that records are lost", func() bool {
			code, text := readiness(t, url)
			return code == http.StatusServiceUnavailable && strings.Contains(text, "records are lost")
		})
	}
	ann.hears(t, "reset")
	if n := ann.add(t, "after"); n != 1 {
		t.Errorf("reply %d to the first line after the loss", n)
	}
	if n, err = store.Incr(t.Context(), "n"); err != nil || n != 1 {
		t.Errorf("Incr after the loss = %d, %v, want 1", n, err)
	}
	if _, err := store.Publish(t.Context(), "news", "back"); err != nil {
		t.Errorf("Publish after the loss: %v", err)
	}
	await(t, news)
	allReady(t, ready)
	if len(ann.joined) > 0 {
		t.Error("it cost a client its connection")
	}
	s.worker.log.awaits(t, `"level":"ERROR","msg":"records are lost: NATS had no stream of them, and an empty one was made"`)
	bob := s.guest(t, "Bob") // a newcomer
	if n := bob.add(t, "of Bob"); n != 2 {
		t.Errorf("reply %d to the second line after the loss", n)
	}
}

func TestLostStoreOnADiskIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, ready := losing(t, "")
	ann := s.guest(t, "Ann")
	ann.add(t, "before")
	s.stored(t, "notes.n1", "before")
	allReady(t, ready)
	dir := s.server.cfg.Dir
	s.server.stop()
	s.server.cfg.Dir = t.TempDir() // the volume is not mounted yet
	s.server.start(t)
	s.worker.log.awaits(t, "records are lost: NATS has no stream of them, and it is waited for")
	for i, why := range []string{"it is waited for, see -lost-store", "workers see to it"} {
		until(t, ready[i]+" says what is waited for", func() bool {
			_, text := readiness(t, ready[i])
			return strings.Contains(text, why)
		})
	}
	s.server.stop()
	s.server.cfg.Dir = dir
	s.server.start(t)
	allReady(t, ready)
	if n := ann.add(t, "after"); n != 2 {
		t.Errorf("reply %d to the second line: the first is lost", n)
	}
}
