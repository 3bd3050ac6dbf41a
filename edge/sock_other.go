//go:build unix && (!linux || roomd_portable)

package edge

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

func sockRead(fd int32, b []byte) (int, syscall.Errno) {
	n, err := unix.Read(int(fd), b)
	return max(n, 0), errnoOf(err)
}

func sockWrite(fd int32, b []byte) (int, syscall.Errno) {
	n, err := unix.Write(int(fd), b)
	return max(n, 0), errnoOf(err)
}

// sockShutdown ends our side: the peer reads what was written, then the end.
// It fails only on a socket that is broken anyway; reading tells.
func sockShutdown(fd int32) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno) && errno == syscall.EINTR:
		return syscall.EAGAIN // readiness comes again
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EINVAL
}
