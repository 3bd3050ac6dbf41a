package main

import (
	"bytes"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"roomd/client"
)

// updates follows the synced state of rooms: how evenly it comes, and whether
// patches lead everybody to the same state. Two members of each room apply every
// patch; since each began from another full state, they agree only if patches
// and states do.
type updates struct {
	interval *hdr.Histogram // between two updates of a member, in the window
	copies   map[*member]*replica
}

// A replica is a member's copy of its room's state.
type replica struct {
	state []byte
	ver   uint64
	at    time.Duration // of the last update
}

func (sh *shard) resetUpdates() { sh.updates.interval.Reset() }

func newUpdates() updates {
	return updates{interval: newHistogram(), copies: make(map[*member]*replica)}
}

// begin takes the state that joined told.
func (u *updates) begin(m *member, state []byte, ver uint64) {
	r := u.copies[m]
	if r == nil {
		r = &replica{}
		u.copies[m] = r
	}
	r.ver, r.state = ver, nil
	if m.witness() {
		r.state = append([]byte(nil), state...)
	}
}

// witness reports whether m applies patches: the first and the last of a room.
func (m *member) witness() bool {
	return m.place == 0 || m.place == len(m.room.members)-1
}

// update follows a state or patch that continues what m has.
func (sh *shard) update(m *member, f *client.Frame) {
	u, now := &sh.updates, sh.loop.Now()
	r := u.copies[m]
	if r == nil {
		u.begin(m, nil, 0)
		r = u.copies[m]
	}
	sh.delivered++
	if sh.window.holds(now) {
		sh.deliveries++
		if sh.window.holds(r.at) {
			record(u.interval, now-r.at)
		}
	}
	r.at = now
	if !m.witness() {
		return
	}
	if f.Type == client.FrameState {
		r.state = append(r.state[:0], f.Data...)
	} else {
		next, err := client.ApplyPatch(nil, r.state, f.Data)
		if err != nil {
			sh.v.corrupt++
			return
		}
		r.state = next
	}
	r.ver = f.Ver
	u.compare(sh, m)
}

// compare looks whether both witnesses of m's room have the same state when they
// are at the same ver.
func (u *updates) compare(sh *shard, m *member) {
	members := m.room.members
	a, b := u.copies[members[0]], u.copies[members[len(members)-1]]
	if a == nil || b == nil || a == b || a.ver != b.ver || len(a.state) == 0 || len(b.state) == 0 {
		return
	}
	sh.compared++
	if !bytes.Equal(a.state, b.state) {
		sh.v.corrupt++
	}
}

func (t *test) fillUpdates() error {
	interval := newHistogram()
	err := t.fleet.each(t.ctx, func(sh *shard) { interval.Merge(sh.updates.interval) })
	if interval.TotalCount() > 0 {
		t.report.UpdateP50 = millis(interval.ValueAtQuantile(50))
		t.report.UpdateP99 = millis(interval.ValueAtQuantile(99))
	}
	return err
}
