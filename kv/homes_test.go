package kv_test

import (
	"context"
	"testing"

	"roomd/kv"
	"roomd/kv/front"
)

// A home is where a store can live. What the suite says is so in all of them.
type home struct {
	name string
	// open returns a store with nothing in it, which ends with the test.
	open func(t *testing.T) site
}

// A site is a store in its home, and what tests know about it.
type site struct {
	kv.Store
	// waiting returns how many blocking pops wait at the moment.
	waiting func(t *testing.T) int
	// wire is where the store is reached with Redis's protocol, nil if it is
	// called directly. Then go-redis is between, which has not all of a Store.
	wire *address
	// slow says that a command takes milliseconds.
	slow bool
	// real says that the store is Redis, which lacks what is only ours.
	real bool
}

// homes are those the suite runs in. The first says what is right.
var homes = []home{
	{"redis", openRedis},
	{"memory", openMemory},
	{"front of memory", openFront(openMemory)},
	{"embedded", openEmbedded},
	{"cluster of three", openCluster},
	{"front of embedded", openFront(openEmbedded)},
}

func openRedis(t *testing.T) site {
	at := startRedis(t)
	info := at.dial(t, "2") // in RESP3 it is a text of a kind of its own
	s := openWire(t, at, func(t *testing.T) int { return blockedClients(t, info) })
	s.real = true
	return s
}

func openMemory(t *testing.T) site {
	return openStore(t, kv.NewMemory())
}

// openStore is for a store that is called directly.
func openStore(t *testing.T, s kv.Store) site {
	t.Cleanup(s.Close)
	return site{Store: s, waiting: func(*testing.T) int { return kv.Waiting(s) }}
}

// openWire is for a store behind an address.
func openWire(t *testing.T, at address, waiting func(*testing.T) int) site {
	t.Helper()
	return site{Store: openRedisStore(t, at), wire: &at, waiting: waiting}
}

// openFront puts a RESP front before the store of a home.
func openFront(open func(*testing.T) site) func(*testing.T) site {
	return func(t *testing.T) site {
		behind := open(t)
		server, err := front.New(behind.Store, front.Config{Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		over := within(func() error { return server.Run(ctx) })
		t.Cleanup(func() {
			stop()
			if err := <-over; err != nil {
				t.Errorf("front: %v", err)
			}
		})
		select {
		case <-server.Ready():
		case err := <-over:
			over <- err
			t.Fatal(err)
		}
		return openWire(t, address{"tcp", server.Addr().String()}, behind.waiting)
	}
}
