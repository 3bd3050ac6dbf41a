//go:build !linux

package cluster

import "errors"

func hideMounts() error { return errors.New("small disks are for Linux only") }

func mountMemory(string, int64) error { return errors.ErrUnsupported }

func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
