package chaos

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"roomd/client"
)

// This file is about the state of synced rooms: what a member shows, as whole
// states and patches have led it there, and what the room itself says that it is.

// A Shown is one state that a member had, and where.
type Shown struct {
	At    time.Duration `json:"at"`
	Epoch uint64        `json:"epoch"`
	Ver   uint64        `json:"ver"`
	Hash  uint64        `json:"hash"`          // of all of it
	Sum   string        `json:"sum"`           // of its body, as the room made it
	Count int           `json:"count"`         // entries, as the room counted
	Bad   string        `json:"bad,omitempty"` // why this is no state that the room made
}

// An Own is the state of a room as the room itself tells it.
type Own struct {
	Sum   string `msgpack:"sum" json:"sum"`
	Count int    `msgpack:"count" json:"count"`
	Body  struct {
		IDs   []string         `msgpack:"ids" json:"ids"`
		Rung  []string         `msgpack:"rung" json:"rung"`
		Bells map[string]int64 `msgpack:"bells" json:"bells"`
		Told  map[uint32]int   `msgpack:"told" json:"told"`
	} `msgpack:"body" json:"body"`
}

// show reads a state that a member has. What comes from a room is canonical
// msgpack, so equal states are equal bytes.
func show(state []byte) Shown {
	var s struct {
		Sum   string             `msgpack:"sum"`
		Count int                `msgpack:"count"`
		Body  msgpack.RawMessage `msgpack:"body"`
	}
	x := Shown{Hash: fnv1a(state)}
	if err := msgpack.Unmarshal(state, &s); err != nil {
		x.Bad = err.Error()
		return x
	}
	x.Sum, x.Count = s.Sum, s.Count
	if sum := sumOfBody(s.Body); sum != s.Sum {
		x.Bad = fmt.Sprintf("its body has the sum %s, the room made %s", sum, s.Sum)
	}
	return x
}

// sumOfBody is what a room's state has as the sum of its body.
func sumOfBody(body []byte) string { return fmt.Sprintf("%016x", fnv1a(body)) }

func fnv1a(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b) // a hash takes everything
	return h.Sum64()
}

// state is told of every state and patch.
func (p *player) state(state []byte, ver uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unshown = false
	p.showing(state, ver)
}

// showing notes a state. p.mu is held.
func (p *player) showing(state []byte, ver uint64) {
	x := show(state)
	x.At, x.Epoch, x.Ver = p.now(), p.epochNow(), ver
	p.rec.Shown = append(p.rec.Shown, x)
}

// epochNow is the epoch of what the player is being told. Callbacks come before
// the next frame is read, so the client's position is still the one of theirs.
func (p *player) epochNow() uint64 {
	if p.seat != nil {
		p.epoch = p.seat.Position().Epoch
	}
	return p.epoch
}

// resumed notes that the player goes on under a new epoch with the state it has.
func (p *player) resumed() {
	n := len(p.rec.Shown)
	if n == 0 || p.unshown {
		return
	}
	x := p.rec.Shown[n-1]
	if x.At, x.Epoch = p.now(), p.epochNow(); x.Epoch != p.rec.Shown[n-1].Epoch {
		p.rec.Shown = append(p.rec.Shown, x)
	}
}

// shows is the sum of the state that the player has, "" if it has none.
func (p *player) shows() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.rec.Shown); n > 0 && !p.unshown {
		return p.rec.Shown[n-1].Sum
	}
	return ""
}

// readSynced reads a synced room's state until no bell is armed, no seat but the
// players' is kept and all players show the same, or until ctx ends: then the check
// tells what differs.
func (room *Room) readSynced(ctx context.Context, p *player, players []*player) error {
	for {
		data, err := p.seat.Call(ctx, "state", nil)
		if err != nil {
			if room.Own != nil {
				return nil // what was read before differs from what players show
			}
			return err
		}
		own := new(Own)
		if err := data.Decode(own); err != nil {
			return err
		}
		room.Own, room.Final, room.Count = own, own.Body.IDs, own.Count
		others := func(p *player) bool { return p.shows() != own.Sum }
		over := len(own.Body.Bells) == 0 && len(own.Body.Told) == len(players) && complete(players)
		if over && !slices.ContainsFunc(players, others) {
			return nil
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return nil
		}
	}
}

// A heardTold is what a member alone is told: [number, user, id].
type heardTold struct {
	//lint:ignore U1000 tells the decoder
	_msgpack struct{} `msgpack:",as_array"`
	Number   int
	User     string
	ID       string
}

// private takes a message to this player alone. p.mu is held.
func (p *player) private(m client.Message) {
	var t heardTold
	if err := m.Data.Decode(&t); err != nil || m.Event != "told" {
		p.hear(Heard{What: HeardOther, Seq: m.Seq, Text: fmt.Sprintf("%s %x: %v", m.Event, []byte(m.Data), err)})
		return
	}
	p.hear(Heard{What: HeardTold, Number: t.Number, User: t.User, ID: t.ID})
}
