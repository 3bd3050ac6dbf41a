package kv

import (
	"bytes"
	"testing"
)

// Whatever comes from a stream, a deframer neither panics nor gives out more
// than it got; what it accepts of entries is what appendEntry wrote.
func FuzzDeframer(f *testing.F) {
	one := appendEntry(appendEntry(appendHead(nil, frameEntries, 1), []byte("a")), []byte("bc"))
	f.Add(one, appendHead(nil, frameSeal, 0))
	f.Add(append(appendHead(nil, framePiece, 1), 0, 'x'), append(appendHead(nil, frameLastPiece, 2), 1, 'y'))
	f.Add([]byte{frameEntries, 1, 0xff}, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		size := 0
		var entries [][]byte
		d := deframer{each: func(_ uint64, entry []byte) error {
			size += len(entry)
			entries = append(entries, entry)
			return nil
		}}
		if d.add(1, a) == nil {
			_ = d.add(2, b) // an error is fine: the bytes are anybody's
		}
		if size > len(a)+len(b) {
			t.Errorf("%d bytes of entries from %d", size, len(a)+len(b))
		}
		msg := appendHead(nil, frameEntries, 7)
		length := len(msg)
		for _, entry := range entries {
			msg = appendEntry(msg, entry)
			length += framedLen(entry)
		}
		if len(msg) != length {
			t.Errorf("framedLen says %d for %d bytes", length, len(msg))
		}
		i := 0
		again := deframer{each: func(_ uint64, entry []byte) error {
			if !bytes.Equal(entry, entries[i]) {
				t.Errorf("entry %d came back as %q, was %q", i, entry, entries[i])
			}
			i++
			return nil
		}}
		if err := again.add(1, msg); err != nil || i != len(entries) {
			t.Errorf("written entries came back as %d of %d, %v", i, len(entries), err)
		}
	})
}

func TestDeframerRefusesAGapAndWhatComesAfterTheSeal(t *testing.T) {
	entries := func(number uint64) []byte { return appendEntry(appendHead(nil, frameEntries, number), []byte("x")) }
	for name, msgs := range map[string][][]byte{
		"gap":        {entries(1), entries(3)},
		"twice":      {entries(1), entries(1)},
		"after seal": {entries(1), appendHead(nil, frameSeal, 0), entries(2)},
		"lost piece": {append(appendHead(nil, framePiece, 1), 0, 'x'), append(appendHead(nil, frameLastPiece, 2), 5, 'y')},
		"cut short":  {append(appendHead(nil, framePiece, 1), 0, 'x'), entries(2)},
	} {
		d := deframer{each: func(uint64, []byte) error { return nil }}
		var err error
		for i, msg := range msgs {
			if err == nil {
				err = d.add(uint64(i+1), msg)
			}
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAcknowledgementsAreReadWithoutMistakingRefusals(t *testing.T) {
	for text, want := range map[string]uint64{
		`{"stream":"S","seq":12}`:              12,
		`{"stream":"S", "seq": 7}`:             7,
		`{"stream":"S","domain":"d","seq":34}`: 34,
		`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"S","seq":0}`: 0,
		``:       0,
		`"seq":`: 0,
	} {
		if got, ok := parseAck([]byte(text)); got != want || ok != (want > 0) {
			t.Errorf("parseAck(%s) = %d, %v, want %d", text, got, ok, want)
		}
	}
}
