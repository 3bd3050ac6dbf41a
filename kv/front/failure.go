package front

import (
	"errors"

	"roomd/bus"
	"roomd/kv"
	"roomd/kv/resp"
)

// failures has what clients are told when the store has no reply.
var failures = map[bus.Code]string{
	bus.Unavailable: "UNAVAILABLE the store cannot be reached, nothing was done",
	bus.Overloaded:  "UNAVAILABLE the store has too much to do, nothing was done",
	bus.Timeout:     "TIMEOUT the store did not answer in time, the command may have been done",
	bus.TooLarge:    "ERR argument is larger than the store takes",
}

const (
	closedText      = "UNAVAILABLE the store is closed, nothing was done"
	longCommandText = "ERR command is larger than the store takes"
	internalText    = "ERR internal error, the command may have been done"
)

// appendFailure appends what a client is told of an error of the store's.
func appendFailure(b []byte, err error) []byte {
	var redis *kv.Error
	switch {
	case errors.As(err, &redis):
		return resp.AppendError(b, redis.Error())
	case errors.Is(err, kv.ErrCommandTooLarge):
		return resp.AppendError(b, longCommandText)
	case errors.Is(err, kv.ErrTooLarge):
		return resp.AppendError(b, failures[bus.TooLarge])
	case errors.Is(err, kv.ErrClosed):
		return resp.AppendError(b, closedText)
	}
	if text, ok := failures[bus.CodeOf(err)]; ok {
		return resp.AppendError(b, text)
	}
	return resp.AppendError(b, internalText)
}
