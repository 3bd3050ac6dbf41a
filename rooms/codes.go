package rooms

import (
	"errors"
	"fmt"

	"roomd/bus"
)

// Codes for Errorf that clients know the meaning of (PROTOCOL.md lists them). A
// kind may use others: [a-z0-9_.-]{1,64}, but none of the reserved ones.
const (
	BadData      = bus.BadData      // the command's data has not the right shape
	BadOptions   = bus.BadOptions   // these join options are refused
	Forbidden    = bus.Forbidden    // this user may not do that
	RoomFull     = bus.RoomFull     // every seat is taken
	UnknownEvent = bus.UnknownEvent // the room has no such command
	TooLarge     = bus.TooLarge     // more than the room takes
)

// reserved are the codes by which edges and clients decide what to do: whether a
// command's number is free, whether to join again, whether the session goes on.
// Only roomd says them, so an author's word is never taken for its own.
var reserved = map[bus.Code]bool{
	bus.BadFrame: true, bus.NotJoined: true, bus.AlreadyJoined: true, bus.TooManyRooms: true,
	bus.RateLimited: true, bus.InFlight: true, bus.OutOfOrder: true, bus.Unavailable: true,
	bus.Timeout: true, bus.Left: true, bus.Replaced: true, bus.Slow: true, bus.Idle: true,
	bus.Shutdown: true, bus.Unauthorized: true, bus.Abuse: true, bus.BadToken: true,
}

// authorCode reports whether a callback may say code.
func authorCode(code bus.Code) bool {
	if len(code) == 0 || len(code) > 64 || reserved[code] {
		return false
	}
	for i := range len(code) {
		c := code[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// coded returns what the client is told of an error that a callback, or the room
// in its place, has returned. One without a code, or with one that authors may
// not say, is a fault: bare internal for the client, all of it for the log.
func (r *Room) coded(err error) *bus.Error {
	var e *bus.Error
	if !errors.As(err, &e) {
		r.worker.logFault(r, err)
		return &bus.Error{Code: bus.Internal}
	}
	if !authorCode(e.Code) || e.Code == bus.Closed { // a join answered so is made again
		r.worker.logFault(r, fmt.Errorf("code %q is not for authors: %w", e.Code, err))
		return &bus.Error{Code: bus.Internal}
	}
	if len(e.Message) > maxErrorText {
		return &bus.Error{Code: e.Code, Message: clip(e.Message)}
	}
	return e
}

// endCode returns the code under which a callback ends seats: its own, or
// fallback if it has none or one that authors may not say.
func (r *Room) endCode(code, fallback bus.Code) bus.Code {
	switch {
	case code == "":
		return fallback
	case !authorCode(code):
		r.worker.logFault(r, fmt.Errorf("code %q is not for authors, %s is said in its place", code, fallback))
		return fallback
	}
	return code
}
