package edge

// A slab holds a loop's conns in pages, by slot. Pages never move and are
// never freed, so a *conn stays what it is; a slot's generation tells its
// tenants apart.
type slab struct {
	pages [][]conn
	free  []uint32
}

// pageConns fills whole pages of the allocator: 1,024 × 88 bytes.
const pageConns = 1024

func (s *slab) take(l *loop) *conn {
	if len(s.free) == 0 {
		s.addPage(l)
	}
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return s.at(slot)
}

func (s *slab) addPage(l *loop) {
	page, first := make([]conn, pageConns), uint32(len(s.pages)*pageConns)
	for i := range page {
		page[i].l, page[i].slot = l, first+uint32(i)
	}
	s.pages = append(s.pages, page)
	for i := range uint32(pageConns) {
		s.free = append(s.free, first+pageConns-1-i) // lowest slot first
	}
}

func (s *slab) give(c *conn) {
	*c = conn{l: c.l, slot: c.slot, gen: c.gen + 1}
	s.free = append(s.free, c.slot)
}

func (s *slab) at(slot uint32) *conn { return &s.pages[slot/pageConns][slot%pageConns] }

// find is the conn that had slot when it was of generation gen, or nil.
func (s *slab) find(slot, gen uint32) *conn {
	if int(slot/pageConns) >= len(s.pages) {
		return nil
	}
	if c := s.at(slot); c.gen == gen && c.state != stateFree {
		return c
	}
	return nil
}

// size is how many slots there are.
func (s *slab) size() int { return len(s.pages) * pageConns }
