package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"roomd/bus"
)

func openLogs(t testing.TB, cfg bus.Config) (*bus.Conn, *Logs) {
	t.Helper()
	conn, err := bus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn, OpenLogs(conn, Storage{Memory: conn.InMemory()})
}

// begin starts the log of a run and its writer, which end with the test.
func begin(t testing.TB, logs *Logs, run string) *Log {
	t.Helper()
	log, err := logs.Begin(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	start(t, log)
	return log
}

// start runs the writer. What it returned is in the channel when it is over.
func start(t testing.TB, log *Log) (result chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	result = make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { result <- log.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return result
}

type outcome struct {
	pos uint64
	err error
}

// write appends one entry and waits for what becomes of it.
func write(log *Log, entry []byte) outcome {
	result := make(chan outcome, 1)
	log.Append(entry, func(pos uint64, err error) { result <- outcome{pos, err} })
	return <-result
}

func mustWrite(t testing.TB, log *Log, entry []byte) (pos uint64) {
	t.Helper()
	got := write(log, entry)
	if got.err != nil {
		t.Fatalf("append = %v", got.err)
	}
	return got.pos
}

func read(t testing.TB, logs *Logs, run string) (entries []string) {
	t.Helper()
	err := logs.Read(t.Context(), run, func(_ uint64, entry []byte) error {
		entries = append(entries, string(entry))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func short(entries []string) []string {
	out := slices.Clone(entries)
	for i, e := range out {
		if len(e) > 20 {
			out[i] = fmt.Sprintf("%s…(%d bytes)", e[:10], len(e))
		}
	}
	return out
}

func wantEntries(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("log has %q, want %q", short(got), short(want))
	}
}

func TestEntriesAreReadInTheOrderOfAppend(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	var want []string
	var order []int
	var all sync.WaitGroup
	for i := range 1000 {
		want = append(want, fmt.Sprint("entry ", i))
		all.Add(1)
		log.Append([]byte(want[i]), func(_ uint64, err error) {
			if err != nil {
				t.Error(err)
			}
			order = append(order, i)
			all.Done()
		})
	}
	all.Wait()
	wantEntries(t, read(t, logs, "w-1"), want...)
	if !slices.IsSorted(order) || len(order) != 1000 {
		t.Error("done was not called in the order of Append")
	}
	stats := log.Stats()
	if stats.Entries != 1000 || stats.Messages == 0 || stats.Messages >= 1000 {
		t.Errorf("Stats = %+v, want 1000 entries in fewer messages", stats)
	}
}

func TestPositionsGrowAndAreWhatReadTells(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	want := map[string]uint64{}
	for i := range 10 {
		name := fmt.Sprint(i)
		want[name] = mustWrite(t, log, []byte(name))
	}
	err := logs.Read(t.Context(), "w-1", func(pos uint64, entry []byte) error {
		if want[string(entry)] != pos {
			t.Errorf("Read gives %q at %d, want %d", entry, pos, want[string(entry)])
		}
		delete(want, string(entry))
		return nil
	})
	if err != nil || len(want) != 0 {
		t.Errorf("Read = %v, %d entries missing", err, len(want))
	}
}

func TestRunThatExistsCannotBeginAgain(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	begin(t, logs, "w-1")
	if _, err := logs.Begin(t.Context(), "w-1"); !errors.Is(err, ErrExists) {
		t.Errorf("second Begin = %v, want ErrExists", err)
	}
	if _, err := logs.Begin(t.Context(), "a.b"); err == nil {
		t.Error("Begin took a name that is not one token")
	}
}

func TestRunsAreThoseWithALog(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	for _, run := range []string{"a-1", "b-1", "c-1"} {
		begin(t, logs, run)
	}
	for range 2 { // deleting again is fine
		if err := logs.Delete(t.Context(), "b-1"); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := logs.Runs(t.Context())
	slices.Sort(runs)
	if err != nil || !slices.Equal(runs, []string{"a-1", "c-1"}) {
		t.Errorf("Runs = %q, %v, want a-1 and c-1", runs, err)
	}
	wantEntries(t, read(t, logs, "b-1"))
	if err := logs.Seal(t.Context(), "b-1"); !errors.Is(err, ErrNoLog) {
		t.Errorf("Seal of a run without a log = %v, want ErrNoLog", err)
	}
}

// While servers are away a log is begun with fewer copies. If that answer is lost,
// the next try asks for all of them again, and finds its own log.
func TestLogThatAnEarlierTryHasBegunIsFound(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	cfg := logs.streamConfig("w-1")
	if _, err := logs.create(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Description = "not as it was asked for at first"
	if _, err := logs.create(t.Context(), cfg); err != nil {
		t.Errorf("the second try of one Begin = %v, want nil", err)
	}
	if _, err := logs.Begin(t.Context(), "w-1"); !errors.Is(err, ErrExists) {
		t.Errorf("a second Begin = %v, want ErrExists", err)
	}
}

func TestAfterTheSealNothingIsWritten(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log, err := logs.Begin(t.Context(), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	result := start(t, log)
	mustWrite(t, log, []byte("before"))
	for range 2 { // sealing again is fine
		if err := logs.Seal(t.Context(), "w-1"); err != nil {
			t.Fatal(err)
		}
	}
	if got := write(log, nil); !errors.Is(got.err, ErrSealed) {
		t.Errorf("empty append after the seal = %v, want ErrSealed", got.err)
	}
	if err := <-result; !errors.Is(err, ErrSealed) {
		t.Errorf("Run = %v, want ErrSealed", err)
	}
	if got := write(log, []byte("after")); !errors.Is(got.err, ErrSealed) {
		t.Errorf("append after Run's end = %v, want ErrSealed", got.err)
	}
	wantEntries(t, read(t, logs, "w-1"), "before")
}

func TestSealOfAnEmptyLogFencesItsWriter(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	if err := logs.Seal(t.Context(), "w-1"); err != nil {
		t.Fatal(err)
	}
	if got := write(log, []byte("x")); !errors.Is(got.err, ErrSealed) {
		t.Errorf("append = %v, want ErrSealed", got.err)
	}
	wantEntries(t, read(t, logs, "w-1"))
}

func TestWriterOfADeletedLogIsFenced(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	mustWrite(t, log, []byte("x"))
	if err := logs.Delete(t.Context(), "w-1"); err != nil {
		t.Fatal(err)
	}
	if got := write(log, []byte("y")); !errors.Is(got.err, ErrSealed) {
		t.Errorf("append = %v, want ErrSealed", got.err)
	}
}

func TestCloseWritesWhatWaits(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log, err := logs.Begin(t.Context(), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan outcome, 1)
	log.Append([]byte("waits"), func(pos uint64, err error) { results <- outcome{pos, err} })
	log.Close()
	if got := write(log, []byte("late")); !errors.Is(got.err, ErrClosed) {
		t.Errorf("append after Close = %v, want ErrClosed", got.err)
	}
	if err := log.Run(t.Context()); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if got := <-results; got.err != nil || got.pos != log.Last() {
		t.Errorf("append before Close = %+v, want it written at %d", got, log.Last())
	}
	wantEntries(t, read(t, logs, "w-1"), "waits")
}

func TestEndOfTheContextIsToldToWhatWaits(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log, err := logs.Begin(t.Context(), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	var got []error
	for range 3 {
		log.Append([]byte("x"), func(_ uint64, err error) { got = append(got, err) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := log.Run(ctx); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if len(got) != 3 {
		t.Errorf("%d of 3 appends heard of the end", len(got))
	}
	for _, err := range got {
		if err != nil && !errors.Is(err, ErrClosed) { // it may have been just in time
			t.Errorf("append = %v, want ErrClosed", err)
		}
	}
}

func TestLargeEntriesGoInPieces(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	large := strings.Repeat("0123456789", 200_000)
	exact := strings.Repeat("x", maxMessage)
	want := []string{"small", large, "next", exact, "last"}
	for _, entry := range want {
		mustWrite(t, log, []byte(entry))
	}
	wantEntries(t, read(t, logs, "w-1"), want...)
}

func TestEntryWhoseLastPieceIsMissingIsNotRead(t *testing.T) {
	conn, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	mustWrite(t, log, []byte("whole"))
	w, err := newLogWriter(log) // as if the writer died after two pieces
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	w.last, w.number = 1, 1
	for i := range 2 {
		w.begin(framePiece)
		w.buf = append(append(w.buf, byte(5*i)), "piece"...)
		if err := w.write(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantEntries(t, read(t, logs, "w-1"), "whole")
	if err := OpenLogs(conn, Storage{}).Seal(t.Context(), "w-1"); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, read(t, logs, "w-1"), "whole")
}

func TestCutRemovesWhatIsBefore(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	var positions []uint64
	for i := range 10 {
		positions = append(positions, mustWrite(t, log, fmt.Append(nil, i)))
	}
	if err := log.Cut(t.Context(), positions[6]); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, read(t, logs, "w-1"), "6", "7", "8", "9")
	if err := log.Cut(t.Context(), 1<<60); err != nil { // all but the last
		t.Fatal(err)
	}
	wantEntries(t, read(t, logs, "w-1"), "9")
	mustWrite(t, log, []byte("goes on"))
	wantEntries(t, read(t, logs, "w-1"), "9", "goes on")
}

func TestCutLeavesTheEntryAtItsPositionWhole(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	large := strings.Repeat("x", 3*maxMessage)
	mustWrite(t, log, []byte("a"))
	pos := mustWrite(t, log, []byte(large))
	if err := log.Cut(t.Context(), pos); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, read(t, logs, "w-1"), large)
	if err := log.Cut(t.Context(), mustWrite(t, log, []byte("b"))); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, read(t, logs, "w-1"), "b")
}

// Whatever removed the last message, the stream still knows where it was.
func TestWriterGoesOnAfterAPurgeOfEverything(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log := begin(t, logs, "w-1")
	for range 3 {
		mustWrite(t, log, []byte("x"))
	}
	if err := log.stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, read(t, logs, "w-1"))
	if end, err := logs.end(t.Context(), "w-1"); err != nil || end.pos != 3 || end.data != nil {
		t.Errorf("end of a purged log = %+v, %v, want position 3 and no message", end, err)
	}
	mustWrite(t, log, []byte("y"))
	wantEntries(t, read(t, logs, "w-1"), "y")
	if err := log.stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := logs.Seal(t.Context(), "w-1"); err != nil {
		t.Fatal(err)
	}
	if got := write(log, []byte("z")); !errors.Is(got.err, ErrSealed) {
		t.Errorf("append after purge and seal = %v, want ErrSealed", got.err)
	}
}

// The acknowledgement of a message is lost; a second try is refused; the log
// has it once.
func TestMessageWhoseAcknowledgementWasLostIsNotWrittenTwice(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log, err := logs.Begin(t.Context(), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	w, err := newLogWriter(log)
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	w.begin(frameEntries)
	w.buf = appendEntry(w.buf, []byte("once"))
	ctx := t.Context()
	if err := w.write(ctx); err != nil {
		t.Fatal(err)
	}
	w.last = 0 // as it was before the acknowledgement
	if err := w.write(ctx); err != nil || w.last != 1 {
		t.Errorf("second try = %v, position %d, want 1", err, w.last)
	}
	if looks := log.Stats().Looks; looks != 1 {
		t.Errorf("%d looks, want 1 after the refusal", looks)
	}
	wantEntries(t, read(t, logs, "w-1"), "once")
	w.last, w.buf = 0, bytes.ToUpper(w.buf) // another writer of the same log
	if err := w.write(ctx); !errors.Is(err, ErrSealed) {
		t.Errorf("write where another message is = %v, want ErrSealed", err)
	}
}

// A leader that has just been elected may be behind for a moment; NATS that was
// cut off from power stays behind.
func TestLogThatStaysBehindWhatWasAcknowledgedIsOver(t *testing.T) {
	_, logs := openLogs(t, bus.Config{})
	log, err := logs.Begin(t.Context(), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	w, err := newLogWriter(log)
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	w.begin(frameEntries)
	look := func(last uint64) error {
		w.last = last
		_, _, err := w.look(t.Context())
		return err
	}
	if err := look(3); err != nil || w.behind.IsZero() {
		t.Errorf("look at a log that has just fallen behind = %v, want to wait", err)
	}
	w.behind = w.behind.Add(-lostAfter)
	if err := look(0); err != nil || !w.behind.IsZero() {
		t.Errorf("look at a log that has caught up = %v, behind since %v", err, w.behind)
	}
	if err := look(3); err != nil {
		t.Errorf("look at a log that is behind once more = %v, want to wait anew", err)
	}
	w.behind = w.behind.Add(-lostAfter)
	if err := look(3); !errors.Is(err, ErrSealed) {
		t.Errorf("look at a log that stays behind = %v, want ErrSealed", err)
	}
}
