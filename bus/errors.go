package bus

import (
	"errors"
	"fmt"
)

// A Code names a reason for which something was refused. Codes cross process
// borders unchanged and reach clients; PROTOCOL.md lists what each one means.
type Code = string

// The codes that roomd itself gives. Kinds may add their own.
const (
	BadFrame      Code = "bad_frame"
	BadName       Code = "bad_name"
	UnknownKind   Code = "unknown_kind"
	BadOptions    Code = "bad_options"
	UnknownEvent  Code = "unknown_event"
	BadData       Code = "bad_data"
	RoomFull      Code = "room_full"
	Forbidden     Code = "forbidden"
	NotJoined     Code = "not_joined"
	AlreadyJoined Code = "already_joined"
	TooManyRooms  Code = "too_many_rooms"
	TooLarge      Code = "too_large"
	RateLimited   Code = "rate_limited"
	InFlight      Code = "in_flight"
	OutOfOrder    Code = "out_of_order"
	Overloaded    Code = "overloaded"
	Unavailable   Code = "unavailable"
	Timeout       Code = "timeout"
	Closed        Code = "closed"
	Kicked        Code = "kicked"
	Left          Code = "left"
	Replaced      Code = "replaced"
	Slow          Code = "slow"
	Idle          Code = "idle"
	Shutdown      Code = "shutdown"
	Unauthorized  Code = "unauthorized"
	Abuse         Code = "abuse"
	BadToken      Code = "bad_token"
	Internal      Code = "internal"
)

// An Error is a refusal with a code. It keeps its code and text across
// processes; both are meant for clients, so neither may hold a secret.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Errorf returns an *Error with the given code and a text for people.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the first *Error in err's chain, and Internal for
// an error that has none: what has no code is our own fault, not the caller's.
func CodeOf(err error) Code { return AsError(err).Code }

// AsError returns the first *Error in err's chain. For any other error it
// returns a bare Internal, so that no unplanned text reaches a client.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: Internal}
}
