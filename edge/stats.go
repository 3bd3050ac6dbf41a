package edge

import "time"

// stats counts what a loop has done, since it began. Only the loop writes its
// own; everyone else sees the copy it publishes with every tick.
type stats struct {
	open     int64 // WebSockets open now
	halfOpen int64 // sockets in the middle of a request, or being turned away

	accepts      uint64
	acceptErrors uint64 // accept failed, for want of descriptors in the first place
	upgrades     uint64
	refused      [refusals]uint64
	handedOff    uint64 // requests given to HTTP

	messagesIn uint64
	framesIn   uint64
	bytesIn    uint64
	framesOut  uint64 // frames written, one for each conn they went to: deliveries
	bytesOut   uint64
	writes     uint64 // write system calls

	drops       uint64 // droppable sends not queued as the client was behind
	pings       uint64
	timeouts    uint64        // closed as idle
	slowCloses  uint64        // closed as slow: outbox full, or stalled
	overloads   uint64        // closed as the loop had no buffer space left
	badFrames   uint64        // closed with 1002
	badUTF8     uint64        // closed with 1007
	tooBig      uint64        // closed with 1009
	paused      time.Duration // between turns, for want of CPU
	bufferBytes int64         // lent out now: outboxes and half-received messages
}

// add sums up the loops.
func (s *stats) add(o *stats) {
	s.open += o.open
	s.halfOpen += o.halfOpen
	s.accepts += o.accepts
	s.acceptErrors += o.acceptErrors
	s.upgrades += o.upgrades
	for i := range s.refused {
		s.refused[i] += o.refused[i]
	}
	s.handedOff += o.handedOff
	s.messagesIn += o.messagesIn
	s.framesIn += o.framesIn
	s.bytesIn += o.bytesIn
	s.framesOut += o.framesOut
	s.bytesOut += o.bytesOut
	s.writes += o.writes
	s.drops += o.drops
	s.pings += o.pings
	s.timeouts += o.timeouts
	s.slowCloses += o.slowCloses
	s.overloads += o.overloads
	s.badFrames += o.badFrames
	s.badUTF8 += o.badUTF8
	s.tooBig += o.tooBig
	s.paused += o.paused
	s.bufferBytes += o.bufferBytes
}
