// Package wire is a connection to a Redis server, for set-up and checks: one
// command at a time, and an answer or an error that says how much is known.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"roomd/kv/resp"
)

// A Conn is one connection, for one goroutine. After an error it is of no use any
// more, except after a [Refusal].
type Conn struct {
	Patience time.Duration // for one answer

	conn net.Conn
	out  []byte
	in   []byte // in[from:] was read and not parsed
	from int
}

// A Refusal is an error that the server answered.
type Refusal string

func (r Refusal) Error() string { return "server answers: " + string(r) }

// Dial connects to a server.
func Dial(ctx context.Context, addr string, patience time.Duration) (*Conn, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{Patience: patience, conn: conn}, nil
}

// Close ends the connection; a Do that waits fails.
func (c *Conn) Close() error { return c.conn.Close() }

// Do sends a command and waits for its answer, which is good until the next one.
// A [Refusal] is an answer too. After any other error nobody knows what became
// of the command.
func (c *Conn) Do(args ...string) (resp.Value, error) { return c.DoWithin(c.Patience, args...) }

// DoWithin is Do with a patience of its own, as a command needs that waits.
func (c *Conn) DoWithin(patience time.Duration, args ...string) (resp.Value, error) {
	c.out = resp.AppendCommand(c.out[:0], args...)
	if err := c.flush(patience); err != nil {
		return resp.Value{}, err
	}
	return c.receive()
}

// Batch sends all commands at once and has each seen with its answer, in order.
// see may be nil. The first refusal is returned once all answers are there.
func (c *Conn) Batch(commands [][]string, see func(i int, v resp.Value)) error {
	c.out = c.out[:0]
	for _, args := range commands {
		c.out = resp.AppendCommand(c.out, args...)
	}
	if err := c.flush(c.Patience); err != nil {
		return err
	}
	var refused error
	for i := range commands {
		v, err := c.receive()
		var r Refusal
		switch {
		case errors.As(err, &r):
			if refused == nil {
				refused = fmt.Errorf("%s: %w", commands[i][0], err)
			}
		case err != nil:
			return err
		case see != nil:
			see(i, v)
		}
	}
	return refused
}

func (c *Conn) flush(patience time.Duration) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.conn.Write(c.out)
	return err
}

// receive waits for one answer.
func (c *Conn) receive() (resp.Value, error) {
	for {
		if c.from < len(c.in) {
			v, rest, err := resp.Parse(c.in[c.from:])
			if err == nil {
				c.from = len(c.in) - len(rest)
				if v.Kind == '-' {
					return v, Refusal(v.Text)
				}
				return v, nil
			}
			if !errors.Is(err, resp.ErrShort) {
				return v, fmt.Errorf("read an answer: %w", err)
			}
		}
		if c.from > 0 { // what was returned may be overwritten from here on
			c.in = c.in[:copy(c.in, c.in[c.from:])]
			c.from = 0
		}
		if len(c.in) == cap(c.in) {
			c.in = append(make([]byte, 0, max(4096, 2*cap(c.in))), c.in...)
		}
		n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
		if err != nil {
			return resp.Value{}, err
		}
		c.in = c.in[:len(c.in)+n]
	}
}
