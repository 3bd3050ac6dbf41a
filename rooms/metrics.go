package rooms

import (
	"roomd/bus"
	"roomd/kv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what a worker does; see Worker.Collectors.
type metrics struct {
	live         prometheus.GaugeFunc
	members      prometheus.GaugeFunc
	queue        prometheus.GaugeFunc
	opened       prometheus.Counter
	commands     prometheus.Counter
	repeated     prometheus.Counter
	malformed    prometheus.Counter
	strays       prometheus.Counter
	mailboxFull  prometheus.Counter
	mailboxLost  prometheus.Counter
	turns        prometheus.Counter
	batch        prometheus.Histogram
	envelopes    prometheus.Counter
	outBytes     prometheus.Counter
	patchBytes   prometheus.Counter
	lost         prometheus.Counter
	writes       prometheus.Counter
	writeBytes   prometheus.Counter
	writeErrors  prometheus.Counter
	commits      prometheus.Counter
	commitBytes  prometheus.Counter
	replaced     prometheus.Counter
	handedOff    prometheus.Counter
	takenOver    prometheus.Counter
	logMessages  prometheus.CounterFunc
	logLooks     prometheus.CounterFunc
	logWaiting   prometheus.GaugeFunc
	fenced       prometheus.Counter
	panics       prometheus.Counter
	faults       prometheus.Counter
	ticksMissed  prometheus.Counter
	tickLateness prometheus.Histogram
	kvKeys       prometheus.GaugeFunc
	kvBytes      prometheus.GaugeFunc
	kvSessions   prometheus.GaugeFunc
	kvWaiting    prometheus.GaugeFunc
	kvRequests   prometheus.Counter
	refusedVec   *prometheus.CounterVec
	refused      map[bus.Code]prometheus.Counter
	refusedOther prometheus.Counter
}

// refusals are the codes that are counted by name; kinds' own codes are counted
// together, as they may be any number.
var refusals = [...]bus.Code{
	bus.BadName, bus.BadOptions, bus.UnknownEvent, bus.BadData, bus.RoomFull, bus.Forbidden, bus.NotJoined,
	bus.TooLarge, bus.OutOfOrder, bus.Overloaded, bus.Unavailable, bus.Timeout, bus.Closed, bus.Internal,
}

func newMetrics(w *Worker) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "roomd_rooms_" + name, Help: help})
	}
	gauge := func(name, help string, f func() int) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "roomd_rooms_" + name, Help: help},
			func() float64 { return float64(f()) })
	}
	logged := func(name, help string, f func(kv.Stats) uint64) prometheus.CounterFunc {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "roomd_rooms_log_" + name, Help: help},
			func() float64 { return float64(f(w.logStats())) })
	}
	histogram := func(name, help string, first, factor float64, n int) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "roomd_rooms_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(first, factor, n),
		})
	}
	m := metrics{
		live:         gauge("live", "Rooms in memory.", w.Len),
		members:      gauge("members", "Members of the rooms in memory, those who are away included.", w.countMembers),
		queue:        gauge("ready", "Rooms that wait for a turn.", w.queueLen),
		opened:       counter("opened_total", "Rooms brought into memory."),
		commands:     counter("commands_total", "Commands taken from mailboxes."),
		repeated:     counter("commands_repeated_total", "Commands that had been run before."),
		malformed:    counter("envelopes_malformed_total", "Envelopes that could not be read."),
		strays:       counter("envelopes_stray_total", "Envelopes for rooms that are not here."),
		mailboxFull:  counter("mailbox_full_total", "Envelopes refused because the mailbox was full."),
		mailboxLost:  counter("mailbox_lost_total", "Envelopes dropped because the mailbox was too full to refuse them."),
		turns:        counter("turns_total", "Turns given to rooms."),
		batch:        histogram("batch_commands", "Commands per turn that had any.", 1, 2, 12),
		envelopes:    counter("output_envelopes_total", "Envelopes published."),
		outBytes:     counter("output_bytes_total", "Bytes published."),
		patchBytes:   counter("patch_bytes_total", "Bytes of state patches, before they are copied per address."),
		lost:         counter("output_lost_total", "Envelopes that could not be published."),
		writes:       counter("record_writes_total", "Records written or tried to."),
		writeBytes:   counter("record_bytes_total", "Bytes of records written or tried to."),
		writeErrors:  counter("record_errors_total", "Records that could not be written."),
		commits:      counter("commits_total", "Turns whose changes went to the log."),
		commitBytes:  counter("commit_bytes_total", "Bytes of those."),
		replaced:     counter("replaced_total", "Times that others took this worker for dead and its rooms over."),
		takenOver:    counter("taken_over_total", "Rooms opened here whose owner was dead."),
		logMessages:  logged("messages_total", "Messages written to the log of the current run.", func(s kv.Stats) uint64 { return s.Messages }),
		logLooks:     logged("looks_total", "Times that NATS had to be asked whether a message is in the log.", func(s kv.Stats) uint64 { return s.Looks }),
		logWaiting:   gauge("log_waiting", "Entries that wait to be written to the log.", func() int { return w.logStats().Waiting }),
		handedOff:    counter("handed_off_total", "Rooms that another worker opened when this one released them."),
		fenced:       counter("fenced_total", "Rooms stopped because another worker owns them."),
		panics:       counter("panics_total", "Rooms closed by a panic in their code."),
		faults:       counter("faults_total", "Errors without a code from rooms' code."),
		ticksMissed:  counter("ticks_missed_total", "Ticks left out because they were too late."),
		tickLateness: histogram("tick_lateness_seconds", "How late ticks ran.", 0.0005, 2, 12),
		kvKeys:       gauge("kv_keys", "Keys of the shared data in the shards that this worker owns.", w.sumKeys(func(k *keyspace) int64 { return k.keys.Load() })),
		kvBytes:      gauge("kv_bytes", "Memory that these take, about.", w.sumKeys(func(k *keyspace) int64 { return k.bytes.Load() })),
		kvSessions:   gauge("kv_sessions", "Stores that use these shards.", w.sumKeys(func(k *keyspace) int64 { return k.sessions.Load() })),
		kvWaiting:    gauge("kv_waiting", "Blocking commands that wait at these shards.", w.sumKeys(func(k *keyspace) int64 { return k.waiting.Load() })),
		kvRequests:   counter("kv_requests_total", "Requests to these shards, of any number of commands each."),
		refusedVec: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomd_rooms_refused_total", Help: "Commands, joins and opens refused.",
		}, []string{"code"}),
		refused: make(map[bus.Code]prometheus.Counter),
	}
	for _, code := range refusals {
		m.refused[code] = m.refusedVec.WithLabelValues(code)
	}
	m.refusedOther = m.refusedVec.WithLabelValues("other")
	return m
}

func (m *metrics) refuse(code bus.Code) {
	if c, ok := m.refused[code]; ok {
		c.Inc()
		return
	}
	m.refusedOther.Inc()
}

// Collectors returns the worker's metrics, named roomd_rooms_….
func (w *Worker) Collectors() []prometheus.Collector {
	m := &w.metrics
	return []prometheus.Collector{
		m.live, m.members, m.queue, m.opened, m.commands, m.repeated, m.malformed, m.strays, m.mailboxFull,
		m.mailboxLost, m.turns, m.batch, m.envelopes, m.outBytes, m.patchBytes, m.lost, m.writes, m.writeBytes,
		m.writeErrors, m.commits, m.commitBytes, m.replaced, m.handedOff, m.takenOver, m.logMessages, m.logLooks,
		m.logWaiting, m.fenced, m.panics, m.faults, m.ticksMissed, m.tickLateness, m.refusedVec,
		m.kvKeys, m.kvBytes, m.kvSessions, m.kvWaiting, m.kvRequests,
	}
}

func (w *Worker) countMembers() int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	n := 0
	for _, r := range w.rooms {
		n += int(r.size.Load())
	}
	return n
}

// sumKeys adds something up over the shards of kv that are here.
func (w *Worker) sumKeys(of func(*keyspace) int64) func() int {
	return func() int {
		w.mu.RLock()
		defer w.mu.RUnlock()
		n := int64(0)
		for i := range w.cfg.KVShards {
			if r := w.rooms[kv.ShardKey(i)]; r != nil && r.keys != nil {
				n += of(r.keys)
			}
		}
		return int(n)
	}
}

func (w *Worker) queueLen() int {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	return len(w.queue.rooms) - w.queue.head
}

// logStats returns what the log of the current run has done.
func (w *Worker) logStats() kv.Stats {
	if own := w.own.Load(); own != nil {
		return own.log.Stats()
	}
	return kv.Stats{}
}
