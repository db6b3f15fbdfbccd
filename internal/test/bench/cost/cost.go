// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Package cost measures what a piece of code costs this process: processor time as the system counts it, in all threads, and
// allocations. Both include everything else that the process does meanwhile, so that a benchmark must do nothing else.
//
// The system counts processor time in steps of up to some milliseconds: one measurement should span many of them.
package cost

import (
	"runtime"
	"syscall"
	"time"
)

// Cost is a sum of measurements.
type Cost struct {
	CPU    time.Duration // user and system
	Allocs uint64        // heap objects
	Bytes  uint64        // of the heap
}

// Of runs do and returns its cost.
func Of(do func()) Cost {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := CPU()
	do()
	cpu = CPU() - cpu
	runtime.ReadMemStats(&after)
	return Cost{CPU: cpu, Allocs: after.Mallocs - before.Mallocs, Bytes: after.TotalAlloc - before.TotalAlloc}
}

// Add adds another measurement.
func (c *Cost) Add(o Cost) {
	c.CPU += o.CPU
	c.Allocs += o.Allocs
	c.Bytes += o.Bytes
}

// CPU returns the processor time that this process has used so far.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("getrusage of this process: " + err.Error()) // cannot happen with these arguments, see getrusage(2)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
