// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package oracle

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the CPU time of the process, in user and kernel mode.
func cpuTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
