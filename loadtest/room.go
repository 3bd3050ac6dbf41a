package main

import "time"

// A room checks that all its members are told the same, in the same order, and
// that each sender's commands appear in it once and in order. All members of a
// room live on one shard, so nothing here needs a lock.
type room struct {
	id      string
	members []*member

	// log holds what was heard at seq first, first+1, … by whoever heard it
	// first; the others must hear the same. It is cut behind the slowest member.
	first   uint64
	log     []heard
	checked int // log entries whose sender's order has been looked at

	numbers []uint32 // by place: highest number heard, in the room's order
	skipped uint64   // numbers that were passed over: refused, or lost
	epoch   uint64
	said    time.Duration // plaza: when the speech now under way was due
	speaker *member       // plaza: whose it is; nil: nobody speaks
	heardBy int           // plaza: how many have heard it
	book    book          // takeover
}

// heard is one place in a room's output: a sender's command, presence, or
// nothing yet. Its bits are 1 | sender 31 | number 32.
type heard uint64

const (
	heardPresence heard = 1
	heardOther    heard = 2 // a message that no command of ours names
	heardCommand  heard = 1 << 63
)

func heardOf(s stamp) heard {
	return heardCommand | heard(s.sender&0x7fffffff)<<32 | heard(s.number)
}

const maxLog = 1 << 20 // entries kept for members that are away

func newRoom(id string, members int) *room {
	return &room{id: id, members: make([]*member, 0, members), numbers: make([]uint32, members)}
}

// end is the seq of the newest thing that anybody heard.
func (r *room) end() uint64 {
	if r.first == 0 {
		return 0
	}
	return r.first + uint64(len(r.log)) - 1
}

// hear notes what a member heard at seq and counts disagreement in v.
func (r *room) hear(seq uint64, h heard, v *verdicts) {
	if r.first == 0 {
		r.first = seq
	}
	if seq < r.first {
		return // everybody else is past it and the entry is gone
	}
	at := int(seq - r.first)
	if at >= len(r.log)+maxLog {
		v.corrupt++ // a seq from nowhere: not worth a huge log
		return
	}
	for at >= len(r.log) {
		r.log = append(r.log, 0)
	}
	switch r.log[at] {
	case h:
		return
	case 0:
		r.log[at] = h
	default:
		v.reordered++ // two members were told different things at the same place
		return
	}
	for r.checked < len(r.log) && r.log[r.checked] != 0 {
		r.checkSender(r.log[r.checked], v)
		r.checked++
	}
	if len(r.log) >= maxLog || len(r.log)&0x1fff == 0 {
		r.trim()
	}
}

// checkSender looks at a sender's numbers in the room's order: +1 each.
func (r *room) checkSender(h heard, v *verdicts) {
	if h&heardCommand == 0 {
		return
	}
	place, number := int(h>>32&0x7fffffff), uint32(h)
	if place >= len(r.members) {
		v.corrupt++
		return
	}
	last := r.numbers[place]
	if number <= last {
		v.duplicates++ // a command was applied twice, or late
		return
	}
	r.skipped += r.unheard(place, number-1)
	r.numbers[place] = number
}

// trim forgets what every member has heard.
func (r *room) trim() {
	done := r.end()
	for _, m := range r.members {
		if !m.slow && m.pos.Seq > 0 {
			done = min(done, m.pos.Seq)
		}
	}
	n := 0
	if done > r.first {
		n = int(done - r.first)
	}
	n = min(max(n, len(r.log)-maxLog/2), r.checked)
	if n > 0 {
		r.log = append(r.log[:0], r.log[n:]...)
		r.first += uint64(n)
		r.checked -= n
	}
}

// restart forgets the room's past: it began anew on the server.
func (r *room) restart(epoch uint64) {
	if r.epoch == epoch {
		return
	}
	if r.epoch != 0 {
		r.first, r.log, r.checked = 0, nil, 0
	}
	r.epoch = epoch
}

// moved notes that the room goes on where it was, under a new epoch.
func (r *room) moved(epoch uint64) { r.epoch = max(r.epoch, epoch) }

// missing is the number of commands sent in this room that nobody has heard, those
// included that were refused.
func (r *room) missing() uint64 {
	n := r.skipped
	for place, m := range r.members {
		n += r.unheard(place, m.sent)
	}
	return n
}

// unheard is how many of a sender's numbers up to to nobody has heard, but should
// have: those that may have gone down with a connection don't count.
func (r *room) unheard(place int, to uint32) uint64 {
	from := max(r.numbers[place], r.members[place].doubtful)
	if to <= from {
		return 0
	}
	return uint64(to - from)
}

// behind is the number of deliveries that members still lack.
func (r *room) behind() (n uint64) {
	end := r.end()
	for _, m := range r.members {
		if !m.slow && m.phase == phaseJoined && m.pos.Seq < end {
			n += end - m.pos.Seq
		}
	}
	return n
}

// verdicts counts what must not happen.
type verdicts struct {
	lost       uint64 // places in a room's output that a member never got
	duplicates uint64 // the same place twice, or the same command applied twice
	reordered  uint64 // out of order, or differently ordered for two members
	corrupt    uint64 // payloads that are not what was sent
}

func (v *verdicts) add(o verdicts) {
	v.lost += o.lost
	v.duplicates += o.duplicates
	v.reordered += o.reordered
	v.corrupt += o.corrupt
}
