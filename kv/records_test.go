package kv

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"roomd/bus"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, cfg bus.Config) (*bus.Conn, *Records) {
	t.Helper()
	conn, err := bus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	records, err := OpenRecords(t.Context(), conn, Storage{Memory: conn.InMemory()})
	if err != nil {
		t.Fatal(err)
	}
	return conn, records
}

func TestOnlyTheLastRevisionMayBeReplaced(t *testing.T) {
	_, records := open(t, bus.Config{})
	ctx := t.Context()
	if _, err := records.Get(ctx, "chat.a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get before Create = %v, want ErrNotFound", err)
	}
	first, err := records.Create(ctx, "chat.a", []byte("1"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.Create(ctx, "chat.a", []byte("x"), ""); !errors.Is(err, ErrExists) {
		t.Errorf("second Create = %v, want ErrExists", err)
	}
	second, err := records.Update(ctx, "chat.a", []byte("2"), "", first)
	if err != nil || second <= first {
		t.Fatalf("Update = %d, %v, want more than %d", second, err, first)
	}
	if _, err := records.Update(ctx, "chat.a", []byte("x"), "", first); !errors.Is(err, ErrConflict) {
		t.Errorf("Update with an old revision = %v, want ErrConflict", err)
	}
	got, err := records.Get(ctx, "chat.a")
	if err != nil || string(got.Value) != "2" || got.Revision != second || got.Retired {
		t.Errorf("Get = %+v, %v, want what the second write left", got, err)
	}
}

func TestOfManyWritersWithOneRevisionOneWins(t *testing.T) {
	_, records := open(t, bus.Config{})
	revision, err := records.Create(t.Context(), "chat.a", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 16 {
		writers.Go(func() {
			_, err := records.Update(t.Context(), "chat.a", fmt.Append(nil, i), "", revision)
			if err != nil && !errors.Is(err, ErrConflict) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	if won != 1 {
		t.Errorf("%d writers succeeded, want 1", won)
	}
}

func TestRetiredRecordIsRememberedButNotListed(t *testing.T) {
	_, records := open(t, bus.Config{})
	ctx := t.Context()
	for _, key := range []string{"chat.a", "chat.b", "duel.c"} {
		if _, err := records.Create(ctx, key, []byte("epoch 1"), ""); err != nil {
			t.Fatal(err)
		}
	}
	entry, err := records.Get(ctx, "chat.a")
	if err != nil {
		t.Fatal(err)
	}
	retired, err := records.Retire(ctx, "chat.a", []byte("closed in epoch 1"), "", entry.Revision)
	if err != nil {
		t.Fatal(err)
	}
	got, err := records.Get(ctx, "chat.a")
	if err != nil || !got.Retired || string(got.Value) != "closed in epoch 1" {
		t.Errorf("Get of a retired record = %+v, %v", got, err)
	}
	keys, err := records.Keys(ctx, "chat", 10)
	if err != nil || !slices.Equal(keys, []string{"chat.b"}) {
		t.Errorf("Keys = %q, %v, want only chat.b", keys, err)
	}
	if _, err := records.Create(ctx, "chat.a", nil, ""); !errors.Is(err, ErrExists) {
		t.Errorf("Create over a retired record = %v, want ErrExists: its epoch counts", err)
	}
	if _, err := records.Update(ctx, "chat.a", []byte("epoch 2"), "", retired); err != nil {
		t.Fatal(err)
	}
	if keys, err := records.Keys(ctx, "chat", 10); err != nil || len(keys) != 2 {
		t.Errorf("Keys after coming back = %q, %v, want two", keys, err)
	}
}

func TestKeysStopsAtItsLimit(t *testing.T) {
	_, records := open(t, bus.Config{})
	for i := range 20 {
		if _, err := records.Create(t.Context(), fmt.Sprint("chat.", i), nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := records.Keys(t.Context(), "chat", 5)
	if err != nil || len(keys) != 5 {
		t.Errorf("Keys = %d keys, %v, want 5", len(keys), err)
	}
	if keys, err := records.Keys(t.Context(), "none", 5); err != nil || len(keys) != 0 {
		t.Errorf("Keys of an unused kind = %q, %v, want none", keys, err)
	}
}

func TestRecordOverMaxRecordIsTooLarge(t *testing.T) {
	_, records := open(t, bus.Config{})
	_, err := records.Create(t.Context(), "chat.a", make([]byte, MaxRecord+1), "")
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("Create = %v, want ErrTooLarge", err)
	}
}

func TestSecretIsTheSameForAll(t *testing.T) {
	conn, records := open(t, bus.Config{})
	other, err := conn.Dial(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	theirs, err := OpenRecords(t.Context(), other, Storage{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := records.Secret(t.Context(), "resume")
	if err != nil {
		t.Fatal(err)
	}
	b, err := theirs.Secret(t.Context(), "resume")
	if err != nil || !bytes.Equal(a, b) || len(a) != secretBytes {
		t.Errorf("second Secret = %x, %v, want %x", b, err, a)
	}
	c, err := records.Secret(t.Context(), "other")
	if err != nil || bytes.Equal(a, c) {
		t.Errorf("another Secret = %x, %v, want other bytes", c, err)
	}
	if keys, err := records.Keys(t.Context(), "secret", 10); err != nil || len(keys) != 0 {
		t.Errorf("Keys lists secrets: %q, %v", keys, err)
	}
}

func TestRecordsSurviveARestartOfTheServer(t *testing.T) {
	dir := t.TempDir()
	func() {
		conn, err := bus.Open(t.Context(), bus.Config{Server: bus.ServerConfig{Dir: dir}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		records, err := OpenRecords(t.Context(), conn, Storage{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := records.Create(t.Context(), "chat.a", []byte("kept"), ""); err != nil {
			t.Fatal(err)
		}
	}()
	_, records := open(t, bus.Config{Server: bus.ServerConfig{Dir: dir}})
	got, err := records.Get(t.Context(), "chat.a")
	if err != nil || string(got.Value) != "kept" {
		t.Errorf("Get after a restart = %q, %v", got.Value, err)
	}
}

func TestOpenRecordsGivesUpWithItsContext(t *testing.T) {
	conn, _ := open(t, bus.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenRecords(ctx, conn, Storage{Memory: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("OpenRecords with a cancelled context = %v, want context.Canceled", err)
	}
}

func TestNodeThatAsksForReplicasThatCannotBeIsToldSo(t *testing.T) {
	conn, _ := open(t, bus.Config{})
	_, err := OpenRecords(t.Context(), conn, Storage{Bucket: "other", Memory: true, Replicas: 3})
	var refused *jetstream.APIError
	if !errors.As(err, &refused) || refused.ErrorCode != noReplicas {
		t.Errorf("three replicas on one server: %v", err)
	}
}

func TestRecordsAreKeptWhereTheFirstNodeHasThem(t *testing.T) {
	conn, _ := open(t, bus.Config{})
	for _, memory := range []bool{true, false} {
		cfg := Storage{Bucket: fmt.Sprint("first-", memory), Memory: memory}
		if _, err := OpenRecords(t.Context(), conn, cfg); err != nil {
			t.Fatal(err)
		}
		cfg.Memory = !memory
		s, err := OpenRecords(t.Context(), conn, cfg)
		if err != nil {
			t.Errorf("memory %t, asked for %t: %v", memory, !memory, err)
		} else if s.InMemory() != memory {
			t.Errorf("in memory: %t, want %t", s.InMemory(), memory)
		}
	}
}

// NATS drops what is before the first sequence number of a stream's configuration
// when it starts again, so no node that opens the records may move that on.
func TestNodesThatOpenTheRecordsTogetherLeaveThemWhereTheyBegin(t *testing.T) {
	dir := t.TempDir()
	conn := server(t, bus.ServerConfig{Dir: dir})
	for round := range 30 {
		cfg := Storage{Bucket: fmt.Sprint("round-", round)}
		var opening sync.WaitGroup
		for range 8 {
			opening.Go(func() {
				s, err := OpenRecords(t.Context(), conn, cfg)
				if err == nil {
					_, err = s.Create(t.Context(), rand.Text(), []byte("x"), "")
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		opening.Wait()
	}
	conn.Close()
	conn = server(t, bus.ServerConfig{Dir: dir})
	for round := range 30 {
		s, err := OpenRecords(t.Context(), conn, Storage{Bucket: fmt.Sprint("round-", round)})
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.at().stream.Info(t.Context())
		if err != nil || info.State.Msgs != 8 {
			t.Errorf("%d of 8 records are there after a restart, %v", info.State.Msgs, err)
		}
	}
}
