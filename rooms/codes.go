package rooms

import "roomd/bus"

// Codes for Errorf that clients know the meaning of (PROTOCOL.md lists them). A
// kind may use others: [a-z0-9_.-]{1,64}.
const (
	BadData      = bus.BadData      // the command's data has not the right shape
	BadOptions   = bus.BadOptions   // these join options are refused
	Forbidden    = bus.Forbidden    // this user may not do that
	RoomFull     = bus.RoomFull     // every seat is taken
	UnknownEvent = bus.UnknownEvent // the room has no such command
	Unavailable  = bus.Unavailable  // not now; it did not happen
	TooLarge     = bus.TooLarge     // more than the room takes
)
