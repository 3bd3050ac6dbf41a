package cluster

import "syscall"

// childAttributes puts a child in a group of its own (Ctrl-C is for us, and we end
// it in order) and has the kernel kill it when we die.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
