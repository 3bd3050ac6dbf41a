package chaos

import (
	"fmt"
	"slices"
	"strings"
)

// Checks counts what was checked, by name: how many answers, places, messages and
// states were held against a rule, broken or not. A run that has checked nothing has
// shown nothing.
type Checks map[string]int

// What is counted, in the order in which it is printed.
const (
	didAcked    = "acked commands looked for at their place"
	didOrder    = "commands in their client's order"
	didRealTime = "commands in real-time order"
	didAnswer   = "replies that name their command"
	didHeard    = "broadcasts in order"
	didPresence = "members' lists of members at the end"
	didRegister = "answers about registers"
	didPrivate  = "messages to one member, in order"
	didMade     = "states shown that are the room's"
	didSame     = "states shown again at one position"
	didVersion  = "versions shown under several epochs"
	didBack     = "states that follow others of their room"
	didFinal    = "members' states against the room's at the end"
	didRung     = "bells that rang once"
	didEarly    = "rings against the time they were set to"
	didSockets  = "connections that were not to be lost"
	didLeaks    = "nodes looked at for leaks"
	didCrashes  = "processes that were not to end by themselves"
)

var checkNames = []string{
	didAcked, didOrder, didRealTime, didAnswer, didHeard, didPresence, didRegister, didPrivate,
	didMade, didSame, didVersion, didBack, didFinal, didRung, didEarly,
	didSockets, didLeaks, didCrashes,
}

func (c Checks) add(other Checks) {
	for name, n := range other {
		c[name] += n
	}
}

// kindsOf lists the kinds of rooms, with how many of each.
func kindsOf(rooms []*Room) string {
	counts := make(map[string]int)
	for _, room := range rooms {
		counts[room.Kind]++
	}
	var list []string
	for _, kind := range Kinds() {
		if n := counts[kind]; n == len(rooms) {
			return kind
		} else if n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, kind))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
