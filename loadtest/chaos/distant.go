package chaos

import (
	"context"
	"net"
	"time"
)

// A distant client hears everything late, as over a long line, while what it says
// arrives at once: so what it has sent before it heard of a reset meets the room
// after it.
const distance = 100 * time.Millisecond

// A distantConn delays what is read. What comes meanwhile waits in the kernel.
type distantConn struct{ net.Conn }

func (c distantConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	time.Sleep(distance)
	return n, err
}

// dialDistant is for client.Config.NetDial.
func dialDistant(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return distantConn{conn}, nil
}
