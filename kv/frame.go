package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What a message of a log is: its first byte. The message's number in its log
// (uvarint, 1 for the first) follows, then
//
//	entries     each entry's length (uvarint) and the entry itself, to the end
//	piece       where in an entry it belongs (uvarint), then bytes of it
//	last piece  the same; the entry ends here
//	seal        nothing: no message follows, and its number is 0
//
// An entry that fits nowhere goes out as pieces in messages that follow one
// another, nothing between them.
const (
	frameEntries   byte = 'e'
	framePiece     byte = 'p'
	frameLastPiece byte = 'l'
	frameSeal      byte = 's'
)

// maxFrameHead is the most that comes before the bytes of a message's entries
// or piece: kind, number and offset.
const maxFrameHead = 1 + 2*binary.MaxVarintLen64

var errDamaged = errors.New("damaged log")

func appendHead(b []byte, kind byte, number uint64) []byte {
	return binary.AppendUvarint(append(b, kind), number)
}

func appendEntry(b, entry []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(entry))), entry...)
}

// framedLen is how many bytes appendEntry appends.
func framedLen(entry []byte) int {
	n := 1
	for rest := len(entry); rest >= 0x80; rest >>= 7 {
		n++
	}
	return n + len(entry)
}

// parseHead splits a message into what it is and the rest.
func parseHead(b []byte) (kind byte, number uint64, rest []byte, err error) {
	if len(b) < 2 {
		return 0, 0, nil, fmt.Errorf("%w: message of %d bytes", errDamaged, len(b))
	}
	number, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return 0, 0, nil, fmt.Errorf("%w: message has no number", errDamaged)
	}
	switch b[0] {
	case frameEntries, framePiece, frameLastPiece, frameSeal:
		return b[0], number, b[1+n:], nil
	}
	return 0, 0, nil, fmt.Errorf("%w: message of unknown kind %#x", errDamaged, b[0])
}

// A deframer gets the messages of a log in order, from any one on, and gives
// back the entries that are whole. Entries share memory with the messages.
type deframer struct {
	number uint64 // of the last message; 0 before the first
	inside bool   // an entry in pieces has begun and not ended
	piece  []byte // what there is of it
	behead bool   // in an entry in pieces whose beginning was cut off the log
	sealed bool   // the last message was the seal
	each   func(pos uint64, entry []byte) error
}

// add takes the message stored at pos. What each returns ends it.
func (d *deframer) add(pos uint64, msg []byte) error {
	kind, number, rest, err := parseHead(msg)
	if err != nil {
		return err
	}
	if kind == frameSeal {
		d.sealed, d.inside, d.behead, d.piece = true, false, false, nil
		return nil
	}
	if d.sealed {
		return fmt.Errorf("%w: message %d comes after the seal", errDamaged, number)
	}
	first := d.number == 0
	if number == 0 || !first && number != d.number+1 {
		return fmt.Errorf("%w: message %d comes after message %d", errDamaged, number, d.number)
	}
	d.number = number
	if kind == frameEntries {
		if d.inside || d.behead {
			return fmt.Errorf("%w: message %d cuts an entry short", errDamaged, number)
		}
		return d.entries(pos, rest)
	}
	return d.addPiece(pos, kind, rest, first)
}

func (d *deframer) entries(pos uint64, b []byte) error {
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return fmt.Errorf("%w: message %d has no whole entry at its end", errDamaged, d.number)
		}
		entry := b[n : n+int(size) : n+int(size)]
		b = b[n+int(size):]
		if size == 0 {
			continue
		}
		if err := d.each(pos, entry); err != nil {
			return err
		}
	}
	return nil
}

// addPiece passes over pieces whose beginning was cut off the log.
func (d *deframer) addPiece(pos uint64, kind byte, b []byte, first bool) error {
	offset, n := binary.Uvarint(b)
	if n <= 0 || len(b) == n {
		return fmt.Errorf("%w: message %d is a piece of nothing", errDamaged, d.number)
	}
	switch last := kind == frameLastPiece; {
	case offset > 0 && (first || d.behead):
		d.behead = !last
		return nil
	case offset == 0 && !d.inside && !d.behead:
		d.inside = true
	case !d.inside || offset != uint64(len(d.piece)):
		return fmt.Errorf("%w: message %d is a piece from elsewhere", errDamaged, d.number)
	}
	d.piece = append(d.piece, b[n:]...)
	if kind == framePiece {
		return nil
	}
	entry := d.piece
	d.inside, d.piece = false, nil
	return d.each(pos, entry)
}
