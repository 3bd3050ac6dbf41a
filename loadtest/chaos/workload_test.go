package chaos

import (
	"slices"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

func TestEachKindHasARoomAndTheSeedSaysWhich(t *testing.T) {
	for _, rooms := range []int{len(workloads), 20, 33} {
		counts := make(map[string]int)
		quiet := 0
		for _, p := range deal(7, Kinds(), rooms) {
			counts[p.kind]++
			if p.quiet {
				quiet++
			}
			if p.quiet && !p.synced {
				t.Errorf("%s is quiet", p.kind)
			}
		}
		for _, kind := range Kinds() {
			if counts[kind] == 0 {
				t.Errorf("%d rooms, none of them %s", rooms, kind)
			}
		}
		if rooms >= 20 && (quiet < 4 || quiet > rooms-4) {
			t.Errorf("%d of %d rooms are quiet", quiet, rooms)
		}
	}
	if a, b := deal(1, Kinds(), 20), deal(1, Kinds(), 20); !slices.Equal(a, b) {
		t.Errorf("one seed, two deals: %v and %v", a, b)
	}
	for _, p := range deal(1, []string{"ledger"}, 5) {
		if p.kind != "ledger" || !p.d.Strict {
			t.Errorf("of ledgers one is %+v", p)
		}
	}
}

func TestUnknownKindsAreRefused(t *testing.T) {
	if _, err := ParseKinds([]string{"ledger", "chat"}); err == nil {
		t.Error("chat can be checked")
	}
	if kinds, err := ParseKinds(nil); err != nil || len(kinds) != len(workloads) {
		t.Errorf("ParseKinds() = %v, %v", kinds, err)
	}
}

// What a member is shown tells by itself whether the room made it.
func TestStateGivesItselfAway(t *testing.T) {
	state := func(sum string, ids ...string) []byte {
		b, err := msgpack.Marshal(map[string]any{"count": len(ids), "sum": sum, "body": map[string]any{"ids": ids}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	body, err := msgpack.Marshal(map[string]any{"ids": []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	sum := sumOfBody(body)
	if x := show(state(sum, "a", "b")); x.Bad != "" || x.Count != 2 || x.Sum != sum {
		t.Errorf("the room's own state: %+v", x)
	}
	if x := show(state(sum, "a", "c")); x.Bad == "" {
		t.Error("another body passes")
	}
	if x := show([]byte{0xc1}); x.Bad == "" {
		t.Error("no msgpack passes")
	}
}
