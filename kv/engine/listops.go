package engine

import "math"

// What happens to a list, as it is logged.
const (
	opLPush   = opList + iota // strings
	opRPush                   // strings
	opLPop                    // number of elements
	opRPop                    // number of elements
	opLSet                    // number of the element, string
	opLInsert                 // number of the element that comes after it, string
	opLRem                    // byte 1 from the left, 0 from the right; how many; string
	opLTurn                   // two bytes, where an element is taken and where it is put: 1 left, 0 right
)

func pushOp(left bool) op {
	if left {
		return opLPush
	}
	return opRPush
}

var listOps = map[op]applier{
	opLPush: func(e *Engine, key []byte, r *reader) error { return applyPush(e, key, r, true) },
	opRPush: func(e *Engine, key []byte, r *reader) error { return applyPush(e, key, r, false) },
	opLPop:  func(e *Engine, key []byte, r *reader) error { return applyPop(e, key, r, true) },
	opRPop:  func(e *Engine, key []byte, r *reader) error { return applyPop(e, key, r, false) },
	opLSet: func(e *Engine, key []byte, r *reader) error {
		return e.onList(key, func(d *deque) bool {
			i, v := r.num(), r.bytes()
			if r.err != nil || i >= uint64(d.len()) {
				return false
			}
			d.set(int(i), v)
			return true
		})
	},
	opLInsert: func(e *Engine, key []byte, r *reader) error {
		return e.onList(key, func(d *deque) bool {
			i, v := r.num(), r.bytes()
			if r.err != nil || i > uint64(d.len()) {
				return false
			}
			d.insert(int(i), v)
			return true
		})
	},
	opLRem: func(e *Engine, key []byte, r *reader) error {
		return e.onList(key, func(d *deque) bool {
			left, n, v := r.byte(), r.num(), r.bytes()
			if r.err != nil || left > 1 || n > math.MaxInt32 {
				return false
			}
			return d.remove(left == 1, int(n), v) == int(n)
		})
	},
	opLTurn: func(e *Engine, key []byte, r *reader) error {
		return e.onList(key, func(d *deque) bool {
			from, to := r.byte(), r.byte()
			if r.err != nil || from > 1 || to > 1 {
				return false
			}
			d.turn(from == 1, to == 1)
			return true
		})
	},
}

// onList has f change a list, which must be there. f returns false if it cannot.
func (e *Engine) onList(key []byte, f func(*deque) bool) error {
	en := e.keys[string(key)]
	if en == nil || en.kind != kindList {
		return errNoKey
	}
	if !f(en.obj.(*deque)) {
		return errDamaged
	}
	e.changed(en)
	return nil
}

func applyPush(e *Engine, key []byte, r *reader, left bool) error {
	en, err := e.forApply(key, kindList, r, func() collection { return &deque{} })
	if err != nil {
		return err
	}
	for r.more() {
		if v := r.bytes(); r.err == nil {
			en.obj.(*deque).push(left, v)
		}
	}
	e.changed(en)
	return r.err
}

func applyPop(e *Engine, key []byte, r *reader, left bool) error {
	return e.onList(key, func(d *deque) bool {
		n := r.num()
		if n == 0 || n > uint64(d.len()) {
			return false
		}
		d.drop(left, int(n))
		return true
	})
}

var listCodec = codec{
	name: "list",
	append: func(b []byte, en *entry) []byte {
		f := effects{b: b}
		for v := range en.obj.(*deque).from(0) {
			f.bytes(v)
		}
		return f.b
	},
	read: func(en *entry, r *reader) error {
		d := &deque{}
		for r.more() {
			if v := r.bytes(); r.err == nil {
				d.push(false, v)
			}
		}
		en.obj = d
		return r.err
	},
}
