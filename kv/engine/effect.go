package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Effects are a sequence of
//
//	op byte, length of key uvarint, key, length of body uvarint, body
//
// where the op says what the body is. In bodies, a string is its length as a
// uvarint and its bytes; a number is a uvarint.

// An op says what happened to a key.
type op byte

const (
	opPut    op = 1 + iota // kind byte, expires number, then as in a page: the key has this value
	opDel                  // the key is gone
	opExpire               // number: when it expires, 0 for never
	opAppend               // the rest: bytes at the end of a string
	opHSet                 // pairs of strings: fields and values
	opHDel                 // strings: fields
	opSAdd                 // strings: members
	opSRem                 // strings: members
	opLock                 // epoch, ttl in ms numbers, token string
	opFlush                // of a page, whose number is the key: all but its locks is gone

	opList   op = 16 // 16 to 31 are list.go's
	opSorted op = 32 // 32 to 47 are zset.go's
	opsEnd   op = 48
)

// An applier does what an op says. key aliases the effects, as what r returns
// does. It returns an error if the op cannot have been logged for what is there;
// errors of r need not be looked at, but what was read from it then is zero.
type applier func(e *Engine, key []byte, r *reader) error

var ops = join(coreOps, hashOps, setOps, listOps, sortedOps)

func join(tables ...map[op]applier) (all [opsEnd]applier) {
	for _, t := range tables {
		for o, f := range t {
			all[o] = f
		}
	}
	return all
}

var coreOps = map[op]applier{
	opPut: func(e *Engine, key []byte, r *reader) error {
		k, expires := kind(r.byte()), r.time()
		return e.load(key, k, expires, r)
	},
	opDel: func(e *Engine, key []byte, _ *reader) error {
		if en := e.keys[string(key)]; en != nil {
			e.remove(en)
			return nil
		}
		return errNoKey
	},
	opExpire: func(e *Engine, key []byte, r *reader) error {
		at := r.time()
		en := e.keys[string(key)]
		if r.err != nil || en == nil || en.kind == kindLock {
			return errNoKey
		}
		e.setExpires(en, at)
		e.changed(en)
		return nil
	},
	opAppend: func(e *Engine, key []byte, r *reader) error {
		en := e.keys[string(key)]
		if en == nil || en.kind != kindString {
			return errNoKey
		}
		en.str = append(en.str, r.rest()...)
		e.changed(en)
		return nil
	},
	opLock: func(e *Engine, key []byte, r *reader) error {
		return e.load(key, kindLock, 0, r)
	},
}

// forApply finds what an op adds elements to, or makes it if there is no such key.
func (e *Engine) forApply(key []byte, k kind, r *reader, empty func() collection) (*entry, error) {
	en := e.keys[string(key)]
	switch {
	case !r.more():
		return nil, errDamaged
	case en == nil:
		return e.add(key, k, empty()), nil
	case en.kind != k:
		return nil, errNoKey
	}
	return en, nil
}

var (
	errDamaged = errors.New("damaged data")
	errNoKey   = fmt.Errorf("%w: nothing there to change", errDamaged)
)

// effects is a log of what was changed.
type effects struct {
	b    []byte
	body int // where the length of the body goes
}

// begin begins an effect; what its body is made of follows, and end.
func (f *effects) begin(o op, key string) {
	f.b = append(f.b, byte(o))
	f.str(key)
	f.body = len(f.b)
	f.b = append(f.b, 0)
}

func (f *effects) byte(c byte) { f.b = append(f.b, c) }

func (f *effects) num(n uint64) { f.b = binary.AppendUvarint(f.b, n) }

func (f *effects) str(s string) {
	f.num(uint64(len(s)))
	f.b = append(f.b, s...)
}

func (f *effects) bytes(s []byte) {
	f.num(uint64(len(s)))
	f.b = append(f.b, s...)
}

// raw appends bytes without their length: the last of a body.
func (f *effects) raw(s []byte) { f.b = append(f.b, s...) }

// end puts the length before the body, which moves if one byte is too little.
func (f *effects) end() {
	n := len(f.b) - f.body - 1
	if n < 0x80 {
		f.b[f.body] = byte(n)
		return
	}
	var length [binary.MaxVarintLen64]byte
	width := binary.PutUvarint(length[:], uint64(n))
	f.b = append(f.b, length[:width-1]...)
	copy(f.b[f.body+width:], f.b[f.body+1:f.body+1+n])
	copy(f.b[f.body:], length[:width])
}

// logPut logs that a key has the value it has.
func (e *Engine) logPut(en *entry) {
	e.fx.begin(opPut, en.key)
	e.fx.byte(byte(en.kind))
	e.fx.num(uint64(en.expires))
	e.fx.b = codecs[en.kind].append(e.fx.b, en)
	e.fx.end()
}

func (e *Engine) logDel(key string) {
	e.fx.begin(opDel, key)
	e.fx.end()
}

func (e *Engine) logExpire(en *entry) {
	e.fx.begin(opExpire, en.key)
	e.fx.num(uint64(en.expires))
	e.fx.end()
}

// logArgs logs an effect whose body is strings.
func (e *Engine) logArgs(o op, key string, args [][]byte) {
	e.fx.begin(o, key)
	for _, arg := range args {
		e.fx.bytes(arg)
	}
	e.fx.end()
}

// maxKept is the largest buffer kept for the next effects.
const maxKept = 1 << 20

// Effects returns what was changed since [Engine.ResetEffects], for
// [Engine.Apply]. It is good until then.
func (e *Engine) Effects() []byte { return e.fx.b }

// Touched returns which pages were changed since [Engine.ResetEffects], by Apply
// too: bit i is page i.
func (e *Engine) Touched() uint64 { return e.touched }

// ResetEffects forgets what Effects and Touched say.
func (e *Engine) ResetEffects() {
	if e.fx.b = e.fx.b[:0]; cap(e.fx.b) > maxKept {
		e.fx.b = nil
	}
	e.touched = 0
}

// Apply does what effects say, without logging it and without serving anybody.
// What belongs to a page that skip reports is passed over; skip may be nil. With
// an error, the engine is somewhere between before and after.
func (e *Engine) Apply(effects []byte, skip func(page int) bool) error {
	for r := (&reader{b: effects}); len(r.b) > 0; {
		o := op(r.byte())
		key := r.bytes()
		body := reader{b: r.bytes()}
		switch {
		case r.err != nil:
			return fmt.Errorf("read effect: %w", r.err)
		case o == opFlush:
			if len(key) != 1 || key[0] >= Pages {
				return fmt.Errorf("flush page: %w", errDamaged)
			}
			if p := int(key[0]); skip == nil || !skip(p) {
				e.clear(p, false)
			}
			continue
		case o >= opsEnd || ops[o] == nil:
			return fmt.Errorf("effect %d: %w", o, errDamaged)
		case skip != nil && skip(PageOf(key)):
			continue
		}
		err := ops[o](e, key, &body)
		if err == nil {
			err = body.end()
		}
		if err != nil {
			return fmt.Errorf("effect %d on key %q: %w", o, key, err)
		}
	}
	return nil
}

// A reader reads effects and pages. After an error, all it returns is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	r.b, r.err = nil, errDamaged
}

// end returns an error if something is left, or was missing.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	return r.err
}

// more reports whether there is something left.
func (r *reader) more() bool { return len(r.b) > 0 }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) num() uint64 {
	n, width := binary.Uvarint(r.b)
	if width <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[width:]
	return n
}

// time reads when something expires.
func (r *reader) time() int64 {
	n := r.num()
	if n > uint64(maxTime) {
		r.fail()
		return 0
	}
	return int64(n)
}

// bytes reads a string. It aliases what is read.
func (r *reader) bytes() []byte {
	n := r.num()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// count reads how many elements follow, which have size bytes each at least.
func (r *reader) count(size int) int {
	n := r.num()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

// rest reads all there is left. It aliases what is read.
func (r *reader) rest() []byte {
	s := r.b
	r.b = nil
	return s
}
