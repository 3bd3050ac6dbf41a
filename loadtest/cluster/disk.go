package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// DiskBytes is how much a small disk holds: more than a run writes, and little
// enough to be filled at once.
const DiskBytes = 256 << 20

// A Disk is a small file system that holds the data of one NATS server. It is in
// memory, and visible only to the processes of its cluster: when they and this
// one have ended, however they did, it is gone.
type Disk struct {
	dir   string
	forks *forker
}

// smallDisks mounts a disk for each NATS server.
func (c *Cluster) smallDisks() error {
	if !c.cfg.SmallDisks {
		return nil
	}
	for _, p := range c.NATS {
		if err := os.MkdirAll(p.data, 0o755); err != nil {
			return err
		}
	}
	c.NoDisks = c.forks.do(func() error {
		if err := hideMounts(); err != nil {
			return err
		}
		for _, p := range c.NATS {
			if err := mountMemory(p.data, DiskBytes); err != nil {
				return err
			}
		}
		return nil
	})
	if c.NoDisks != nil {
		return nil
	}
	for _, p := range c.NATS {
		p.Disk = &Disk{dir: p.data, forks: c.forks}
	}
	return nil
}

const ballast = "ballast"

// Fill takes all the room that is left, and again what becomes free, until ctx
// ends; then it gives it back. It returns how many bytes it took in all.
func (d *Disk) Fill(ctx context.Context) (taken int64, err error) {
	var f *os.File
	err = d.forks.do(func() (err error) { // opened where the disk is seen, written to anywhere
		f, err = os.Create(filepath.Join(d.dir, ballast))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("fill a disk: %w", err)
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for err == nil && ctx.Err() == nil {
		n, full := fill(f)
		if taken += n; !errors.Is(full, syscall.ENOSPC) {
			err = full
			break
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
	removed := d.forks.do(func() error { return os.Remove(filepath.Join(d.dir, ballast)) })
	return taken, errors.Join(err, f.Close(), removed)
}

// fill writes until nothing more fits, by ever smaller blocks.
func fill(f *os.File) (n int64, err error) {
	for block := make([]byte, 1<<20); len(block) > 0; block = block[:len(block)/2] {
		for {
			k, werr := f.Write(block)
			if n += int64(k); werr != nil {
				err = werr
				break
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return n, err
		}
	}
	return n, err
}

// Free tells how many bytes can still be written.
func (d *Disk) Free() (bytes int64, err error) {
	err = d.forks.do(func() (err error) { bytes, err = freeBytes(d.dir); return err })
	return bytes, err
}
