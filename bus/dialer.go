package bus

import (
	"net"
	"sync"
)

// A dialer opens the connections of one nats.Conn, one after the other. nats.go
// (1.55) forgets one on which NATS says nothing or goodbye before they have shaken
// hands, and leaves it open: a server that ends, or a load balancer in front of
// one that is away, costs a descriptor each time, until the garbage collector
// comes by. So each new connection closes the one before.
type dialer struct {
	net.Dialer
	mu   sync.Mutex // guards last
	last net.Conn
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.Close()
	conn, err := d.Dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = conn
	return conn, nil
}

// Close closes the last connection. An error means that it was closed before, as
// it is if it was ever of use.
func (d *dialer) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil {
		_ = d.last.Close()
		d.last = nil
	}
}
