package main

import "roomd/rooms"

// kinds are the sorts of room this server hosts.
func kinds() []rooms.Kind {
	return []rooms.Kind{lobbyKind(), chatKind(), plazaKind(), echoKind()}
}
