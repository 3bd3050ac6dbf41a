package main

import (
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"roomd/client"
)

// BenchmarkDelivery is what the generator does for one delivery besides reading
// it from the socket: parse, check, record.
func BenchmarkDelivery(b *testing.B) {
	o := &options{scenario: "chat", clients: 100, rooms: 1, size: 128, loops: 1}
	sh := &shard{fleet: &fleet{o: o}, loop: &client.Loop{}, latency: newHistogram(), recent: newHistogram()}
	sh.work = casting{silent{sh}, false}
	sh.window = window{to: time.Hour}
	r := newRoom("r", o.clients)
	for i := range o.clients {
		r.members = append(r.members, &member{sh: sh, room: r, place: i, phase: phaseJoined})
	}
	var scratch []byte
	var frame client.Frame
	seq := uint64(0)
	for b.Loop() {
		b.StopTimer()
		seq++
		data := appendPayload(nil, &scratch, stamp{number: uint32(seq)}, o.size)
		wire, err := msgpack.Marshal([]any{client.FrameMessage, 1, seq, "cast", msgpack.RawMessage(data)})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for _, m := range r.members {
			if _, err := client.ParseFrame(&frame, wire); err != nil {
				b.Fatal(err)
			}
			m.Received(nil, &frame)
		}
	}
	if sh.v != (verdicts{}) {
		b.Fatalf("verdicts %+v", sh.v)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(o.clients), "ns/delivery")
}
