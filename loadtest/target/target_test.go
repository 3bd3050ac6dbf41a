package target

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOnlyLoopbackIsAccepted(t *testing.T) {
	for url, ok := range map[string]bool{
		"ws://127.0.0.1:8080/ws": true, "ws://localhost:1/": true, "ws://[::1]:8080/ws": true, "ws://127.9.9.9/": true,
		"ws://192.168.1.1:8080/": false, "ws://example.com/": false, "ws://localhost.example.com/": false, "": false,
	} {
		if _, err := Attach(url, ""); (err == nil) != ok {
			t.Errorf("Attach(%q): %v", url, err)
		}
	}
}

func TestMetricsAreAddedUpOverLabels(t *testing.T) {
	page := `# HELP roomd_edge_writes_total writes
# TYPE roomd_edge_writes_total counter
roomd_edge_writes_total{loop="0"} 10
roomd_edge_writes_total{loop="1",x="a}b"} 5.5
roomd_edge_deliveries_total 1e+06
process_cpu_seconds_total 2.5 1700000000000
process_resident_memory_bytes 1024
`
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(page)) })
	admin := httptest.NewServer(mux)
	defer admin.Close()
	s, err := Attach("ws://127.0.0.1:1/ws", admin.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer s.http.CloseIdleConnections()
	u := s.Usage(t.Context())
	if u.Writes != 15.5 || u.Deliveries != 1e6 || u.CPU.Seconds() != 2.5 || u.RSS != 1024 || !u.Metrics || !u.Process {
		t.Errorf("Usage = %+v", u)
	}
}

// script writes an executable shell script that stands for a server.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServerThatDoesNotStartIsQuoted(t *testing.T) {
	_, err := Spawn(context.Background(), SpawnConfig{Binary: script(t, "echo the data directory is locked; exit 3\n")})
	if err == nil || !strings.Contains(err.Error(), "the data directory is locked") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Spawn: %v", err)
	}
}

func TestStorageInMemoryUnlessToldOtherwise(t *testing.T) {
	for flags, want := range map[string]bool{"": false, "-data x": true, "-data=x": true, "--memory": true, "-log data": false} {
		if got := stores(strings.Fields(flags)); got != want {
			t.Errorf("stores(%q) = %v, want %v", flags, got, want)
		}
	}
}

func TestClientsMustFitIntoTheFileLimit(t *testing.T) {
	if err := RoomForClients(10); err != nil {
		t.Error(err)
	}
	if err := RoomForClients(1 << 40); err == nil {
		t.Error("a trillion clients fit")
	}
}

func TestMissingRedisIsExplained(t *testing.T) {
	_, err := SpawnRedis(t.Context(), "no-such-redis-server", nil)
	if !errors.Is(err, ErrNoRedis) {
		t.Errorf("SpawnRedis() = %v", err)
	}
	path := script(t, "echo bad option\nexit 1\n")
	if _, err := SpawnRedis(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), "bad option") {
		t.Errorf("SpawnRedis() = %v, want its last words", err)
	}
}
