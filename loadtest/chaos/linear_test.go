package chaos

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// registerHistory plays 6 clients on one register, each command taking effect at
// some moment between being sent and being answered; some get no answer.
func registerHistory(rng *rand.Rand) *Room {
	type step struct {
		effect time.Duration
		op     *Op
	}
	room := &Room{ID: "r", Count: -1}
	var steps []step
	for client := range 6 {
		r := &Record{Seated: true, Members: []uint32{0}}
		for i := range 60 {
			sent := at(20*i) + time.Duration(rng.IntN(int(10*time.Millisecond)))
			op := Op{Event: []string{"put", "get", "cas"}[rng.IntN(3)], Sent: sent, Fate: Acked, Value: int64(client*1000 + i)}
			op.Done = sent + 1 + time.Duration(rng.IntN(int(8*time.Millisecond)))
			if rng.IntN(60) == 0 {
				op.Fate = Unknown
			}
			r.Ops = append(r.Ops, op)
		}
		room.Records = append(room.Records, r)
	}
	for _, r := range room.Records {
		for i := range r.Ops {
			op := &r.Ops[i]
			steps = append(steps, step{op.Sent + time.Duration(rng.Int64N(int64(op.Done-op.Sent))), op})
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return int(a.effect - b.effect) })
	x := int64(0)
	for _, s := range steps {
		op := s.op
		switch {
		case op.Fate == Unknown && rng.IntN(2) == 0: // it never happened
		case op.Event == "put":
			x = op.Value
		case op.Event == "get":
			op.Got = x
		case rng.IntN(2) == 0:
			op.Old, op.Swapped, x = x, true, op.Value
		default:
			op.Old = -1
		}
	}
	room.Registers = []Op{{Event: "get", Got: x, Fate: Acked, Sent: at(5000), Done: at(5001)}}
	return room
}

func registerVerdict(room *Room) *Verdict {
	c := &check{room: room, d: strict, v: &Verdict{Checks: make(Checks)}}
	c.registers()
	return c.v
}

func TestHistoriesOfARegisterAreExplained(t *testing.T) {
	for seed := range uint64(10) {
		if v := registerVerdict(registerHistory(rand.New(rand.NewPCG(seed, 0)))); len(v.Violations) > 0 || v.Undecided > 0 {
			t.Errorf("seed %d: %v, %d undecided", seed, v.Violations, v.Undecided)
		}
	}
}

// A read of what was overwritten long ago has no explanation.
func TestStaleReadAmongManyIsFound(t *testing.T) {
	for seed := range uint64(10) {
		room := registerHistory(rand.New(rand.NewPCG(seed, 0)))
		room.Records[0].Ops = append(room.Records[0].Ops, Op{Event: "get", Got: 0, Fate: Acked, Sent: at(4000), Done: at(4001)})
		if v := registerVerdict(room); broken(v) != RuleRegister {
			t.Errorf("seed %d: %v, %d undecided", seed, v.Violations, v.Undecided)
		}
	}
}
