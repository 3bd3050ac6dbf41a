package chaos

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// checkLinear bounds the search for an order that explains a register's history.
const checkLinear = 5 * time.Second

// register is the model: an integer, 0 at first.
var register = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		x, op := state.(int64), input.(*Op)
		known := output != nil // else it may have happened, with any answer
		switch op.Event {
		case "put":
			return true, op.Value
		case "cas":
			swapped := x == op.Old
			if known && swapped != op.Swapped {
				return false, x
			}
			if swapped {
				return true, op.Value
			}
			return true, x
		}
		return !known || x == op.Got, x
	},
}

// registers checks each register of the room. A room that went back has none
// that could be explained.
func (c *check) registers() {
	byKey := make(map[int][]porcupine.Operation)
	for i, r := range c.room.Records {
		if !c.d.Strict {
			if _, told := toldOfLoss(r, 0); told {
				return
			}
		}
		for j := range r.Ops {
			op := &r.Ops[j]
			idle := op.Event == "get" && op.Fate != Acked // nothing came of it
			if op.register() && op.Fate != Refused && !idle {
				byKey[op.Key] = append(byKey[op.Key], operation(i, op))
			}
		}
	}
	for i := range c.room.Registers {
		op := &c.room.Registers[i]
		byKey[op.Key] = append(byKey[op.Key], operation(len(c.room.Records), op))
	}
	for key, history := range byKey {
		c.did(didRegister, len(history))
		switch porcupine.CheckOperationsTimeout(register, history, checkLinear) {
		case porcupine.Illegal:
			c.report(RuleRegister, nil, "register %d: no order explains its %d answers", key, len(history))
		case porcupine.Unknown:
			c.v.Undecided++
		}
	}
}

// forever is later than any run.
const forever = 1 << 62

// operation puts a command in porcupine's form. One of unknown fate may take
// effect at any time after it was sent, or never, which is to say after all else.
func operation(client int, op *Op) porcupine.Operation {
	p := porcupine.Operation{ClientId: client, Input: op, Call: int64(op.Sent), Return: forever}
	if op.Fate == Acked {
		p.Output, p.Return = op, int64(op.Done)
	}
	return p
}
