package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// routes counts the other servers that one is connected to.
func routes(ctx context.Context, p *Process) (int, error) {
	var page struct {
		Routes []struct {
			Name string `json:"remote_name"`
		} `json:"routes"`
	}
	err := p.get(ctx, strings.TrimSuffix(p.ready, "/healthz")+"/routez", func(r io.Reader) error {
		return json.NewDecoder(r).Decode(&page)
	})
	others := make(map[string]bool)
	for _, r := range page.Routes {
		others[r.Name] = true
	}
	return len(others), err
}

// until asks again and again until it is so: NATS tells of no event.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func connected(t *testing.T, c *Cluster, want ...int) {
	t.Helper()
	until(t, "servers are connected to others", func() bool {
		for i, p := range c.NATS {
			if n, err := routes(t.Context(), p); err != nil || n != want[i] {
				return false
			}
		}
		return true
	})
}

// A server whose routes are cut sees no other, and finds no way around: not when
// servers tell each other of it, and not when it starts again.
func TestRoutesGoThroughLinks(t *testing.T) {
	c := start(t, Config{NATS: 3, Edges: 1, Workers: 1, Links: true})
	connected(t, c, 2, 2, 2)
	for i, p := range c.NATS {
		if len(p.Routes) != 4 {
			t.Fatalf("%s has %d routes, want one to and one from each other", p.Name, len(p.Routes))
		}
		for _, r := range p.Routes {
			r.Cut()
		}
		want := []int{1, 1, 1}
		want[i] = 0
		connected(t, c, want...)
		if i == 2 {
			if err := errors.Join(c.NATS[0].Kill(), c.NATS[0].Launch()); err != nil {
				t.Fatal(err)
			}
			connected(t, c, want...)
		}
		broken := 0
		for _, r := range p.Routes {
			broken += r.Heal().Broken
		}
		if broken == 0 {
			t.Errorf("cutting %s off broke no connection", p.Name)
		}
		connected(t, c, 2, 2, 2)
	}
	echo(t, c.URLs()[0])
}

// A full disk takes no write until it is emptied; the data on it outlives its
// server, and what was on it is gone once it was wiped.
func TestSmallDisksFillAndEmpty(t *testing.T) {
	c := start(t, Config{NATS: 1, Edges: 1, Workers: 1, SmallDisks: true})
	if c.NoDisks != nil {
		t.Skip(c.NoDisks)
	}
	echo(t, c.URLs()[0])
	disk := c.NATS[0].Disk
	ctx, empty := context.WithCancel(t.Context())
	defer empty()
	var taken int64
	filled := make(chan error, 1)
	go func() {
		var err error
		taken, err = disk.Fill(ctx)
		filled <- err
	}()
	until(t, "the disk is full", func() bool {
		free, err := disk.Free()
		return err == nil && free == 0
	})
	empty()
	if err := <-filled; err != nil || taken < DiskBytes/2 {
		t.Errorf("Fill() = %d, %v", taken, err)
	}
	if free, err := disk.Free(); err != nil || free < DiskBytes/2 {
		t.Errorf("Free() = %d, %v after it was emptied", free, err)
	}
	if err := c.NATS[0].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := streamsOf(t, c); n == 0 {
		t.Error("a server that was restarted has lost its streams")
	}
	if _, err := c.NATS[0].Wipe(); err == nil {
		t.Error("a server is wiped while it runs")
	}
	if err := c.NATS[0].Kill(); err != nil {
		t.Fatal(err)
	}
	if bytes, err := c.NATS[0].Wipe(); err != nil || bytes == 0 {
		t.Errorf("Wipe() = %d, %v", bytes, err)
	}
	for _, p := range c.Nodes() { // nobody makes streams again
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.NATS[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := streamsOf(t, c); n != 0 {
		t.Errorf("a server that was wiped has %d streams", n)
	}
}

func streamsOf(t *testing.T, c *Cluster) (n int) {
	t.Helper()
	nc, err := nats.Connect(c.NATSURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	list := js.StreamNames(t.Context())
	for range list.Name() {
		n++
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	return n
}

// A throttled process gets a tenth of what it would use, by slices as by a quota,
// and all of it when it is released.
func TestThrottleLeavesATenth(t *testing.T) {
	c := script(t, "while :; do :; done\n")
	p := c.Edges[0]
	if err := p.Launch(); err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	for name, throttle := range map[string]func() (*Throttle, error){"slices": p.Slice, "quota": p.Quota} {
		t.Run(name, func(t *testing.T) {
			th, err := throttle()
			if err != nil {
				t.Skip(err)
			}
			time.Sleep(time.Second)  // of which it may use a tenth
			did, err := th.Release() // how long it was stopped depends on who else wants the CPU, what it used does not
			if err != nil || did.How != name || did.Lasted < time.Second || did.Stopped == 0 || did.Used > did.Lasted/4 {
				t.Errorf("Release() = %+v, %v", did, err)
			}
			before, err := cpuTime(p.PID())
			if err != nil {
				t.Skip(err)
			}
			until(t, "it runs again", func() bool {
				now, err := cpuTime(p.PID())
				return err == nil && now > before
			})
		})
	}
}

// An abort kills what takes longer than it may, and nothing that has ended before.
func TestAbortKillsWhatTakesTooLong(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		within time.Duration
		want   bool
	}{
		"it ends":    {"sleep 1000 & trap 'kill $!; exit 0' TERM\nwait\n", 30 * time.Second, false},
		"it doesn't": {"trap '' TERM\nwhile :; do sleep 0.1; done\n", 50 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, c.script).Edges[0]
			if err := p.Launch(); err != nil {
				t.Fatal(err)
			}
			until(t, "its trap is set", func() bool { // it listens to SIGTERM
				return trapped(t, p.PID())
			})
			if killed, err := p.Abort(c.within); killed != c.want || err != nil {
				t.Errorf("Abort(%v) = %v, %v", c.within, killed, err)
			}
			if p.Running() || len(p.c.FalseStarts()) > 0 {
				t.Errorf("running %v, ended by themselves: %q", p.Running(), p.c.FalseStarts())
			}
		})
	}
}

// Who listens hears, who records keeps, and nothing is left of either.
func TestListenersHearAndGo(t *testing.T) {
	c := start(t, Config{NATS: 1, Edges: 1, Workers: 1})
	before := streamsOf(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	kept := make(chan uint64, 1)
	go func() {
		n, err := c.Record(ctx)
		if err != nil {
			t.Error(err)
		}
		kept <- n
	}()
	heard, err := c.Listen(ctx) // heartbeats, at least
	if n := <-kept; err != nil || heard == 0 || n == 0 {
		t.Errorf("heard %d, kept %d: %v", heard, n, err)
	}
	if after := streamsOf(t, c); after != before {
		t.Errorf("%d streams, before %d", after, before)
	}
	echo(t, c.URLs()[0])
}
