package engine

import (
	"encoding/binary"
	"fmt"
)

// A page is written as
//
//	format byte, largest epoch of a lock, number of keys, then of each key:
//	key string, kind byte, expires number, value string
//
// with strings and numbers as in effects, keys in the page's order.

// pageFormat is the first byte of a page.
const pageFormat = 1

// A codec writes and reads the values of a kind.
type codec struct {
	name string // as TYPE has it
	// append writes the value of an entry.
	append func(b []byte, en *entry) []byte
	// read reads into an entry what append wrote: en.str or en.obj, which is nil
	// or, for a key that is there, what it held. It reads all of r. Damaged data
	// is an error, and so is an empty value.
	read func(en *entry, r *reader) error
}

var codecs = [kinds]codec{
	kindString: stringCodec,
	kindHash:   hashCodec,
	kindSet:    setCodec,
	kindList:   listCodec,
	kindSorted: sortedCodec,
	kindLock:   lockCodec,
}

// AppendPage appends all there is of the keys of a page. Two engines are equal if
// their pages are.
func (e *Engine) AppendPage(b []byte, page int) []byte {
	pg := &e.pages[page]
	b = append(b, pageFormat)
	b = binary.AppendUvarint(b, pg.epoch)
	b = binary.AppendUvarint(b, uint64(len(pg.entries)))
	f := effects{b: b}
	for _, en := range pg.entries {
		f.str(en.key)
		f.byte(byte(en.kind))
		if en.kind == kindLock { // its time begins again wherever it is loaded
			f.byte(0)
		} else {
			f.num(uint64(en.expires))
		}
		f.body = len(f.b)
		f.byte(0)
		f.b = codecs[en.kind].append(f.b, en)
		f.end()
	}
	return f.b
}

// LoadPage replaces what there is of a page by what AppendPage wrote. With an
// error, the page has some of it. Effects and Touched do not tell.
func (e *Engine) LoadPage(page int, b []byte) error {
	touched := e.touched
	defer func() { e.touched = touched }()
	e.clear(page, true)
	r := &reader{b: b}
	if format := r.byte(); format != pageFormat {
		return fmt.Errorf("page %d of format %d: %w", page, format, errDamaged)
	}
	epoch, n := r.num(), r.num()
	for ; n > 0 && r.err == nil; n-- {
		key := r.bytes()
		k, expires := kind(r.byte()), r.time()
		value := reader{b: r.bytes()}
		if r.err != nil {
			break
		}
		if PageOf(key) != page || e.keys[string(key)] != nil {
			return fmt.Errorf("key %q on page %d: %w", key, page, errDamaged)
		}
		if err := e.load(key, k, expires, &value); err != nil {
			return fmt.Errorf("key %q on page %d: %w", key, page, err)
		}
	}
	e.pages[page].epoch = max(e.pages[page].epoch, epoch)
	if err := r.end(); err != nil {
		return fmt.Errorf("page %d: %w", page, err)
	}
	return nil
}

// load puts a value that was written by a codec under a key, whatever there was.
func (e *Engine) load(key []byte, k kind, expires int64, r *reader) error {
	if r.err != nil || k == noKind || k >= kinds || k == kindLock && expires != 0 {
		return errDamaged
	}
	next := entry{kind: k}
	en := e.keys[string(key)]
	if en != nil && en.kind == k && k == kindString { // its memory can be used again
		next.str = en.str
	}
	err := codecs[k].read(&next, r)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return err
	}
	if next.obj != nil && next.obj.len() == 0 {
		return fmt.Errorf("%w: empty value", errDamaged)
	}
	if en == nil {
		en = e.add(key, k, nil)
	}
	en.kind, en.str, en.obj = k, next.str, next.obj
	e.setExpires(en, expires)
	if k == kindLock {
		e.loaded = append(e.loaded, en.key)
		pg := &e.pages[en.page]
		pg.epoch = max(pg.epoch, en.obj.(*lock).epoch)
	}
	e.changed(en)
	return nil
}
