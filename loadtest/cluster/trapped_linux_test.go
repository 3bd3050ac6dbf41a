package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// trapped reports whether a process handles or ignores SIGTERM.
func trapped(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && (f[0] == "SigCgt:" || f[0] == "SigIgn:") {
			mask, err := strconv.ParseUint(f[1], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if mask>>(uint(syscall.SIGTERM)-1)&1 == 1 {
				return true
			}
		}
	}
	return false
}
