package bus

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// clusterOf starts n servers in a cluster and returns a Conn to each.
func clusterOf(t *testing.T, n int) []*Conn {
	t.Helper()
	var addrs, routes []string
	for range n {
		addr := freePort(t)
		addrs, routes = append(addrs, addr), append(routes, "nats://"+addr)
	}
	conns := make([]*Conn, n)
	for i := range conns {
		conns[i] = open(t, Config{Server: ServerConfig{
			Name: fmt.Sprintf("n%d", i), Dir: t.TempDir(), Cluster: addrs[i], Routes: routes,
		}})
	}
	return conns
}

// Three single binaries make a cluster: commands cross it, and a bucket with
// three replicas can be made and survives one of them.
func TestEmbeddedServersMakeACluster(t *testing.T) {
	conns := clusterOf(t, 3)
	for _, c := range conns {
		if c.InProcess() {
			t.Error("a member of a cluster says it is alone")
		}
	}
	in := make(chan *Msg, 100)
	if _, err := conns[2].Subscribe("r.room.chat.x.in", "", in); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { // until the routes stand
		if err := conns[0].Publish("r.room.chat.x.in", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		return len(in) > 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := conns[0].AwaitJetStream(ctx); err != nil {
		t.Fatal(err)
	}
	bucket, err := conns[0].JetStream().CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "b", Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Create(ctx, "chat.x", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	conns[0].Close()
	await(t, func() bool { // until there are leaders again, if it was one
		try, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		survivor, err := conns[1].JetStream().KeyValue(try, "b")
		if err != nil {
			return false
		}
		entry, err := survivor.Get(try, "chat.x")
		return err == nil && string(entry.Value()) == "kept"
	})
}
