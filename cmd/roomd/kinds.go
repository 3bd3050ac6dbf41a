package main

import (
	"slices"

	"roomd/rooms"
)

// kinds are the sorts of room this server hosts: those for people, the lobby
// that lists them, and those for load tests.
func kinds() []rooms.Kind {
	shown := []rooms.Kind{chatKind(), plazaKind()}
	var names []string
	for _, k := range shown {
		names = append(names, k.Name)
	}
	return slices.Concat(shown, []rooms.Kind{lobbyKind(names)}, echoKinds(), ledgerKinds(), syncedKinds())
}
