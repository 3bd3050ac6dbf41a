package target

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// startPinned starts cmd on the given cores. A child inherits the affinity of the
// thread that forks it, and so do all its threads: pinning it afterwards would
// miss those it has started already.
func startPinned(cmd *exec.Cmd, cpus []int) error {
	if len(cpus) == 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, set(cpus)); err != nil {
		return fmt.Errorf("pin to cores %v: %w", cpus, err)
	}
	err := cmd.Start()
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}

func set(cpus []int) *unix.CPUSet {
	var s unix.CPUSet
	for _, c := range cpus {
		s.Set(c)
	}
	return &s
}

// PinSelf moves all threads of this process to the given cores and lets Go use
// as many at once.
func PinSelf(cpus []int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	// Threads that start meanwhile inherit from one of these.
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, set(cpus)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("pin to cores %v: %w", cpus, err)
		}
	}
	runtime.GOMAXPROCS(len(cpus))
	return nil
}

// usage reads /proc: CPU time of all threads, in hundredths of a second, and
// resident bytes.
func (p *process) usage() (cpu time.Duration, rss int64, err error) {
	dir := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0, 0, err
	}
	// Fields are counted behind the command's name, which may contain spaces.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("%s/stat: %d fields", dir, len(fields))
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	statm, err3 := os.ReadFile(dir + "/statm")
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, 0, err
	}
	pages := bytes.Fields(statm)
	if len(pages) < 2 {
		return 0, 0, fmt.Errorf("%s/statm: %q", dir, statm)
	}
	resident, err := strconv.ParseInt(string(pages[1]), 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux there is
	return time.Duration(user+system) * tick, resident * int64(os.Getpagesize()), err
}

// OwnCPU is the CPU time that this process has used.
func OwnCPU() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0 // cannot happen for RUSAGE_SELF
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// FineTimers makes timeouts of the calling thread as exact as the kernel can;
// by default it may add 50 µs.
func FineTimers() {
	// Without it the schedule is a little coarser, which the lag shows.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}
