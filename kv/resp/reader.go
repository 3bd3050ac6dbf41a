package resp

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"
)

// Limits bounds what a client may send. Zero values mean the defaults.
type Limits struct {
	Args    int // of a command; zero means 1,048,576 as in Redis
	Arg     int // bytes of one argument; zero means 512 MiB as in Redis
	Command int // bytes of a command with its heads; zero means 1 GiB as in Redis
	// Stranger has Redis's limits for those who have not authenticated: 10
	// arguments of 16 KiB.
	Stranger bool
}

// A ProtocolError is what a client is told, in Redis's words, before its
// connection is closed: there is no telling where its next command begins.
type ProtocolError struct{ Text string }

func (e *ProtocolError) Error() string { return "Protocol error: " + e.Text }

const (
	smallBuffer  = 1 << 10  // what a Reader keeps while nothing is in it
	largeBuffer  = 16 << 10 // from the pool
	maxInline    = 64 << 10 // of a command without heads, and of a head
	keptArgs     = 1 << 10  // room for more arguments is given back
	strangerArgs = 10
	strangerArg  = 16 << 10
)

// A Reader reads commands as clients send them: arrays of strings, or lines of
// words for people at a terminal. A command that has arrived whole costs no
// allocation; a Reader without unread bytes holds 1 KiB. What it returns may be
// used only until the next call.
type Reader struct {
	Limits Limits // may be changed between commands

	src   io.Reader
	small []byte
	large *[]byte // buf's array if that is from the pool
	buf   []byte
	r, w  int // buf[r:w] has not been used up

	// A command that has not arrived whole. Offsets count from r.
	at    int   // how far it was looked at
	args  int   // arguments still to come; -1: it has not begun
	bulk  int   // bytes of the argument that comes; -1: its head is to come
	spans []int // where the arguments so far begin and end
	argv  [][]byte
}

// NewReader returns a Reader of src.
func NewReader(src io.Reader, limits Limits) *Reader {
	small := make([]byte, smallBuffer)
	return &Reader{Limits: limits, src: src, small: small, buf: small, args: -1, bulk: -1}
}

// Next returns the next command, which has one argument at least. An error is
// the source's, io.ErrUnexpectedEOF, or a *[ProtocolError].
func (rd *Reader) Next() ([][]byte, error) {
	for {
		if argv, err := rd.Parse(); argv != nil || err != nil {
			return argv, err
		}
		if err := rd.Fill(); err != nil {
			if err == io.EOF && rd.Buffered() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// Buffered returns how many bytes were read and not yet used.
func (rd *Reader) Buffered() int { return rd.w - rd.r }

// Parse returns the next command if it has been read whole, else nil. It does
// not read.
func (rd *Reader) Parse() ([][]byte, error) {
	for rd.r < rd.w {
		if rd.args < 0 && rd.buf[rd.r] != '*' {
			argv, ok, err := rd.inline()
			if len(argv) > 0 || err != nil || !ok {
				return argv, err
			}
			continue // an empty line
		}
		ok, err := rd.multibulk()
		if err != nil || !ok {
			return nil, err
		}
		argv := rd.take()
		if len(argv) > 0 {
			return argv, nil
		}
	}
	return nil, nil
}

// Release gives back what can be used by other Readers, after the last command.
func (rd *Reader) Release() {
	rd.r, rd.w = 0, 0
	rd.shrink()
}

// multibulk goes on with an array of strings; ok: it has arrived whole.
func (rd *Reader) multibulk() (ok bool, err error) {
	if rd.args < 0 {
		n, ok, err := rd.head("mbulk", "multibulk length", rd.Limits.args())
		if err != nil || !ok {
			return false, err
		}
		if n > strangerArgs && rd.Limits.Stranger {
			return false, &ProtocolError{"unauthenticated multibulk length"}
		}
		rd.args, rd.spans = max(n, 0), rd.spans[:0]
	}
	for rd.args > 0 {
		if rd.bulk < 0 {
			if rd.r+rd.at == rd.w {
				return false, nil
			}
			if c := rd.buf[rd.r+rd.at]; c != '$' {
				return false, &ProtocolError{"expected '$', got '" + string(rune(c)) + "'"}
			}
			n, ok, err := rd.head("bulk", "bulk length", rd.Limits.arg())
			if err != nil || !ok {
				return false, err
			}
			if n < 0 {
				return false, &ProtocolError{"invalid bulk length"}
			}
			if n > strangerArg && rd.Limits.Stranger {
				return false, &ProtocolError{"unauthenticated bulk length"}
			}
			rd.bulk = n
		}
		end := rd.at + rd.bulk
		if end+2 > rd.Limits.command() {
			return false, &ProtocolError{"too big request"}
		}
		if rd.r+end+2 > rd.w {
			return false, nil
		}
		rd.spans = append(rd.spans, rd.at, end)
		rd.at, rd.bulk = end+2, -1 // like Redis, we do not look at the line's end
		rd.args--
	}
	return true, nil
}

// head reads the line at rd.at: a character and a number of most at most.
func (rd *Reader) head(name, what string, most int) (n int, ok bool, err error) {
	b := rd.buf[rd.r+rd.at : rd.w]
	end := bytes.IndexByte(b, '\r')
	if end < 0 && len(b) > maxInline {
		return 0, false, &ProtocolError{"too big " + name + " count string"}
	}
	if end < 0 || end+2 > len(b) {
		return 0, false, nil
	}
	n, ok = parseInt(b[1:end])
	if !ok || n > most {
		return 0, false, &ProtocolError{"invalid " + what}
	}
	rd.at += end + 2
	return n, true, nil
}

// take returns the command that has arrived whole, and goes on behind it.
func (rd *Reader) take() [][]byte {
	argv := rd.argv[:0]
	for i := 0; i < len(rd.spans); i += 2 {
		lo, hi := rd.r+rd.spans[i], rd.r+rd.spans[i+1]
		argv = append(argv, rd.buf[lo:hi:hi])
	}
	if rd.argv = argv; cap(argv) > keptArgs {
		rd.argv = nil
	}
	if cap(rd.spans) > 2*keptArgs {
		rd.spans = nil
	}
	rd.r += rd.at
	rd.at, rd.args = 0, -1
	return argv
}

// inline reads a line of words; ok: there was one.
func (rd *Reader) inline() (argv [][]byte, ok bool, err error) {
	end := bytes.IndexByte(rd.buf[rd.r:rd.w], '\n')
	if end > maxInline || end < 0 && rd.w-rd.r > maxInline {
		return nil, false, &ProtocolError{"too big inline request"}
	}
	if end < 0 {
		return nil, false, nil
	}
	line := rd.buf[rd.r : rd.r+end]
	rd.r += end + 1
	argv, ok = splitWords(bytes.TrimSuffix(line, []byte{'\r'}))
	if !ok {
		return nil, false, &ProtocolError{"unbalanced quotes in request"}
	}
	return argv, true, nil
}

// Fill reads once, and waits for that.
func (rd *Reader) Fill() error {
	if rd.r == rd.w {
		rd.r, rd.w = 0, 0
		rd.shrink()
	}
	if rd.w == len(rd.buf) {
		rd.grow()
	}
	n, err := rd.src.Read(rd.buf[rd.w:])
	rd.w += n
	if n > 0 {
		return nil // the error comes again
	}
	return err
}

// grow makes room behind w: half the buffer at least.
func (rd *Reader) grow() {
	used := rd.w - rd.r
	if used > len(rd.buf)/2 {
		old, pooled := rd.buf, rd.large
		if size := 2 * len(old); size <= largeBuffer {
			rd.large = buffers.Get().(*[]byte)
			rd.buf = *rd.large
		} else {
			rd.buf, rd.large = make([]byte, size), nil
		}
		copy(rd.buf, old[rd.r:rd.w])
		if pooled != nil {
			buffers.Put(pooled)
		}
	} else {
		copy(rd.buf, rd.buf[rd.r:rd.w])
	}
	rd.r, rd.w = 0, used
}

// shrink goes back to the small buffer. The buffer must be empty.
func (rd *Reader) shrink() {
	if rd.large != nil {
		buffers.Put(rd.large)
		rd.large = nil
	}
	rd.buf = rd.small
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, largeBuffer)
	return &b
}}

func (l Limits) args() int    { return orDefault(l.Args, 1<<20) }
func (l Limits) arg() int     { return orDefault(l.Arg, 512<<20) }
func (l Limits) command() int { return orDefault(l.Command, 1<<30) }

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// parseInt reads a number as Redis does: no plus, no leading zeros.
func parseInt(b []byte) (int, bool) {
	if len(b) == 1 && b[0]-'0' <= 9 {
		return int(b[0] - '0'), true
	}
	if len(b) == 0 || len(b) > 20 || b[0] == '+' || b[0] == '0' {
		return 0, false
	}
	if b[0] == '-' && (len(b) == 1 || b[1] == '0') {
		return 0, false
	}
	n, err := strconv.Atoi(string(b))
	if errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return n, err == nil
}
