package patch

// A reader reads values from b, from front to back.
type reader struct {
	b []byte
	i int // where it stands
}

// value reads a whole value.
func (r *reader) value(depth int) ([]byte, error) {
	rest := r.b[r.i:]
	if len(rest) > 0 {
		if w := int(widths[rest[0]]); w != 0 && w <= len(rest) {
			r.i += w
			return rest[:w], nil
		}
	}
	n, err := skip(rest, depth)
	if err != nil {
		return nil, err
	}
	r.i += n
	return rest[:n], nil
}

// head reads the header of a map or an array; the reader must not be at the end.
func (r *reader) head() (n int, err error) {
	n, size, err := head(r.b[r.i:])
	r.i += size
	return n, err
}

// A pairs walks the entries of a map.
type pairs struct {
	reader
	left       int // entries not yet read
	key, value []byte
}

// pairsOf starts a walk over the map that b starts with.
func pairsOf(b []byte) (pairs, error) {
	p := pairs{reader: reader{b: b}}
	var err error
	p.left, err = p.head()
	return p, err
}

// next reads an entry into key and value. Behind the last one, key is nil.
func (p *pairs) next() (err error) {
	if p.left == 0 {
		p.key, p.value = nil, nil
		return nil
	}
	p.left--
	if p.key, err = p.reader.value(0); err != nil {
		return err
	}
	p.value, err = p.reader.value(maxPatchDepth)
	return err
}

// An items walks the elements of an array.
type items struct {
	reader
	left  int // elements not yet read
	value []byte
}

// itemsOf starts a walk over the array that b starts with.
func itemsOf(b []byte) (items, error) {
	t := items{reader: reader{b: b}}
	var err error
	t.left, err = t.head()
	return t, err
}

// next reads an element into value; there must be one left.
func (t *items) next() (err error) {
	t.left--
	t.value, err = t.reader.value(maxPatchDepth)
	return err
}

// rest is what has not been read.
func (t *items) rest() []byte { return t.b[t.i:] }
