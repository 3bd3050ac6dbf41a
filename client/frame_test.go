package client

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

func pack(t testing.TB, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseFrameReadsEveryType(t *testing.T) {
	cases := map[string]struct {
		wire []any
		want Frame
	}{
		"error":         {[]any{0, "rate_limited", "slower", 4, 7}, Frame{Type: 0, Code: []byte("rate_limited"), Message: []byte("slower"), Room: 7}},
		"error, bare":   {[]any{0, "bad_frame"}, Frame{Type: 0, Code: []byte("bad_frame")}},
		"joined":        {[]any{2, 3, 5}, Frame{Type: 2, Ref: 3, Data: []byte{5}}},
		"join refused":  {[]any{2, 3, nil, []any{"room_full", "no", "more"}}, Frame{Type: 2, Ref: 3, Data: []byte{0xc0}, Code: []byte("room_full"), Message: []byte("no")}},
		"left":          {[]any{3, 7, "left", "", 9}, Frame{Type: 3, Room: 7, Code: []byte("left"), Message: []byte{}, Ref: 9}},
		"reply":         {[]any{4, 7, 300, "x"}, Frame{Type: 4, Room: 7, N: 300, Data: []byte{0xa1, 'x'}}},
		"reply, no":     {[]any{4, 7, 1, nil, []any{"bad_data"}}, Frame{Type: 4, Room: 7, N: 1, Data: []byte{0xc0}, Code: []byte("bad_data")}},
		"pong":          {[]any{5, 1, 1700000000000}, Frame{Type: 5, Data: []byte{1}, Time: 1700000000000}},
		"message":       {[]any{7, 7, 70000, "said", 1}, Frame{Type: 7, Room: 7, Seq: 70000, Event: []byte("said"), Data: []byte{1}}},
		"message, more": {[]any{7, 7, 1, "said", 1, "new", []int{1}}, Frame{Type: 7, Room: 7, Seq: 1, Event: []byte("said"), Data: []byte{1}}},
		"private":       {[]any{8, 7, 5, 6, "psst"}, Frame{Type: 8, Room: 7, Seq: 5, Count: 6, Event: []byte("psst")}},
		"presence":      {[]any{9, 7, 5, 2, []any{}, []any{4}}, Frame{Type: 9, Room: 7, Seq: 5, Size: 2, Data: []byte{0x90, 0x91, 4}}},
		"state":         {[]any{10, 7, 5, 1}, Frame{Type: 10, Room: 7, Ver: 5, Data: []byte{1}}},
		"patch":         {[]any{11, 7, 6, -1}, Frame{Type: 11, Room: 7, Ver: 6, Data: []byte{0xff}}},
		"notice":        {[]any{12, 7, "reset", 2, 3, 4, 5}, Frame{Type: 12, Room: 7, Event: []byte("reset"), Epoch: 2, Seq: 3, Count: 4, N: 5}},
		"bye":           {[]any{13, "idle", "", -1}, Frame{Type: 13, Code: []byte("idle"), Message: []byte{}, Time: -1}},
		"unknown":       {[]any{99, map[string]any{"a": []any{1, 2.5, nil}}}, Frame{Type: 99}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var f Frame
			rest, err := ParseFrame(&f, append(pack(t, c.wire), 0x55))
			if err != nil || !bytes.Equal(rest, []byte{0x55}) {
				t.Fatalf("ParseFrame: rest % x, %v", rest, err)
			}
			if !reflect.DeepEqual(f, c.want) {
				t.Errorf("ParseFrame = %+v, want %+v", f, c.want)
			}
		})
	}
}

func TestParseFrameRefusesEveryTruncation(t *testing.T) {
	whole := pack(t, []any{7, 7, 70000, strings.Repeat("e", 40), map[string]any{"list": []any{1, "two", 3.5, []byte("four")}}})
	for n := range whole {
		var f Frame
		if _, err := ParseFrame(&f, whole[:n]); err == nil {
			t.Errorf("ParseFrame took the first %d of %d bytes", n, len(whole))
		}
	}
}

func TestMessagesAreParsedWithoutAllocation(t *testing.T) {
	message := pack(t, []any{7, 7, 70000, "cast", bytes.Repeat([]byte("x"), 128)})
	var f Frame
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseFrame(&f, message); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("ParseFrame allocates %v times for a message", n)
	}
}

func TestAppendedFramesAreWhatTheProtocolSays(t *testing.T) {
	since := &Position{Epoch: 1, Seq: 200, Count: 3, Ver: 70000}
	cases := map[string]struct {
		got  []byte
		want []any
	}{
		"hello":      {AppendHello(nil, Hello{User: "Ann", Resume: "r"}), []any{1, map[string]any{"user": "Ann", "resume": "r"}}},
		"hello, new": {AppendHello(nil, Hello{}), []any{1, map[string]any{}}},
		"join":       {AppendJoin(nil, 1, "chat", "x", nil, nil, 0), []any{2, 1, "chat", "x"}},
		"join again": {AppendJoin(nil, 1, "chat", "x", []byte{5}, since, 9), []any{2, 1, "chat", "x", 5, []any{1, 200, 3, 70000, 9}}},
		"leave":      {AppendLeave(nil, 300, 2), []any{3, 300, 2}},
		"send":       {AppendSend(nil, 2, 0, "walk", []byte{1}, 0), []any{4, 2, 0, "walk", 1}},
		"send acked": {AppendSend(nil, 2, 9, "say", nil, 8), []any{4, 2, 9, "say", nil, 8}},
		"ping":       {AppendPing(nil, 5), []any{5, 5}},
		"list":       {AppendList(nil, 1, "chat", 0), []any{6, 1, "chat", 0}},
		"long":       {AppendSend(nil, 1, 1<<33, strings.Repeat("e", 64), AppendBin(nil, bytes.Repeat([]byte{1}, 300)), 0), []any{4, 1, 1 << 33, strings.Repeat("e", 64), bytes.Repeat([]byte{1}, 300)}},
	}
	for name, c := range cases {
		var got, wanted any
		if err := msgpack.Unmarshal(c.got, &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := msgpack.Unmarshal(pack(t, c.want), &wanted); err != nil {
			t.Fatal(err)
		}
		if g, w := pack(t, normal(got)), pack(t, normal(wanted)); !bytes.Equal(g, w) {
			t.Errorf("%s = %v, want %v", name, got, wanted)
		}
	}
}

// normal makes all integers alike, for comparison.
func normal(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
		return v
	case map[string]any:
		return []any{v["user"], v["token"], v["resume"]}
	}
	if r := reflect.ValueOf(v); r.IsValid() && r.CanInt() {
		return uint64(r.Int())
	} else if r.IsValid() && r.CanUint() {
		return r.Uint()
	}
	return v
}

func TestJoinedAndPresenceAreRead(t *testing.T) {
	j, err := ParseJoined(pack(t, map[string]any{
		"room": 3, "kind": "chat", "id": "x", "member": 9, "epoch": 2, "seq": 300, "count": 4, "ver": 5, "n": 6,
		"seats": 7, "size": 2, "members": []any{[]any{1, "Ann", true}, []any{9, "Bob"}}, "resumed": true, "recovered": true, "later": "x",
	}))
	if err != nil || j.Position != (Position{2, 300, 4, 5}) || j.Room != 3 || j.Member != 9 || j.N != 6 || !j.Resumed || !j.Recovered {
		t.Errorf("ParseJoined = %+v, %v", j, err)
	}
	members, err := DecodeMembers(j.Members)
	if want := []Member{{1, "Ann", true}, {9, "Bob", false}}; err != nil || !reflect.DeepEqual(members, want) {
		t.Errorf("DecodeMembers = %v, %v; want %v", members, err, want)
	}
	var f Frame
	if _, err := ParseFrame(&f, pack(t, []any{9, 3, 301, 4, []any{[]any{10, "Cy"}}, []int{1}, []int{}, []int{9, 10}})); err != nil {
		t.Fatal(err)
	}
	p, err := DecodePresence(&f)
	want := Presence{Size: 4, Seq: 301, Joined: []Member{{10, "Cy", false}}, Left: []uint32{1}, Back: []uint32{9, 10}}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("DecodePresence = %+v, %v; want %+v", p, err, want)
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(pack(f, []any{7, 7, 70000, "said", map[string]any{"a": 1}}))
	f.Add(pack(f, []any{2, 1, map[string]any{"room": 1, "members": []any{[]any{1, "Ann", false}}}}))
	f.Add(pack(f, []any{9, 1, 2, 3, []any{[]any{1, "Ann"}}, []int{1}, []int{2}, []int{3}}))
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr Frame
		rest, err := ParseFrame(&fr, b)
		if err != nil {
			return
		}
		if len(rest) >= len(b) {
			t.Fatalf("nothing was consumed of % x", b)
		}
		// None of these may panic, whatever is in the frame.
		_, _ = ParseJoined(fr.Data)
		_, _ = ParseWelcome(fr.Data)
		_, _ = DecodePresence(&fr)
		_, _ = DecodeListings(fr.Data)
		_, _ = Bytes(fr.Data)
	})
}
