package rooms

import "encoding/binary"

// A fifo is a queue of numbered byte strings in one slice, so that what a room
// or a member keeps for a while costs one allocation, and none once it has
// grown. An entry is its number and its length as varints, and its bytes.
type fifo struct {
	buf   []byte
	off   int // where the first entry begins
	count int
}

// spareFifoBytes is what an empty fifo may hold on to.
const spareFifoBytes = 256

func (q *fifo) push(n uint64, b []byte) {
	if q.off > 0 && len(q.buf)+len(b)+2*binary.MaxVarintLen64 > cap(q.buf) && q.off >= len(q.buf)/2 {
		q.buf = q.buf[:copy(q.buf, q.buf[q.off:])]
		q.off = 0
	}
	q.buf = binary.AppendUvarint(q.buf, n)
	q.buf = binary.AppendUvarint(q.buf, uint64(len(b)))
	q.buf = append(q.buf, b...)
	q.count++
}

// bytes is how much the entries take.
func (q *fifo) bytes() int { return len(q.buf) - q.off }

// first returns the first entry; it must not be empty. b is valid until the
// next push.
func (q *fifo) first() (n uint64, b []byte) {
	n, b, _ = entryAt(q.buf[q.off:])
	return n, b
}

// drop removes the first entry.
func (q *fifo) drop() {
	_, _, size := entryAt(q.buf[q.off:])
	q.off += size
	if q.count--; q.count == 0 {
		q.clear()
	}
}

// clear removes all entries.
func (q *fifo) clear() {
	q.off, q.count, q.buf = 0, 0, q.buf[:0]
	if cap(q.buf) > spareFifoBytes {
		q.buf = nil
	}
}

// all goes through the entries, first to last.
func (q *fifo) all(yield func(n uint64, b []byte) bool) {
	for at := q.off; at < len(q.buf); {
		n, b, size := entryAt(q.buf[at:])
		if !yield(n, b) {
			return
		}
		at += size
	}
}

// appendLast appends how many of the last n entries there are, and those, each
// as number and string.
func (q *fifo) appendLast(b []byte, n int) []byte {
	n = min(n, q.count)
	b = binary.AppendUvarint(b, uint64(n))
	at := q.off
	for skip := q.count - n; skip > 0; skip-- {
		_, _, size := entryAt(q.buf[at:])
		at += size
	}
	return append(b, q.buf[at:]...) // which is how they are kept
}

func entryAt(b []byte) (n uint64, data []byte, size int) {
	n, i := binary.Uvarint(b)
	length, j := binary.Uvarint(b[i:])
	start := i + j
	size = start + int(length)
	return n, b[start:size:size], size
}
