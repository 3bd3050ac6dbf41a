//go:build !linux

package cluster

import (
	"errors"
	"time"
)

func cpuTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

type cpuGroup struct{}

func newCPUGroup(string, int, time.Duration) (*cpuGroup, error) { return nil, errors.ErrUnsupported }

func (*cpuGroup) leave(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
