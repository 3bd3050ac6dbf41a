package main

import (
	"context"
	"slices"
	"testing"

	"roomd/client"
)

// ledgerOf makes a book whose ledger holds ids, with three acknowledged adds.
func ledgerOf(ids ...string) *book {
	return &book{ids: ids, acked: []entry{{1, 0, 1}, {2, 1, 1}, {4, 0, 2}}}
}

func TestLedgerMustHoldWhatWasAcknowledgedWhereItWasSaid(t *testing.T) {
	for name, c := range map[string]struct {
		b    *book
		want difference
	}{
		"all there, one unacknowledged": {ledgerOf("0.1", "1.1", "2.1", "0.2"), difference{}},
		"the last is gone":              {ledgerOf("0.1", "1.1", "2.1"), difference{lost: 1}},
		"all are gone":                  {ledgerOf(), difference{lost: 3}},
		"one was applied twice":         {ledgerOf("0.1", "1.1", "1.1", "0.2"), difference{doubled: 1}},
		"two changed places":            {ledgerOf("1.1", "0.1", "2.1", "0.2"), difference{lost: 2}},
	} {
		if got := c.b.compare(); got != c.want {
			t.Errorf("%s: compare() = %+v, want %+v", name, got, c.want)
		}
	}
}

func TestEntryIDsReadBack(t *testing.T) {
	if sender, number, ok := parseEntryID(entryID(7, 123)); sender != 7 || number != 123 || !ok {
		t.Errorf("parseEntryID = %d, %d, %v", sender, number, ok)
	}
	for _, bad := range []string{"", ".", "1", "1.", "x.1", "1.-2", "1.99999999999"} {
		if _, _, ok := parseEntryID(bad); ok {
			t.Errorf("parseEntryID(%q) is fine", bad)
		}
	}
}

// ledgerBench is a bench whose member 0 has three adds without a reply.
func ledgerBench(t *testing.T) (*shard, *member) {
	t.Helper()
	sh, r := bench(1)
	sh.fleet.o = &options{scenario: "takeover", kind: "ledger", clients: 1, rooms: 1, loops: 1, size: payloadHead}
	sh.latency, sh.recent = newHistogram(), newHistogram()
	sh.work = &booking{silent: silent{sh}, ledger: true, adds: 1}
	loop, err := client.NewLoop(client.LoopConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // Run frees what the loop holds
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := loop.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	sh.loop = loop
	m := r.members[0]
	m.conn = new(client.Conn) // not open: it drops what is sent
	for range 3 {
		sh.work.act(m, 0)
	}
	return sh, m
}

func refusal(n uint64, code string) *client.Frame {
	return &client.Frame{Type: client.FrameSend, N: n, Code: []byte(code)}
}

func TestCommandsRefusedForNowAreSentAgainInOrder(t *testing.T) {
	sh, m := ledgerBench(t)
	m.reply(refusal(1, "unavailable"))
	m.reply(refusal(2, "out_of_order"))
	m.reply(refusal(3, "out_of_order"))
	if len(m.unanswered) != 3 || sh.refused != 0 || len(sh.postponed) != 1 {
		t.Fatalf("%d unanswered, %d refused, %d postponed; want 3, 0 and 1", len(m.unanswered), sh.refused, len(sh.postponed))
	}
	at := sh.postponed[0].at
	if next := sh.sendAgain(at - 1); next != at || m.resent != 0 {
		t.Errorf("sent again too early: next %v, resent %d", next, m.resent)
	}
	sh.sendAgain(at)
	if m.resent != 3 || m.again {
		t.Errorf("resent up to %d, want 3", m.resent)
	}
	for n := range uint64(3) {
		m.reply(&client.Frame{Type: client.FrameSend, N: n + 1, Data: []byte{byte(n + 1)}})
	}
	want := []entry{{1, 0, 1}, {2, 0, 2}, {3, 0, 3}}
	if got := m.room.book.acked; !slices.Equal(got, want) || sh.v != (verdicts{}) || len(m.unanswered) != 0 {
		t.Errorf("acked %v, verdicts %+v, %d unanswered", got, sh.v, len(m.unanswered))
	}
}

func TestOtherRefusalsAreFinal(t *testing.T) {
	sh, m := ledgerBench(t)
	m.reply(refusal(1, "out_of_order")) // nothing before it was refused
	m.reply(refusal(2, "overloaded"))
	if sh.refused != 2 || len(m.unanswered) != 1 || len(sh.postponed) != 0 {
		t.Errorf("%d refused, %d unanswered, %d postponed; want 2, 1 and 0", sh.refused, len(m.unanswered), len(sh.postponed))
	}
	m.sh.fleet.o.scenario = "chat"
	m.reply(refusal(3, "unavailable"))
	if sh.refused != 3 {
		t.Errorf("in other scenarios a server that cannot serve is a finding: %d refused, want 3", sh.refused)
	}
}

func TestShareOfTheScheduleAdds(t *testing.T) {
	sh, m := ledgerBench(t)
	m.unanswered = nil
	sh.work.(*booking).adds = 0.25
	adds := 0
	for range 40 {
		sh.work.act(m, 0)
		if m.unanswered[0].event == "add" {
			adds++
		}
		m.unanswered = nil
	}
	if adds != 10 || m.sent != 13 {
		t.Errorf("%d adds of 40, number %d; want 10 and, with those before, 13", adds, m.sent)
	}
}

func TestRoomIsVisitedAtEqualTimes(t *testing.T) {
	sh := &shard{}
	for r := range 3 {
		for place := range 2 {
			sh.members = append(sh.members, &member{index: r, place: place})
		}
	}
	sh.takeTurnsByRoom()
	for i, m := range sh.senders {
		if m.index != i%3 || m.place != i/3 {
			t.Errorf("turn %d: room %d, place %d", i, m.index, m.place)
		}
	}
}
