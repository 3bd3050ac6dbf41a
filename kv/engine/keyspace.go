package engine

// A kind is a type of value.
type kind byte

const (
	noKind kind = iota
	kindString
	kindHash
	kindSet
	kindList
	kindSorted
	kindLock
	kinds
)

// A collection is a value with elements. It knows about how much memory it
// takes, so that nobody has to go through it to learn that.
type collection interface {
	len() int
	bytes() int
}

// An entry is a key and its value.
type entry struct {
	key     string
	str     []byte     // of a string; overwritten in place, so nobody keeps it
	obj     collection // of all other kinds
	version uint64
	expires int64 // ms since 1970, the last at which it is there; 0 is never
	size    int   // as counted in Engine.bytes
	at      int32 // index in its page
	timed   int32 // index in the heap of what expires, plus one; 0 is not in it
	page    uint8
	kind    kind
}

// A page is the keys of a range of slots. New keys go to the end, and the last
// takes the place of one that is removed: whoever goes through it from the end
// to the beginning meets every key that is there all the time.
type page struct {
	entries []*entry
	// The largest epoch of any lock there ever was, so that a lock need not be
	// kept for its epoch.
	epoch uint64
}

// entryBytes is about what a key costs beside its bytes and its value: the
// entry, its place in the map and its page.
const entryBytes = 96 + 40 + 8

// find returns the entry of a key, nil if it is not there or its time is over.
func (e *Engine) find(key []byte) *entry {
	en := e.keys[string(key)]
	if en == nil || e.isOver(en) {
		return nil
	}
	return en
}

// isOver reports whether a key's time is over: it only seems to be there.
func (e *Engine) isOver(en *entry) bool { return en.expires != 0 && en.expires < e.now }

// findForWrite is find, but removes a key whose time is over.
func (e *Engine) findForWrite(key []byte) *entry {
	en := e.keys[string(key)]
	if en != nil && e.isOver(en) {
		e.expire(en)
		return nil
	}
	return en
}

// add makes a key that is not there. The caller logs it and calls changed.
func (e *Engine) add(key []byte, k kind, obj collection) *entry {
	p := PageOf(key)
	entries := &e.pages[p].entries
	en := &entry{key: string(key), obj: obj, kind: k, page: uint8(p), at: int32(len(*entries))}
	*entries = append(*entries, en)
	e.keys[en.key] = en
	return en
}

// changed is to be called after any change of an entry. It removes the key if
// its value has become empty.
func (e *Engine) changed(en *entry) {
	if en.obj != nil && en.obj.len() == 0 {
		e.remove(en)
		return
	}
	e.version += 2
	en.version = e.version
	e.touched |= 1 << en.page
	size := entryBytes + len(en.key) + cap(en.str)
	if en.obj != nil {
		size += en.obj.bytes()
	}
	e.bytes += size - en.size
	en.size = size
	if len(e.waits) > 0 {
		e.signal(en.key, en.kind)
	}
}

// remove takes a key away. The caller logs it, unless it is the consequence of
// what was logged.
func (e *Engine) remove(en *entry) {
	e.version += 2
	e.drop(en, e.version)
}

// expire removes a key whose time is over.
func (e *Engine) expire(en *entry) {
	e.logDel(en.key)
	e.drop(en, en.version|1)
}

func (e *Engine) drop(en *entry, version uint64) {
	e.gone.put(en.key, version)
	e.setExpires(en, 0)
	delete(e.keys, en.key)
	p := &e.pages[en.page]
	last := len(p.entries) - 1
	p.entries[en.at] = p.entries[last]
	p.entries[en.at].at = en.at
	p.entries[last] = nil
	p.entries = shrunk(p.entries[:last])
	e.bytes -= en.size
	e.touched |= 1 << en.page
	if len(e.waits) > 0 {
		e.signal(en.key, kindLock)
	}
}

// shrunk gives back memory of a slice that has become much smaller.
func shrunk[T any](s []T) []T {
	if cap(s) < 64 || len(s) > cap(s)/4 {
		return s
	}
	return append(make([]T, 0, 2*len(s)), s...)
}

// clear takes away all keys of a page but the locks, without a word to anybody.
// As for WATCH those keys have changed, and no others.
func (e *Engine) clear(p int, locksToo bool) {
	pg := &e.pages[p]
	kept := pg.entries[:0]
	e.version += 2
	for _, en := range pg.entries {
		if en.kind == kindLock && !locksToo {
			en.at = int32(len(kept))
			kept = append(kept, en)
			continue
		}
		version := e.version
		if e.isOver(en) {
			version = en.version | 1
		}
		e.gone.put(en.key, version)
		e.setExpires(en, 0)
		delete(e.keys, en.key)
		e.bytes -= en.size
		if len(e.waits) > 0 {
			e.signal(en.key, kindLock)
		}
	}
	clear(pg.entries[len(kept):])
	pg.entries = shrunk(kept)
	e.touched |= 1 << p
}

// setExpires sets when a key expires, in ms since 1970; zero is never.
func (e *Engine) setExpires(en *entry, at int64) {
	en.expires = at
	switch {
	case at != 0 && en.timed == 0:
		e.expires.push(en)
	case at != 0:
		e.expires.fix(int(en.timed) - 1)
	case en.timed != 0:
		e.expires.remove(int(en.timed) - 1)
	}
}

// A timeHeap has the entry that expires first at its beginning. Entries know
// their places.
type timeHeap []*entry

func (h *timeHeap) push(en *entry) {
	*h = append(*h, en)
	h.up(len(*h) - 1)
}

func (h *timeHeap) remove(i int) {
	old := *h
	old[i].timed = 0
	last := len(old) - 1
	moved := old[last]
	old[last] = nil
	*h = shrunk(old[:last])
	if i < last {
		(*h)[i] = moved
		h.fix(i)
	}
}

func (h timeHeap) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h timeHeap) up(i int) {
	en := h[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].expires <= en.expires {
			break
		}
		h.put(i, h[parent])
		i = parent
	}
	h.put(i, en)
}

func (h timeHeap) down(i int) (moved bool) {
	en := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].expires < h[child].expires {
			child++
		}
		if en.expires <= h[child].expires {
			break
		}
		h.put(i, h[child])
		i, moved = child, true
	}
	h.put(i, en)
	return moved
}

func (h timeHeap) put(i int, en *entry) {
	h[i] = en
	en.timed = int32(i) + 1
}
