//go:build unix

package edge

import (
	"math"

	"golang.org/x/sys/unix"
)

// maxFiles is how many descriptors the process may open. (Go has raised the
// soft limit to the hard one already.)
func maxFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32 // unknown: accept will tell
	}
	return int(min(uint64(limit.Cur), math.MaxInt32))
}
