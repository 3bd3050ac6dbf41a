package client

import (
	"errors"
	"fmt"
	"time"
)

// An Error is a refusal that the server expressed with a code. Codes are listed
// in PROTOCOL.md; a room kind may define more.
type Error struct {
	Code    string
	Message string // for people; may be empty
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Code tells the code of the server's refusal in err's chain, or "" if there is
// none.
func Code(err error) string {
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return ""
}

// A CloseError says how a connection ended. Code is that of the WebSocket close
// frame, 1006 if there was none; a bye frame that came before it fills the rest.
type CloseError struct {
	Code   int
	Reason string
	Bye    string        // code of the bye frame, "" without one
	Retry  time.Duration // when the bye asks us back; negative: never, or no bye
	Cause  error         // the I/O error or the broken rule of the protocol, if that ended it
}

func (e *CloseError) Error() string {
	text := fmt.Sprintf("connection closed with %d", e.Code)
	if e.Bye != "" {
		text += " " + e.Bye
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *CloseError) Unwrap() error { return e.Cause }

// Final reports whether the server asks us not to come back.
func (e *CloseError) Final() bool { return e.Code >= 4100 && e.Code <= 4199 }

// Close codes of the protocol that a client can meet. Those below 4100 mean
// "come back".
const (
	CloseNormal       = 1000
	CloseAbnormal     = 1006 // no close frame came
	CloseShutdown     = 4000
	CloseSlow         = 4001
	CloseIdle         = 4002
	CloseBadFrame     = 4100
	CloseUnauthorized = 4101
	CloseReplaced     = 4102
	CloseAbuse        = 4103
)

// What a Client reports besides the server's own codes.
var (
	// ErrClosed is what calls return after Close.
	ErrClosed = errors.New("client closed")
	// ErrLeft is what calls on a room return once its seat is gone.
	ErrLeft = errors.New("not in the room any more")
	// ErrTooMany is what Call returns when 64 commands are without a reply already.
	ErrTooMany = errors.New("too many commands without a reply")
	// ErrNotConnected is what Send returns while there is no connection: a
	// command without a number is not kept.
	ErrNotConnected = errors.New("not connected")
	// ErrUnknownFate ends a Call whose command was lost with a seat: the room has
	// it or not, and nobody can say.
	ErrUnknownFate = errors.New("seat lost before the reply: the command may have happened")
)
