package kv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"roomd/bus"
)

// smallDisk is a directory on a file system of its own with so many MB.
func smallDisk(t *testing.T, mb int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mb)); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk takes all space that is left, until free is called.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// NATS takes no message any more into a stream for which it had no space once,
// until it is started again. The run is given up then, nothing acknowledged is
// lost, and whoever seals the log can rely on it.
func TestLogThatHadNoSpaceIsGivenUpAndCanBeSealed(t *testing.T) {
	dir := smallDisk(t, 12)
	_, logs := openLogs(t, bus.Config{Server: bus.ServerConfig{Dir: filepath.Join(dir, "nats")}})
	logs.brokenAfter = time.Second
	log, err := logs.Begin(t.Context(), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	result := start(t, log)
	if got := write(log, []byte("before")); got.err != nil {
		t.Fatal(got.err)
	}
	free := fillDisk(t, dir)
	want := []string{"before"}
	var last error
	for i := 0; last == nil; i++ {
		entry := fmt.Sprintf("full %d %01000d", i, 0)
		if got := write(log, []byte(entry)); got.err == nil {
			want = append(want, entry)
		} else {
			last = got.err
		}
	}
	free()
	if err := <-result; !errors.Is(err, ErrBroken) || !errors.Is(err, ErrSealed) || !errors.Is(last, ErrSealed) {
		t.Fatalf("Run = %v, the last entry got %v; want ErrBroken and ErrSealed", err, last)
	}
	if err := logs.Seal(t.Context(), "w-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := logs.js.Publish(t.Context(), logs.subject("w-1"), []byte("late")); err == nil {
		t.Error("a sealed log took a message")
	}
	got := read(t, logs, "w-1")
	if len(got) < len(want) || len(got) > len(want)+1 { // the last one may be there
		t.Fatalf("%d entries in the log, %d were acknowledged", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d is %.20q, want %.20q", i, got[i], want[i])
		}
	}
	next, err := logs.Begin(t.Context(), "w-2")
	if err != nil {
		t.Fatal(err)
	}
	start(t, next)
	if got := write(next, []byte("after")); got.err != nil {
		t.Error(got.err)
	}
}

// A seal counts when it is on the disk: NATS keeps one in memory that it could not
// write, and forgets it when it starts again.
func TestSealThatADiskHasNoSpaceForDoesNotCount(t *testing.T) {
	dir := smallDisk(t, 12)
	cfg := bus.Config{Server: bus.ServerConfig{Dir: filepath.Join(dir, "nats")}}
	conn, logs := openLogs(t, cfg)
	logs.brokenAfter = time.Second
	log, err := logs.Begin(t.Context(), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	result := start(t, log)
	mustWrite(t, log, []byte("before"))
	free := fillDisk(t, dir)
	for got := (outcome{}); got.err == nil; {
		got = write(log, make([]byte, 4096))
	}
	if err := <-result; !errors.Is(err, ErrBroken) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), (sealTries+3)*ackTimeout)
	defer cancel()
	if err := logs.Seal(ctx, "w-1"); err == nil {
		t.Error("a log was sealed without space for the seal")
	}
	free()
	conn.Close()
	_, logs = openLogs(t, cfg)
	at, err := logs.end(t.Context(), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	if at.seal() {
		t.Error("the seal is there after all: NATS kept it")
	}
}

// The stream's own seal keeps the promise that a seal in it keeps. That of one with
// several copies would not: it is not sealed so.
func TestWhatWasAcknowledgedIsInALogWhoseStreamIsSealed(t *testing.T) {
	seal := func(t *testing.T, logs *Logs, run string) {
		log, err := logs.Begin(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		result := start(t, log)
		acked := make(chan string, 1000)
		for i := range cap(acked) {
			entry := fmt.Sprint("entry ", i)
			log.Append([]byte(entry), func(_ uint64, err error) {
				if err == nil {
					acked <- entry
				}
			})
		}
		first := <-acked
		for ok := false; !ok; {
			if ok, err = logs.sealStream(t.Context(), run); err != nil {
				t.Fatal(err)
			}
		}
		if got := write(log, []byte("late")); !errors.Is(got.err, ErrSealed) {
			t.Errorf("after the seal append = %v, want ErrSealed", got.err)
		}
		if err := <-result; !errors.Is(err, ErrSealed) || errors.Is(err, ErrBroken) {
			t.Errorf("Run = %v, want ErrSealed", err)
		}
		found := map[string]bool{}
		for _, entry := range read(t, logs, run) {
			found[entry] = true
		}
		close(acked)
		for entry := first; entry != ""; entry = <-acked {
			if !found[entry] {
				t.Errorf("%s was acknowledged and is not in the log", entry)
			}
		}
		if err := logs.Delete(t.Context(), run); err != nil {
			t.Error(err)
		}
	}
	t.Run("one server", func(t *testing.T) {
		_, logs := openLogs(t, bus.Config{Server: bus.ServerConfig{Dir: t.TempDir()}})
		seal(t, logs, "w-1")
	})
	t.Run("three servers", func(t *testing.T) {
		conns := cluster(t)
		logs := OpenLogs(conns[0], Storage{Memory: true, Replicas: 3})
		if _, err := logs.Begin(t.Context(), "w-1"); err != nil {
			t.Fatal(err)
		}
		if ok, err := logs.sealStream(t.Context(), "w-1"); ok || !errors.Is(err, errNotTaken) {
			t.Errorf("sealStream of a log with three copies = %v, %v, want an error", ok, err)
		}
		if at, err := logs.end(t.Context(), "w-1"); err != nil || at.seal() {
			t.Errorf("it ends with %+v, %v, want no seal", at, err)
		}
	})
}
