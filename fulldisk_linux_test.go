package roomd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// smallDisk is a directory on a file system of its own with so many MB.
func smallDisk(t *testing.T, mb int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mb)); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk takes all space that is left, until free is called.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// insist adds lines until n more were acknowledged, for as long as it takes up to
// two minutes. A line without an answer may be there or not.
func (c *clerk) insist(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for want := len(c.done) + n; len(c.done) < want; {
		d := deed{text: fmt.Sprintf("%s-%d", c.name, time.Now().UnixNano())}
		reply, err := c.room.Call(ctx, "add", d.text)
		if err == nil {
			err = reply.Decode(&d.place)
		}
		switch {
		case err == nil:
			c.done = append(c.done, d)
		case ctx.Err() != nil:
			t.Errorf("%s: nothing is acknowledged any more: %v", c.name, err)
			return
		}
	}
}

// finds checks that every line that was acknowledged is in its place.
func (c *clerk) finds(t *testing.T) {
	t.Helper()
	var lines []string
	reply, err := c.call(t, "read", nil)
	if err == nil {
		err = reply.Decode(&lines)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range c.done {
		if d.place < 1 || d.place > len(lines) || lines[d.place-1] != d.text {
			t.Fatalf("%s was acknowledged as line %d, which is not there", d.text, d.place)
		}
	}
}

// While the disk of a single NATS server is full, records and logs are written to:
// NATS takes nothing into those streams any more, until it is started again. That
// is not needed, nor that workers live through it.
func TestRoomsGoOnWhenADiskWasFullForAMoment(t *testing.T) {
	for name, killed := range map[string]bool{"worker lives": false, "worker is killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apart(t)
			s.server.stop()
			disk := smallDisk(t, 24)
			s.server.cfg.Dir = filepath.Join(disk, "nats")
			s.server.start(t)
			s.start(t)
			t.Cleanup(func() { s.stop(t) })
			committed, saved := s.clerk(t, "minutes", "o1", "committed"), s.clerk(t, "notes", "o2", "saved")
			committed.insist(t, 20)
			saved.insist(t, 20)
			free := fillDisk(t, disk)
			var busy sync.WaitGroup
			for _, c := range []*clerk{committed, saved} {
				busy.Go(func() { c.insist(t, 2000) })
			}
			s.worker.log.awaits(t, "not written, tried again later")
			s.worker.log.awaits(t, "log up and begins a new one")
			if killed {
				s.worker.stop(t, syscall.SIGKILL)
			}
			free()
			if killed {
				s.worker.start(t)
			}
			busy.Wait()
			committed.finds(t)
			s.clerk(t, "notes", "o3", "new").insist(t, 1)
		})
	}
}
