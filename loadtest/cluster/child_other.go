//go:build !linux

package cluster

import "syscall"

// childAttributes puts a child in a group of its own: Ctrl-C is for us, and we end
// it in order.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
