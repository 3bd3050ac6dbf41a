package edge

import "roomd/bus"

// A busMsg is what comes in on a loop's bus channel.
type busMsg = bus.Msg
