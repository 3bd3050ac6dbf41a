package kv

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"roomd/bus"

	"github.com/nats-io/nats.go/jetstream"
)

// onSmallDisk opens records on a disk of their own.
func onSmallDisk(t *testing.T) (dir string, conn *bus.Conn, records *Records) {
	t.Helper()
	dir = smallDisk(t, 16)
	conn, err := bus.Open(t.Context(), bus.Config{Server: bus.ServerConfig{Dir: filepath.Join(dir, "nats")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	records, err = OpenRecords(t.Context(), conn, Storage{LostFor: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return dir, conn, records
}

// breakStream has NATS find the disk full when it writes a record.
func (s *Records) breakStream(t *testing.T, dir string) (free func()) {
	t.Helper()
	free = fillDisk(t, dir)
	for i := range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := s.Create(ctx, fmt.Sprint("chat.full", i), make([]byte, 4096), "")
		cancel()
		if unanswered(err) {
			return free
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the disk is not full")
	return nil
}

// watchRecords runs Watch until the test ends.
func watchRecords(t *testing.T, all ...*Records) {
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	for _, s := range all {
		watching.Go(func() { s.Watch(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
}

func awaitMove(t *testing.T, s *Records, n int) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for s.at().n != n {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("records are in generation %d after 60 s, want %d", s.at().n, n)
		}
	}
}

// A stream that NATS could not write to once takes nothing until the server is
// started again. The records go on in another one, the same for all processes.
func TestRecordsOnADiskThatWasFullForAMomentGoOnWithTheirRevisions(t *testing.T) {
	dir, conn, records := onSmallDisk(t)
	other, err := OpenRecords(t.Context(), conn, records.cfg)
	if err != nil {
		t.Fatal(err)
	}
	revisions := map[string]uint64{}
	for i := range 200 {
		key, value := fmt.Sprint("chat.", i%50), fmt.Append(nil, i)
		if last := revisions[key]; last != 0 {
			revisions[key], err = records.Update(t.Context(), key, value, "run-1", last)
		} else {
			revisions[key], err = records.Create(t.Context(), key, value, "run-1")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	large := make([]byte, 2*maxPiece)
	if revisions["chat.large"], err = records.Create(t.Context(), "chat.large", large, "run-1"); err != nil {
		t.Fatal(err)
	}
	free := records.breakStream(t, dir)
	watchRecords(t, records, other)
	records.says(t, "NATS cannot write")
	free()
	generation := records.Generation()
	for _, s := range []*Records{records, other} {
		awaitMove(t, s, 1)
		s.says(t, "")
	}
	if records.Generation() != generation {
		t.Error("moved records count as lost")
	}
	for key, revision := range revisions {
		entry, err := other.Get(t.Context(), key)
		if err != nil || entry.Revision != revision || entry.Owner != "run-1" {
			t.Fatalf("%s = revision %d of %q, %v; want revision %d", key, entry.Revision, entry.Owner, err, revision)
		}
		if key == "chat.large" && len(entry.Value) != len(large) {
			t.Errorf("%d bytes of a large record, want %d", len(entry.Value), len(large))
		}
		next, err := other.Update(t.Context(), key, nil, "run-2", revision)
		if err != nil || next <= revision {
			t.Fatalf("update %s: revision %d, %v", key, next, err)
		}
		if _, err := records.Update(t.Context(), key, nil, "run-1", revision); !errors.Is(err, ErrConflict) {
			t.Fatalf("update %s at an old revision = %v, want a conflict", key, err)
		}
	}
	if keys, err := records.Owned(t.Context(), "run-2"); err != nil || len(keys) != len(revisions) {
		t.Errorf("%d records of the new owner, %v, want %d", len(keys), err, len(revisions))
	}
	if _, err := conn.JetStream().Stream(t.Context(), "KV_"+defaultBucket); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the old stream: %v, want that it is gone", err)
	}
	third, err := OpenRecords(t.Context(), conn, records.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if entry, err := third.Get(t.Context(), "chat.1"); err != nil || entry.Owner != "run-2" {
		t.Errorf("a process that begins later finds %+v, %v", entry, err)
	}
}

// seal takes the first step of a move.
func (s *Records) seal(t *testing.T) {
	t.Helper()
	info, err := s.at().stream.Info(t.Context())
	if err == nil {
		_, err = s.sealRecords(t.Context(), info.Config)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// All processes may die between two steps, and NATS too.
func TestMoveOfRecordsThatWasBegunIsEndedByTheNextProcess(t *testing.T) {
	for name, steps := range map[string]int{"sealed": 0, "mirrored": 1} {
		t.Run(name, func(t *testing.T) {
			cfg := bus.Config{Server: bus.ServerConfig{Dir: t.TempDir()}}
			conn, err := bus.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			records, err := OpenRecords(t.Context(), conn, Storage{})
			if err != nil {
				t.Fatal(err)
			}
			revision, err := records.Create(t.Context(), "chat.a", []byte("kept"), "run-1")
			if err != nil {
				t.Fatal(err)
			}
			records.seal(t)
			for range steps {
				now, next, err := records.generations(t.Context())
				if err == nil {
					err = records.goOnMoving(t.Context(), now, next)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := records.Update(t.Context(), "chat.a", nil, "", revision); err == nil {
				t.Error("sealed records took a write")
			}
			if _, err := records.Owned(t.Context(), "run-1"); !errors.Is(err, errMoving) {
				t.Errorf("list of sealed records: %v, want %v", err, errMoving)
			}
			conn.Close()
			if conn, err = bus.Open(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Close)
			if records, err = OpenRecords(t.Context(), conn, Storage{}); err != nil {
				t.Fatal(err)
			}
			entry, err := records.Get(t.Context(), "chat.a")
			if err != nil || string(entry.Value) != "kept" || entry.Revision != revision || records.at().n != 1 {
				t.Errorf("got %+v, %v, in generation %d", entry, err, records.at().n)
			}
			if _, err := records.Update(t.Context(), "chat.a", nil, "", revision); err != nil {
				t.Error(err)
			}
		})
	}
}

// move moves the records and returns what a process saw just before the end.
func (s *Records) move(t *testing.T) (before, mirror *generation) {
	t.Helper()
	s.seal(t)
	for followed := false; !followed; {
		now, next, err := s.generations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if now.info.Config.Sealed {
			before, mirror = now, next
		}
		if followed, err = s.follow(t.Context()); err != nil && !errors.Is(err, errMoving) {
			t.Fatal(err)
		}
	}
	return before, mirror
}

// A process that was stopped between two steps takes the next one late.
func TestLateStepsOfAMoveChangeNothing(t *testing.T) {
	conn, records := open(t, bus.Config{Server: bus.ServerConfig{Dir: t.TempDir()}})
	if _, err := records.Create(t.Context(), "chat.a", []byte("kept"), ""); err != nil {
		t.Fatal(err)
	}
	before, mirror := records.move(t)
	if _, err := records.Create(t.Context(), "chat.b", []byte("kept"), ""); err != nil {
		t.Fatal(err)
	}
	late := func() {
		t.Helper()
		// Each of them may be refused.
		t.Log(records.goOnMoving(t.Context(), before, nil))
		t.Log(records.goOnMoving(t.Context(), before, mirror))
		_, err := conn.JetStream().UpdateStream(t.Context(), records.promoted(mirror.info.Config))
		t.Log(err)
		records.deleteOld(t.Context(), 1)
		now, next, err := records.generations(t.Context())
		if err != nil || now.n != records.at().n || next != nil {
			t.Errorf("records are in %+v, next %+v, %v; want generation %d", now, next, err, records.at().n)
		}
		for _, key := range []string{"chat.a", "chat.b"} {
			if entry, err := records.Get(t.Context(), key); err != nil || string(entry.Value) != "kept" {
				t.Errorf("%s = %q, %v", key, entry.Value, err)
			}
		}
	}
	late()
	records.move(t)
	late()
}

// Records that were lost and made again, and then moved, are not those from before.
func TestRecordsThatWereLostAndThenMovedAreOthers(t *testing.T) {
	conn, records := open(t, bus.Config{Server: bus.ServerConfig{Dir: t.TempDir()}})
	if err := conn.JetStream().DeleteStream(t.Context(), "KV_"+defaultBucket); err != nil {
		t.Fatal(err)
	}
	other, err := OpenRecords(t.Context(), conn, Storage{})
	if err != nil {
		t.Fatal(err)
	}
	other.move(t)
	before := records.Generation()
	if err := records.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if records.at().n != 1 || records.Generation() == before {
		t.Errorf("in generation %d, the records count as those from before", records.at().n)
	}
}
