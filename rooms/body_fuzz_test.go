package rooms

import (
	"testing"

	"roomd/bus"
)

// Bodies of requests to open, ping and list come from other nodes: whatever they
// are, the worker answers or refuses, and opens no room that has no name.
func FuzzRequestBodies(f *testing.F) {
	b := startBus(f)
	w, _ := b.worker(f, "w1", Config{MaxRooms: 64}, counterKind())
	f.Add(byte(0), bus.AppendString(bus.AppendString(nil, "counter"), "a"))
	f.Add(byte(0), bus.AppendString(bus.AppendString(nil, "counter"), "a.*>"))
	f.Add(byte(0), bus.AppendString(bus.AppendString(nil, "_kv"), "0"))
	f.Add(byte(1), bus.AppendString(nil, "counter.a"))
	f.Add(byte(2), bus.AppendUint(bus.AppendString(nil, "counter"), 10))
	f.Add(byte(3), bus.AppendString(nil, ""))
	f.Fuzz(func(t *testing.T, verb byte, body []byte) {
		var err error
		switch verb % 4 {
		case 0:
			_, err = w.answerOpen(t.Context(), body)
		case 1:
			_, err = w.answerPing(t.Context(), body)
		case 2:
			_, err = w.answerList(t.Context(), body)
		case 3:
			_, err = w.answerLocalList(t.Context(), body)
		}
		if err != nil && bus.CodeOf(err) == bus.Internal {
			t.Errorf("verb %d with %q: %v", verb%4, body, err)
		}
		w.mu.RLock()
		defer w.mu.RUnlock()
		for key := range w.rooms {
			if _, _, ok := bus.SplitKey(key); !ok {
				t.Errorf("%q opened the room %q", body, key)
			}
		}
	})
}
