package kv

import (
	"errors"
	"fmt"
	"strings"

	"roomd/kv/resp"
)

// An Error is Redis's answer to a command it would not run. The command changed
// nothing.
type Error struct {
	Code    string // its first word, in capitals: ERR, WRONGTYPE, CROSSSLOT, …
	Message string // the rest
}

// Error returns the error as Redis writes it.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + " " + e.Message
}

// Is reports whether e is [ErrWrongType] or [ErrCrossSlot], going by the code.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrWrongType:
		return e.Code == "WRONGTYPE"
	case ErrCrossSlot:
		return e.Code == "CROSSSLOT"
	}
	return false
}

// errorOf returns the error that a reply is, nil if it is none. It does not
// alias the reply.
func errorOf(v resp.Value) error {
	if v.Kind != '-' {
		return nil
	}
	code, message, _ := strings.Cut(string(v.Text), " ")
	return &Error{Code: code, Message: message}
}

// refused is what Redis would say, said before anything was sent.
func refused(format string, args ...any) error {
	return &Error{Code: "ERR", Message: fmt.Sprintf(format, args...)}
}

func errArity(command string) error {
	return refused("wrong number of arguments for '%s' command", strings.ToLower(command))
}

// A told error is one that callers know, in words that fit the occasion.
type told struct {
	text string
	kind error
}

func (e *told) Error() string { return e.text }
func (e *told) Unwrap() error { return e.kind }

// ErrCommandTooLarge is [ErrTooLarge] of a command as a whole: each of its
// arguments may be small enough.
var ErrCommandTooLarge = fmt.Errorf("command is too large: %w", ErrTooLarge)

func errArgument(size, limit int) error {
	return &told{fmt.Sprintf("argument of %d bytes: the limit is %d", size, limit), ErrTooLarge}
}

var (
	errStoreClosed = &told{"store is closed", ErrClosed}
	errReply       = errors.New("reply is not of the form that the command has")
)
