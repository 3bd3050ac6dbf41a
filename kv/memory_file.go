package kv

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"roomd/kv/engine"
)

// A file of a [Memory] is
//
//	"roomd kv" and the format's version, a byte
//	for each of the engine's pages: its length, a uvarint, and its bytes
//	the SHA-256 of everything before
const (
	fileMagic   = "roomd kv"
	fileVersion = 1
)

var errDamagedFile = errors.New("file is damaged")

// Save writes everything that is kept to a file, which it replaces as a whole:
// whatever happens meanwhile, the file is as it was or as it should be. When
// Save has returned, the file is on disk. Commands wait while the data is
// copied, not while it is written.
func (m *Memory) Save(name string) error {
	m.mu.Lock()
	b := append([]byte(fileMagic), fileVersion)
	var page []byte
	for i := range engine.Pages {
		page = m.engine.AppendPage(page[:0], i)
		b = binary.AppendUvarint(b, uint64(len(page)))
		b = append(b, page...)
	}
	m.mu.Unlock()
	sum := sha256.Sum256(b)
	if err := replaceFile(name, append(b, sum[:]...)); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

// replaceFile writes a file beside the one to be replaced and renames it. If it
// fails it leaves nothing.
func replaceFile(name string, b []byte) (err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*") // for its owner only
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	err = errors.Join(f.Close(), syncDir(dir))
	if err != nil {
		return fmt.Errorf("%s is written but may not be on disk: %w", name, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Load replaces everything that is kept by what Save wrote; what has expired
// since is not there. It is for the beginning: holds of before are lost, and while
// a command waits, Load fails. If the file is not there or not as Save left it,
// Load fails too, and nothing has changed.
func (m *Memory) Load(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return fmt.Errorf("load %s: %w", name, errStoreClosed)
	case m.waiting > 0:
		return fmt.Errorf("load %s: %d commands wait", name, m.waiting)
	}
	loaded := m.newEngine()
	if err := loadPages(loaded, b); err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	m.engine = loaded
	m.rearm()
	return nil
}

func loadPages(e *engine.Engine, b []byte) error {
	b, ok := bytes.CutPrefix(b, []byte(fileMagic))
	if !ok {
		return errors.New("file is not one that Save wrote")
	}
	if len(b) < 1+sha256.Size {
		return errDamagedFile
	}
	if b[0] != fileVersion {
		return fmt.Errorf("file has format %d, only %d is known", b[0], fileVersion)
	}
	end := len(b) - sha256.Size
	hash := sha256.New()
	hash.Write([]byte(fileMagic))
	hash.Write(b[:end])
	if !bytes.Equal(hash.Sum(nil), b[end:]) {
		return errDamagedFile
	}
	b = b[1:end]
	for i := range engine.Pages {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return errDamagedFile
		}
		if err := e.LoadPage(i, b[n:n+int(size)]); err != nil {
			return fmt.Errorf("page %d: %w", i, err)
		}
		b = b[n+int(size):]
	}
	if len(b) > 0 {
		return errDamagedFile
	}
	return nil
}
