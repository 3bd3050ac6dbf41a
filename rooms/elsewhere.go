package rooms

import (
	"cmp"
	"context"
	"slices"
	"time"

	"roomd/bus"
)

// This file finds another worker for a room that this one has no room for.

// askTimeout is how long another worker may take to answer: it may hang, and
// another one may have room.
const askTimeout = time.Second

// openElsewhere asks the other workers, those with the fewest rooms first, to
// open a room, or to say that they have it. It returns Overloaded if all of them
// have as many rooms as they may, and Unavailable if one of them did not say.
func (w *Worker) openElsewhere(ctx context.Context, body []byte) ([]byte, error) {
	others := slices.DeleteFunc(w.nodes.List("worker"), func(n bus.Node) bool { return n.Name == w.conn.Name() })
	slices.SortStableFunc(others, func(a, b bus.Node) int { return cmp.Compare(a.Load, b.Load) })
	unsure := false
	for _, other := range others {
		answer, err := w.askOther(ctx, other.Name, body)
		switch code := bus.CodeOf(err); {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, bus.Errorf(bus.Timeout, "other workers are asked for a room")
		case code == bus.Overloaded || code == bus.UnknownKind:
		case code == bus.Unavailable || code == bus.Timeout: // it leaves, hangs or is gone
			unsure = true
		default:
			return nil, err // what the room itself says
		}
	}
	if unsure {
		return nil, bus.Errorf(bus.Unavailable, "worker has %d rooms, and another one does not answer", w.cfg.MaxRooms)
	}
	w.metrics.refuse(bus.Overloaded)
	return nil, bus.Errorf(bus.Overloaded, "all workers have as many rooms as they may")
}

func (w *Worker) askOther(ctx context.Context, name string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return w.conn.Request(ctx, w.conn.Subjects().Worker(name, "open"), body)
}
