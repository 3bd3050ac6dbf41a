package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc: Linux reports hundredths of a second on
// every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuTime is how long all threads of a process have run.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may hold spaces; the state comes after it.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	user, uerr := strconv.ParseInt(fields[11], 10, 64)
	system, serr := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(uerr, serr)
}

// A cpuLayout is where a version of cgroups has its quota.
type cpuLayout struct {
	root   string // of groups with a quota
	name   string // of what has it, in /proc/PID/cgroup
	quota  string // its file in a group
	format string // of microseconds in a period of 100 ms
	stat   string // what cpu.stat calls the time spent waiting
	unit   time.Duration
}

var cpuLayouts = []cpuLayout{
	{"/sys/fs/cgroup", "", "cpu.max", "%d 100000", "throttled_usec", time.Microsecond},         // v2
	{"/sys/fs/cgroup/cpu", "cpu", "cpu.cfs_quota_us", "%d", "throttled_time", time.Nanosecond}, // v1: the period is 100 ms unless set
}

// A cpuGroup is a cgroup that holds one process to a quota.
type cpuGroup struct {
	cpuLayout
	dir  string
	home string // the group that the process was in before
}

// newCPUGroup puts a process into a group of its own, with a quota for each 100 ms.
// A process that is not allowed to leaves nothing behind.
func newCPUGroup(name string, pid int, quota time.Duration) (*cpuGroup, error) {
	var errs error
	for _, layout := range cpuLayouts {
		g := &cpuGroup{cpuLayout: layout, dir: filepath.Join(layout.root, name)}
		var err error
		if g.home, err = layout.groupOf(pid); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		if err := os.Mkdir(g.dir, 0o755); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		// Written without O_CREATE: where there is no such file, there is no quota.
		err = write(filepath.Join(g.dir, g.quota), fmt.Sprintf(g.format, quota.Microseconds()))
		if err == nil {
			err = write(filepath.Join(g.dir, "cgroup.procs"), strconv.Itoa(pid))
		}
		if err == nil {
			return g, nil
		}
		errs = errors.Join(errs, err, os.Remove(g.dir))
	}
	return nil, fmt.Errorf("no right to set a quota of CPU: %w", errs)
}

func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// groupOf finds the group that a process is in: lines are ID:CONTROLLERS:PATH.
func (l cpuLayout) groupOf(pid int) (dir string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) == 3 && slices.Contains(strings.Split(part[1], ","), l.name) {
			return filepath.Join(l.root, part[2]), nil
		}
	}
	return "", fmt.Errorf("process %d is in no group below %s", pid, l.root)
}

// leave gives the process back to the group it was in, and removes its own.
// It tells how long the process had to wait.
func (g *cpuGroup) leave(pid int) (waited time.Duration, err error) {
	stat, err := os.ReadFile(filepath.Join(g.dir, "cpu.stat"))
	for line := range strings.Lines(string(stat)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == g.stat {
			n, perr := strconv.ParseInt(f[1], 10, 64)
			waited, err = time.Duration(n)*g.unit, errors.Join(err, perr)
		}
	}
	return waited, errors.Join(err, write(filepath.Join(g.home, "cgroup.procs"), strconv.Itoa(pid)), os.Remove(g.dir))
}
