package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"roomd/client"
)

// Every cast and echo carries a payload that says whose it is, and enough to
// notice if a byte of it changed on the way:
//
//	sender uint32 | number uint32 | intended int64 ns | check uint32 | filler
//
// intended is when the schedule wanted it sent, counted from the start of the
// test: latencies count from there, however late it really left.

const (
	payloadHead = 20
	maxSize     = 16 << 10 // the server's limit for a message
)

// A stamp is what a payload says.
type stamp struct {
	sender   uint32 // the member's place in its room
	number   uint32 // counts what the sender sent, from 1
	intended time.Duration
}

// filler is what pads payloads: the same random bytes for everybody, from an
// offset that depends on the number.
var filler = func() []byte {
	b := make([]byte, maxSize+256)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

func (s stamp) check() uint32 {
	h := uint64(s.sender)<<32 | uint64(s.number)
	h = (h ^ uint64(s.intended)) * 0x9e3779b97f4a7c15
	return uint32(h >> 32)
}

// appendPayload appends a payload of size bytes as msgpack bin.
func appendPayload(b []byte, scratch *[]byte, s stamp, size int) []byte {
	p := (*scratch)[:0]
	p = binary.LittleEndian.AppendUint32(p, s.sender)
	p = binary.LittleEndian.AppendUint32(p, s.number)
	p = binary.LittleEndian.AppendUint64(p, uint64(s.intended))
	p = binary.LittleEndian.AppendUint32(p, s.check())
	p = append(p, s.filler(size-payloadHead)...)
	*scratch = p
	return client.AppendBin(b, p)
}

func (s stamp) filler(n int) []byte {
	from := int(s.number % 256)
	return filler[from : from+n]
}

// parsePayload reads a payload; ok is false if anything about it is wrong.
func parsePayload(data []byte, size int) (s stamp, ok bool) {
	p, ok := client.Bytes(data)
	if !ok || len(p) != size || len(p) < payloadHead {
		return stamp{}, false
	}
	s.sender = binary.LittleEndian.Uint32(p)
	s.number = binary.LittleEndian.Uint32(p[4:])
	s.intended = time.Duration(binary.LittleEndian.Uint64(p[8:]))
	if binary.LittleEndian.Uint32(p[16:]) != s.check() {
		return stamp{}, false
	}
	return s, bytes.Equal(p[payloadHead:], s.filler(size-payloadHead))
}
