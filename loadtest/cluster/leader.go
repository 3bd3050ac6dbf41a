package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// streams is what a NATS server's monitoring tells of its streams.
type streams struct {
	Accounts []struct {
		Streams []struct {
			Name    string `json:"name"`
			Cluster *struct {
				Leader string `json:"leader"`
			} `json:"cluster"`
			State struct {
				LastSeq uint64 `json:"last_seq"`
			} `json:"state"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// ErrNoLeader says that no stream has a leader that is known.
var ErrNoLeader = errors.New("no NATS server leads a stream")

// Leader is the NATS server that leads the stream most has been written to, which
// is the log of the busiest worker.
func (c *Cluster) Leader(ctx context.Context) (*Process, error) {
	var errs error
	for _, p := range c.NATS {
		var s streams
		url := strings.TrimSuffix(p.ready, "/healthz") + "/jsz?streams=true"
		if err := p.get(ctx, url, func(r io.Reader) error { return json.NewDecoder(r).Decode(&s) }); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		if leader := c.named(s.leader()); leader != nil {
			return leader, nil
		}
	}
	return nil, errors.Join(ErrNoLeader, errs)
}

func (s *streams) leader() (name string) {
	most := uint64(0)
	for _, a := range s.Accounts {
		for _, stream := range a.Streams {
			if stream.Cluster != nil && stream.Cluster.Leader != "" && stream.State.LastSeq >= most {
				most, name = stream.State.LastSeq, stream.Cluster.Leader
			}
		}
	}
	return name
}

func (c *Cluster) named(name string) *Process {
	for _, p := range c.NATS {
		if p.Name == name {
			return p
		}
	}
	return nil
}
