//go:build !linux

package target

import (
	"errors"
	"os/exec"
	"syscall"
	"time"
)

var errNotHere = errors.New("only on Linux")

func startPinned(cmd *exec.Cmd, cpus []int) error {
	if len(cpus) > 0 {
		return errNotHere
	}
	return cmd.Start()
}

// PinSelf fails: pinning is for Linux.
func PinSelf([]int) error { return errNotHere }

func (p *process) usage() (time.Duration, int64, error) { return 0, 0, errNotHere }

// OwnCPU is the CPU time that this process has used.
func OwnCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0 // cannot happen for RUSAGE_SELF
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// FineTimers does nothing here.
func FineTimers() {}
