package kv

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"roomd/bus"
	"roomd/kv/engine"

	"github.com/nats-io/nats.go/jetstream"
)

// This file has the fuzz targets of what comes from NATS or from a disk: answers,
// messages of channels, headers of pieces, acknowledgements and saved files.

// FuzzAnswer gives a link two answers, whatever they are. It may not panic, no
// call may end twice, and what it keeps of a reply in parts is no larger than what
// has come.
func FuzzAnswer(f *testing.F) {
	conn, err := bus.Open(f.Context(), bus.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(conn.Close)
	whole := appendItem(appendAnswer(nil, 1<<20), 1, itemReply, []byte("+OK\r\n"))
	parts := appendPart(appendAnswer(nil, 1<<20), 2, []byte("$3\r\nabc\r\n"), 0, 4)
	handed := appendItem(appendAnswer(nil, 1<<20), 3, itemHanded, []byte("*2\r\n$1\r\nl\r\n$1\r\nx\r\n"))
	f.Add(whole, parts, false)
	f.Add(parts, appendItem(appendPart(appendAnswer(nil, 1<<20), 2, []byte("$3\r\nabc\r\n"), 4, 9), 2, itemReply, nil), false)
	f.Add(handed, appendItem(appendAnswer(nil, 1<<20), 3, itemConfirmed, nil), true)
	f.Add(handed, appendItem(appendAnswer(nil, 2<<20), 3, itemWithdrawn, nil), true)
	f.Add(appendItem(appendAnswer(nil, 1<<20), 0, itemUnknown, nil), appendItem(appendAnswer(nil, 1<<20), 0, itemFull, nil), true)
	f.Fuzz(func(t *testing.T, first, second []byte, blocks bool) {
		l := newLink(conn, 0, blocks)
		l.begin()
		defer l.finish()
		ended := map[string]int{}
		listen := listened{name: "news"}
		for _, c := range []*call{
			{op: opRun, body: appendArgs(nil, bytesOf([]string{"SET", "k", "v"}))},
			{op: opRun, body: appendArgs(nil, bytesOf([]string{"GET", "k"}))},
			{op: opRun, body: appendArgs(nil, bytesOf([]string{"BLPOP", "l", "0"}))},
			{op: opRun, body: appendArgs(nil, bytesOf([]string{"PUBLISH", "c", "x"})), once: true},
			{op: opListen, body: appendListen(nil, listen, 1), what: listen},
		} {
			name := fmt.Sprintf("%d %q", c.op, c.body)
			c.done = func(reply []byte, err error) {
				if ended[name]++; ended[name] > 1 {
					t.Errorf("call %s ended twice", name)
				}
			}
			l.start(c)
		}
		l.takeQueue()
		l.send()
		for _, b := range [][]byte{first, second} {
			l.receive(&bus.Msg{Subject: l.inbox, Data: b})
			for _, c := range l.calls {
				if len(c.parts) > len(first)+len(second) {
					t.Errorf("%d bytes are kept of %d that came", len(c.parts), len(first)+len(second))
				}
			}
			l.send()
		}
		if len(l.calls)+len(ended) != 5 {
			t.Errorf("%d calls wait and %d have ended, want 5 in all", len(l.calls), len(ended))
		}
	})
}

// FuzzNews reads messages of channels: what is accepted is written back as it was.
func FuzzNews(f *testing.F) {
	f.Add(appendNews(nil, news{moment{1, 2}, []byte("channel"), []byte("text")}))
	f.Add(appendNews(nil, news{moment{1<<63 - 1, 1 << 40}, nil, nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := parseNews(b)
		if !ok {
			return
		}
		again, ok := parseNews(appendNews(nil, n))
		if !ok || again.moment != n.moment || !bytes.Equal(again.channel, n.channel) || !bytes.Equal(again.text, n.text) {
			t.Errorf("%+v came back as %+v, %v", n, again, ok)
		}
	})
}

// FuzzMoment reads the replies to those that listen.
func FuzzMoment(f *testing.F) {
	f.Add(appendMoment(nil, moment{1, 2}))
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseMoment(b)
		if !ok {
			return
		}
		if again, ok := parseMoment(appendMoment(nil, m)); !ok || again != m {
			t.Errorf("%+v came back as %+v, %v", m, again, ok)
		}
		if m.before(m) {
			t.Errorf("%+v is before itself", m)
		}
	})
}

// FuzzPieces reads the header of a record that is in pieces: whatever it says, no
// more is asked for or made room for than a record may have.
func FuzzPieces(f *testing.F) {
	f.Add(pieces{"ABC", 3, 1_500_000}.String())
	f.Add("a -1 1")
	f.Add("a 99999999999999999999 1")
	f.Fuzz(func(t *testing.T, header string) {
		p, err := parsePieces(header)
		if err != nil {
			return
		}
		if p.size < 0 || p.size > maxPage || p.count < 0 || p.count > maxPage {
			t.Errorf("%q is read as %+v", header, p)
		}
		if again, err := parsePieces(p.String()); err != nil || again != p {
			t.Errorf("%+v came back as %+v, %v", p, again, err)
		}
	})
}

// FuzzAck reads JetStream's acknowledgements. They are JSON, which parseAck does
// not parse: where both know an answer it is the same.
func FuzzAck(f *testing.F) {
	f.Add([]byte(`{"stream":"r_log_1","seq":12}`))
	f.Add([]byte(`{"stream":"S", "domain":"hub", "seq": 12, "duplicate":true}`))
	f.Add([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"S","seq":0}`))
	f.Add([]byte(`{"seq":18446744073709551616}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		pos, ok := parseAck(b)
		if ok != (pos > 0) {
			t.Errorf("parseAck(%q) = %d, %v", b, pos, ok)
		}
		var said struct {
			Seq   uint64              `json:"seq"`
			Error *jetstream.APIError `json:"error"`
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if dec.Decode(&said) != nil || dec.More() || said.Error != nil || !ok {
			return // nothing that a NATS server says, or a refusal
		}
		if plain, err := json.Marshal(map[string]uint64{"seq": said.Seq}); err != nil || !bytes.Equal(plain, b) {
			return // in another form: keys twice, in other letters
		}
		if pos != said.Seq {
			t.Errorf("parseAck(%q) = %d, want %d", b, pos, said.Seq)
		}
	})
}

// FuzzSavedFile loads what a file may have. The sum at its end is made right, or
// nothing would get behind it.
func FuzzSavedFile(f *testing.F) {
	m := NewMemory()
	defer m.Close()
	if _, err := m.RPush(f.Context(), "l", "x", "y"); err != nil {
		f.Fatal(err)
	}
	name := filepath.Join(f.TempDir(), "saved")
	if err := m.Save(name); err != nil {
		f.Fatal(err)
	}
	saved, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(saved[len(fileMagic) : len(saved)-sha256.Size])
	f.Add([]byte{fileVersion})
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append([]byte(fileMagic), body...)
		sum := sha256.Sum256(b)
		e := engine.New(0, nil)
		_ = loadPages(e, body) // without the frame: an error, no panic
		_ = loadPages(engine.New(0, nil), append(b, sum[:]...))
	})
}
