package cluster

import (
	"encoding/json"
	"testing"
)

func TestLeaderIsThatOfTheBusiestStream(t *testing.T) {
	page := `{"account_details":[{"stream_detail":[
		{"name":"quiet","cluster":{"leader":"nats-1"},"state":{"last_seq":3}},
		{"name":"busy","cluster":{"leader":"nats-2"},"state":{"last_seq":900}},
		{"name":"electing","cluster":{"leader":""},"state":{"last_seq":1000}},
		{"name":"alone","state":{"last_seq":2000}}]}]}`
	var s streams
	if err := json.Unmarshal([]byte(page), &s); err != nil {
		t.Fatal(err)
	}
	if got := s.leader(); got != "nats-2" {
		t.Errorf("leader() = %q, want nats-2", got)
	}
	c := &Cluster{NATS: []*Process{{Name: "nats-1"}, {Name: "nats-2"}}}
	if p := c.named("nats-2"); p != c.NATS[1] || c.named("nats-3") != nil {
		t.Errorf("named(nats-2) = %v", p)
	}
}
