package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"roomd/client"
)

// This file is what members of synced rooms do. In a busy one they send commands
// by the clock, as in a ledger. A quiet one changes seldom: what its members have
// wrong nobody mends, and often they are away when a bell rings.

// roll makes the next command of a synced room: half of them add.
func (p *player) roll(rng *rand.Rand, value int64) (op Op, data any) {
	op = Op{Event: "add", Fate: Unknown}
	switch rng.IntN(10) {
	case 0:
		return p.arm(50*time.Millisecond + rand64(rng, 3*time.Second))
	case 1, 2:
		return p.tell(rng)
	case 3:
		op.Event, op.ID = "move", p.nextID()
		x := int64(rng.IntN(5)) * value // one in five removes the cell
		return op, []any{op.ID, rng.IntN(16), x}
	case 4:
		op.Event = "count"
	}
	op.ID = p.nextID()
	return op, op.ID
}

// arm makes a command that sets a bell.
func (p *player) arm(after time.Duration) (Op, any) {
	after = after.Truncate(time.Millisecond)
	op := Op{Event: "arm", Fate: Unknown, ID: p.nextID(), After: after}
	return op, []any{op.ID, after.Milliseconds()}
}

// tell makes a command that has the room send something to some member alone.
func (p *player) tell(rng *rand.Rand) (Op, any) {
	op := Op{Event: "tell", Fate: Unknown, ID: p.nextID()}
	return op, []any{op.ID, rng.IntN(1 << 16)}
}

// nextID is the next id of a command. p.mu is held.
func (p *player) nextID() string {
	p.adds++
	return fmt.Sprintf("%s-%d", p.name, p.adds)
}

// do makes a command and sends it.
func (p *player) do(command func() (Op, any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.send(command())
}

// add makes a command that only adds.
func (p *player) add() (Op, any) {
	op := Op{Event: "add", Fate: Unknown, ID: p.nextID()}
	return op, op.ID
}

// quiet is the load of a quiet room, in scenes: two bells are armed, then comes
// one change and, a little later, another, which the room has to show in a turn of
// its own; then nothing but the bells. In one scene of three all members lose
// their connections.
func (r *run) quiet(ctx context.Context, rng *rand.Rand, players []*player) {
	some := func() *player { return players[rng.IntN(len(players))] }
	for sleep(ctx, 300*time.Millisecond+rand64(rng, 3*time.Second)) {
		for range 2 {
			after := 200*time.Millisecond + rand64(rng, 2500*time.Millisecond)
			p := some()
			p.do(func() (Op, any) { return p.arm(after) })
		}
		p := some()
		p.do(func() (Op, any) { return p.tell(rng) })
		p.do(p.add)
		if !sleep(ctx, 20*time.Millisecond) {
			return
		}
		p = some()
		p.do(p.add)
		if rng.IntN(3) == 0 && sleep(ctx, rand64(rng, 200*time.Millisecond)) {
			for _, p := range players {
				p.drop()
			}
		}
	}
}

// drop cuts the player's connection, unless it is lost already.
func (p *player) drop() {
	p.mu.Lock()
	p.dropping = p.online
	dropping, c := p.dropping, p.client
	p.mu.Unlock()
	if dropping {
		c.Drop()
	}
}

const goodbye = 5 * time.Second // that a visitor's leave may take

// visits brings a visitor into the room now and then: what a newcomer is shown has
// to be what those are shown who have followed the room by patches. In a brief room
// he goes without leaving, so that the state changes when his linger ends.
func (r *run) visits(ctx context.Context, i int) {
	rng := rand.New(rand.NewPCG(r.cfg.Seed, visiting+uint64(i)))
	urls := r.c.URLs()
	for n := 1; sleep(ctx, time.Second+rand64(rng, 4*time.Second)); n++ {
		at := rng.IntN(len(urls))
		v, err := enter(ctx, seating{
			name: fmt.Sprintf("v%d-%d", i, n), plot: r.plots[i], room: r.roomID(i), urls: urls[at : at+1], visitor: true,
		}, r.now)
		if err != nil {
			continue // a fault kept him out: nothing was promised to him
		}
		sleep(ctx, 200*time.Millisecond+rand64(rng, time.Second))
		r.mu.Lock()
		r.visitors[i] = append(r.visitors[i], v)
		r.mu.Unlock()
		if !r.plots[i].d.Brief {
			v.leave()
		}
		if err := v.client.Close(); err != nil && !errors.Is(err, client.ErrClosed) {
			r.cfg.Say(fmt.Sprintf("%s: %v", v.name, err))
		}
	}
}

// leave gives the seat up, if the room can be reached.
func (p *player) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if err := p.seat.Leave(ctx); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hear(Heard{What: HeardOther, Text: err.Error()}) // its seat ends with its linger
	}
}
