package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func sample() *Report {
	cpu, writes, perConn, rss := 2.5, 0.4, 2900.0, int64(64<<20)
	return &Report{
		Scenario: "chat", Kind: "echo", Clients: 2000, Rooms: 50, Seconds: 10, OfferedPerS: 200, AchievedPerS: 200,
		Deliveries: 80_000, DeliveriesPerS: 8000, P50: 0.5, P90: 1, P99: 2, P999: 8, Max: 12, Latency: "latency",
		ServerCPU: &cpu, WritesPerDelivery: &writes, RSSPerConn: &perConn, ServerRSS: &rss,
		Curve:    []Point{{X: 0, P50: 0.1}, {X: 1, P50: 1}, {X: 2, P50: 2}, {X: 3, P50: 8}},
		Timeline: []Point{{X: 1, P50: 0.5, P99: 2}, {X: 2, P50: 0.6, P99: 3}},
		Steps:    []Step{{OfferedPerS: 200, P99: 2, Held: true}, {OfferedPerS: 250, P99: 200, Why: "p99 <too> high"}},
	}
}

func TestJSONNamesStay(t *testing.T) {
	var b bytes.Buffer
	if err := (&Report{}).JSON(&b); err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(`scenario clients rooms offered_per_s achieved_per_s deliveries deliveries_per_s
		lost duplicates reordered p50_ms p90_ms p99_ms p999_ms max_ms server_cpu_s server_cpu_us_per_delivery
		server_rss_bytes rss_bytes_per_conn writes_per_delivery generator_saturated bytes_per_client_s`) {
		if _, ok := m[name]; !ok {
			t.Errorf("JSON lacks %s", name)
		}
	}
}

func TestPageIsWholeAndEscaped(t *testing.T) {
	r := sample()
	r.Lost = 3
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, part := range []string{"<svg", "polyline", "Latency by percentile", "Latency over time", "p99 &lt;too&gt; high", "3 lost", "</html>"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "src=") || strings.Contains(page, "ZgotmplZ") {
		t.Error("the page has NaN, a foreign source, or something the template refused")
	}
}

func TestTableSaysWhatWentWrong(t *testing.T) {
	r := sample()
	r.Lost, r.Duplicates, r.GeneratorSaturated = 3, 1, true
	var b bytes.Buffer
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"3 lost, 1 delivered or applied twice", "bottleneck", "2,000 in 50 rooms", "80,000"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("the table lacks %q:\n%s", part, b.String())
		}
	}
	if sample().Verdict() != "" {
		t.Error("a faultless report has a verdict")
	}
}
