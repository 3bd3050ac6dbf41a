package edge

import "math/bits"

// A bufferPool lends byte slices to one loop, in powers of two, and counts
// what is out against a limit. It is where all memory of conns that are behind
// or in the middle of a message comes from: a conn that is neither has none.
type bufferPool struct {
	free  [maxClass + 1][][]byte // by class; slices of capacity 1<<class
	spare int                    // bytes in free; invariant: spare <= maxSpareBytes
	lent  int                    // bytes out
	limit int                    // lent may not grow beyond
}

const (
	minClass      = 8       // 256 bytes
	maxClass      = 24      // 16 MiB; larger ones are not kept
	maxSpareBytes = 4 << 20 // kept for reuse; the rest goes to the collector
)

func classOf(n int) int { return max(minClass, bits.Len(uint(n-1))) }

// append is the built-in append, on a lent slice (nil to begin with). It says
// false, and changes nothing, if that would break the limit.
func (p *bufferPool) append(b, more []byte) ([]byte, bool) {
	n := len(b) + len(more)
	if n <= cap(b) {
		return append(b, more...), true
	}
	if p.lent-cap(b)+(1<<classOf(n)) > p.limit {
		return b, false
	}
	return p.grow(b, more), true
}

// grow is append to a larger slice, whatever the limit.
func (p *bufferPool) grow(b, more []byte) []byte {
	larger := append(p.take(1<<classOf(len(b)+len(more))), b...)
	p.give(b)
	return append(larger, more...)
}

func (p *bufferPool) take(size int) []byte {
	p.lent += size
	class := classOf(size)
	if class <= maxClass {
		if list := p.free[class]; len(list) > 0 {
			b := list[len(list)-1]
			p.free[class] = list[:len(list)-1]
			p.spare -= size
			return b
		}
	}
	return make([]byte, 0, size)
}

// give takes back a slice that append made; nil is fine.
func (p *bufferPool) give(b []byte) {
	size := cap(b)
	if size == 0 {
		return
	}
	p.lent -= size
	class := classOf(size)
	if class > maxClass || p.spare+size > maxSpareBytes {
		return
	}
	p.spare += size
	p.free[class] = append(p.free[class], b[:0])
}
