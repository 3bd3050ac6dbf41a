package kv

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"roomd/bus"

	"github.com/nats-io/nats.go/jetstream"
)

func pieceSubjects(t *testing.T, records *Records) int {
	t.Helper()
	info, err := records.at().stream.Info(t.Context(), jetstream.WithSubjectFilter(records.at().prefix+"piece.>"))
	if err != nil {
		t.Fatal(err)
	}
	return len(info.State.Subjects)
}

func TestLargeValuesAreReplacedAndLeaveNothingBehind(t *testing.T) {
	_, records := open(t, bus.Config{})
	ctx := t.Context()
	large := func(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }
	revision, err := records.Create(ctx, "chat.a", large('a', MaxRecord), "w-1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := records.Get(ctx, "chat.a")
	if err != nil || !bytes.Equal(got.Value, large('a', MaxRecord)) || got.Revision != revision || got.Owner != "w-1" {
		t.Fatalf("Get = %d bytes at %d of %q, %v", len(got.Value), got.Revision, got.Owner, err)
	}
	if revision, err = records.Update(ctx, "chat.a", large('b', 2*maxPiece), "", revision); err != nil {
		t.Fatal(err)
	}
	if n := pieceSubjects(t, records); n != 2 {
		t.Errorf("%d pieces after a write of two, want 2", n)
	}
	if got, err = records.Get(ctx, "chat.a"); err != nil || !bytes.Equal(got.Value, large('b', 2*maxPiece)) {
		t.Errorf("Get after Update = %d bytes, %v", len(got.Value), err)
	}
	if _, err := records.Update(ctx, "chat.a", large('x', 2*maxPiece), "", revision-1); !errors.Is(err, ErrConflict) {
		t.Errorf("Update with an old revision = %v, want ErrConflict", err)
	}
	if n := pieceSubjects(t, records); n != 2 {
		t.Errorf("%d pieces after a refused write, want the 2 before it", n)
	}
	if keys, err := records.Keys(ctx, "chat", 10); err != nil || !slices.Equal(keys, []string{"chat.a"}) {
		t.Errorf("Keys = %q, %v, want chat.a alone", keys, err)
	}
	if _, err = records.Retire(ctx, "chat.a", []byte("small"), "", revision); err != nil {
		t.Fatal(err)
	}
	if n := pieceSubjects(t, records); n != 0 {
		t.Errorf("%d pieces after a small value, want none", n)
	}
	if got, err = records.Get(ctx, "chat.a"); err != nil || string(got.Value) != "small" || !got.Retired {
		t.Errorf("Get of the retired record = %q, %v, %v", got.Value, got.Retired, err)
	}
}

func TestLeftoversOfACrashGoWithTheNextWrite(t *testing.T) {
	_, records := open(t, bus.Config{})
	value := make([]byte, 3*maxPiece)
	revision, err := records.Create(t.Context(), "chat.a", value, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.writePieces(t.Context(), "chat.a", value); err != nil { // and no record names them
		t.Fatal(err)
	}
	if n := pieceSubjects(t, records); n != 6 {
		t.Fatalf("%d pieces, want 6", n)
	}
	if _, err := records.Update(t.Context(), "chat.a", value, "", revision); err != nil {
		t.Fatal(err)
	}
	if n := pieceSubjects(t, records); n != 3 {
		t.Errorf("%d pieces after the next write, want 3", n)
	}
}

func TestOwnedAreTheRecordsWhoseLastWriteNamesTheOwner(t *testing.T) {
	_, records := open(t, bus.Config{})
	ctx := t.Context()
	if keys, err := records.Owned(ctx, "w-1"); err != nil || len(keys) != 0 {
		t.Errorf("Owned in an empty bucket = %q, %v", keys, err)
	}
	var want []string
	for i := range 5000 { // more than one pull
		key := fmt.Sprintf("chat.%04d", i)
		owner := "w-1"
		if i%3 == 0 {
			owner = "w-2"
		}
		revision, err := records.Create(ctx, key, []byte("state"), owner)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case i%10 == 1 && owner == "w-1":
			if _, err := records.Update(ctx, key, nil, "", revision); err != nil {
				t.Fatal(err)
			}
		case owner == "w-1":
			want = append(want, key)
		}
	}
	if _, err := records.Create(ctx, "chat.large", make([]byte, 2*maxPiece), "w-1"); err != nil {
		t.Fatal(err)
	}
	want = append(want, "chat.large")
	keys, err := records.Owned(ctx, "w-1")
	slices.Sort(keys)
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("Owned = %d keys, %v, want %d", len(keys), err, len(want))
	}
}

func TestPagesMayBeLargerThanOtherRecords(t *testing.T) {
	_, records := open(t, bus.Config{})
	value := bytes.Repeat([]byte("page"), MaxRecord/4+1)
	if _, err := records.Create(t.Context(), "chat.a", value, ""); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Create of a room's = %v, want ErrTooLarge", err)
	}
	key := PageKey(ShardKey(0), 5)
	if _, err := records.Create(t.Context(), key, value, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := records.Get(t.Context(), key); err != nil || !bytes.Equal(got.Value, value) {
		t.Errorf("Get = %d bytes, %v", len(got.Value), err)
	}
}
