package main

import (
	"errors"
	"slices"
	"time"
)

// What a takeover's ledgers hold in the end, and the sums.

const readPatience = 10 * time.Second // without progress, while ledgers are read back

// conclude reads the ledgers back and sums everything up.
func (k *takeover) conclude() error {
	r := k.result
	if err := k.fleet.allJoined(k.ctx); err != nil {
		return err
	}
	if k.o.keepsBooks() {
		r.AckedLost = new(uint64)
		if err := k.readBack(); err != nil {
			return err
		}
	}
	s, err := k.fleet.totals(k.ctx)
	if err != nil {
		return err
	}
	err = k.fleet.each(k.ctx, func(sh *shard) {
		for _, room := range sh.rooms {
			b := &room.book
			r.Acked += uint64(len(b.acked))
			switch {
			case !k.o.keepsBooks():
			case !b.read:
				r.Unread++
			default:
				d := b.compare()
				*r.AckedLost += d.lost
				r.Doubled += d.doubled
			}
			open := room.unanswered()
			r.Unanswered += open
			if missing := room.missing(); k.o.keepsBooks() && missing > open+s.refused {
				r.Lost += (missing - open - s.refused) * uint64(len(room.members)) // done, and told nobody
			}
			r.Lost += room.behind()
		}
	})
	r.Lost += s.v.lost
	r.Duplicates, r.Reordered, r.Corrupt = s.v.duplicates, s.v.reordered, s.v.corrupt
	r.Refused, r.Codes, r.Closings, r.SocketsDropped = s.refused, s.codes, s.closings, closings(&s)
	r.Resets = s.resets
	r.Finish()
	return err
}

// unanswered is the number of the members' commands without a reply.
func (r *room) unanswered() (n uint64) {
	for _, m := range r.members {
		n += uint64(len(m.unanswered) + len(m.waiting))
	}
	return n
}

// readBack asks one member of each room for the whole ledger. Books that nobody
// answers for stay unread.
func (k *takeover) readBack() error {
	k.progress.say("reading the ledgers back")
	err := k.fleet.each(k.ctx, func(sh *shard) {
		now := sh.loop.Clock()
		for _, r := range sh.rooms {
			r.book.ids, r.book.read = nil, false
			r.members[0].command("slice", now, true)
		}
	})
	if err != nil {
		return err
	}
	late := errors.New("late")
	err = k.fleet.await(k.ctx, readPatience,
		func(sh *shard) bool {
			return !slices.ContainsFunc(sh.rooms, func(r *room) bool { return !r.book.read })
		},
		func(sh *shard) (n uint64) {
			for _, r := range sh.rooms {
				n += uint64(len(r.book.ids)) + 1
				if r.book.read {
					n++
				}
			}
			return n
		},
		late)
	if errors.Is(err, late) {
		return nil
	}
	return err
}
