package edge

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomd/bus"
)

// What an edge counts. Each loop counts for itself, in plain numbers, and shows
// a copy once a second; the collector adds the copies up.

// counters is what the session half of one loop has counted.
type counters struct {
	sessions    int64 // welcomed and connected now
	memberships int64 // of them in rooms, or on the way in, now
	gauges            // sizes of things, taken when the copy is made

	welcomes     uint64
	resumes      uint64 // of welcomes: with a resume token
	joins        uint64
	commands     uint64
	framesIn     uint64 // of the client protocol
	deliveries   uint64 // messages, patches, replies and the like, times the clients they went to
	envelopes    uint64 // from rooms
	envelopesOut uint64 // to rooms
	malformed    uint64 // envelopes that could not be read to the end
	stale        uint64 // envelopes of an owner before the newest
	gaps         uint64 // places where output was missing, each repaired by joining again
	noResponders uint64
	looks        uint64 // rooms that were silent, and NATS was asked who listens there
	opens        uint64 // requests to open a room
	pauses       uint64 // members told that their room paused
	resets       uint64 // members told that their room has lost something
	resent       uint64 // commands
	unsent       uint64 // envelopes that could not be published
	putOff       uint64 // returns of members that a room refused for now

	refused [len(codes) + 1]uint64 // by index of codes; the last is for all others
	closed  [len(closeCodes) + 1]uint64
	turns   [len(turnBuckets) + 1]uint64 // by how long they took
	turnSum time.Duration
}

type gauges struct {
	rooms, inFlight, entering, paused, stalled, openQueue int64
}

// codes are the refusals that have a line of their own in the metrics: kinds may
// add as many more as they like.
var codes = [...]bus.Code{
	bus.BadFrame, bus.BadName, bus.UnknownKind, bus.BadOptions, bus.UnknownEvent, bus.BadData, bus.RoomFull,
	bus.Forbidden, bus.NotJoined, bus.AlreadyJoined, bus.TooManyRooms, bus.TooLarge, bus.RateLimited,
	bus.InFlight, bus.OutOfOrder, bus.Overloaded, bus.Unavailable, bus.Timeout, bus.Closed,
	bus.Unauthorized, bus.BadToken, bus.Internal,
}

var closeCodes = [...]uint16{
	closeNormal, 1001, closeProtocol, closeWrongSort, closeNoStatus, closeAbnormal, closeBadUTF8, closeTooBig,
	closeOverload, closeShutdown, closeSlow, closeIdle, closeLater, closeBadFrame, closeUnauthorized, closeReplaced, closeAbuse,
}

var turnBuckets = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
}

// indexOf is where v is in list, and its length if it is not.
func indexOf[T comparable](list []T, v T) int {
	for i, x := range list {
		if x == v {
			return i
		}
	}
	return len(list)
}

func (c *counters) refuse(code bus.Code)  { c.refused[indexOf(codes[:], code)]++ }
func (c *counters) closeWith(code uint16) { c.closed[indexOf(closeCodes[:], code)]++ }

func (c *counters) turn(took time.Duration) {
	i := 0
	for i < len(turnBuckets) && took > turnBuckets[i] {
		i++
	}
	c.turns[i]++
	c.turnSum += took
}

func (c *counters) add(o *counters) {
	for _, v := range [...]struct{ sum, more *int64 }{
		{&c.sessions, &o.sessions}, {&c.memberships, &o.memberships}, {&c.rooms, &o.rooms}, {&c.inFlight, &o.inFlight},
		{&c.entering, &o.entering}, {&c.paused, &o.paused}, {&c.stalled, &o.stalled}, {&c.openQueue, &o.openQueue},
	} {
		*v.sum += *v.more
	}
	sums, more := c.totals(), o.totals()
	for i := range sums {
		*sums[i] += *more[i]
	}
	for i := range c.refused {
		c.refused[i] += o.refused[i]
	}
	for i := range c.closed {
		c.closed[i] += o.closed[i]
	}
	for i := range c.turns {
		c.turns[i] += o.turns[i]
	}
	c.turnSum += o.turnSum
}

// totals are the plain counters, in the order of sessionTotals.
func (c *counters) totals() [19]*uint64 {
	return [...]*uint64{
		&c.welcomes, &c.resumes, &c.joins, &c.commands, &c.framesIn, &c.deliveries, &c.envelopes, &c.envelopesOut,
		&c.malformed, &c.stale, &c.gaps, &c.noResponders, &c.looks, &c.opens, &c.pauses, &c.resets, &c.resent, &c.unsent, &c.putOff,
	}
}

// A board is where a loop shows its counters.
type board struct {
	mu    sync.Mutex // guards shown
	shown counters
}

// publishCounts lets others see what was counted.
func (lp *sessions) publishCounts() {
	c := &lp.counts
	c.rooms, c.entering, c.stalled = int64(len(lp.rooms)), int64(len(lp.entries)), int64(len(lp.stale))
	c.openQueue = int64(lp.waiting.len())
	c.inFlight, c.paused = 0, 0
	for _, r := range lp.retries {
		if r.phase == roomWaiting && lp.byNo[r.no] == r { // retry will forget the others
			c.paused++
		}
	}
	for _, fl := range lp.flights {
		c.inFlight += int64(fl.open)
	}
	lp.board.mu.Lock()
	defer lp.board.mu.Unlock()
	lp.board.shown = *c
}

// counted sums up what all loops show.
func (s *Server) counted() (sum counters) {
	for _, lp := range s.sessions {
		lp.board.mu.Lock()
		c := lp.board.shown
		lp.board.mu.Unlock()
		sum.add(&c)
	}
	return sum
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("roomd_edge_"+name, help, labels, nil)
}

var sessionTotals = [...]*prometheus.Desc{
	desc("sessions_total", "Sessions welcomed."),
	desc("resumes_total", "Sessions welcomed with a resume token."),
	desc("joins_total", "Joins asked for by clients."),
	desc("commands_total", "Commands passed on to rooms."),
	desc("frames_in_total", "Frames of the client protocol read."),
	desc("deliveries_total", "Messages, presence diffs, patches, states and replies times the clients they went to."),
	desc("envelopes_in_total", "Envelopes from rooms."),
	desc("envelopes_out_total", "Envelopes to rooms."),
	desc("envelopes_malformed_total", "Envelopes that could not be read to the end."),
	desc("envelopes_stale_total", "Envelopes dropped as their room has a newer owner."),
	desc("gaps_repaired_total", "Places where a room's output was missing; members joined again."),
	desc("no_responders_total", "Envelopes that found no owner of their room."),
	desc("looks_total", "Rooms that were silent, and NATS was asked who listens there."),
	desc("opens_total", "Requests to open a room."),
	desc("pauses_total", "Members told that their room paused."),
	desc("resets_total", "Members told that their room went back or began anew."),
	desc("commands_resent_total", "Commands sent to a room again."),
	desc("envelopes_unsent_total", "Envelopes that could not be published."),
	desc("returns_put_off_total", "Members brought back in whose room refused them for now; it is asked again."),
}

var (
	descConns       = desc("conns", "WebSockets open.")
	descHalfOpen    = desc("half_open", "Sockets in the middle of their request.")
	descSessions    = desc("sessions", "Sessions connected.")
	descMemberships = desc("memberships", "Sessions in rooms, one each room.")
	descRooms       = desc("rooms", "Rooms with members here, by loop.")
	descInFlight    = desc("commands_in_flight", "Commands without a reply.")
	descEntering    = desc("entering", "Memberships that wait for a room's answer.")
	descPaused      = desc("rooms_paused", "Rooms that nobody could open; tried again.")
	descOpenQueue   = desc("open_queue", "Requests to open or list rooms that wait for their turn.")
	descStalled     = desc("stale_members", "Members that missed patches and wait for a state.")
	descBuffers     = desc("buffer_bytes", "Memory of outboxes and half-received messages.")
	descLimit       = desc("limit", "What Config allows.", "limit")
	descRefused     = desc("refused_total", "Frames refused.", "code")
	descUpgrades    = desc("upgrades_total", "WebSocket upgrades.")
	descTurnedAway  = desc("upgrades_refused_total", "Requests that got no WebSocket.", "reason")
	descHTTP        = desc("http_requests_total", "Requests given to HTTP.")
	descAccepts     = desc("accept_errors_total", "Sockets that could not be taken.")
	descCloses      = desc("closes_total", "WebSockets closed.", "code")
	descMessagesIn  = desc("messages_in_total", "WebSocket messages read.")
	descBytesIn     = desc("bytes_in_total", "Bytes read from WebSockets.")
	descBytesOut    = desc("bytes_out_total", "Bytes written to WebSockets.")
	descMessagesOut = desc("messages_out_total", "WebSocket frames written, one for each conn.")
	descWrites      = desc("writes_total", "Write system calls on WebSockets.")
	descDropped     = desc("patches_dropped_total", "States and patches not sent as the client was behind.")
	descSlow        = desc("slow_closes_total", "Conns closed as slow.")
	descIdle        = desc("idle_closes_total", "Conns closed as idle.")
	descOverloads   = desc("overload_closes_total", "Conns closed for want of buffer space.")
	descPings       = desc("pings_total", "Pings sent.")
	descPause       = desc("pause_seconds_total", "Time that loops waited between turns as the process was short of CPU.")
	descTurns       = desc("turn_seconds", "How long a loop's turns took, without the writes at their end.")
)

// Describe makes a Server a prometheus.Collector.
func (s *Server) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, out) }

// Collect tells everything, as of the last second. Before Ready there are
// zeros.
func (s *Server) Collect(out chan<- prometheus.Metric) {
	var c counters
	var t stats
	select {
	case <-s.ready:
		c, t = s.counted(), s.t.stats()
	default:
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	total := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for i, v := range c.totals() {
		total(sessionTotals[i], *v)
	}
	s.collectGauges(&c, &t, gauge)
	collectTransport(&t, total)
	out <- prometheus.MustNewConstMetric(descPause, prometheus.CounterValue, t.paused.Seconds())
	for i, v := range c.refused {
		total(descRefused, v, append(codes[:], "other")[i])
	}
	for i, v := range c.closed {
		name := "other"
		if i < len(closeCodes) {
			name = strconv.Itoa(int(closeCodes[i]))
		}
		total(descCloses, v, name)
	}
	buckets, count := make(map[float64]uint64, len(turnBuckets)), uint64(0)
	for i, v := range c.turns {
		count += v
		if i < len(turnBuckets) {
			buckets[turnBuckets[i].Seconds()] = count
		}
	}
	out <- prometheus.MustNewConstHistogram(descTurns, count, c.turnSum.Seconds(), buckets)
}

func (s *Server) collectGauges(c *counters, t *stats, gauge func(*prometheus.Desc, float64, ...string)) {
	for d, v := range map[*prometheus.Desc]int64{
		descConns: t.open, descHalfOpen: t.halfOpen, descSessions: c.sessions, descMemberships: c.memberships,
		descRooms: c.rooms, descInFlight: c.inFlight, descEntering: c.entering, descPaused: c.paused,
		descStalled: c.stalled, descOpenQueue: c.openQueue, descBuffers: t.bufferBytes,
	} {
		gauge(d, float64(v))
	}
	cfg := &s.cfg
	for name, v := range map[string]int{
		"conns": cfg.MaxConns, "conns_per_ip": cfg.MaxConnsPerIP, "half_open": cfg.MaxHalfOpen * cfg.Loops,
		"message_bytes": cfg.MaxMessageBytes, "outbox_bytes": cfg.OutboxBytes, "drop_bytes": cfg.DropBytes,
		"buffer_bytes": cfg.BufferBytes, "rooms_per_conn": cfg.MaxRooms, "in_flight": cfg.MaxInFlight,
		"commands_per_second": cfg.CommandsPerSecond, "command_burst": cfg.CommandBurst, "refused_per_conn": cfg.AbuseLimit,
		"opens": cfg.MaxOpens * cfg.Loops, "open_queue": cfg.MaxOpenQueue * cfg.Loops, "envelope_queue": cfg.EnvelopeQueue,
	} {
		gauge(descLimit, float64(v), name)
	}
}

func collectTransport(t *stats, total func(*prometheus.Desc, uint64, ...string)) {
	for d, v := range map[*prometheus.Desc]uint64{
		descUpgrades: t.upgrades, descHTTP: t.handedOff, descAccepts: t.acceptErrors, descMessagesIn: t.messagesIn,
		descBytesIn: t.bytesIn, descBytesOut: t.bytesOut, descMessagesOut: t.framesOut, descWrites: t.writes,
		descDropped: t.drops, descSlow: t.slowCloses, descIdle: t.timeouts, descOverloads: t.overloads, descPings: t.pings,
	} {
		total(d, v)
	}
	for why, v := range t.refused {
		total(descTurnedAway, v, refusal(why).String())
	}
}
