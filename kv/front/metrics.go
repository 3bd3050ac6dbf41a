package front

import (
	"bytes"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are a server's totals.
type counters struct {
	accepted, turnedAway, acceptErrors atomic.Uint64
	bytesIn, bytesOut                  atomic.Uint64
	refused, protocol, wrongPass       atomic.Uint64
	messages, slow                     atomic.Uint64
	errors                             [len(errorCodes)]atomic.Uint64
}

// errorCodes are the first words of error replies that are counted by
// themselves, and at last one for all others.
var errorCodes = [...]string{
	"ERR", "WRONGTYPE", "CROSSSLOT", "NOAUTH", "WRONGPASS", "NOPROTO", "EXECABORT", "UNAVAILABLE", "TIMEOUT", "other",
}

// failed counts an error reply.
func (n *counters) failed(reply []byte) {
	code := reply[1:]
	if end := bytes.IndexAny(code, " \r"); end >= 0 {
		code = code[:end]
	}
	for i, known := range errorCodes[:len(errorCodes)-1] {
		if string(code) == known {
			n.errors[i].Add(1)
			return
		}
	}
	n.errors[len(errorCodes)-1].Add(1)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("roomd_redis_"+name, help, labels, nil)
}

var (
	descConns    = desc("conns", "Clients connected.")
	descAccepted = desc("accepts_total", "Clients that came.")
	descAway     = desc("turned_away_total", "Clients turned away as there were too many.")
	descAccepts  = desc("accept_errors_total", "Sockets that could not be taken.")
	descBytesIn  = desc("bytes_in_total", "Bytes read from clients.")
	descBytesOut = desc("bytes_out_total", "Bytes written to clients.")
	descCommands = desc("commands_total", "Commands run or queued.", "command")
	descRefused  = desc("refused_total", "Commands refused: unknown, or not now, or with the wrong number of arguments.")
	descErrors   = desc("errors_total", "Error replies.", "code")
	descProtocol = desc("protocol_errors_total", "Clients closed as they did not speak the protocol.")
	descPass     = desc("wrong_passwords_total", "Attempts with a wrong user or password.")
	descMessages = desc("messages_total", "Published messages times the subscriptions they went to.")
	descSlow     = desc("slow_closes_total", "Clients closed as they did not read their messages.")
)

// Describe makes a Server a prometheus.Collector.
func (s *Server) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, out) }

// Collect tells everything. Commands that nobody has sent are left out.
func (s *Server) Collect(out chan<- prometheus.Metric) {
	total := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s.mu.Lock()
	conns := len(s.conns)
	s.mu.Unlock()
	out <- prometheus.MustNewConstMetric(descConns, prometheus.GaugeValue, float64(conns))
	n := &s.counts
	total(descAccepted, n.accepted.Load())
	total(descAway, n.turnedAway.Load())
	total(descAccepts, n.acceptErrors.Load())
	total(descBytesIn, n.bytesIn.Load())
	total(descBytesOut, n.bytesOut.Load())
	total(descRefused, n.refused.Load())
	total(descProtocol, n.protocol.Load())
	total(descPass, n.wrongPass.Load())
	total(descMessages, n.messages.Load())
	total(descSlow, n.slow.Load())
	for name, cmd := range s.commands {
		if calls := cmd.calls.Load(); calls > 0 {
			total(descCommands, calls, name)
		}
	}
	for i, code := range errorCodes {
		total(descErrors, n.errors[i].Load(), code)
	}
}
