// Package front lets Redis's clients use a [kv.Store]: a [Server] speaks Redis's
// wire protocol, versions 2 and 3, so that services written for Redis work
// unchanged. It serves what package engine knows; anything else is an unknown
// command, as it would be to a Redis without that module.
//
// # The life of a command
//
// Each client has a conn with one goroutine, the reader. It reads what the
// client has sent, and runs one command after the other. Those about the conn
// itself (HELLO, AUTH, CLIENT, MULTI, SUBSCRIBE ...) it answers; all others are
// the store's. A store with a method Start is given commands without waiting
// for earlier ones, up to 512 of them; it applies them in that order, and their
// replies go out in that order. Other stores are asked for one at a time. When
// the reader has run all that had arrived, what replies there are go out in one
// write. A goroutine that writes exists only while the socket takes no more, or
// when replies and messages come by themselves.
//
// While a command waits (BLPOP), the commands behind it do too, and the reader
// goes on reading, 64 KiB of them at most: should the client go away, the wait
// ends and nothing is taken for it.
//
// # What you can rely on
//
// Commands of one client are applied in the order it sent them, and answered in
// that order. A message of a channel comes after the confirmation of the
// subscription, and none after the confirmation that it ended. MULTI ... EXEC is
// applied as one, or not at all if a watched key has changed.
//
// # What you can't
//
// Two errors are not Redis's. They mean that the store was not there:
//
//	-UNAVAILABLE  nothing was done: it can be tried again
//	-TIMEOUT      nobody knows whether it was done
//
// There is one database, 0. Commands for people who look after a server
// (CONFIG SET, DEBUG, MONITOR, SHUTDOWN, SAVE) and scripts are not there.
// Subscribing, HELLO and WATCH are refused inside MULTI.
//
// A client that does not read its messages is closed with 32 MiB waiting, one
// that does not read its replies is no longer read from with 64 MiB waiting.
package front
