package target

import (
	"fmt"
	"syscall"
)

// spareFiles is how many descriptors a load generator needs besides its clients'.
const spareFiles = 64

// RoomForClients raises this process's limit of open files as far as it goes and
// refuses if it is too low for so many clients.
func RoomForClients(clients int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
		}
	}
	if uint64(clients)+spareFiles > uint64(limit.Cur) {
		return fmt.Errorf("%d clients do not fit: this process may open %d files (ulimit -Hn), which is enough for %d clients",
			clients, limit.Cur, uint64(limit.Cur)-spareFiles)
	}
	return nil
}
