package engine

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// A deque is what a list holds: strings in order, cheap to add and take at both
// ends. They are packed one after the other into chunks, so that a short string
// costs two bytes beside its own and the garbage collector has nothing to look
// at. Chunks form a chain; finding an element by its number walks it from the
// nearer end.
//
// The strings that it hands out are parts of its chunks, and good until the next
// change of the deque.
type deque struct {
	first, last *chunk
	n           int // elements
	size        int // bytes of the chunks and their buffers
}

// A chunk is some elements in a row, at least one. Each stands in the buffer as
// its length as a uvarint, its bytes, and the length of these two as a uvarint
// that is read backwards.
type chunk struct {
	prev, next *chunk
	buf        []byte // buf[head:] are elements; what is before and cap beyond is free
	head, n    int32
}

const (
	// maxChunk is how many bytes of elements a chunk has at most, if it has more
	// than one: little enough to move about for a change in the middle.
	maxChunk = 4096
	// minChunk is the least size of a buffer worth shrinking.
	minChunk = 64
	// chunkBytes is what a chunk costs beside its buffer.
	chunkBytes = 48
)

func (d *deque) len() int   { return d.n }
func (d *deque) bytes() int { return d.size }

// push adds an element at one of the ends.
func (d *deque) push(left bool, v []byte) {
	size := entrySize(len(v))
	c := d.last
	if left {
		c = d.first
	}
	if c == nil || c.used()+size > maxChunk {
		at := c
		c = &chunk{}
		if left {
			d.link(nil, c, at)
		} else {
			d.link(at, c, nil)
		}
	}
	d.size -= cap(c.buf)
	if left {
		c.roomLeft(size)
		c.head -= int32(size)
		putEntry(c.buf[c.head:c.head:int(c.head)+size], v)
	} else {
		c.roomRight(size)
		c.buf = putEntry(c.buf, v)
	}
	d.size += cap(c.buf)
	c.n++
	d.n++
}

// pop takes an element from one of the ends.
func (d *deque) pop(left bool) (v []byte, ok bool) {
	if d.n == 0 {
		return nil, false
	}
	if left {
		v, size := entryAt(d.first.buf[d.first.head:])
		d.cut(d.first, int(d.first.head), size, 1)
		return v, true
	}
	c := d.last
	size := lastEntry(c.buf)
	v, _ = entryAt(c.buf[len(c.buf)-size:])
	d.cut(c, len(c.buf)-size, size, 1)
	return v, true
}

// turn takes an element from one end and puts it at one: the same or the other.
func (d *deque) turn(fromLeft, toLeft bool) (v []byte) {
	v, _ = d.pop(fromLeft)
	v = bytes.Clone(v) // where it was may be written to
	d.push(toLeft, v)
	return v
}

// at returns an element by its number from the left, which must be there.
func (d *deque) at(i int) []byte {
	c, off := d.find(i)
	v, _ := entryAt(c.buf[off:])
	return v
}

// from returns the elements from number i on. The deque must not change meanwhile.
func (d *deque) from(i int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if i >= d.n {
			return
		}
		c, off := d.find(i)
		for {
			for off < len(c.buf) {
				v, size := entryAt(c.buf[off:])
				if !yield(v) {
					return
				}
				off += size
			}
			if c = c.next; c == nil {
				return
			}
			off = int(c.head)
		}
	}
}

// set replaces an element.
func (d *deque) set(i int, v []byte) {
	c, off := d.find(i)
	_, size := entryAt(c.buf[off:])
	d.splice(c, off, size, 0, v)
}

// insert puts an element where number i is, which moves to the right with all
// after it; i may be the length.
func (d *deque) insert(i int, v []byte) {
	if i == d.n || i == 0 {
		d.push(i == 0, v)
		return
	}
	c, off := d.find(i)
	d.splice(c, off, 0, 1, v)
}

// index returns the number of the first element that is v, -1 if none is.
func (d *deque) index(v []byte) int {
	i := 0
	for e := range d.from(0) {
		if bytes.Equal(e, v) {
			return i
		}
		i++
	}
	return -1
}

// remove removes the first limit elements that are v, counted from one of the
// ends, and returns how many there were.
func (d *deque) remove(left bool, limit int, v []byte) (removed int) {
	c, next := d.first, (*chunk)(nil)
	if !left {
		c = d.last
	}
	for ; c != nil && removed < limit; c = next {
		if next = c.next; !left {
			next = c.prev
		}
		removed += d.removeIn(c, left, limit-removed, v)
	}
	return removed
}

// removeIn is remove for one chunk, which it unlinks if nothing is left.
func (d *deque) removeIn(c *chunk, left bool, limit int, v []byte) (removed int) {
	matches := 0
	for off := int(c.head); off < len(c.buf); {
		e, size := entryAt(c.buf[off:])
		if off += size; bytes.Equal(e, v) {
			matches++
		}
	}
	if matches == 0 {
		return 0
	}
	skip := 0 // matches to leave alone: those at the far end
	if !left {
		skip = max(0, matches-limit)
	}
	limit = min(limit, matches-skip)
	to := int(c.head)
	for off := to; off < len(c.buf); {
		e, size := entryAt(c.buf[off:])
		drop := false
		if removed < limit && bytes.Equal(e, v) {
			if drop = skip == 0; !drop {
				skip--
			}
		}
		if drop {
			removed++
		} else {
			to += copy(c.buf[to:], c.buf[off:off+size])
		}
		off += size
	}
	// Only with what was looked through already: the rest must stay where remove
	// finds it.
	if d.trim(c, to, len(c.buf)-to, removed) && c.small() {
		if left {
			d.join(c.prev, c)
		} else {
			d.join(c, c.next)
		}
	}
	return removed
}

// drop removes n elements from one of the ends.
func (d *deque) drop(left bool, n int) {
	if n >= d.n {
		*d = deque{}
		return
	}
	for n > 0 {
		c := d.last
		if left {
			c = d.first
		}
		if int(c.n) <= n {
			n -= int(c.n)
			d.cut(c, int(c.head), c.used(), int(c.n))
			continue
		}
		size := 0
		for range n {
			if left {
				_, s := entryAt(c.buf[int(c.head)+size:])
				size += s
			} else {
				size += lastEntry(c.buf[:len(c.buf)-size])
			}
		}
		if left {
			d.cut(c, int(c.head), size, n)
		} else {
			d.cut(c, len(c.buf)-size, size, n)
		}
		n = 0
	}
}

// find returns where element i is, which must be there.
func (d *deque) find(i int) (c *chunk, off int) {
	if i < d.n/2 {
		c = d.first
		for i >= int(c.n) {
			i -= int(c.n)
			c = c.next
		}
	} else {
		c = d.last
		for i -= d.n - int(c.n); i < 0; i += int(c.n) {
			c = c.prev
		}
	}
	for off = int(c.head); i > 0; i-- {
		_, size := entryAt(c.buf[off:])
		off += size
	}
	return c, off
}

// cut removes n elements, which are the size bytes at off. These are at one of
// the chunk's ends.
func (d *deque) cut(c *chunk, off, size, n int) {
	if d.trim(c, off, size, n) {
		d.merge(c)
	}
}

// trim is cut, but leaves a chunk that has become small as it is. It reports
// whether the chunk is still there.
func (d *deque) trim(c *chunk, off, size, n int) bool {
	d.n -= n
	c.n -= int32(n)
	if c.n == 0 {
		d.unlink(c)
		return false
	}
	if off == int(c.head) {
		c.head += int32(size)
	} else {
		c.buf = c.buf[:off]
	}
	if used := c.used(); cap(c.buf) > minChunk && used < cap(c.buf)/4 {
		d.size -= cap(c.buf)
		c.move(0, 2*used)
		d.size += cap(c.buf)
	}
	return true
}

// merge makes one of a chunk that has become small and its neighbour, so that
// removing here and there leaves no chain of tiny chunks.
func (d *deque) merge(c *chunk) {
	if c.small() && !d.join(c.prev, c) {
		d.join(c, c.next)
	}
}

func (c *chunk) small() bool { return c.used() <= maxChunk/4 }

// join makes one of two neighbours, if there are two and that is not large.
func (d *deque) join(a, b *chunk) bool {
	if a == nil || b == nil || a.used()+b.used() > maxChunk/2 {
		return false
	}
	d.size -= cap(a.buf)
	a.roomRight(b.used())
	a.buf = append(a.buf, b.buf[b.head:]...)
	a.n += b.n
	d.size += cap(a.buf)
	d.unlink(b)
	return true
}

// splice replaces size bytes at off by an element, more more than there were. A
// chunk that gets too large by that becomes two or three.
func (d *deque) splice(c *chunk, off, size, more int, v []byte) {
	before, after := c.buf[c.head:off], c.buf[off+size:]
	d.n += more
	used := len(before) + entrySize(len(v)) + len(after)
	if used <= maxChunk || len(before)+len(after) == 0 {
		buf := make([]byte, 0, used)
		buf = putEntry(append(buf, before...), v)
		d.refill(c, append(buf, after...), int(c.n)+more)
		d.merge(c)
		return
	}
	n := countEntries(before)
	rest := int(c.n) + more - n - 1
	mid := &chunk{}
	d.link(c, mid, c.next)
	if len(after) > 0 {
		end := &chunk{}
		d.link(mid, end, mid.next)
		d.refill(end, bytes.Clone(after), rest)
	}
	d.refill(mid, putEntry(make([]byte, 0, entrySize(len(v))), v), 1)
	if n == 0 {
		d.unlink(c)
	} else {
		d.refill(c, bytes.Clone(before), n)
	}
}

// refill gives a chunk a new buffer.
func (d *deque) refill(c *chunk, buf []byte, n int) {
	d.size += cap(buf) - cap(c.buf)
	c.buf, c.head, c.n = buf, 0, int32(n)
}

func (d *deque) link(prev, c, next *chunk) {
	c.prev, c.next = prev, next
	d.size += chunkBytes + cap(c.buf)
	if prev == nil {
		d.first = c
	} else {
		prev.next = c
	}
	if next == nil {
		d.last = c
	} else {
		next.prev = c
	}
}

func (d *deque) unlink(c *chunk) {
	if c.prev == nil {
		d.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		d.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	d.size -= chunkBytes + cap(c.buf)
}

func (c *chunk) used() int { return len(c.buf) - int(c.head) }

// roomRight makes size bytes free behind the elements.
func (c *chunk) roomRight(size int) {
	if len(c.buf)+size > cap(c.buf) {
		used := c.used()
		c.move(0, grown(used, size))
	}
}

// roomLeft makes size bytes free before the elements.
func (c *chunk) roomLeft(size int) {
	if int(c.head) < size {
		used := c.used()
		total := grown(used, size)
		c.move(total-used, total)
	}
}

// move puts the elements at head of a buffer of a size.
func (c *chunk) move(head, size int) {
	buf := make([]byte, head+c.used(), max(size, head+c.used()))
	copy(buf[head:], c.buf[c.head:])
	c.buf, c.head = buf, int32(head)
}

// grown returns the size of a buffer for used bytes, size more, and some to grow
// in, so that a chunk is copied only a few times while it fills.
func grown(used, size int) int {
	need := used + size
	if used == 0 {
		return need
	}
	return max(need, min(need+need/2, maxChunk))
}

func entrySize(n int) int {
	size := uvarintLen(n) + n
	return size + uvarintLen(size)
}

func uvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func putEntry(b, v []byte) []byte {
	start := len(b)
	b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
	size := len(b) - start
	// The bits of 7 come highest first; the last byte, which is read first, has
	// the lowest. All but the first written say that there are more before them.
	for shift := 7 * (uvarintLen(size) - 1); shift >= 0; shift -= 7 {
		c := byte(size>>shift) & 0x7f
		if size>>shift > 0x7f {
			c |= 0x80
		}
		b = append(b, c)
	}
	return b
}

// entryAt returns the first element of b and the size it has there.
func entryAt(b []byte) (v []byte, size int) {
	n, k := binary.Uvarint(b)
	end := k + int(n)
	return b[k:end:end], end + uvarintLen(end)
}

// lastEntry returns the size of the last element of b.
func lastEntry(b []byte) int {
	size := 0
	for i, shift := len(b)-1, 0; ; i, shift = i-1, shift+7 {
		size |= int(b[i]&0x7f) << shift
		if b[i]&0x80 == 0 {
			return size + uvarintLen(size)
		}
	}
}

func countEntries(b []byte) (n int) {
	for len(b) > 0 {
		_, size := entryAt(b)
		b = b[size:]
		n++
	}
	return n
}
