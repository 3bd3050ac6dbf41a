package bus

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

var sampleCommands = map[string]Command{
	"join":           {Op: OpJoin, Session: 1 << 63, Try: 3, Ref: 7, User: "Ann", Options: []byte{0x80}},
	"join again":     {Op: OpJoin, Session: 5, User: "Ann", Resume: true, Since: Position{3, 1 << 40, 2, 9}},
	"leave":          {Op: OpLeave, Member: 4, Ref: 2},
	"send":           {Op: OpSend, Member: 4, N: 12, Skipped: 2, Acked: 9, Event: []byte("say"), Data: []byte{0xa1, 'x'}},
	"send, no reply": {Op: OpSend, Member: 4, Event: []byte("walk")},
	"away":           {Op: OpAway, Member: 1<<32 - 1},
	"state":          {Op: OpState, Member: 1},
}

func TestCommandsSurviveTheWire(t *testing.T) {
	deadline := time.UnixMilli(1_800_000_000_123)
	b := AppendCommands(nil, "e1.0", 3, deadline)
	var want []Command
	for _, c := range sampleCommands {
		b = c.Append(b)
		want = append(want, c)
	}
	env, err := ParseCommands(b)
	if err != nil || env.From != "e1.0" || env.Epoch != 3 || !env.Deadline.Equal(deadline) {
		t.Fatalf("head = %+v, %v", env, err)
	}
	var got []Command
	for c := (Command{}); env.Next(&c); {
		got = append(got, c)
	}
	if env.Err() != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("commands = %+v, %v\nwant %+v", got, env.Err(), want)
	}
}

var sampleItems = map[string]Item{
	"message":  {Op: ItemMessage, Event: []byte("said"), Data: []byte{1}},
	"presence": {Op: ItemPresence, Presence: Presence{Size: 3, Joined: []Seat{{9, "Bo", false}}, Left: []uint32{1, 2}, Away: []uint32{4}, Back: []uint32{5}}},
	"patch":    {Op: ItemPatch, Data: []byte{0x81, 1, 2}},
	"closed":   {Op: ItemClosed, Code: Internal, Text: "sorry"},
	"joined": {Op: ItemJoined, To: 9, Session: 77, Try: 8, Ref: 1, Data: []byte{0x80}, Joined: Joined{
		At: Position{1, 2, 3, 4}, N: 5, Seats: 6, Size: 7, Resumed: true, HasState: true, Members: []Seat{{9, "Bo", true}}}},
	"refused":  {Op: ItemRefused, Session: 77, Try: 8, Ref: 1, Code: RoomFull, Text: "full"},
	"reply":    {Op: ItemReply, To: 9, N: 3, Data: []byte{0xc0}},
	"refusal":  {Op: ItemReply, To: 9, N: 3, Code: BadData, Text: "no"},
	"private":  {Op: ItemPrivate, To: 9, Count: 2, Seq: 8, Event: []byte("hand"), Data: []byte{2}},
	"replay":   {Op: ItemReplay, To: 9, Seq: 8, Event: []byte("said"), Data: []byte{3}},
	"replayed": {Op: ItemReplayed, To: 9, Seq: 9, Presence: Presence{Size: 1}},
	"left":     {Op: ItemLeft, To: 9, Session: 77, Ref: 4, Code: Kicked, Text: "rude"},
	"state":    {Op: ItemState, To: 9, Ver: 100, Data: []byte{0x90}},
	"error":    {Op: ItemError, To: 9, Code: UnknownEvent, Text: "what?"},
}

func TestOutputSurvivesTheWire(t *testing.T) {
	b := AppendOutput(nil, "chat.lounge", 4, 10, 20)
	var want []Item
	for _, it := range sampleItems {
		b = it.Append(b)
		want = append(want, it)
	}
	out, err := ParseOutput(b)
	if err != nil || string(out.Key) != "chat.lounge" || out.Epoch != 4 || out.Seq != 10 || out.Ver != 20 {
		t.Fatalf("head = %+v, %v", out, err)
	}
	var got []Item
	for it := (Item{}); out.Next(&it); {
		got = append(got, it)
	}
	if out.Err() != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("items = %+v, %v\nwant %+v", got, out.Err(), want)
	}
}

func TestCutEnvelopesAreRefused(t *testing.T) {
	for name, it := range sampleItems {
		whole := it.Append(AppendOutput(nil, "chat.lounge", 1, 1, 1))
		head := len(AppendOutput(nil, "chat.lounge", 1, 1, 1))
		for n := head + 1; n < len(whole); n++ {
			out, err := ParseOutput(whole[:n])
			if err != nil {
				t.Fatal(err)
			}
			if out.Next(new(Item)) || out.Err() == nil {
				t.Errorf("%s cut to %d of %d bytes was accepted", name, n, len(whole))
			}
		}
	}
}

// What the parsers accept they write back unchanged in meaning; nothing makes
// them panic or take memory for counts that cannot be.
func FuzzCommands(f *testing.F) {
	for _, c := range sampleCommands {
		f.Add(c.Append(AppendCommands(nil, "e1.0", 1, time.UnixMilli(1))))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := ParseCommands(b)
		if err != nil {
			return
		}
		for c := (Command{}); env.Next(&c); {
			again := Commands{r: Reader{b: c.Append(nil)}}
			var d Command
			if !again.Next(&d) || !reflect.DeepEqual(c, d) {
				t.Fatalf("%+v came back as %+v", c, d)
			}
		}
	})
}

func FuzzOutput(f *testing.F) {
	for _, it := range sampleItems {
		f.Add(it.Append(AppendOutput(nil, "chat.lounge", 1, 2, 3)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := ParseOutput(b)
		if err != nil {
			return
		}
		for it := (Item{}); out.Next(&it); {
			again := Output{r: Reader{b: it.Append(nil)}}
			var d Item
			if !again.Next(&d) || !reflect.DeepEqual(it, d) {
				t.Fatalf("%+v came back as %+v", it, d)
			}
		}
	})
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 10_000)
	for name, test := range map[string]struct {
		valid func(string) bool
		good  []string
		bad   []string
	}{
		"kind":  {ValidKind, []string{"chat", "a", "tic-tac_toe9"}, []string{"", "Chat", "a.b", "a b", "*", ">", "ä", long, strings.Repeat("a", 33)}},
		"id":    {ValidID, []string{"lounge", "A-9_z", strings.Repeat("a", 64)}, []string{"", ".", "a.b", "*", ">", "a>", "a b", "a\x00", "é", "$SYS", long, strings.Repeat("a", 65)}},
		"event": {ValidEvent, []string{"say", "größe", "a b"}, []string{"", "\xff", long}},
		"user":  {ValidUser, []string{"Ann", "Zoë 🙂"}, []string{"", "a\nb", "a\x7f", "\u0085", "\xff", long}},
	} {
		for _, s := range test.good {
			if !test.valid(s) {
				t.Errorf("%s %q is refused", name, s)
			}
		}
		for _, s := range test.bad {
			if test.valid(s) {
				t.Errorf("%s %.20q is accepted", name, s)
			}
		}
	}
}

func FuzzSubjects(f *testing.F) {
	f.Add("chat", "lounge")
	f.Add("a.b", "*")
	f.Fuzz(func(t *testing.T, kind, id string) {
		s := Subjects{prefix: "r"}
		if !ValidKind(kind) || !ValidID(id) {
			return
		}
		subject := s.In(Key(kind, id))
		if bytes.ContainsAny([]byte(subject), "*> \t\r\n\x00") || strings.Count(subject, ".") != 4 {
			t.Fatalf("subject %q", subject)
		}
		k, i, ok := SplitKey(s.RoomOf(subject))
		if !ok || k != kind || i != id {
			t.Fatalf("%q came back as %q %q", subject, k, i)
		}
	})
}

func TestAddressesThatCouldNotBeAreRefused(t *testing.T) {
	for _, a := range []Address{"", "e1", "e1.", ".0", "e1.x", "e.1.0", "e1.>", "*.0", "e1.00000"} {
		if a.Valid() {
			t.Errorf("address %q is accepted", a)
		}
	}
	if a := NewAddress("e1", 12); !a.Valid() || a.Edge() != "e1" {
		t.Errorf("address %q is refused", a)
	}
}
