package engine

import (
	"bytes"
	"math"
	"strings"

	"roomd/kv/resp"
)

// A call is a command that runs.
type call struct {
	e       *Engine
	spec    *Spec
	argv    [][]byte // with the name
	reply   []byte
	blocked bool
	inExec  bool  // nothing blocks
	serving bool  // a waiter's command tries again
	took    Taken // what it took; set if serving
}

// run runs the command in argv and appends its reply.
func (c *call) run() {
	if len(c.argv) == 0 {
		c.fail(UnknownCommand([][]byte{nil}))
		return
	}
	c.spec = Lookup(c.argv[0])
	switch {
	case c.spec == nil:
		c.fail(UnknownCommand(c.argv))
	case !c.spec.takes(len(c.argv)):
		c.wrongArity()
	case c.spec.run == nil: // the one that runs others cannot be in their table
		c.exec()
	default:
		c.spec.run(c)
	}
}

// read finds what a command that only reads works on: nil if the key is not
// there. ok is false if it holds another kind, and then the error is the reply.
func (c *call) read(key []byte, k kind) (en *entry, ok bool) {
	en = c.e.find(key)
	if en != nil && en.kind != k {
		c.wrongType()
		return nil, false
	}
	return en, true
}

// write is read for commands that write.
func (c *call) write(key []byte, k kind) (en *entry, ok bool) {
	en = c.e.findForWrite(key)
	if en != nil && en.kind != k {
		c.wrongType()
		return nil, false
	}
	return en, true
}

// existing is write for commands that reply with 0 if the key is not there. nil:
// the reply has been given.
func (c *call) existing(key []byte, k kind) *entry {
	en, ok := c.write(key, k)
	if ok && en == nil {
		c.int(0)
	}
	return en
}

// length is LLEN, HLEN, SCARD and ZCARD.
func length(c *call, k kind) {
	en, ok := c.read(c.argv[1], k)
	switch {
	case !ok:
	case en == nil:
		c.int(0)
	default:
		c.int(en.obj.len())
	}
}

// block says that the command has to wait. It has appended and changed nothing.
func (c *call) block() {
	if c.inExec {
		c.null()
		return
	}
	c.blocked = true
}

func (c *call) ok()              { c.reply = append(c.reply, "+OK\r\n"...) }
func (c *call) status(s string)  { c.reply = resp.AppendStatus(c.reply, s) }
func (c *call) fail(s string)    { c.reply = resp.AppendError(c.reply, s) }
func (c *call) int(n int)        { c.reply = resp.AppendInt(c.reply, int64(n)) }
func (c *call) int64(n int64)    { c.reply = resp.AppendInt(c.reply, n) }
func (c *call) bulk(b []byte)    { c.reply = resp.AppendBulk(c.reply, b) }
func (c *call) text(s string)    { c.reply = resp.AppendBulk(c.reply, s) }
func (c *call) double(f float64) { c.reply = resp.AppendDouble(c.reply, f) }
func (c *call) null()            { c.reply = resp.AppendNull(c.reply) }
func (c *call) array(n int)      { c.reply = resp.AppendArray(c.reply, n) }
func (c *call) set(n int)        { c.reply = resp.AppendSet(c.reply, n) }
func (c *call) pairs(n int)      { c.reply = resp.AppendMap(c.reply, n) }
func (c *call) one(yes bool)     { c.int(b2i(yes)) }
func (c *call) syntaxError()     { c.fail("ERR syntax error") }
func (c *call) notInteger()      { c.fail("ERR value is not an integer or out of range") }
func (c *call) notFloat()        { c.fail("ERR value is not a valid float") }
func (c *call) wrongType()       { c.fail(wrongType) }
func (c *call) wrongArity() {
	c.fail("ERR wrong number of arguments for '" + c.spec.Name + "' command")
}
func (c *call) badExpire() { c.fail("ERR invalid expire time in '" + c.spec.Name + "' command") }

const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value"

// maxQuoted is how many bytes of what was sent errors repeat, of the name of a
// command and of all its arguments together.
const maxQuoted = 128

// UnknownCommand returns Redis's error for a command that there is not: it repeats
// what was sent, up to 128 bytes of the name and of the arguments.
func UnknownCommand(argv [][]byte) string {
	var b strings.Builder
	b.WriteString("ERR unknown command '" + Quoted(argv[0]) + "', with args beginning with: ")
	room := maxQuoted
	for _, arg := range argv[1:] {
		if room <= 0 {
			break
		}
		text := upTo(arg, room)
		b.WriteString("'" + text + "' ")
		room -= len(text) + len("'' ")
	}
	return b.String()
}

// Quoted returns the beginning of an argument, as errors repeat it: 128 bytes.
func Quoted(arg []byte) string { return upTo(arg, maxQuoted) }

// upTo is the beginning of b up to n bytes or a zero, where Redis's texts end.
func upTo(b []byte, n int) string {
	b, _, _ = bytes.Cut(b[:min(len(b), n)], []byte{0})
	return string(b)
}

func b2i(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// integer reads an argument; if it is no integer, the error is the reply.
func (c *call) integer(b []byte) (n int64, ok bool) {
	if n, ok = parseInt(b); !ok {
		c.notInteger()
	}
	return n, ok
}

// float reads an argument; if it is no number, the error is the reply.
func (c *call) float(b []byte) (f float64, ok bool) {
	if f, ok = parseFloat(b); !ok {
		c.notFloat()
	}
	return f, ok
}

func parseFloat(b []byte) (f float64, ok bool) {
	f, err := resp.ParseFloat(string(b))
	return f, err == nil
}

// parseInt reads an integer as Redis does: in the one form it is written in, with
// no plus, no blanks and no zeros before it.
func parseInt(b []byte) (n int64, ok bool) {
	digits, negative := b, false
	if len(b) > 0 && b[0] == '-' {
		digits, negative = b[1:], true
	}
	if len(digits) == 0 || len(digits) > 19 {
		return 0, false
	}
	if digits[0] == '0' {
		return 0, len(b) == 1
	}
	var u uint64
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		u = u*10 + uint64(d-'0') // 19 digits fit
	}
	switch {
	case !negative && u <= math.MaxInt64:
		return int64(u), true
	case negative && u <= 1<<63:
		return -int64(u), true
	}
	return 0, false
}

// is reports whether an argument is a word, which is given in capitals, in any
// case.
func is(arg []byte, word string) bool {
	if len(arg) != len(word) {
		return false
	}
	for i, c := range arg {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
