package kvspeed

import (
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"roomd/kv/resp"
)

// A role is what one connection does.
type role struct {
	begin  func(b []byte) []byte          // a command at first, whose answer doesn't count; nil: none
	next   func(c *conn, b []byte) []byte // appends the next command; nil: the connection only listens
	answer byte                           // the kind that every answer must have; 0: any but null
	pause  time.Duration                  // between an answer and the next command; 0: none
	blocks bool                           // an answer may never come
	silent bool                           // answers are not counted

	// latency of an answer, below 0 if it is not to be told; nil: since the command.
	latency func(c *conn, v *resp.Value, now, sent int64) int64
}

// A conn is one connection. Commands are answered in order.
type conn struct {
	role
	file  *os.File // owns fd
	fd    int
	rng   rand.PCG
	id    int
	count int    // commands so far
	in    []byte // read and not parsed
	out   []byte // not taken by the kernel yet
	sent  []int64
	first int // of sent, which is a ring
	waits int // commands without an answer
	due   int64
	begun bool // begin was answered, or there is none
}

// n is a number below limit, at random.
func (c *conn) n(limit int) int { return int(c.rng.Uint64() >> 1 % uint64(limit)) }

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	n, err := unix.Write(c.fd, c.out)
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		return err
	}
	c.out = c.out[:copy(c.out, c.out[max(n, 0):])]
	return nil
}

// sentAt is when the newest command was sent.
func (c *conn) sentAt() int64 { return c.sent[(c.first+c.waits-1)%len(c.sent)] }
