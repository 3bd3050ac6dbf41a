package kv

import (
	"errors"
	"fmt"
	"time"

	"roomd/bus"
	"roomd/kv/engine"
)

// This file is about how a shard is kept: its entries in the log, and its pages,
// each in a record of its own. A page is a part of the keys, by their hash, so
// that what is written again is what has changed, and no turn takes longer
// because there is much. Each says which entry it was written after; entries
// before that are not applied to it again. So pages may be written at different
// times, and all the log is needed for is what came after the oldest change that
// no page has.
//
// Only what is committed gets into a page: an entry that the log refused is not
// to come back.

// A page is how far a page is kept.
type page struct {
	number  uint64 // of the last entry that its record has
	first   uint64 // position of the first entry that it lacks; 0: none
	since   uint64 // bytes of the log then
	writing uint64 // the same for the record that is being written
	size    int    // of the last record
	fresh   bool   // changed by Replay since it was loaded
}

const pageVersion = 1

// errPage says that a page or entry is not what a shard has written.
var errPage = errors.New("page or entry of a shard is damaged or of another version")

// AppendEntry appends what has changed since the last entry and reports whether
// there was anything.
//
//	time     uint   milliseconds since 1970
//	sessions count, each as in session.appendTo
//	gone     count, each an id
//	effects  to the end
func (s *Shard) AppendEntry(b []byte) (_ []byte, changed bool) {
	effects := s.engine.Effects()
	if len(effects) == 0 && len(s.changed) == 0 && len(s.gone) == 0 {
		return b, false
	}
	s.number++
	touched := s.engine.Touched()
	for i := range engine.Pages {
		s.batch[i] = touched&(1<<i) != 0
	}
	s.batch[sessionsPage] = len(s.changed)+len(s.gone) > 0
	b = bus.AppendUint(b, uint64(s.now))
	b = bus.AppendUint(b, uint64(len(s.changed)))
	for _, c := range s.changed {
		b = c.appendTo(b, false)
		c.marked = false
		for _, k := range c.kept {
			k.unlogged = false
		}
	}
	b = bus.AppendUint(b, uint64(len(s.gone)))
	for _, id := range s.gone {
		b = bus.AppendUint(b, id)
	}
	b = append(b, effects...)
	s.engine.ResetEffects()
	clear(s.changed)
	s.changed, s.gone = s.changed[:0], s.gone[:0]
	return b, true
}

// Number returns the number of the last entry made.
func (s *Shard) Number() uint64 { return s.number }

// Committed says where in the log the last entry is, and how many bytes the log
// had then.
func (s *Shard) Committed(pos, bytes uint64) {
	for i := range s.pages {
		if p := &s.pages[i]; s.batch[i] && p.first == 0 {
			p.first, p.since = pos, bytes
		}
	}
	clear(s.batch[:])
}

// Tail returns the position in the log of the first entry that is in no page;
// 0 if there is none.
func (s *Shard) Tail() (tail uint64) {
	for i := range s.pages {
		for _, pos := range [...]uint64{s.pages[i].first, s.pages[i].writing} {
			if pos != 0 && (tail == 0 || pos < tail) {
				tail = pos
			}
		}
	}
	return tail
}

// Oldest returns the page that lacks the oldest entry, the position of that, 0 if
// no page lacks any, and how many bytes the log had there. A page that is being
// written does not count.
func (s *Shard) Oldest() (i int, first, bytes uint64) {
	for j := range s.pages {
		if p := &s.pages[j]; p.first != 0 && p.writing == 0 && (first == 0 || p.first < first) {
			i, first, bytes = j, p.first, p.since
		}
	}
	return i, first, bytes
}

// PageSize returns the size of a page's last record, in bytes.
func (s *Shard) PageSize(i int) int { return s.pages[i].size }

// Bytes returns how much memory the data takes, about; Keys how many keys there
// are, Sessions how many stores use them, and Waiting how many commands wait.
func (s *Shard) Bytes() int    { return s.engine.Bytes() }
func (s *Shard) Keys() int     { return s.engine.Len() }
func (s *Shard) Sessions() int { return len(s.sessions) }
func (s *Shard) Waiting() int  { return s.waits }

// Pages is how many pages a shard has.
const Pages = allPages

// BeginPage returns a page for its record, which is now being written. All that
// has changed must be committed.
func (s *Shard) BeginPage(i int) []byte {
	p := &s.pages[i]
	p.writing, p.first = p.first, 0
	b := s.AppendPage(nil, i)
	p.size = len(b)
	return b
}

// Wrote says what became of that.
func (s *Shard) Wrote(i int, number uint64, err error) {
	p := &s.pages[i]
	if err == nil {
		p.number = number
	} else if p.first == 0 || p.writing < p.first {
		p.first = p.writing
	}
	p.writing = 0
}

// AppendPage appends a page's record:
//
//	version byte
//	epoch   uint   of the owner who wrote it
//	number  uint   of the last entry it has
//	time    uint   milliseconds since 1970; of that entry
//	content to the end: the engine's, or count and sessions
func (s *Shard) AppendPage(b []byte, i int) []byte {
	b = bus.AppendUint(append(b, pageVersion), s.epoch)
	b = bus.AppendUint(bus.AppendUint(b, s.number), uint64(s.now))
	if i < engine.Pages {
		return s.engine.AppendPage(b, i)
	}
	b = bus.AppendUint(b, uint64(len(s.sessions)))
	for _, c := range s.sessions {
		b = c.appendTo(b, true)
	}
	return b
}

// A PageHead says who has written a page, and when.
type PageHead struct{ Epoch, Number uint64 }

// ParsePageHead reads the head of a page's record.
func ParsePageHead(b []byte) (PageHead, error) {
	h, _, err := parsePage(b)
	return h, err
}

func parsePage(b []byte) (h PageHead, rd *bus.Reader, err error) {
	rd = bus.NewReader(b)
	version := rd.Byte()
	h.Epoch, h.Number = rd.Uint(), rd.Uint()
	if rd.Err() != nil || version != pageVersion {
		return h, rd, errPage
	}
	return h, rd, nil
}

// Load takes a page from its record, before any entry.
func (s *Shard) Load(i int, b []byte) error {
	h, rd, err := parsePage(b)
	if err != nil {
		return fmt.Errorf("page %d: %w", i, err)
	}
	s.now = max(s.now, int64(rd.Uint()))
	s.pages[i] = page{number: h.Number, size: len(b)}
	s.number = max(s.number, h.Number)
	if i < engine.Pages {
		if err := s.engine.LoadPage(i, rd.Rest()); err != nil {
			return fmt.Errorf("page %d: %w", i, err)
		}
		return nil
	}
	for range rd.Count() {
		s.loadSession(rd)
	}
	if rd.Err() != nil {
		return fmt.Errorf("page %d: %w", i, errPage)
	}
	return nil
}

// Replay applies an entry of the owner before, in order, where pages lack it.
func (s *Shard) Replay(number uint64, entry []byte) error {
	rd := bus.NewReader(entry)
	s.now = max(s.now, int64(rd.Uint()))
	missing := s.pages[sessionsPage].number < number
	into := s
	if !missing {
		into = &Shard{sessions: make(map[uint64]*session)} // to be read over
	}
	count := rd.Count()
	for range count {
		into.loadSession(rd)
	}
	gone := rd.Count()
	for range gone {
		delete(into.sessions, rd.Uint())
	}
	if rd.Err() != nil {
		return fmt.Errorf("entry %d: %w", number, errPage)
	}
	if missing && count+gone > 0 {
		s.pages[sessionsPage].fresh = true
	}
	err := s.engine.Apply(rd.Rest(), func(page int) bool { return s.pages[page].number >= number })
	if err != nil {
		return fmt.Errorf("entry %d: %w", number, err)
	}
	touched := s.engine.Touched()
	for i := range engine.Pages {
		if touched&(1<<i) != 0 {
			s.pages[i].fresh = true
		}
	}
	s.engine.ResetEffects()
	s.number = max(s.number, number)
	return nil
}

// Fresh returns the pages that Replay has changed. They have to be written
// before the log they come from may go.
func (s *Shard) Fresh() (pages []int) {
	for i := range s.pages {
		if s.pages[i].fresh {
			pages = append(pages, i)
		}
	}
	return pages
}

// Begin is called once by the new owner, when everything is loaded and kept. Who
// has waited for an answer has some time to find it.
func (s *Shard) Begin(now time.Time) {
	s.setTime(now)
	for i := range s.pages {
		if p := &s.pages[i]; p.fresh {
			p.number, p.fresh = s.number, false
		}
	}
	for _, c := range s.sessions {
		c.seen = s.now + graceAfter
	}
}
