package main

import (
	"fmt"
	"slices"
	"testing"

	"roomd/rooms"
	"roomd/rooms/patch"

	"github.com/vmihailenco/msgpack/v5"
)

// encoded is the state as members get it.
func encoded(t *testing.T, s *synced) []byte {
	t.Helper()
	b, err := msgpack.Marshal(s.State())
	if err == nil {
		b, err = patch.Canonical(nil, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSyncedStateSaysWhatItsBodyIs(t *testing.T) {
	s := newSynced(false)
	sums := []string{s.Sum}
	for name, change := range map[string]func(){
		"an entry":   func() { s.Body.IDs = append(s.Body.IDs, "a-1") },
		"a ring":     func() { s.Body.Rung = append(s.Body.Rung, "a-1") },
		"a bell":     func() { s.Body.Bells["a-1"] = 1 },
		"a cell":     func() { s.move(3, -7) },
		"a message":  func() { s.Body.Told[1]++ },
		"an opening": func() { s.Body.Opened++ },
	} {
		change()
		s.sign()
		if slices.Contains(sums, s.Sum) {
			t.Errorf("%s changes nothing", name)
		}
		sums = append(sums, s.Sum)
	}
	var back synced
	if err := msgpack.Unmarshal(encoded(t, s), &back); err != nil {
		t.Fatal(err)
	}
	back.sign()
	if back.Sum != s.Sum || back.Count != 1 {
		t.Errorf("decoded and signed again: sum %s, count %d, want %s, 1", back.Sum, back.Count, s.Sum)
	}
}

func TestSyncedStateFitsWhenItIsFull(t *testing.T) {
	s := newSynced(false)
	for i := range maxSynced {
		id := fmt.Sprintf("%0*d", maxEntryBytes, i)
		s.Body.IDs = append(s.Body.IDs, id)
		if i < maxBells {
			s.Body.Bells[id] = 1 << 40
		} else {
			s.Body.Rung = append(s.Body.Rung, id)
		}
	}
	s.sign()
	const limit = 768 << 10 // of a synced state
	if n := len(encoded(t, s)); n > limit {
		t.Errorf("a full room has a state of %d bytes, the limit is %d", n, limit)
	}
}

func TestSyncedListsKeepTheirEnd(t *testing.T) {
	var list []string
	for i := range 5 {
		list = appendLast(list, fmt.Sprint(i), 3)
	}
	if want := []string{"2", "3", "4"}; !slices.Equal(list, want) {
		t.Errorf("appendLast keeps %q, want %q", list, want)
	}
}

func TestSyncedKindsAreOfEachDurability(t *testing.T) {
	got := map[string]rooms.Durability{}
	for _, k := range syncedKinds() {
		got[k.Name] = k.Durability
		if k.Sync == 0 {
			t.Errorf("%s is not synced", k.Name)
		}
	}
	if len(got) != 4 || got["synced"] != rooms.Commit || got["synced-brief"] != rooms.Commit || got["synced-none"] != rooms.None {
		t.Errorf("kinds %v", got)
	}
}
