package roomd

import (
	"slices"
	"testing"
)

func FuzzProcessState(f *testing.F) {
	p := processState{inside: true, state: "ready", nodes: []nodeState{{"a", "edge", 7}, {"b", "worker", 1 << 40}}}
	f.Add(p.append(nil))
	f.Add([]byte(`{"stream":"everything","seq":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseProcess(b)
		if err != nil {
			return
		}
		again, err := parseProcess(p.append(nil))
		if err != nil || again.inside != p.inside || again.state != p.state || !slices.Equal(again.nodes, p.nodes) {
			t.Errorf("%+v came back as %+v, %v", p, again, err)
		}
	})
}
