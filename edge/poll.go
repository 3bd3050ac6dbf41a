package edge

import (
	"errors"
	"net"
)

// A watcher is what a loop needs of the operating system. Each build has one
// implementation, type poller: epoll on Linux, and elsewhere (or on Linux with
// the build tag roomd_portable) Go's own sockets with a goroutine per conn.
// Reads and writes go straight to the descriptor in both (sockRead, sockWrite).
// All but ready's channel is for the loop's goroutine.
type watcher interface {
	// ready delivers when there is something to take. After it has, take returns
	// the events, valid until rest, which says that the loop is done with them.
	ready() <-chan struct{}
	take() []event
	rest()

	// accept fills in the socket and the address of a conn that waits at the
	// listener, or says errNothing. stopAccepting closes the listener.
	// Where there is no descriptor for anyone it may leave the listener alone
	// until resumeAccepting, which the loop calls with every tick.
	accept(c *conn) error
	resumeAccepting()
	stopAccepting()

	// add watches c for something to read. After each event for reading, again
	// asks for the next.
	add(c *conn) error
	again(c *conn)

	// awaitWrite asks for an event when c's socket takes bytes again; wroteAll
	// says that there is nothing more to write.
	awaitWrite(c *conn)
	wroteAll(c *conn)

	// shut closes c's socket, with a reset if asked. detach gives it away
	// instead. No event for c comes after either, but for what was taken before.
	shut(c *conn, reset bool)
	detach(c *conn) (net.Conn, error)

	// close ends the poller's goroutines; no conn is left.
	close()
}

var _ watcher = (*poller)(nil)

// An event says what a socket is ready for.
type event struct {
	slot, gen uint32
	what      uint8
}

const (
	eventRead = 1 << iota // or broken, or closed by the peer: reading tells
	eventWrite
	eventAccept // at the listener; slot and gen say nothing
)

// errNothing says that there is nothing to take now.
var errNothing = errors.New("nothing there")
