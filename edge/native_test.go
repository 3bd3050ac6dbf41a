package edge

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"roomd/bus"
)

func TestFramesOfClients(t *testing.T) {
	long := strings.Repeat("n", 300)
	for name, c := range map[string]struct {
		in   any
		want frame
	}{
		"hello":                   {[]any{1, map[string]any{"user": "Ann", "new": []any{1}, "token": "t", "resume": nil}}, frame{typ: 1, user: []byte("Ann"), token: []byte("t")}},
		"hello with nothing":      {[]any{1}, frame{typ: 1}},
		"hello with odd keys":     {[]any{1, map[int]any{1: "x"}}, frame{typ: 1}},
		"join":                    {[]any{2, 7, "chat", "lounge"}, frame{typ: 2, ref: 7, kind: []byte("chat"), id: []byte("lounge")}},
		"join with everything":    {[]any{2, 7, "chat", long, 5, []any{1, 2, 3, 4}, "later"}, frame{typ: 2, ref: 7, kind: []byte("chat"), id: []byte(long), data: []byte{5}, isSince: true, since: bus.Position{Epoch: 1, Seq: 2, Count: 3, Ver: 4}}},
		"join with a short since": {[]any{2, 7, "chat", "x", nil, []any{9}}, frame{typ: 2, ref: 7, kind: []byte("chat"), id: []byte("x"), isSince: true, since: bus.Position{Epoch: 9}}},
		"leave":                   {[]any{3, 8, 70000}, frame{typ: 3, ref: 8, room: 70000}},
		"send":                    {[]any{4, 1, 2, "say", "hi", 1}, frame{typ: 4, room: 1, n: 2, event: []byte("say"), data: []byte("\xa2hi"), acked: 1}},
		"send with nil data":      {[]any{4, 1, 0, "say", nil}, frame{typ: 4, room: 1, event: []byte("say")}},
		"ping":                    {[]any{5}, frame{typ: 5}},
		"list":                    {[]any{6, 3, "chat", 10}, frame{typ: 6, ref: 3, kind: []byte("chat"), limit: 10}},
	} {
		t.Run(name, func(t *testing.T) {
			var got frame
			b := append(encode(t, c.in), 0x93)
			rest, err := parseFrame(b, &got)
			if err != nil || len(rest) != 1 {
				t.Fatalf("err %v, %d bytes left, want 1", err, len(rest))
			}
			for _, s := range []*[]byte{&got.user, &got.token, &got.kind, &got.id, &got.event, &got.data} {
				*s = bytes.Clone(*s) // of their own capacity, as want's
				if len(*s) == 0 {
					*s = nil
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestFramesThatAreRefused(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x91}, maxDepth+1), 1)
	for name, in := range map[string][]byte{
		"nothing":                 {},
		"no array":                {0x01},
		"empty array":             {0x90},
		"unknown type":            encode(t, []any{7, 1}),
		"type that is text":       encode(t, []any{"x"}),
		"type that is below zero": encode(t, []any{-1}),
		"cut off":                 encode(t, []any{4, 1, 2, "say", "hello"})[:8],
		"event that is a number":  encode(t, []any{4, 1, 2, 3}),
		"number that is text":     encode(t, []any{4, "1", 2, "say"}),
		"number below zero":       encode(t, []any{4, -1, 2, "say"}),
		"number with a fraction":  encode(t, []any{4, 1.5, 2, "say"}),
		"hello that is no map":    encode(t, []any{1, "Ann"}),
		"user that is no text":    encode(t, []any{1, map[string]any{"user": 1}}),
		"extension type":          append([]byte{0x95, 4, 1, 0, 0xa1, 'x'}, 0xd4, 1, 1),
		"reserved byte":           {0x95, 4, 1, 0, 0xa1, 'x', 0xc1},
		"text that is no UTF-8":   append([]byte{0x95, 4, 1, 0, 0xa1, 'x'}, 0xa1, 0xff),
		"float as a key":          append([]byte{0x95, 4, 1, 0, 0xa1, 'x'}, 0x81, 0xca, 0, 0, 0, 0, 1),
		"too deep":                append([]byte{0x95, 4, 1, 0, 0xa1, 'x'}, deep...),
		"length beyond the end":   {0x95, 4, 1, 0, 0xa1, 'x', 0xdd, 0xff, 0xff, 0xff, 0xff},
		"trailing element cut":    {0x93, 5, 1, 0xa5, 'x'},
	} {
		var f frame
		if _, err := parseFrame(in, &f); err == nil {
			t.Errorf("%s: % x became %+v", name, in, f)
		}
	}
}

// Frames for clients are what PROTOCOL.md says, read with an independent decoder.
func TestFramesForClients(t *testing.T) {
	item := &bus.Item{To: 3, Data: encode(t, "st"), Joined: bus.Joined{
		At: bus.Position{Epoch: 1, Seq: 2, Count: 3, Ver: 4}, N: 5, Applied: 4, Seats: 6, Size: 7, Resumed: true, HasState: true,
		Members: []bus.Seat{{Member: 3, User: "Ann", Away: true}},
	}}
	presence := &bus.Presence{Size: 2, Joined: []bus.Seat{{Member: 1, User: "Bo"}}, Left: []uint32{2}, Back: []uint32{300}}
	x := encode(t, "x")
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"error":           {appendError(nil, "bad_name", "no", 4, 9), `[0,"bad_name","no",4,9]`},
		"error, no room":  {appendError(nil, "bad_name", "no", 2, 0), `[0,"bad_name","no",2]`},
		"welcome":         {appendWelcome(nil, "s", "r", "Ann", 25), `[1,{"session":"s","resume":"r","user":"Ann","ping":25}]`},
		"refusal":         {appendRefusal(nil, typeJoin, 4, "room_full", ""), `[2,4,null,["room_full"]]`},
		"left":            {appendLeft(nil, 9, "kicked", "", 0), `[3,9,"kicked"]`},
		"left with text":  {appendLeft(nil, 9, "kicked", "rude", 0), `[3,9,"kicked","rude"]`},
		"left, asked for": {appendLeft(nil, 9, "left", "", 8), `[3,9,"left","",8]`},
		"reply":           {appendReply(nil, 9, 1, x, "", ""), `[4,9,1,"x"]`},
		"empty reply":     {appendReply(nil, 9, 1, nil, "", ""), `[4,9,1,null]`},
		"refused command": {appendReply(nil, 9, 1, nil, "too_large", "big"), `[4,9,1,null,["too_large","big"]]`},
		"pong":            {appendPong(nil, x, 1234), `[5,"x",1234]`},
		"rooms":           {appendRooms(nil, 4, encode(t, []any{[]any{"chat", "a", 1, 0, nil}})), `[6,4,[["chat","a",1,0,null]]]`},
		"message":         {appendMessage(nil, 9, 300, []byte("said"), x), `[7,9,300,"said","x"]`},
		"private":         {appendPrivate(nil, 9, 3, 1, []byte("hist"), nil), `[8,9,3,1,"hist",null]`},
		"presence":        {appendPresence(nil, 9, 4, presence), `[9,9,4,2,[[1,"Bo"]],[2],[],[300]]`},
		"state":           {appendState(nil, typeState, 9, 4, x), `[10,9,4,"x"]`},
		"patch":           {appendState(nil, typePatch, 9, 5, x), `[11,9,5,"x"]`},
		"paused":          {appendNotice(nil, 9, "paused"), `[12,9,"paused"]`},
		"resumed":         {appendResumed(nil, 9, 2), `[12,9,"resumed",2]`},
		"reset":           {appendReset(nil, 9, 3, &item.Joined), `[12,9,"reset",1,2,3,5,3,7,[[3,"Ann",true]],4,true]`},
		"bye":             {appendBye(nil, "shutdown", "", -1), `[13,"shutdown","",-1]`},
		"joined": {appendJoined(nil, 7, 9, "chat", "a", item), `[2,7,{"room":9,"kind":"chat","id":"a","member":3,"epoch":1,"seq":2,"count":3,"ver":4,"n":5,` +
			`"seats":6,"size":7,"applied":4,"resumed":true,"recovered":false,"members":[[3,"Ann",true]],"state":"st"}]`},
	} {
		if n, err := valueLen(c.got); err != nil || n != len(c.got) {
			t.Errorf("%s: not one value: %v", name, err)
		}
		if got := toJSON(c.got); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		var v any
		if err := msgpack.Unmarshal(c.got, &v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJSONFrames(t *testing.T) {
	p := &jsonProtocol{}
	var f frame
	rest, err := p.next([]byte("[4,1,2,\"say\",{\"$bin\":\"AAH/\"}] \n[5]"), &f)
	if err != nil || f.typ != typeSend || string(f.data) != "\xc4\x03\x00\x01\xff" {
		t.Fatalf("first frame: %+v, %v", f, err)
	}
	if rest, err = p.next(rest, &f); err != nil || f.typ != typePing || len(rest) > 0 {
		t.Fatalf("second frame: %+v, %q left, %v", f, rest, err)
	}
	for name, in := range map[string]string{
		"garbage": "hi", "not an array": "{}", "two frames on a line": "[5] [5]", "number with a fraction": "[4,1.5]",
	} {
		if _, err := p.next([]byte(in), &f); err == nil {
			t.Errorf("%s: %q was taken", name, in)
		}
	}
	got := p.add(nil, append(appendNotice(nil, 1, "paused"), appendNotice(nil, 2, "paused")...))
	if want := "[12,1,\"paused\"]\n[12,2,\"paused\"]"; string(got) != want {
		t.Errorf("two frames: got %q, want %q", got, want)
	}
}

func FuzzNativeFrame(f *testing.F) {
	for _, v := range []any{
		[]any{1, map[string]any{"user": "Ann"}}, []any{2, 7, "chat", "lounge", nil, []any{1, 2, 3, 4}},
		[]any{3, 8, 1}, []any{4, 1, 2, "say", map[string]any{"a": []any{1.5, nil}}, 1}, []any{5, "x"}, []any{6, 3, "chat", 10},
	} {
		f.Add(encode(f, v))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var fr frame
		rest, err := parseFrame(in, &fr)
		if err != nil {
			return
		}
		size := len(in) - len(rest)
		for _, s := range [][]byte{fr.user, fr.token, fr.resume, fr.kind, fr.id, fr.event, fr.data} {
			if len(s) > size {
				t.Fatalf("% x: a field of %d bytes in a frame of %d", in, len(s), size)
			}
		}
		if fr.data != nil {
			if n, err := valueLen(fr.data); err != nil || n != len(fr.data) {
				t.Fatalf("% x: data % x is not one value", in, fr.data)
			}
		}
		var again frame
		if rest, err := parseFrame(in[:size], &again); err != nil || len(rest) > 0 || !reflect.DeepEqual(fr, again) {
			t.Fatalf("% x: reads differently when nothing follows", in)
		}
	})
}

func FuzzJSONFrame(f *testing.F) {
	for _, s := range []string{`[1,{"user":"Ann"}]`, "[2,1,\"chat\",\"\"]\n[5]", `[4,1,2,"say",{"$bin":""},1]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p := &jsonProtocol{}
		var fr frame
		for rest := in; len(rest) > 0; {
			before := len(rest)
			var err error
			if rest, err = p.next(rest, &fr); err != nil {
				return
			}
			if len(rest) >= before {
				t.Fatalf("%q: no progress", in)
			}
		}
	})
}
